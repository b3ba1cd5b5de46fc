/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * What became of an item: the entries of its channel's log that name it, newest first, with their values where they went by
 * (`item_versions.ts`) and `values not kept` where they did not. Nothing is made up: not from what stands there now, not by
 * time. The log is read backwards, a little at first and 1 MB at a time where that is asked for; what it cost is said.
 *
 * @module
 */
import { renderKey } from "../../../schema.ts";
import type { Model } from "../../../schema/model.ts";
import { type History as LogHistory, historyBytesMax, historyOf, keyIn, type Version } from "../../api/trace.ts";
import type { ConsoleOptions, PageContext } from "../context.ts";
import { count, grouped } from "../format.ts";
import { Chip, Cloud } from "../icons.tsx";
import type { PlainItem } from "../local_device.ts";
import { Problem, Time } from "../parts.tsx";
import { readItem, type Seen } from "../save.ts";
import { Value } from "./data_value.tsx";
import { itemHref } from "./data_query.ts";
import { faultOf } from "./error.tsx";
import { isSame, PutBack } from "./item_put_back.tsx";
import { Travel } from "./item_travel.tsx";

/** Entries that are read unasked, with the item's page: some read units. */
const firstEntries = 25;
const moreUnits = historyBytesMax / 4096;
/** Attributes of a version that are told in its line. */
const toldMax = 6;

interface HistoryOptions {
  readonly options: ConsoleOptions;
  readonly c: PageContext;
  readonly model: Model;
  readonly seen: Seen;
}

/** The section, from the newest entry on, or from where the address says. */
export async function History({ options, c, model, seen }: HistoryOptions) {
  const back = c.req.query("back");
  const { found, fault } = await read(options, model, keyOf(model, seen.item), back).then(
    (found) => ({ found, fault: undefined }),
    // The item itself is from another table: it is shown all the same.
    (error) => ({ found: undefined, fault: faultOf(error) }),
  );
  return (
    <section class="card after" aria-labelledby="history-title" id="history">
      <h2 id="history-title" class="pad">History</h2>
      <Travel {...{ options, c, model, seen }} />
      {back === undefined ? null : (
        <p class="pad">
          <a href={`${itemHref(model, seen.item)}#history`}>From the newest</a>
        </p>
      )}
      {fault
        ? (
          <div class="pad">
            <Problem message={fault.message} code={fault.code} retry={itemHref(model, seen.item)} />
          </div>
        )
        : found.channel === undefined
        ? (
          <p class="pad muted">
            There is no history: the log has only what goes down to devices, and this model does not.
          </p>
        )
        : <Part {...{ options, c, model, seen, found }} />}
    </section>
  );
}

/** What follows, for the page that is shown. */
export async function historyPart(options: ConsoleOptions, c: PageContext, model: Model): Promise<Response> {
  const key = keyIn(c.req.query("key")) as PlainItem, seen = await readItem(options.items, model, key);
  const found = await read(options, model, key, c.req.query("back"));
  return c.html(<Part {...{ options, c, model, found, seen: seen ?? { item: key, digest: "" } }} />);
}

async function read(
  { items }: ConsoleOptions,
  model: Model,
  key: PlainItem,
  back: string | undefined,
): Promise<LogHistory> {
  return await historyOf(items, model, key, back === undefined ? { entriesMax: firstEntries } : { after: back });
}

function keyOf(model: Model, item: PlainItem): PlainItem {
  return Object.fromEntries([...model.identityFields, ...model.keyFields].map((name) => [name, item[name]]));
}

function Part({ options, c, model, seen, found }: HistoryOptions & { found: LogHistory }) {
  const { versions, channel, entries, read, next } = found, key = renderKey(model, seen.item as never);
  const known = versions.map((version) => key && options.versions?.of(key, channel, version));
  const more = next === undefined ? undefined : { back: next };
  return (
    <>
      {versions.length === 0 ? null : (
        <ol class="history" aria-label="Versions, the newest first">
          {versions.map((version, at) => (
            <Line {...{ c, model, seen, version, item: known[at], older: known[at + 1], now: options.now() }} />
          ))}
        </ol>
      )}
      <div class="foot">
        <span>
          {`Read ${count(entries, "entry", "entries")} of ${channel}'s log, ${count(read, "unit")} (RCU): ${
            versions.length === 0
              ? "none names it"
              : `${grouped(versions.length)} ${versions.length === 1 ? "names" : "name"} it`
          }. ${next === undefined ? "The log has no older ones: it keeps 7 days." : ""}`}
        </span>
        {more
          ? (
            <a
              class="btn small"
              href={`${itemHref(model, seen.item, more)}#history`}
              hx-get={itemHref(model, seen.item, more).replace("/item?", "/history?")}
              hx-target="closest .foot"
              hx-swap="outerHTML"
            >
              {`Look further back (up to 1 MB, ${grouped(moreUnits)} RCU)`}
            </a>
          )
          : null}
      </div>
    </>
  );
}

interface LineOptions {
  readonly c: PageContext;
  readonly model: Model;
  readonly seen: Seen;
  readonly version: Version;
  readonly item: PlainItem | undefined;
  readonly older: PlainItem | undefined;
  readonly now: number;
}

function Line({ c, model, seen, version: { seq, at, by, removed }, item, older, now }: LineOptions) {
  const isDevice = by !== undefined && by !== "cloud";
  return (
    <li>
      <span class="muted">
        <Time at={Date.parse(at)} now={now} />
      </span>
      <span class="mono muted">{seq}</span>
      <span class={isDevice ? "up by" : "down by"}>
        {isDevice ? <Chip /> : <Cloud />}
        {`${removed && !item ? "removed" : "written"} by ${by ?? "the cloud or a device"}`}
      </span>
      <span class="what">
        {item ? <What {...{ model, item, older }} /> : removed ? null : <span class="nothing">values not kept</span>}
      </span>
      {item && seen.digest !== "" ? <PutBack {...{ c, model, seen, item }} /> : null}
    </li>
  );
}

/** The fields that a version changed, where the one before it is known; else what it says. */
export function What({ model, item, older }: { model: Model; item: PlainItem; older: PlainItem | undefined }) {
  const skipped = new Set([...model.identityFields, ...model.keyFields, model.createdField, model.updatedField]);
  const hidden = new Set(model.fields.filter(({ template, hidden }) => template || hidden).map(({ name }) => name));
  const names = [...new Set([...Object.keys(item), ...Object.keys(older ?? {})])].filter((name) =>
    !skipped.has(name) && !hidden.has(name) && !(older && isSame(item[name], older[name]))
  );
  if (names.length === 0) return <span class="muted">{older ? "the same values again" : "no values of its own"}</span>;
  return (
    <>
      {names.slice(0, toldMax).map((name) => (
        <span class="change">
          <span class="mono">{name}</span> {older
            ? (
              <>
                <Value value={older[name]} has={name in older} />
                {" → "}
              </>
            )
            : null}
          <Value value={item[name]} has={name in item} />
        </span>
      ))}
      {names.length > toldMax ? <span class="muted">{`+${names.length - toldMax}`}</span> : null}
    </>
  );
}
