/**
 * The channel log's items in the log table, and back: entries, floors, the epoch of all channels. The forms are frozen: workers
 * of several versions read one log.
 *
 * @module
 */
import type { Channel, Key, Mark, Version } from "../../protocol.ts";
import type { Item } from "../../schema/values.ts";

/** A key that changed, as an entry holds it. */
export interface LogKey {
  readonly key: Key;
  /** The item's approximate size when it changed: pages are planned by it before any item is read. */
  readonly bytes: number;
  /** The channel's own device wrote this version: no item need be sent. */
  readonly mark?: Mark;
  /** The version that a removal took away; it stays even if the key was inserted again in the same entry. */
  readonly was?: Version;
  /** An item was removed that had no version. */
  readonly removed?: boolean;
  /** The version that a write replaced by an item whose own version does not tell so (rule 5.8). */
  readonly over?: Version;
}

/** One entry. */
export interface LogEntry {
  readonly seq: number;
  /** When the entry was appended, in the cloud's time. */
  readonly timeMs: number;
  readonly keys: readonly LogKey[];
}

/** A channel's floor: see `channel_log.ts`. */
export interface Floor {
  readonly epoch: string;
  readonly atLeast: number;
  /** When it was last raised, in the cloud's time; 0: never. */
  readonly raisedMs: number;
}

/** Where the epoch of all channels is. */
export const epochKey: Key = ["epoch", "epoch"];

/** Where a channel's floor is. */
export function floorKey(channel: Channel): Key {
  return [`floor#${channel}`, "floor"];
}

function entryKey(channel: Channel, seq: number): Key {
  return [`log#${channel}`, sortOf(seq)];
}

/** 16 digits hold every safe integer, and sort as the numbers do. */
export function sortOf(seq: number): string {
  return String(seq).padStart(16, "0");
}

/** A key as attributes. */
export function keyAttributes([hash, sort]: Key): { hash: string; sort: string } {
  return { hash, sort };
}

/** The number of an entry. */
export function seqOf(item: Item): number {
  return Number(item.sort);
}

/** A floor as it is stored. */
export function floorItem(channel: Channel, { epoch, atLeast, raisedMs }: Floor): Item {
  return { ...keyAttributes(floorKey(channel)), epoch, atLeast, time: raisedMs };
}

/** A floor as it was stored. */
export function floorOf(item: Item): Floor {
  return { epoch: String(item.epoch), atLeast: Number(item.atLeast), raisedMs: Number(item.time ?? 0) };
}

/** An entry as it is stored, until it expires. */
export function entryItem(channel: Channel, { seq, timeMs, keys }: LogEntry, expiresMs: number): Item {
  return {
    ...keyAttributes(entryKey(channel, seq)),
    expires: Math.ceil(expiresMs / 1000),
    time: timeMs,
    keys: JSON.stringify(keys.map(packKey)),
  };
}

/** An entry as it was stored. */
export function entryOf(item: Item): LogEntry {
  const keys = JSON.parse(item.keys as string) as PackedKey[];
  return { seq: seqOf(item), timeMs: Number(item.time), keys: keys.map(unpackKey) };
}

/**
 * hash, sort, bytes, mark or 0, was or 0 or 1 (removed without a version), over; trailing zeros are left out. Workers from
 * before `over` read the first five.
 */
type PackedMark = [model: string, source: string, stamp: number];

type PackedKey = [
  hash: string,
  sort: string,
  bytes: number,
  mark?: PackedMark | 0,
  was?: Version | 0 | 1,
  over?: Version,
];

function packKey({ key: [hash, sort], bytes, mark, was, removed, over }: LogKey): PackedKey {
  const last = was ?? (removed ? 1 : 0);
  const packed: PackedMark | 0 = mark ? [mark.model, ...mark.version] : 0;
  if (over) return [hash, sort, bytes, packed, last, over];
  if (last !== 0) return [hash, sort, bytes, packed, last];
  return packed ? [hash, sort, bytes, packed] : [hash, sort, bytes];
}

function unpackKey([hash, sort, bytes, mark, was, over]: PackedKey): LogKey {
  return {
    key: [hash, sort],
    bytes,
    ...(mark ? { mark: { model: mark[0], version: [mark[1], mark[2]] } } : {}),
    ...(was === 1 ? { removed: true } : was ? { was } : {}),
    ...(over ? { over } : {}),
  };
}
