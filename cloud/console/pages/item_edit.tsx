/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * An item's editor, and what stands above it where somebody was faster: *yours*, *was* and *now*.
 *
 * @module
 */
import { keyText } from "../../../protocol/keys.ts";
import { renderKey } from "../../../schema.ts";
import type { Model } from "../../../schema/model.ts";
import type { Page, PageContext } from "../context.ts";
import type { PlainItem } from "../local_device.ts";
import { FormToken } from "../parts.tsx";
import type { Seen } from "../save.ts";
import { textOfValue } from "../typed.ts";
import { Value } from "./data_value.tsx";
import { itemHref } from "./data_query.ts";
import { Editors, type Typed } from "./item_form.tsx";
import { titleOf } from "./item_shown.tsx";

/** An edit under way. */
export interface Editing {
  /** What was read when the edit began; absent: a new item. */
  readonly seen?: Seen;
  readonly typed: Typed;
  readonly wrong?: { readonly field: string; readonly message: string };
  /** The present item, if it differs. */
  readonly clash?: { readonly now: PlainItem | null; readonly digest: string | undefined };
}

/** The editor. */
export function editPage(c: PageContext, model: Model, { seen, typed, wrong, clash }: Editing): Page {
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
          {/* After a clash: from here on, the present item counts as seen. */}
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
            : "It was removed while you edited it. Saving creates it again."}
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
