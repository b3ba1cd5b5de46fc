/**
 * Turns the log's keys into a message's entries. Live messages and catch-up pages both come from here, so that a live
 * message is exactly the catch-up page of its log entry: one code path, here and on the device.
 *
 * @module
 */
import { keyText } from "../../protocol/keys.ts";
import type { Channel, Entry, Key, Version } from "../../protocol.ts";
import { modelOf } from "../../schema.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import type { LogKey } from "./log_items.ts";
import { currentOf, downChannelOf, isForeign } from "./visible.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import type { Table } from "../table/port.ts";
import { readInSteps } from "../table/read_in_steps.ts";

/** The context for building entries. */
export interface EntryContext {
  readonly schema: Schema;
  readonly data: Pick<Table, "get">;
}

/**
 * The most bytes of items in a message: well within the 16 MB that a device accepts. Only items that grew after they
 * were logged get there; the device then finds the gap and takes a snapshot, whose pages are bounded.
 */
export const messageBytesMax = 8 * 1024 * 1024;

export { keyText };

/**
 * Merges log entries: a key's last change counts, at its last place; removed versions in earlier entries are carried
 * along.
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
 * A key's later change, after an earlier one. A removed version is carried along; of two, the later stamp, like the
 * device's `gone`. A mark after an item remains the item: it may repeat an earlier mark, and a raw write in between may
 * have left the version unchanged. A version that an item replaced is removed with that item.
 */
export function later(key: LogKey, before: LogKey): LogKey {
  const { mark, removed, was, over, ...rest } = key;
  // An expiry of what has no version says neither (rule A4).
  const isRemoval = was !== undefined || removed === true || (!mark && key.bytes === 0);
  const gone = latest(latest(was, before.was), isRemoval ? before.over : undefined);
  const replaced = latest(over, isRemoval ? undefined : before.over);
  const isItem = !before.mark && before.bytes > 0;
  const merged: LogKey = {
    ...(mark ? (isItem ? { ...rest, bytes: before.bytes } : { ...rest, mark }) : rest),
    ...(replaced ? { over: replaced } : {}),
  };
  if (gone) return { ...merged, was: gone };
  return removed || before.removed ? { ...merged, removed: true } : merged;
}

function latest(a: Version | undefined, b: Version | undefined): Version | undefined {
  return a && b ? (a[1] >= b[1] ? a : b) : a ?? b;
}

/**
 * The entries of log keys: marks unchanged, everything else as the table has it now, by a strong read.
 *
 * @returns undefined if they carry more than a message may: the rest was not read
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
  return keys.map(({ key, mark, was, removed, over }): Entry => {
    const told = { ...(was ? { was } : removed ? { removed } : {}), ...(over ? { over } : {}) };
    if (mark) return { key, mark, ...told };
    return { ...entryOf(context.schema, channel, identity, key, items[next++]), ...told };
  });
}

/**
 * One key's entry. An item that does not (or no longer) belong to this channel counts as absent. An item of no model
 * that comes down counts as present (`foreign`): a device with another version of the schema may have it, and must not
 * treat this as its removal.
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
