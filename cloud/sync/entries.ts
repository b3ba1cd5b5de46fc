/**
 * From the log's keys to a message's entries. Live messages and catch-up pages both come from here, so that a live
 * message is exactly the catch-up page of its log entry: one code path, here and on the device.
 *
 * @module
 */
import { keyText } from "../../protocol/keys.ts";
import type { Channel, Entry, Key } from "../../protocol.ts";
import { modelOf } from "../../schema.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import type { LogKey } from "./channel_log.ts";
import { currentOf, downChannelOf, isForeign } from "./visible.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import type { Table } from "../table/port.ts";
import { readInSteps } from "../table/read_in_steps.ts";

/** What entries are built with. */
export interface EntryContext {
  readonly schema: Schema;
  readonly data: Pick<Table, "get">;
}

/**
 * Bytes of items that a message carries at most: well within the 16 MB that a device takes in. Only items that grew
 * after they were logged get there; the device then finds the gap and takes a snapshot, whose pages are bounded.
 */
export const messageBytesMax = 8 * 1024 * 1024;

export { keyText };

/**
 * Runs of the log as one: a key's last change counts, at its last place; what an earlier one told of is not forgotten.
 */
export function mergeKeys(lists: Iterable<readonly LogKey[]>): LogKey[] {
  const merged = new Map<string, LogKey>();
  for (const keys of lists) {
    for (const key of keys) {
      const text = keyText(key.key);
      const before = merged.get(text);
      merged.delete(text);
      merged.set(text, before ? later(key, before) : key);
    }
  }
  return [...merged.values()];
}

/**
 * A key's later change, after an earlier one. A removed version is remembered, and of two the later stamp, as the device's
 * `gone` would. A mark after an item stays the item: it may be a repeated one of before, and a raw write in between can
 * leave the version as it was.
 */
export function later(key: LogKey, before: LogKey): LogKey {
  const { mark, removed, was, ...rest } = key;
  const gone = was && before.was ? (was[1] >= before.was[1] ? was : before.was) : was ?? before.was;
  const isItem = !before.mark && before.bytes > 0;
  const merged: LogKey = mark ? (isItem ? { ...rest, bytes: before.bytes } : { ...rest, mark }) : rest;
  if (gone) return { ...merged, was: gone };
  return removed || before.removed ? { ...merged, removed: true } : merged;
}

/**
 * The entries of log keys: marks as they are, everything else as the table has it now, read strongly.
 *
 * @returns undefined where they carry more than a message may: the rest was not read
 */
export async function buildEntries(
  context: EntryContext,
  channel: Channel,
  identity: Identity,
  keys: readonly LogKey[],
): Promise<Entry[] | undefined> {
  const wanted = keys.filter(({ mark }) => !mark);
  const items: (Item | undefined)[] = [];
  let bytes = 0;
  for await (const [, item] of readInSteps(context.data, wanted.map(({ key }) => key))) {
    items.push(item);
    if (item) bytes += itemSizeBytes(item);
    if (bytes > messageBytesMax) return undefined;
  }
  let next = 0;
  return keys.map(({ key, mark, was, removed }): Entry => {
    const removal = was ? { was } : removed ? { removed } : {};
    if (mark) return { key, mark, ...removal };
    return { ...entryOf(context.schema, channel, identity, key, items[next++]), ...removal };
  });
}

/**
 * One key's entry: an item that is not of this channel (any more) does not exist on it. One of no model that comes down
 * exists: a device of another version of the schema may well have it, and must not take this for its removal.
 */
export function entryOf(
  schema: Schema,
  channel: Channel,
  identity: Identity,
  key: Key,
  item: Item | undefined,
): Entry {
  if (!item) return { key };
  if (isForeign(schema, item)) return { key, foreign: true };
  if (downChannelOf(schema, item) !== channel) return { key };
  return { key, current: currentOf(schema, modelOf(schema, item)!, item, identity) };
}
