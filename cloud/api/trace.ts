/**
 * The history and the whereabouts of an item: `GET /api/items/history`, the entries of its channel's log that name it;
 * `GET /api/items/where`, how far its last change got: saved, logged, on the device. Both read the log backwards, a
 * bounded part at a time, and report the cost. The log stores keys, not values, for some days; models that only sync up
 * are not in it.
 *
 * @module
 */
import { channelOf, digest, toPlain } from "../../schema.ts";
import type { Channel, Key } from "../../protocol.ts";
import { keyText } from "../../protocol/keys.ts";
import { comesDown } from "../../schema/direction.ts";
import type { Model } from "../../schema/model.ts";
import type { ChannelLog } from "../sync/channel_log.ts";
import type { LogEntry, LogKey } from "../sync/log_items.ts";
import type { DeviceStanding, Fleet } from "../sync/fleet.ts";
import { ApiError } from "./errors.ts";
import type { ItemsContext, PlainItem } from "./items.ts";
import { keyAttributes, keyOfPlain } from "./write.ts";

/** What is looked at. */
export interface TraceContext extends ItemsContext {
  readonly log: Pick<ChannelLog, "back" | "state">;
  readonly fleet: Pick<Fleet, "all" | "one" | "told">;
  /** Asks a channel's devices for their positions; absent: nobody can be asked. */
  readonly askWhere?: (channel: Channel) => Promise<void>;
}

/** An entry of the log that names the item. */
export interface Version {
  readonly seq: number;
  /** When it was logged, ISO text. */
  readonly at: string;
  /** The device that wrote it, if the entry says so; otherwise `cloud or another device`. */
  readonly by?: string;
  /** Of a device's own write: the version's stamp. */
  readonly stamp?: number;
  /** A removal, or one in between. */
  readonly removed?: true;
}

/** What the log knows of an item, the newest first. */
export interface History {
  /**
   * The channel that the item's changes go down on; absent: they are not sent down, and the log has nothing of them.
   */
  readonly channel?: Channel;
  readonly versions: readonly Version[];
  /** Entries of the log that were read. */
  readonly entries: number;
  /** Read units of 4 KB that this took. */
  readonly read: number;
  /** The token for the next, older page. */
  readonly next?: string;
}

/** A change of a channel: what its log says of a key. */
export interface ChannelChange extends Version {
  readonly key: Key;
  /** The model, where the entry says so. */
  readonly model?: string;
}

/** A channel's last changes, the newest first. */
export interface ChannelChanges {
  readonly changes: readonly ChannelChange[];
  /** Entries of the log that were read. */
  readonly entries: number;
  /** Read units of 4 KB that this took. */
  readonly read: number;
  /** The token for the next, older page. */
  readonly next?: string;
}

/** How far an item's last change got. */
export interface Where {
  /** The item as it is in the table; null if absent. */
  readonly item: PlainItem | null;
  readonly digest?: string;
  readonly channel?: Channel;
  /** The last entry that names it; absent: none in the part that was read. */
  readonly logged?: { readonly seq: number; readonly at: string };
  /** Of the devices that read the channel. */
  readonly devices?: {
    readonly total: number;
    /** Connected ones. */
    readonly online: number;
    /** Connected ones that have applied the entry. */
    readonly have: number;
  };
  /** Read units of 4 KB that this took, of the log. */
  readonly read: number;
}

/** Options of {@link whereIs}. */
export interface WhereOptions {
  readonly waitMs?: number;
  readonly sinceMs?: number;
  /** Waits; default by timers. */
  readonly sleep?: (ms: number) => Promise<void>;
}

/** Bytes and entries of the log that one request reads. */
export const historyBytesMax = 1024 * 1024;
const historyEntriesMax = 5_000;
/** The last change of an item that somebody looks at now is usually recent. */
const whereEntriesMax = 100;
/** An entry has 50 KB at most, and most have one. */
const pageEntries = 100;
/** The most devices that are asked for their positions at once. */
const askedMax = 100;
/** How often reported positions are checked while waiting, ms. */
const lookEveryMs = 20;

/**
 * What the log knows of an item.
 *
 * @param options `after`: the `next` of the page before; `entriesMax`: entries to read at most
 * @throws ApiError 400 for an invalid key
 */
export async function historyOf(
  context: TraceContext,
  model: Model,
  plain: unknown,
  { after, entriesMax = historyEntriesMax }: { readonly after?: string; readonly entriesMax?: number } = {},
): Promise<History> {
  const key = keyOfPlain(context, model, plain), channel = channelOfKey(context, model, plain);
  if (channel === undefined) return { versions: [], entries: 0, read: 0 };
  const versions: Version[] = [];
  let bytes = 0, entries = 0, next = after;
  do {
    const page = await context.log.back(channel, { limit: Math.min(pageEntries, entriesMax - entries), after: next });
    bytes += page.bytes;
    entries += page.entries.length;
    next = page.next;
    for (const entry of page.entries) versions.push(...versionIn(entry, key, channel));
  } while (next !== undefined && bytes < historyBytesMax && entries < entriesMax);
  return { channel, versions, entries, read: units(bytes), ...(next === undefined ? {} : { next }) };
}

