/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * An item as it is: its values, how far its last change got, its history, and the same as a line to paste.
 *
 * @module
 */
import { renderKey } from "../../../schema.ts";
import type { Field, Model } from "../../../schema/model.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { Check } from "../icons.tsx";
import type { PlainItem } from "../local_device.ts";
import { FormToken, Time } from "../parts.tsx";
import type { Seen } from "../save.ts";
import { Value } from "./data_value.tsx";
import { itemHref } from "./data_query.ts";
import { Far, farHref } from "./item_far.tsx";
import { lockOf } from "./item_form.tsx";
import { History } from "./item_history.tsx";
import { linesOf, PasteLines } from "./paste_lines.tsx";

/** A model's item, in words. */
export function titleOf(model: Model, item: PlainItem): string {
  const names = [...model.keyFields, ...model.identityFields];
  return `${model.name} ${names.map((name) => String(item[name] ?? "")).join(" · ")}`;
}

/** What a change left behind, to be undone. */
export interface Done {
  readonly word: string;
  readonly old?: PlainItem;
}

/** The page. */
export async function shownPage(
  options: ConsoleOptions,
  c: PageContext,
  model: Model,
  seen: Seen,
  done?: Done,
): Promise<Page> {
  const { item } = seen, { mayWrite, formToken } = c.get("session");
  const key = renderKey(model, item as never);
  return {
    title: titleOf(model, item),
    on: "change,stage",
    scripts: ["data.js"],
    body: (
      <>
        <Head {...{ model, seen, mayWrite, formToken }} />
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
          <Values model={model} item={item} now={options.now()} />
          {await History({ options, c, model, seen })}
        </div>
        <PasteLines lines={linesOf(options, c, model, [item])} />
      </>
    ),
  };
}

interface Shown {
  readonly model: Model;
  readonly seen: Seen;
  readonly formToken: string;
}

function Head({ model, seen, mayWrite, formToken }: Shown & { mayWrite: boolean }) {
  return (
    <div class="head">
      <div>
        <p class="muted">
          <a href={`/data/${encodeURIComponent(model.name)}`} data-back>{model.name}</a>
        </p>
        <h1 class="mono-h">{titleOf(model, seen.item)}</h1>
      </div>
      {mayWrite
        ? (
          <div class="acts">
            <a class="btn primary" href={itemHref(model, seen.item, { edit: "1" })} data-key-e>Edit</a>
            <details class="menu">
              <summary class="btn danger">Delete…</summary>
              <div>
                <form method="post" action={`/data/${encodeURIComponent(model.name)}/delete`}>
                  <FormToken token={formToken} />
                  <input type="hidden" name="seen" value={JSON.stringify(seen.item)} />
                  <input type="hidden" name="digest" value={seen.digest} />
                  <button class="btn danger" type="submit">Delete this item</button>
                </form>
              </div>
            </details>
          </div>
        )
        : null}
    </div>
  );
}

function DoneNote({ model, done: { word, old }, seen, formToken }: Shown & { done: Done }) {
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

function Values({ model, item, now }: { model: Model; item: PlainItem; now: number }) {
  const known = new Set(model.fields.map(({ name }) => name));
  const unknown = Object.keys(item).filter((name) => !known.has(name));
  return (
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
                <FieldValue field={field} item={item} now={now} />
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
  );
}

function FieldValue({ field, item, now }: { field: Field; item: PlainItem; now: number }) {
  const value = item[field.name];
  if (field.type !== "date" || typeof value !== "string") return <Value value={value} has={field.name in item} whole />;
  return (
    <>
      <Time at={Date.parse(value)} now={now} /> <span class="muted mono">{value}</span>
    </>
  );
}
