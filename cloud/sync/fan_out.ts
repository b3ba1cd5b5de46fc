/**
 * Fan-out: from change records to channel logs and live messages. The order is what makes it safe, for each channel:
 *
 * 1. **append** the keys to the log: from here on no device can miss them, because it will ask;
 * 2. **read** the items strongly, never the record's image: published by a late worker, it would be the last state that
 *    devices get;
 * 3. **publish** the entry's page;
 * 4. (the caller) move the stream's checkpoint: after a crash before this, the records are delivered and appended
 *    again, which is harmless.
 *
 * Nothing is suppressed. A device's own write enters its own channel as a mark. Models that don't come down never
 * enter.
 *
 * @module
 */
import { deviceOf, sameVersion } from "../../protocol/versions.ts";
import type { Changes, Channel, Key, Version } from "../../protocol.ts";
import { keyOf, modelOf, SyncError, versionOf } from "../../schema.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { mapBounded } from "./bounded.ts";
import type { ChannelLog } from "./channel_log.ts";
import type { LogKey } from "./log_items.ts";
import { downChannelOf, unidentified } from "./visible.ts";
import { buildEntries, keyText, later } from "./entries.ts";
import { itemSizeBytes, utf8Bytes } from "../table/item_size.ts";
import type { StreamRecord, Table } from "../table/port.ts";

/**
 * Keys in a log entry, and the approximate bytes of items and keys: an entry's message usually fits one MQTT payload.
 * Each entry costs a write, a publish and a commit on the device, whatever it holds.
 */
export const entryKeysMax = 500;
/** See {@link entryKeysMax}. A single larger item is an entry of its own. */
export const entryBytesMax = 100 * 1024;
/** Bytes in a message in addition to each item and its key: names, the model, the version. */
const entryOverheadBytes = 120;
/** Channels that are processed at once. */
const channelsAtOnce = 16;

/** What fan-out works on. */
export interface FanOutContext {
  readonly schema: Schema;
  readonly data: Pick<Table, "get">;
  readonly log: Pick<ChannelLog, "append">;
  now(): number;
  /** The account of a device, for the attributes that a key implies; undefined for an unknown device. */
  identityOf(deviceId: string): Promise<Identity | undefined>;
  /** Called for an item that reaches no device although it should. */
  unidentified?(key: Key, why: string): void;
}

/**
 * Appends the records' keys to their channels' logs and reads what is to be published: each channel's messages in
 * order. Messages that would be larger than `messageBytesMax` are left out.
 *
 * @throws SyncError if the log or the table fails; the caller must then pass the records in again.
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

/** Reports items that reach no device although they should. */
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

/** The readers of a channel, as the identity attributes of its items name them. */
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
 * The records' indexes, in parts that share no channel: an error in one part does not affect another. An unreadable
 * record is a part of its own.
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
    // Fan-out gets the same error, and decides about the record.
    return [];
  }
}

/**
 * The channels that a record concerns: usually one; two if an item moved from one to another; none if nobody reads it.
 */
function changesOf(schema: Schema, record: StreamRecord): [Channel, LogKey][] {
  const from = downChannelOf(schema, record.old), to = downChannelOf(schema, record.new);
  const changes: [Channel, LogKey][] = [];
  if (from !== undefined && from !== to) changes.push([from, removal(record)]);
  if (to !== undefined) changes.push([to, written(schema, to, record)]);
  return changes;
}

/**
 * What a removal's entry says in addition to the key: the removed version, or that it had none. An expiry is not a
 * removal: without a version, its entry says nothing, because otherwise every version that the device has issued would
 * count as removed, and a row that was made again since would be "removed again" (rule A4).
 */
function removal({ key, old, expired }: StreamRecord): LogKey {
  const was = versionOf(old!);
  if (was) return { key, bytes: 0, was };
  return expired ? { key, bytes: 0 } : { key, bytes: 0, removed: true };
}

function written(schema: Schema, channel: Channel, { key, old, new: item }: StreamRecord): LogKey {
  const version = versionOf(item!), before = old && versionOf(old);
  const mark = version && isOwnWrite(channel, version, before) && isKeyOf(schema, item!, key);
  const over = superseded(before, version);
  return {
    ...(mark
      ? { key, bytes: 0, mark: { model: modelOf(schema, item!)!.name, version } }
      : { key, bytes: itemSizeBytes(item!) }),
    ...(over ? { over } : {}),
  };
}

/**
 * The version that a write replaced, where the version that is there now does not tell so by its stamp: an item without
 * one, or with an earlier one. Whoever removes it tells nothing of what was there before (rule 5.8).
 */
function superseded(before: Version | undefined, version: Version | undefined): Version | undefined {
  if (!before || (version && version[1] > before[1])) return undefined;
  return version?.[0] === before[0] && version[1] === before[1] ? undefined : before;
}

/**
 * The channel's own device wrote this: the version names the device, and differs from the version before. A raw write
 * by a program that does not know `_source` and `_stamp` leaves them unchanged: only that distinguishes it from the
 * device's own write.
 */
function isOwnWrite(channel: Channel, version: Version, before: Version | undefined): boolean {
  const device = deviceOf(version);
  return device !== undefined && !sameVersion(before, version) && channel === `device:${device}`;
}

/** An item under a key that is not its own was copied by hand: not a device's write. */
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