/** What changed in a channel, a page of its log at a time: at least so many changes, unless the log ends before. */
export async function changesOf(
  { log }: Pick<TraceContext, "log">,
  channel: Channel,
  { most, after }: { readonly most: number; readonly after?: string },
): Promise<ChannelChanges> {
  const changes: ChannelChange[] = [];
  let bytes = 0, entries = 0, next = after;
  do {
    const page = await log.back(channel, { limit: most - changes.length, after: next });
    bytes += page.bytes;
    entries += page.entries.length;
    next = page.next;
    for (const entry of page.entries) {
      for (const found of entry.keys) {
        const model = found.mark?.model;
        changes.push({
          key: found.key,
          ...(model === undefined ? {} : { model }),
          ...versionOf(entry, found, channel),
        });
      }
    }
  } while (next !== undefined && bytes < historyBytesMax && changes.length < most);
  return { changes, entries, read: units(bytes), ...(next === undefined ? {} : { next }) };
}

/**
 * How far an item's last change got.
 *
 * @param waitMs how long to wait until every connected device has it; the devices are asked
 * @param sinceMs entries from before belong to earlier changes
 */
export async function whereIs(
  context: TraceContext,
  model: Model,
  plain: unknown,
  { waitMs = 0, sinceMs = -Infinity, sleep = pause }: WhereOptions = {},
): Promise<Where> {
  const { schema, data, log, now } = context;
  const key = keyOfPlain(context, model, plain), channel = channelOfKey(context, model, plain);
  const [item] = await data.get([key]);
  const saved = item ? { item: toPlain(schema, model, item), digest: digest(item) } : { item: null };
  if (channel === undefined) return { ...saved, read: 0 };
  const untilMs = now() + waitMs;
  let bytes = 0, asked = false;
  for (;;) {
    const page = await log.back(channel, { limit: whereEntriesMax });
    bytes += page.bytes;
    const found = page.entries.find((entry) => entry.timeMs >= sinceMs && nameOf(entry, key));
    const logged = found && { seq: found.seq, at: new Date(found.timeMs).toISOString() };
    const readers = await readersOf(context, channel);
    const count = () => countOf(context, channel, readers, found?.seq);
    const isDone = () => found !== undefined && count().have === count().online;
    if (found && !isDone() && !asked && now() < untilMs && count().online <= askedMax) {
      asked = true;
      await context.askWhere?.(channel);
    }
    // The next read finds it in the log; devices report when they have it.
    while (found && !isDone() && now() < untilMs) await sleep(lookEveryMs);
    if (found || now() >= untilMs) {
      return { ...saved, channel, ...(logged ? { logged } : {}), devices: count(), read: units(bytes) };
    }
    await sleep(5 * lookEveryMs);
  }
}

/** The channel that the item's changes go down on; undefined: they are not sent down. */
function channelOfKey(context: ItemsContext, model: Model, plain: unknown): Channel | undefined {
  if (!comesDown(model)) return undefined;
  const channel = channelOf(model, keyAttributes(context, model, plain));
  if (channel === undefined) throw new ApiError(400, "invalid", `the key of ${model.name} does not say whose it is`);
  return channel;
}

function nameOf({ keys }: LogEntry, key: Key): LogKey | undefined {
  const text = keyText(key);
  return keys.find((one) => keyText(one.key) === text);
}

function versionIn(entry: LogEntry, key: Key, channel: Channel): Version[] {
  const found = nameOf(entry, key);
  return found ? [versionOf(entry, found, channel)] : [];
}

function versionOf(entry: LogEntry, found: LogKey, channel: Channel): Version {
  const removed = found.was !== undefined || found.removed === true;
  // On its own channel a device's write is a mark; anything else there was written by somebody else. Who removes an item
  // leaves no mark.
  const isOthers = channel.startsWith("device:") && !removed;
  const by = found.mark ? channel.slice("device:".length) : isOthers ? "cloud" : undefined;
  return {
    seq: entry.seq,
    at: new Date(entry.timeMs).toISOString(),
    ...(by === undefined ? {} : { by }),
    ...(found.mark ? { stamp: found.mark.version[1] } : {}),
    ...(removed ? { removed: true } : {}),
  };
}

async function readersOf({ fleet }: TraceContext, channel: Channel): Promise<DeviceStanding[]> {
  const at = channel.indexOf(":"), id = channel.slice(at + 1);
  if (channel.startsWith("device:")) {
    const device = await fleet.one(id);
    return device ? [device] : [];
  }
  const { devices } = await fleet.all();
  return channel.startsWith("account:") ? devices.filter(({ accountId }) => accountId === id) : devices;
}

function countOf(
  { fleet }: TraceContext,
  channel: Channel,
  readers: readonly DeviceStanding[],
  seq: number | undefined,
): NonNullable<Where["devices"]> {
  const online = readers.filter(({ connected }) => connected === true);
  const has = ({ deviceId, report }: DeviceStanding) => {
    const at = fleet.told(deviceId)?.at[channel] ?? report?.at?.[channel];
    return seq !== undefined && at !== undefined && at >= seq;
  };
  return { total: readers.length, online: online.length, have: online.filter(has).length };
}

function units(bytes: number): number {
  return Math.ceil(bytes / 4096);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A query's `key`: the JSON of the key's properties. @throws ApiError 400 */
export function keyIn(text: string | undefined): unknown {
  if (text === undefined) throw new ApiError(400, "invalid", "key is required: the key's properties as a JSON object");
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new ApiError(400, "invalid", "key is not JSON");
  }
}
