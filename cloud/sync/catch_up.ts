/**
 * Catch-up: answers a device's questions. For a `sync`, it answers each channel with one page: the log's entries after
 * the device's cursor, without a gap, or, if the log does not have them, a page of a snapshot. For a `fetch`, it
 * answers with the present items. It stores nothing between two requests, and memory is bounded by a page.
 *
 * A device gets answers only for its own channels, and no item that does not belong to one of them, whatever it asks
 * for.
 *
 * @module
 */
import type {
  Channel,
  CursorOf,
  Entry,
  Fetch,
  FromCloud,
  Items,
  Page,
  Restored,
  SnapshotPage,
  Sync,
} from "../../protocol.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import { mapBounded } from "./bounded.ts";
import type { ChannelLog, LogState } from "./channel_log.ts";
import type { LogEntry } from "./log_items.ts";
import { downChannelOf } from "./visible.ts";
import { buildEntries, entryOf, keyText, mergeKeys } from "./entries.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import { lags, type PageLimits, snapshotPart, sourcesOf } from "./snapshot.ts";
import type { Moment } from "./shared_read.ts";
import type { Table } from "../table/port.ts";
import { readInSteps } from "../table/read_in_steps.ts";

/** What catch-up works on. */
export interface CatchUpContext {
  readonly schema: Schema;
  readonly data: Pick<Table, "get" | "query">;
  readonly log: Pick<ChannelLog, "read" | "state" | "epoch" | "headBefore" | "restoredSince">;
  readonly limits: PageLimits;
  /** When the question arrived: reads for it must start after that. Default: now. */
  readonly asked?: Moment;
  now(): number;
}

/** Pages of about one MQTT payload, and 500 items. */
export const defaultPageLimits: PageLimits = { pageItemsMax: 500, pageBytesMax: 100 * 1024 };
/** A secondary index lags by less than this: a snapshot from one ends at the head of that long ago. */
export const indexLagMaxMs = 60_000;
/**
 * Log entries that are read together for one page: few at first, because some are as large as a page; then as many as
 * the page seems to need, limited to a multiple of what was read, because the next ones may be larger.
 */
const runFirst = 2, runGrowth = 8, runMax = 192;
/** Bytes of items that the answer to a `fetch` carries at most; the device asks again for what is missing. */
const fetchBytesMax = 512 * 1024;

/** The channels that an identity may ask for: its own three, whether or not the cloud's schema has models on them. */
export function ownChannels(identity: Identity): Channel[] {
  return [`device:${identity.deviceId}`, `account:${identity.accountId}`, "global"];
}

/**
 * Answers a sync: one message for each of the device's channels, or only the time. `ignored`: the number of channels
 * that are not the device's.
 */
export async function answerSync(
  context: CatchUpContext,
  identity: Identity,
  sync: Sync,
): Promise<{ messages: FromCloud[]; ignored: number }> {
  const own = new Set(ownChannels(identity));
  const cursors = new Map(sync.channels.filter(({ channel }) => own.has(channel)).map((c) => [c.channel, c]));
  const messages: FromCloud[] = await mapBounded([...cursors.values()], cursors.size, async (cursor) => {
    const page = await channelPage(context, identity, sync.request, cursor);
    const more = isOfOther(context, sync) ? modelsOf(context, identity, page) : {};
    return { ...page, ...more, ...(page.type === "snapshot" ? await restored(context, sync) : {}) };
  });
  if (messages.length === 0) {
    const since = await restored(context, sync);
    messages.push({ type: "time", request: sync.request, time: context.now(), ...since });
  }
  return { messages, ignored: sync.channels.length - cursors.size };
}

/** Since when the table may lack what the device has, if it was restored after the epoch that the device knows. */
async function restored({ log }: CatchUpContext, { epoch }: Sync): Promise<Restored> {
  const since = epoch === undefined ? undefined : await log.restoredSince(epoch);
  return since === undefined ? {} : { since };
}

/** The device has another schema. */
function isOfOther({ schema }: CatchUpContext, sync: Sync): boolean {
  return sync.schema !== undefined && sync.schema !== schema.fingerprint;
}

/** The models that come down on a page's channel: the device may have others by its schema, and keeps their rows. */
function modelsOf({ schema }: CatchUpContext, identity: Identity, page: Page | SnapshotPage): Pick<Page, "models"> {
  if (page.type === "snapshot" && page.next !== undefined) return {};
  return { models: sourcesOf(schema, page.channel, identity).flatMap(({ models }) => [...models]) };
}

async function channelPage(
  context: CatchUpContext,
  identity: Identity,
  request: string,
  cursor: CursorOf,
): Promise<Page | SnapshotPage> {
  const { limit } = cursor;
  if (limit === undefined) return await wholePage(context, identity, request, cursor);
  const pageItemsMax = Math.min(context.limits.pageItemsMax, Math.max(1, limit));
  const small = { ...context, limits: { ...context.limits, pageItemsMax } };
  const page = await wholePage(small, identity, request, cursor);
  return limit === 0 ? { ...page, entries: page.entries.map(named) } : page;
}

/** An entry without its item's content: the device fetches it by name. */
function named(entry: Entry): Entry {
  const { current, ...rest } = entry;
  return current ? { ...rest, named: current.model } : entry;
}

async function wholePage(
  context: CatchUpContext,
  identity: Identity,
  request: string,
  cursor: CursorOf,
): Promise<Page | SnapshotPage> {
  const { channel, snapshot } = cursor;
  if (snapshot) {
    const goesOn = snapshot.epoch === await context.log.epoch(channel) ? snapshot : undefined;
    return await snapshotPage(context, identity, request, channel, goesOn);
  }
  const state = await context.log.state(channel, context.asked), { epoch } = state;
  const page = cursor.epoch === epoch && cursor.seq !== undefined
    ? await logPage(context, identity, request, channel, state, cursor.seq)
    : undefined;
  return page ?? await snapshotPage(context, identity, request, channel);
}

