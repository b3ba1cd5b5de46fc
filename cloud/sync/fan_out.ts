/**
 * Fan-out: from change records to channel logs and live messages. The order is what makes it safe, for each channel:
 *
 * 1. **append** the keys to the log: from here on no device can miss them, for it will ask;
 * 2. **read** the items strongly: never the record's image, which a late worker would publish as the last word;
 * 3. **publish** the entry's page;
 * 4. (the caller) move the stream's checkpoint: a crash before delivers the records again, which appends again: harmless.
 *
 * Nothing is suppressed. A device's own write enters its own channel as a mark. Models that don't come down never enter.
 *
 * @module
 */
import type { Changes, Channel, Key, Version } from "../../protocol.ts";
import { keyOf, modelOf, SyncError, versionOf } from "../../schema.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { mapBounded } from "./bounded.ts";
import type { ChannelLog, LogKey } from "./channel_log.ts";
import { downChannelOf, unidentified } from "./visible.ts";
import { buildEntries, keyText, later } from "./entries.ts";
import { itemSizeBytes, utf8Bytes } from "../table/item_size.ts";
import type { StreamRecord, Table } from "../table/port.ts";

/**
 * Keys in a log entry, and about how many bytes of items and keys: an entry's message mostly fits one MQTT payload. An entry
 * is a write, a publish and a commit on the device, whatever it holds.
 */
export const entryKeysMax = 500;
/** See {@link entryKeysMax}. A single larger item is an entry of its own. */
export const entryBytesMax = 100 * 1024;
/** What a message carries beside each item and its key: names, the model, the version. */
const entryOverheadBytes = 120;
/** Channels that are worked on at once. */
const channelsAtOnce = 16;

/** What fan-out works on. */
export interface FanOutContext {
  readonly schema: Schema;
  readonly data: Pick<Table, "get">;
  readonly log: Pick<ChannelLog, "append">;
  now(): number;
  /** The account of a device, for the attributes that a key implies; undefined for a device that nobody knows. */
  identityOf(deviceId: string): Promise<Identity | undefined>;
  /** Told of an item that reaches no device though it should. */
  unidentified?(key: Key, why: string): void;
}

/**
 * Appends the records' keys to their channels' logs and reads what is to be published: each channel's messages in order.
 * Messages that would be larger than `messageBytesMax` are left out.
 *
 * @throws SyncError where the log or the table fails; the records must then be handed in again.
 */
export async function fanOut(context: FanOutContext, records: readonly StreamRecord[]): Promise<Changes[]> {
  const channels = [...groupRecords(context.schema, records)];
  tellUnidentified(context, records);
  const messages = await mapBounded(
    channels,
    channelsAtOnce,
    ([channel, keys]) => fanOutChannel(context, channel, keys),
  );
  return messages.flat();
}

/** Tells of items that reach no device though they should. */
export function tellUnidentified(context: FanOutContext, records: readonly StreamRecord[]): void {
  for (const { key, new: item } of records) {
    const why = item && unidentified(context.schema, item);
    if (why !== undefined) context.unidentified?.(key, why);
  }
}

/** As {@link fanOut}, of one channel. */
export async function fanOutChannel(
  context: FanOutContext,
  channel: Channel,
  keys: readonly LogKey[],
): Promise<Changes[]> {
  const identity = await channelIdentity(channel, (deviceId) => context.identityOf(deviceId));
  const appended: { epoch: string; seq: number; keys: LogKey[] }[] = [];
  for (const part of splitKeys(keys)) appended.push({ ...await context.log.append(channel, part), keys: part });
  const messages = await mapBounded(appended, 4, async ({ epoch, seq, keys }): Promise<Changes[]> => {
    const entries = await buildEntries(context, channel, identity, keys);
    if (!entries) return [];
    return [{ type: "changes", channel, epoch, seq, entries, time: context.now() }];
  });
  return messages.flat();
}

/** Who reads a channel, as far as the identity attributes of its items go. */
export async function channelIdentity(
  channel: Channel,
  identityOf: (deviceId: string) => Promise<Identity | undefined>,
): Promise<Identity> {
  if (channel.startsWith("account:")) return { deviceId: "", accountId: channel.slice("account:".length) };
  if (!channel.startsWith("device:")) return { deviceId: "", accountId: "" };
  const deviceId = channel.slice("device:".length);
  return await identityOf(deviceId) ?? { deviceId, accountId: "" };
}

