/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/data/:model/item?key=…`: one item: its values, how far its last change got, and its editor. It is saved only if
 * nobody has changed it since it was read; otherwise the page shows *yours*, *was* and *now* side by side. Incoming
 * changes never replace an edit in progress.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { ApiError } from "../../api/errors.ts";
import { modelNamed } from "../../api/items.ts";
import { keyIn } from "../../api/trace.ts";
import { PreconditionError } from "../../api/write.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import type { PlainItem } from "../local_device.ts";
import type { Routes } from "../mod.tsx";
import { FormToken } from "../parts.tsx";
import { readItem, removeItem, saveItem, type Seen } from "../save.ts";
import { FieldError } from "../typed.ts";
import { editPage } from "./item_edit.tsx";
import { itemOf, jsonIn, typedIn, typedOf } from "./item_form.tsx";
import { farPart } from "./item_far.tsx";
import { historyPart } from "./item_history.tsx";
import { asOfPart } from "./item_travel.tsx";
import { shownPage, titleOf } from "./item_shown.tsx";

/** Adds the routes. */
export function mountItem({ page, action, options }: Routes): void {
  const modelOf = (c: PageContext) => modelNamed(options.schema, c.req.param("model"));
  page("/data/:model/item", (c) => itemPage(options, c, modelOf(c)));
  page("/data/:model/far", (c) => farPart(options, c, modelOf(c)));
  page("/data/:model/history", (c) => historyPart(options, c, modelOf(c)));
  page("/data/:model/as-of", (c) => asOfPart(options, c, modelOf(c)));
  page("/data/:model/new", (c) => newPage(options, c, modelOf(c)));
  action("/data/:model/save", (c, form) => save(options, c, modelOf(c), form));
  action("/data/:model/delete", (c, form) => remove(options, c, modelOf(c), form));
  action("/data/:model/undo", (c, form) => undo(options, c, modelOf(c), form));
}

async function seenBy(options: ConsoleOptions, c: PageContext, model: Model): Promise<Seen> {
  const seen = await readItem(options.items, model, keyIn(c.req.query("key")) as PlainItem);
  if (!seen) throw new ApiError(404, "not-found", "There is no such item: it was removed, or never existed.");
  return seen;
}

async function itemPage(options: ConsoleOptions, c: PageContext, model: Model): Promise<Page> {
  const seen = await seenBy(options, c, model);
  return c.req.query("edit") === undefined
    ? shownPage(options, c, model, seen)
    : editPage(c, model, { seen, typed: typedOf(model, seen.item) });
}

function newPage(_options: ConsoleOptions, c: PageContext, model: Model): Page {
  const { deviceId, accountId } = model.identityNames;
  const given = { [deviceId]: c.req.query("device"), [accountId]: c.req.query("account") };
  const typed = new Map(typedOf(model, undefined));
  for (const [name, text] of Object.entries(given)) if (text) typed.set(name, { state: "value", text });
  return editPage(c, model, { typed });
}

async function save(options: ConsoleOptions, c: PageContext, model: Model, form: FormData): Promise<Page | Response> {
  const was = jsonIn(form, "seen") ?? undefined, digest = textOf(form, "digest") ?? "";
  const isNew = !was, seen: Seen | undefined = was ? { item: was, digest } : undefined;
  const typed = typedIn(model, form, isNew);
  try {
    const item = itemOf(model, typed, was);
    const written = await saveItem(options.items, model, item, seen);
    const now = { item: written.item!, digest: written.digest! };
    return shownPage(options, c, model, now, { word: isNew ? "Added." : "Saved.", old: written.old });
  } catch (error) {
    if (error instanceof FieldError) {
      return editPage(c, model, { seen, typed, wrong: { field: error.field, message: error.message } });
    }
    if (error instanceof PreconditionError) return editPage(c, model, { seen, typed, clash: error });
    const fault = refusal(error);
    if (fault === undefined) throw error;
    // The schema's message names the field, if it concerns one.
    const field = model.fields.find(({ name }) =>
      new RegExp(`(^|\\W)${name.replace(/\W/g, "\\$&")}(\\W|$)`).test(fault)
    )?.name ?? "";
    return editPage(c, model, { seen, typed, wrong: { field, message: fault } });
  }
}

/** What the person can correct; undefined: not the person's error. */
function refusal(error: unknown): string | undefined {
  const { code, message } = error as { code?: string; message?: string };
  return ["invalid", "too-large", "exists"].includes(code ?? "") ? message : undefined;
}

async function remove(options: ConsoleOptions, c: PageContext, model: Model, form: FormData): Promise<Page> {
  const item = jsonIn(form, "seen"), digest = textOf(form, "digest") ?? "";
  if (!item) throw new ApiError(400, "invalid", "The form can't be read.");
  await removeItem(options.items, model, item, { digest });
  return {
    title: `${model.name} deleted`,
    body: (
      <>
        <div class="head">
          <h1>{`${titleOf(model, item)} is deleted`}</h1>
        </div>
        <form method="post" action={`/data/${encodeURIComponent(model.name)}/undo`} class="acts">
          <FormToken token={c.get("session").formToken} />
          <input type="hidden" name="old" value={JSON.stringify(item)} />
          <input type="hidden" name="seen" value="" />
          <button class="btn" type="submit">Undo</button>
          <a class="btn" href={`/data/${encodeURIComponent(model.name)}`}>{`To ${model.name}`}</a>
        </form>
      </>
    ),
  };
}

/** Puts the old image back if nothing has changed since. */
async function undo(options: ConsoleOptions, c: PageContext, model: Model, form: FormData): Promise<Page | Response> {
  const old = jsonIn(form, "old"), item = jsonIn(form, "seen"), digest = textOf(form, "digest") ?? "";
  const seen = item && { item, digest };
  try {
    if (old) {
      const written = await saveItem(options.items, model, old, seen);
      return shownPage(options, c, model, { item: written.item!, digest: written.digest! }, {
        word: "Put back.",
        old: written.old,
      });
    }
    if (item) await removeItem(options.items, model, item, seen);
    return c.redirect(`/data/${encodeURIComponent(model.name)}`, 303);
  } catch (error) {
    if (!(error instanceof PreconditionError)) throw error;
    throw new ApiError(409, "changed", "It was changed since: nothing was put back.");
  }
}
