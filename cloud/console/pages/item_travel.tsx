/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * An item as it was: a slider over the versions whose values went by (`item_versions.ts`), each beside the present one. Putting one
 * back is an edit like any other. Without JavaScript the slider has a button.
 *
 * @module
 */
import { renderKey } from "../../../schema.ts";
import type { Model } from "../../../schema/model.ts";
import { keyIn } from "../../api/trace.ts";
import { compare } from "../compare.ts";
import type { ConsoleOptions, PageContext } from "../context.ts";
import { grouped } from "../format.ts";
import type { PassedVersion } from "../item_versions.ts";
import type { PlainItem } from "../local_device.ts";
import { Time } from "../parts.tsx";
import { readItem, type Seen } from "../save.ts";
import { itemHref } from "./data_query.ts";
import { Value } from "./data_value.tsx";
import { PutBack } from "./item_put_back.tsx";

interface TravelProps {
  readonly options: ConsoleOptions;
  readonly c: PageContext;
  readonly model: Model;
  readonly seen: Seen;
}

function versionsOf({ versions }: ConsoleOptions, model: Model, item: PlainItem): readonly PassedVersion[] {
  const key = renderKey(model, item as never);
  return key ? versions?.all(key) ?? [] : [];
}

/** The slider with the version that the address says, or the one before the last; nothing where there is no choice. */
export function Travel({ options, c, model, seen }: TravelProps) {
  const versions = versionsOf(options, model, seen.item), count = versions.length;
  if (count < 2) return null;
  const at = positionOf(c, count), href = itemHref(model, seen.item);
  return (
    <div class="travel">
      <form
        action={href.split("?")[0]}
        hx-get={href.replace(/\/item\?.*/, "/as-of")}
        hx-target="#as-of"
        hx-select="#as-of"
        hx-swap="outerMorph"
        hx-trigger="input delay:60ms"
      >
        <input type="hidden" name="key" value={new URLSearchParams(href.split("?")[1]).get("key")!} />
        <label for="version">As it was</label>
        <input
          id="version"
          type="range"
          name="version"
          min="1"
          max={count}
          value={at}
          list="versions"
          autocomplete="off"
        />
        <datalist id="versions">{versions.map((_, i) => <option value={i + 1}></option>)}</datalist>
        <button class="btn small nojs" type="submit">Show</button>
      </form>
      <AsOf {...{ options, c, model, seen, versions, at }} />
    </div>
  );
}

/** The version that is chosen, for the page that is shown. */
export async function asOfPart(options: ConsoleOptions, c: PageContext, model: Model): Promise<Response> {
  const key = keyIn(c.req.query("key")) as PlainItem, seen = await readItem(options.items, model, key);
  const versions = versionsOf(options, model, key);
  if (!seen || versions.length === 0) {
    return c.html(<p id="as-of" class="muted">Its versions are not remembered any more.</p>);
  }
  return c.html(<AsOf {...{ options, c, model, seen, versions, at: positionOf(c, versions.length) }} />);
}

function positionOf(c: PageContext, count: number): number {
  const given = Number(c.req.query("version") ?? count - 1);
  return Number.isInteger(given) ? Math.min(Math.max(1, given), count) : count - 1;
}

function AsOf({ options, c, model, seen, versions, at }: TravelProps & {
  versions: readonly PassedVersion[];
  at: number;
}) {
  const version = versions[at - 1]!, { differing, unmarked, equal } = compare(model, [version.item, seen.item]);
  const names = [...differing, ...unmarked];
  return (
    <div id="as-of">
      <div class="as-of-head" role="status">
        <b>{`Version ${grouped(at)} of ${grouped(versions.length)}`}</b>
        <span class="muted">
          {`, by ${version.by}, `}
          <Time at={version.atMs} now={options.now()} />
        </span>
        <PutBack {...{ c, model, seen, item: version.item }} />
      </div>
      {names.length > 0
        ? (
          <div class="scroll" tabindex={0} role="region" aria-label="Then and now">
            <table class="versions">
              <thead>
                <tr>
                  <th scope="col">attribute</th>
                  <th scope="col">then</th>
                  <th scope="col">now</th>
                </tr>
              </thead>
              <tbody>
                {names.map((name) => (
                  <Attribute {...{ name, then: version.item, now: seen.item }} differs={differing.includes(name)} />
                ))}
              </tbody>
            </table>
          </div>
        )
        : null}
      {equal.length > 0 ? <p class="muted">{`${equal.length} equal: ${equal.join(", ")}`}</p> : null}
    </div>
  );
}

function Attribute({ name, then, now, differs }: { name: string; then: PlainItem; now: PlainItem; differs: boolean }) {
  return (
    <tr class={differs ? undefined : "muted"}>
      <th scope="row" class="mono">{name}</th>
      <td class={differs ? "differs" : undefined} data-side="then">
        {differs ? <span class="ne" role="img" aria-label="differs:">≠</span> : null}
        <Value value={then[name]} has={name in then} whole />
      </td>
      <td data-side="now">
        <Value value={now[name]} has={name in now} whole />
      </td>
    </tr>
  );
}