/**
 * The entries after `seq`, without a gap; undefined if the log does not have them, or they are too large for a message.
 * It reads the log's state first, and nothing else if there is nothing new, as in most syncs of a fleet.
 */
async function logPage(
  context: CatchUpContext,
  identity: Identity,
  request: string,
  channel: Channel,
  { epoch, head, opening }: LogState,
  seq: number,
): Promise<Page | undefined> {
  if (head < seq) return undefined;
  const run = head > seq ? await readRun(context, channel, seq) : nothing;
  // The next entry is not in the log: it has expired, or its number is taken but the entry is not put yet.
  const isNext = opening && head === seq + 1;
  if (head > seq && run.taken.length === 0 && !isNext) return undefined;
  const { taken, more } = run;
  const keys = mergeKeys(taken.map((entry) => entry.keys));
  const entries = await buildEntries(context, channel, identity, keys);
  if (!entries) return undefined;
  const to = seq + taken.length;
  return { type: "page", request, channel, epoch, from: seq, to, more, entries, time: context.now() };
}

const nothing = { taken: [], more: false } as const;

/** The entries after `seq` that make one page; `more`: there may be more of them. */
async function readRun(
  { log, limits }: CatchUpContext,
  channel: Channel,
  seq: number,
): Promise<{ taken: readonly LogEntry[]; more: boolean }> {
  const run: LogEntry[] = [];
  const page = new PageSize(limits);
  for (let step = runFirst; run.length < runMax && !page.full; step = page.lacking(run.length)) {
    const read = await log.read(channel, seq + run.length, step);
    for (const entry of read) {
      if (!page.takes(entry)) return { taken: run, more: true };
      run.push(entry);
    }
    if (read.length < step) return { taken: run, more: false };
  }
  return { taken: run, more: true };
}

/** The size of a page made of log entries, estimated from the sizes in the log. */
class PageSize {
  readonly #sizes = new Map<string, number>();
  #bytes = 0;

  constructor(readonly limits: PageLimits) {}

  /** Adds an entry; false if the page would become too large and must end before it. The first always fits. */
  takes({ keys }: LogEntry): boolean {
    const isFirst = this.#sizes.size === 0;
    for (const { key, bytes } of keys) {
      const text = keyText(key);
      this.#bytes += bytes - (this.#sizes.get(text) ?? 0);
      this.#sizes.set(text, bytes);
    }
    return isFirst || this.#filled <= 1;
  }

  get full(): boolean {
    return this.#filled >= 1;
  }

  get #filled(): number {
    const { pageItemsMax, pageBytesMax } = this.limits;
    return Math.max(this.#sizes.size / pageItemsMax, this.#bytes / pageBytesMax);
  }

  /** How many more entries the page may hold, if they are as large as the `count` that it has. */
  lacking(count: number): number {
    const estimate = Math.ceil(count * (1 / this.#filled - 1));
    return Math.max(1, Math.min(estimate, count * runGrowth, runMax - count));
  }
}

async function snapshotPage(
  context: CatchUpContext,
  identity: Identity,
  request: string,
  channel: Channel,
  goesOn?: { readonly epoch: string; readonly head: number; readonly after: string },
): Promise<SnapshotPage> {
  const { schema, data, limits } = context;
  if (goesOn) {
    const part = await snapshotPart(schema, data, channel, identity, limits, goesOn.after);
    if (part) {
      const { epoch, head, after } = goesOn;
      return { type: "snapshot", request, channel, epoch, head, after, ...part, time: context.now() };
    }
  }
  // The head first: everything that changes from here on is in the log after it.
  const state = await context.log.state(channel, context.asked);
  const head = await snapshotHead(context, channel, identity, state);
  const part = await snapshotPart(schema, data, channel, identity, limits);
  return { type: "snapshot", request, channel, epoch: state.epoch, head, ...part!, time: context.now() };
}

/**
 * The head at which a snapshot ends. A number whose entry is not put yet comes after it: if its appender dies, another
 * one puts an entry about an item that is not in the table yet (sim: long 5105532). If the items come from an index
 * that lags, recently appended entries come after it, too.
 */
async function snapshotHead(
  { schema, log }: CatchUpContext,
  channel: Channel,
  identity: Identity,
  { head, opening }: LogState,
): Promise<number> {
  if (opening) return head - 1;
  return lags(schema, sourcesOf(schema, channel, identity)) ? await log.headBefore(channel, head, indexLagMaxMs) : head;
}

/**
 * Answers a fetch: each key once, until the answer is large. An item outside of the device's channels counts as absent.
 */
export async function answerFetch(context: CatchUpContext, identity: Identity, fetch: Fetch): Promise<Items> {
  const keys = [...new Map(fetch.keys.map((key) => [keyText(key), key])).values()];
  const own = new Set(ownChannels(identity));
  const entries: Entry[] = [];
  let bytes = 0;
  for await (const [i, item] of readInSteps(context.data, keys)) {
    const key = keys[i]!;
    const channel = downChannelOf(context.schema, item);
    const isOwn = channel !== undefined && own.has(channel);
    if (item && isOwn) bytes += itemSizeBytes(item);
    if (i > 0 && bytes > fetchBytesMax) break;
    entries.push(isOwn ? entryOf(context.schema, channel, identity, key, item) : { key });
  }
  return { type: "items", request: fetch.request, entries, time: context.now() };
}