/** The keys that each channel's log gets, in the order of their last change. */
export function groupRecords(schema: Schema, records: readonly StreamRecord[]): Map<Channel, LogKey[]> {
  const groups = new Map<Channel, Map<string, LogKey>>();
  for (const record of records) {
    for (const [channel, key] of changesOf(schema, record)) {
      const group = groups.get(channel) ?? new Map<string, LogKey>();
      groups.set(channel, group);
      const text = keyText(key.key);
      const before = group.get(text);
      group.delete(text);
      group.set(text, before ? later(key, before) : key);
    }
  }
  return new Map([...groups].map(([channel, group]) => [channel, [...group.values()]]));
}

/**
 * The records' indexes, in parts that share no channel: whatever happens to one part concerns no other. A record that can't
 * be looked at is a part of its own.
 */
export function independentParts(schema: Schema, records: readonly StreamRecord[]): number[][] {
  const partOf = new Map<Channel, number[]>();
  const parts = new Set<number[]>();
  records.forEach((record, at) => {
    let part = [at];
    for (const channel of channelsOfRecord(schema, record)) {
      const joined = partOf.get(channel);
      if (joined && joined !== part) {
        parts.delete(part);
        const [kept, added] = [joined, part];
        for (const index of added) kept.push(index);
        for (const [name, other] of partOf) if (other === added) partOf.set(name, kept);
        part = kept;
      }
      partOf.set(channel, part);
    }
    parts.add(part);
  });
  return [...parts].map((part) => part.sort((a, b) => a - b));
}

function channelsOfRecord(schema: Schema, record: StreamRecord): Channel[] {
  try {
    return changesOf(schema, record).map(([channel]) => channel);
  } catch {
    // Fan-out meets the same error, and says what becomes of the record.
    return [];
  }
}

/** What a record means to channels: mostly one; two where an item moved from one to another; none where nobody reads it. */
function changesOf(schema: Schema, record: StreamRecord): [Channel, LogKey][] {
  const from = downChannelOf(schema, record.old), to = downChannelOf(schema, record.new);
  const changes: [Channel, LogKey][] = [];
  if (from !== undefined && from !== to) changes.push([from, removal(record)]);
  if (to !== undefined) changes.push([to, written(schema, to, record)]);
  return changes;
}

/**
 * What a removal tells beside the key: the version that went, or that it had none. An expiry is nobody's removal: without a
 * version it says nothing, else each version that the device has issued would count as removed, and a row that was made
 * again since would be "removed again" (rule A4).
 */
function removal({ key, old, expired }: StreamRecord): LogKey {
  const was = versionOf(old!);
  if (was) return { key, bytes: 0, was };
  return expired ? { key, bytes: 0 } : { key, bytes: 0, removed: true };
}

function written(schema: Schema, channel: Channel, { key, old, new: item }: StreamRecord): LogKey {
  const version = versionOf(item!);
  const mark = version && isOwnWrite(channel, version, old && versionOf(old)) && isKeyOf(schema, item!, key);
  return mark
    ? { key, bytes: 0, mark: { model: modelOf(schema, item!)!.name, version } }
    : { key, bytes: itemSizeBytes(item!) };
}

/**
 * The channel's own device wrote this: the version names it, and is not the one that was there before. A raw write by
 * somebody who doesn't know of `_source` and `_stamp` leaves them as they were: just this tells it from an own write.
 */
function isOwnWrite(channel: Channel, version: Version, before: Version | undefined): boolean {
  if (before && before[0] === version[0] && before[1] === version[1]) return false;
  const end = version[0].lastIndexOf("#");
  return end > 0 && channel === `device:${version[0].slice(0, end)}`;
}

/** An item under a key that is not its own was copied by hand: no device's write. */
function isKeyOf(schema: Schema, item: Item, key: Key): boolean {
  try {
    const [hash, sort] = keyOf(schema, item);
    return hash === key[0] && sort === key[1];
  } catch (error) {
    if (error instanceof SyncError) return false;
    throw error;
  }
}

/** Parts of a group, each fit for one log entry. */
export function splitKeys(keys: readonly LogKey[]): LogKey[][] {
  const parts: LogKey[][] = [];
  let part: LogKey[] = [], bytes = 0;
  for (const key of keys) {
    const size = key.bytes + utf8Bytes(key.key[0]) + utf8Bytes(key.key[1]) + entryOverheadBytes;
    if (part.length > 0 && (part.length === entryKeysMax || bytes + size > entryBytesMax)) {
      parts.push(part);
      part = [];
      bytes = 0;
    }
    part.push(key);
    bytes += size;
  }
  if (part.length > 0) parts.push(part);
  return parts;
}
