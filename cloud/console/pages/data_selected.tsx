/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * What is done with items that are selected: they are copied as lines to paste, exported, or deleted. Each is deleted only
 * as it was shown: one that has changed meanwhile stays, and is said. What was deleted can be put back from the result's page.
 *
 * @module
 */
import { mapBounded } from "../../sync/bounded.ts";
import { comesDown } from "../../../schema/direction.ts";
import type { Model } from "../../../schema/model.ts";
import { ApiError } from "../../api/errors.ts";
import { modelNamed } from "../../api/items.ts";
import { PreconditionError } from "../../api/write.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { count } from "../format.ts";
import { Check } from "../icons.tsx";
import type { PlainItem } from "../local_device.ts";
import type { Routes } from "../mod.tsx";
import { Empty, FormToken, Problem } from "../parts.tsx";
import { readItem, removeItem, saveItem, type Seen } from "../save.ts";
import { itemHref } from "./data_query.ts";
import { Value } from "./data_value.tsx";
import { linesOf, PasteLines } from "./paste_lines.tsx";

/** Items at a time: two pages of the list. */
const itemsMax = 100;
/** Requests to the table at a time. */
const atOnce = 8;
/** What a form can carry back, in characters. */
const putBackMax = 500_000;
const columnsMax = 4;

/** The fields that name an item. */
function namesOf(model: Model): readonly string[] {
  return [...new Set([...model.identityFields, ...model.keyFields])];
}

/** An item's name in a form: the values of its key, in the schema's order. */
export function itemName(model: Model, item: PlainItem): string {
  return JSON.stringify(namesOf(model).map((name) => item[name] ?? null));
}

function keyNamed(model: Model, text: string): PlainItem {
  const names = namesOf(model);
  try {
    const values: unknown = JSON.parse(text);
    if (Array.isArray(values) && values.length === names.length) {
      return Object.fromEntries(names.map((name, at) => [name, values[at]]));
    }
  } catch {
    // Falls through: what is not JSON names nothing.
  }
  throw new ApiError(400, "invalid", `“${text.slice(0, 80)}” names no item of ${model.name}.`);
}

export function selectedHref(model: Model): string {
  return `/data/${encodeURIComponent(model.name)}/selected`;
}

/** Adds the routes. */
export function mountSelected({ page, action, options }: Routes): void {
  const modelOf = (c: PageContext) => modelNamed(options.schema, c.req.param("model"));
  page("/data/:model/selected", (c) => selectedPage(options, c, modelOf(c)));
  action("/data/:model/delete-selected", (c, form) => deleteSelected(options, c, modelOf(c), form));
  action("/data/:model/put-back", (c, form) => putBack(options, modelOf(c), form));
}

async function selectedPage(options: ConsoleOptions, c: PageContext, model: Model): Promise<Page | Response> {
  const names = [...new Set(c.req.queries("item") ?? [])], what = c.req.query("do") ?? "copy";
  if (names.length > itemsMax) throw new ApiError(400, "invalid", `${itemsMax} items at a time.`);
  const keys = names.map((name) => keyNamed(model, name));
  const read = await mapBounded(keys, atOnce, (key) => readItem(options.items, model, key));
  const found = read.filter((seen) => seen !== undefined), gone = keys.length - found.length;
  if (what === "jsonl") return jsonLines(model, found);
  if (what !== "copy" && what !== "delete") throw new ApiError(400, "invalid", "There is no such action.");
  const items = count(found.length, "item"), isDelete = what === "delete";
  return {
    title: isDelete ? `Delete ${items}` : `${items} of ${model.name}`,
    status: found.length === 0 ? 404 : 200,
    scripts: ["data.js"],
    body: (
      <>
        <div class="head">
          <div>
            <p class="muted">
              <a href={`/data/${encodeURIComponent(model.name)}`} data-back>{model.name}</a>
            </p>
            <h1>{isDelete ? `Delete ${items}?` : `${items} of ${model.name}`}</h1>
            <p class="muted">
              {isDelete && comesDown(model) ? "Devices remove them as well. " : ""}
              {isDelete ? "An item that changes before you delete it stays. " : ""}
              {gone > 0 ? `${count(gone, "selected item is", "selected items are")} not there any more.` : ""}
            </p>
          </div>
        </div>
        {found.length === 0
          ? (
            <div class="card">
              <Empty title={names.length === 0 ? "Nothing is selected" : "They are not there any more"}>
                <p>
                  <a href={`/data/${encodeURIComponent(model.name)}`}>{`To ${model.name}`}</a>
                </p>
              </Empty>
            </div>
          )
          : (
            <>
              {isDelete ? <DeleteForm {...{ c, model, found }} /> : null}
              <Listed {...{ model, found }} />
              {isDelete ? null : <PasteLines lines={linesOf(options, c, model, found.map(({ item }) => item))} />}
            </>
          )}
      </>
    ),
  };
}

