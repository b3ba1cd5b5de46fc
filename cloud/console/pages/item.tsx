/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/data/:model/item?key=…`: one item: its values, how far its last change got, and its editor. It is saved on the condition
 * that nobody has changed it since it was read; where somebody has, *yours*, *was* and *now* stand side by side. An edit in
 * progress is never replaced by what arrives.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { keyText } from "../../../protocol/keys.ts";
import { renderKey } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import { modelNamed } from "../../api/items.ts";
import { keyIn, whereIs } from "../../api/trace.ts";
import { PreconditionError } from "../../api/write.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import { Check, Ring } from "../icons.tsx";
import { curlLine, typescriptLine } from "../lines.ts";
import type { PlainItem } from "../local_device.ts";
import type { Routes } from "../mod.tsx";
import { Copy, FormToken, Time } from "../parts.tsx";
import { readItem, removeItem, saveItem, type Seen } from "../save.ts";
import { FieldError, textOfValue } from "../typed.ts";
import { Value } from "./data.tsx";
import { itemHref } from "./data_query.ts";
import { Editors, itemOf, jsonIn, lockOf, type Typed, typedIn, typedOf } from "./item_form.tsx";

/** Adds the routes. */
export function mountItem({ page, action, options }: Routes): void {
  const modelOf = (c: PageContext) => modelNamed(options.schema, c.req.param("model"));
  page("/data/:model/item", (c) => itemPage(options, c, modelOf(c)));
  page("/data/:model/far", (c) => farPart(options, c, modelOf(c)));
  page("/data/:model/new", (c) => newPage(options, c, modelOf(c)));
  action("/data/:model/save", (c, form) => save(options, c, modelOf(c), form));
  action("/data/:model/delete", (c, form) => remove(options, c, modelOf(c), form));
  action("/data/:model/undo", (c, form) => undo(options, c, modelOf(c), form));
}

function titleOf(model: Model, item: PlainItem): string {
  return `${model.name} ${
    [...model.keyFields, ...model.identityFields].map((name) => String(item[name] ?? "")).join(" · ")
  }`;
}

async function seenBy(options: ConsoleOptions, c: PageContext, model: Model): Promise<Seen> {
  const seen = await readItem(options.items, model, keyIn(c.req.query("key")) as PlainItem);
  if (!seen) throw new ApiError(404, "not-found", "There is no such item: it was removed, or never was.");
  return seen;
}

async function itemPage(options: ConsoleOptions, c: PageContext, model: Model): Promise<Page> {
  const seen = await seenBy(options, c, model);
  return c.req.query("edit") === undefined
    ? shownPage(options, c, model, seen)
    : editPage(c, model, { seen, typed: typedOf(model, seen.item) });
}

/** What a change left behind, to be undone. */
interface Done {
  readonly word: string;
  readonly old?: PlainItem;
}

function shownPage(
  options: ConsoleOptions,
  c: PageContext,
  model: Model,
  seen: Seen,
  done?: Done,
): Page {
  const { item } = seen, mayWrite = c.get("session").mayWrite, formToken = c.get("session").formToken;
  const known = new Set(model.fields.map(({ name }) => name)), now = options.now();
  const unknown = Object.keys(item).filter((name) => !known.has(name));
  const address = { url: new URL(c.req.url).origin, wantsToken: options.tokens !== undefined };
  const bare = Object.fromEntries(
    Object.entries(item).filter(([name]) => {
      const field = model.fields.find((one) => one.name === name);
      return !field || !field.template && !field.timestamp;
    }),
  );
  const key = renderKey(model, item as never);
  return {
    title: titleOf(model, item),
    on: "change,stage",
    scripts: ["data.js"],
    body: (
      <>
        <div class="head">
          <div>
            <p class="muted">
              <a href={`/data/${encodeURIComponent(model.name)}`} data-back>{model.name}</a>
            </p>
            <h1 class="mono-h">{titleOf(model, item)}</h1>
          </div>
          {mayWrite
            ? (
              <div class="acts">
                <a class="btn primary" href={itemHref(model, item, { edit: "1" })} data-key-e>Edit</a>
                <details class="menu">
                  <summary class="btn danger">Delete…</summary>
                  <div>
                    <form method="post" action={`/data/${encodeURIComponent(model.name)}/delete`}>
                      <FormToken token={formToken} />
                      <input type="hidden" name="seen" value={JSON.stringify(item)} />
                      <input type="hidden" name="digest" value={seen.digest} />
                      <button class="btn danger" type="submit">Delete this item</button>
                    </form>
                  </div>
                </details>
              </div>
            )
            : null}
        </div>
        {done ? <DoneNote {...{ model, done, seen, formToken }} /> : null}
        <div
          id="item"
          data-key={key ? JSON.stringify(key) : undefined}
          hx-get={itemHref(model, item)}
          hx-select="#item"
          hx-swap="outerMorph"
          hx-trigger="tt:refresh, tt:again from:body"
        >
          <section class="card pad far-card" aria-label="How far its last change got">
            <div
              id="far"
              hx-get={farHref(model, item)}
              hx-swap="innerHTML"
              hx-trigger="load, tt:stage from:body delay:80ms"
            >
              <Far model={model} />
            </div>
          </section>
          <section class="card scroll" aria-label="Values" tabindex={0} role="region">
            <table class="values">
              <thead>
                <tr>
                  <th scope="col">attribute</th>
                  <th scope="col">value</th>
                  <th scope="col">type</th>
                </tr>
              </thead>
              <tbody>
                {model.fields.filter(({ hidden }) => !hidden).map((field) => (
                  <tr>
                    <th scope="row" class="mono">{field.name}</th>
                    <td class="wrap">
                      {field.type === "date" && typeof item[field.name] === "string"
                        ? (
                          <>
                            <Time at={Date.parse(String(item[field.name]))} now={now} />{" "}
                            <span class="muted mono">{String(item[field.name])}</span>
                          </>
                        )
                        : <Value value={item[field.name]} has={field.name in item} whole />}
                    </td>
                    <td class="muted">
                      {field.type}
                      {lockOf(model, field, false) ? `, ${lockOf(model, field, false)}` : ""}
                    </td>
                  </tr>
                ))}
                {unknown.map((name) => (
                  <tr>
                    <th scope="row" class="mono">{name}</th>
                    <td class="wrap">
                      <Value value={item[name]} has whole />
                    </td>
                    <td class="muted">unknown to the schema; kept by each save</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        </div>
        <section class="card pad after lines" aria-label="As a line to paste">
          <div class="line-copy">
            <pre id="as-curl">{curlLine(address, model.name, bare)}</pre>
            <Copy from="#as-curl" label="Copy curl" />
          </div>
          <div class="line-copy">
            <pre id="as-ts">{typescriptLine(address, model.name, bare)}</pre>
            <Copy from="#as-ts" label="Copy TypeScript" />
          </div>
        </section>
      </>
    ),
  };
}

function DoneNote(
  { model, done: { word, old }, seen, formToken }: { model: Model; done: Done; seen: Seen; formToken: string },
) {
  return (
    <div class="note ok" role="status">
      <Check />
      {word}
      <form method="post" action={`/data/${encodeURIComponent(model.name)}/undo`}>
        <FormToken token={formToken} />
        <input type="hidden" name="old" value={old ? JSON.stringify(old) : ""} />
        <input type="hidden" name="seen" value={JSON.stringify(seen.item)} />
        <input type="hidden" name="digest" value={seen.digest} />
        <button class="btn small" type="submit">Undo</button>
      </form>
    </div>
  );
}

function farHref(model: Model, item: PlainItem): string {
  return itemHref(model, item).replace("/item?", "/far?");
}

/** Before it is known. */
function Far({ model }: { model: Model }) {
  return (
    <span class="muted">
      {`Saved in the cloud; looking for it in ${model.scope === "device" ? "the device's" : "the"} log…`}
    </span>
  );
}

/** Saved, logged, on device: asked of the log and of the devices. */
async function farPart(options: ConsoleOptions, c: PageContext, model: Model): Promise<Response> {
  const where = await whereIs(options.items, model, keyIn(c.req.query("key")), { waitMs: 1_500 });
  const { logged, devices, channel } = where;
  const isEverywhere = devices !== undefined && devices.online > 0 && devices.have === devices.online;
  return c.html(
    <span class="stages far">
      <Stage isDone={where.item !== null} name={where.item ? "saved" : "removed"} />
      {channel === undefined ? <span class="muted">{" · it stays in the cloud: the model does not go down"}</span> : (
        <>
          <em></em>
          <Stage
            isDone={logged !== undefined}
            name={logged ? `logged ${channel}/${logged.seq}` : "not in the last entries of the log"}
          />
          <em></em>
          <Stage
            isDone={isEverywhere}
            name={onDevices(devices)}
          />
        </>
      )}
    </span>,
  );
}

/** How many of those that read the channel have it. */
function onDevices(devices: { total: number; online: number; have: number } | undefined): string {
  if (!devices || devices.total === 0) return "no device reads this channel";
  const { total, online, have } = devices;
  if (total === 1) return online === 0 ? "device is offline" : have === 1 ? "on device" : "not on the device yet";
  return `on ${have} of ${online} online devices${total > online ? `, ${total - online} offline` : ""}`;
}

function Stage({ isDone, name }: { isDone: boolean; name: string }) {
  return (
    <span class={isDone ? "on" : undefined}>
      {isDone ? <Check /> : <Ring />}
      {name}
    </span>
  );
}

interface Editing {
  /** What was read when the edit began; absent: a new item. */
  readonly seen?: Seen;
  readonly typed: Typed;
  readonly wrong?: { readonly field: string; readonly message: string };
  /** The item as it is now, where that is another one. */
  readonly clash?: { readonly now: PlainItem | null; readonly digest: string | undefined };
}

function editPage(c: PageContext, model: Model, { seen, typed, wrong, clash }: Editing): Page {
  const isNew = seen === undefined, digest = clash ? clash.digest ?? "" : seen?.digest ?? "";
  const key = seen && renderKey(model, seen.item as never);
  return {
    title: isNew ? `New ${model.name}` : `Edit ${titleOf(model, seen.item)}`,
    status: clash ? 412 : wrong ? 400 : 200,
    on: isNew ? undefined : "change",
    scripts: ["data.js"],
    body: (
      <>
        <div class="head">
          <h1>{isNew ? `New ${model.name}` : titleOf(model, seen.item)}</h1>
        </div>
        {clash ? <Clash {...{ model, typed, was: seen?.item, now: clash.now }} /> : null}
        {wrong && !wrong.field ? <p class="problem" role="alert">{wrong.message}</p> : null}
        <p id="changed-meanwhile" class="note" role="status" data-key={key ? keyText(key) : undefined} hidden>
          It was changed meanwhile. What you typed stays; saving shows both.
        </p>
        <form
          method="post"
          action={`/data/${encodeURIComponent(model.name)}/save`}
          class="card pad"
          data-editing={key ? JSON.stringify(key) : undefined}
        >
          <FormToken token={c.get("session").formToken} />
          {/* Of a clash: what is there now is what was seen, from here on. */}
          <input type="hidden" name="seen" value={JSON.stringify((clash ? clash.now : seen?.item) ?? null)} />
          <input type="hidden" name="digest" value={digest} />
          <Editors {...{ model, typed, isNew, item: seen?.item, wrong: wrong?.field ? wrong : undefined }} />
          <p class="acts after">
            <button class="btn primary" type="submit">{clash ? "Save mine over it" : "Save"}</button>
            <a
              class="btn"
              href={isNew ? `/data/${encodeURIComponent(model.name)}` : itemHref(model, seen.item)}
              data-back
            >
              Cancel
            </a>
            <span class="muted hide-s js">
              <kbd>Ctrl</kbd> <kbd>Enter</kbd> saves
            </span>
          </p>
        </form>
      </>
    ),
  };
}

function Clash(
  { model, typed, was, now }: { model: Model; typed: Typed; was: PlainItem | undefined; now: PlainItem | null },
) {
  const shown = model.fields.filter((field) => {
    const mine = typed.get(field.name);
    return mine &&
      !(was && now && mine.text === textOfValue(field, was[field.name]) &&
        mine.text === textOfValue(field, now[field.name]));
  });
  return (
    <section class="card clash" aria-labelledby="clash-title">
      <div class="pad">
        <h2 id="clash-title" class="state warn">
          {now
            ? "It was changed while you edited it. Nothing is saved yet."
            : "It was removed while you edited it. Saving makes it anew."}
        </h2>
      </div>
      <div class="scroll" tabindex={0} role="region" aria-label="Yours, was and now">
        <table>
          <thead>
            <tr>
              <th scope="col">attribute</th>
              <th scope="col">yours</th>
              <th scope="col">was</th>
              <th scope="col">now</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((field) => {
              const { state, text } = typed.get(field.name)!;
              const differs = now !== null && textOfValue(field, now[field.name]) !== text;
              return (
                <tr>
                  <th scope="row" class="mono">{field.name}</th>
                  <td class={differs ? "differs" : undefined}>
                    {state === "value"
                      ? text === "" ? <span class="nothing">empty</span> : text
                      : <span class="nothing">{state}</span>}
                  </td>
                  <td>{was ? <Value value={was[field.name]} has={field.name in was} /> : null}</td>
                  <td class={differs ? "differs" : undefined}>
                    {now
                      ? <Value value={now[field.name]} has={field.name in now} />
                      : <span class="nothing">removed</span>}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
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
    // What the schema says names the field, where it is one's.
    const field = model.fields.find(({ name }) =>
      new RegExp(`(^|\\W)${name.replace(/\W/g, "\\$&")}(\\W|$)`).test(fault)
    )?.name ?? "";
    return editPage(c, model, { seen, typed, wrong: { field, message: fault } });
  }
}

/** What the person can mend; undefined: it is not theirs. */
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

/** Puts the old image back where nothing has changed since. */
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