function jsonLines(model: Model, found: readonly Seen[]): Response {
  return new Response(found.map(({ item }) => `${JSON.stringify(item)}\n`).join(""), {
    headers: {
      "content-type": "application/x-ndjson",
      "content-disposition": `attachment; filename="${model.name}.jsonl"`,
    },
  });
}

/** The items, in short: their keys and first values. */
function Listed({ model, found }: { model: Model; found: readonly Seen[] }) {
  const names = namesOf(model), skipped = new Set([...names, model.createdField, model.updatedField]);
  const values = model.fields.filter(({ name, template, hidden }) => !template && !hidden && !skipped.has(name))
    .slice(0, columnsMax);
  return (
    <section class="card data">
      <div class="scroll" tabindex={0} role="region" aria-label="The selected items">
        <table>
          <thead>
            <tr>
              {names.map((name) => <th scope="col">{`${name} ⚷`}</th>)}
              {values.map(({ name, type }) => <th scope="col" class={type === "number" ? "num" : undefined}>{name}
              </th>)}
            </tr>
          </thead>
          <tbody data-rows>
            {found.map(({ item }) => (
              <tr data-row>
                {names.map((name, at) => (
                  <td class="mono">
                    {at === names.length - 1
                      ? <a data-open href={itemHref(model, item)}>{String(item[name] ?? "")}</a>
                      : String(item[name] ?? "")}
                  </td>
                ))}
                {values.map(({ name, type }) => (
                  <td class={type === "number" ? "num" : undefined}>
                    <Value value={item[name]} has={name in item} />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function DeleteForm({ c, model, found }: { c: PageContext; model: Model; found: readonly Seen[] }) {
  const { mayWrite, formToken } = c.get("session");
  if (!mayWrite) return <Problem message="Your token may read, and not delete." />;
  return (
    <form method="post" action={`/data/${encodeURIComponent(model.name)}/delete-selected`} class="acts delete-form">
      <FormToken token={formToken} />
      {found.map(({ item, digest }) => (
        <>
          <input type="hidden" name="key" value={itemName(model, item)} />
          <input type="hidden" name="digest" value={digest} />
        </>
      ))}
      <button class="btn danger" type="submit">{`Delete ${count(found.length, "item")}`}</button>
      <a class="btn" href={`/data/${encodeURIComponent(model.name)}`} data-back>Cancel</a>
    </form>
  );
}

/** What became of one. */
interface Gone {
  readonly name: string;
  readonly old?: PlainItem;
  /** Why it stayed. */
  readonly stays?: string;
}

async function deleteSelected(options: ConsoleOptions, c: PageContext, model: Model, form: FormData): Promise<Page> {
  const keys = form.getAll("key").map(String), digests = form.getAll("digest").map(String);
  if (keys.length === 0 || keys.length !== digests.length || keys.length > itemsMax) {
    throw new ApiError(400, "invalid", "The form can't be read.");
  }
  const results = await mapBounded(keys, atOnce, async (name, at): Promise<Gone> => {
    const key = keyNamed(model, name);
    try {
      return { name, old: (await removeItem(options.items, model, key, { digest: digests[at]! })).old };
    } catch (error) {
      if (!(error instanceof PreconditionError)) throw error;
      return { name, stays: error.now ? "it was changed meanwhile" : "somebody else has deleted it" };
    }
  });
  return resultPage(c, model, results);
}

function resultPage(c: PageContext, model: Model, results: readonly Gone[]): Page {
  const stayed = results.filter(({ stays }) => stays !== undefined), gone = results.length - stayed.length;
  const olds = results.flatMap(({ old }) => old ? [JSON.stringify(old)] : []);
  const fits = olds.reduce((sum, text) => sum + text.length, 0) <= putBackMax;
  return {
    title: `${model.name} deleted`,
    status: gone === 0 ? 409 : 200,
    body: (
      <>
        <div class="head">
          <div>
            <h1>{gone === 0 ? "Nothing was deleted" : `Deleted ${count(gone, "item")}`}</h1>
            {stayed.length > 0
              ? <p class="muted">{`${count(stayed.length, "item was", "items were")} left as they are.`}</p>
              : null}
          </div>
        </div>
        {stayed.length > 0
          ? (
            <section class="card pad">
              <ul class="plain">
                {stayed.map(({ name, stays }) => (
                  <li>
                    <a class="mono" href={itemHref(model, keyNamed(model, name))}>
                      {Object.values(keyNamed(model, name)).join(" · ")}
                    </a>
                    {`: ${stays}`}
                  </li>
                ))}
              </ul>
            </section>
          )
          : null}
        <form method="post" action={`/data/${encodeURIComponent(model.name)}/put-back`} class="acts after">
          <FormToken token={c.get("session").formToken} />
          {olds.length > 0 && fits
            ? (
              <>
                {olds.map((text) => <input type="hidden" name="old" value={text} />)}
                <button class="btn" type="submit">Undo</button>
              </>
            )
            : olds.length > 0
            ? <span class="muted">They are too large to be put back from here.</span>
            : null}
          <a class="btn" href={`/data/${encodeURIComponent(model.name)}`} data-back>{`To ${model.name}`}</a>
        </form>
      </>
    ),
  };
}

/** Puts deleted items back where nobody has made others meanwhile. */
async function putBack(options: ConsoleOptions, model: Model, form: FormData): Promise<Page> {
  const olds = form.getAll("old").slice(0, itemsMax).map((text) => itemIn(String(text)));
  const results = await mapBounded(olds, atOnce, async (old): Promise<boolean> => {
    try {
      await saveItem(options.items, model, old, undefined);
      return true;
    } catch (error) {
      if (!(error instanceof PreconditionError)) throw error;
      return false;
    }
  });
  const back = results.filter((isBack) => isBack).length, left = results.length - back;
  return {
    title: `${model.name} put back`,
    status: back === 0 ? 409 : 200,
    body: (
      <>
        <div class="head">
          <h1>{`Put back ${count(back, "item")}`}</h1>
        </div>
        {left > 0
          ? <Problem message={`${count(left, "item")} had been made anew meanwhile: nothing was put over.`} />
          : (
            <p class="note ok" role="status">
              <Check />As they were.
            </p>
          )}
        <p class="acts after">
          <a class="btn" href={`/data/${encodeURIComponent(model.name)}`} data-back>{`To ${model.name}`}</a>
        </p>
      </>
    ),
  };
}

function itemIn(text: string): PlainItem {
  try {
    const item: unknown = JSON.parse(text);
    if (typeof item === "object" && item !== null && !Array.isArray(item)) return item as PlainItem;
  } catch {
    // Falls through: the form was changed by hand.
  }
  throw new ApiError(400, "invalid", "The form can't be read.");
}
