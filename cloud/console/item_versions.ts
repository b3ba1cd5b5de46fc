/**
 * Items' values as they went by: the channel log keeps keys and numbers, the feed brings values while somebody watches. What
 * went by is remembered here, so that an item's history can show it and put it back.
 *
 * Guarantees: a value is given for a log entry only where the feed said which entry it is of (its number, or the stamp of the
 * device's version): never by time, never by what stands there now. Memory is bounded, in bytes and by item; what is forgotten,
 * or never went by, is not known.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import { keyText } from "../../protocol/keys.ts";
import type { Version } from "../api/trace.ts";
import type { ChangeRow, FeedRow } from "../feed/rows.ts";
import { Lru } from "../sync/lru.ts";
import type { PlainItem } from "./local_device.ts";

/** Bytes of all items' values together, and versions of one item. */
export const bytesMax = 16 * 1024 * 1024, versionsMax = 20;
/** What a version takes beside its item. */
const versionBytes = 120;

/** A version whose values went by. */
export interface PassedVersion {
  /** The device that wrote it, or `cloud`. */
  readonly by: string;
  /** When the worker heard of it. */
  readonly atMs: number;
  readonly item: PlainItem;
}

interface Passed extends PassedVersion {
  readonly channel?: string;
  readonly seq?: number;
  readonly stamp?: number;
  readonly bytes: number;
}

/** See the module. */
export class ItemVersions {
  readonly #items = new Lru<string, readonly Passed[]>({
    bytesMax,
    sizeOf: (key, versions) => 2 * key.length + versions.reduce((sum, { bytes }) => sum + bytes + versionBytes, 0),
  });

  /** A row of the feed. */
  heard(row: FeedRow): void {
    if (row.type !== "change" || row.op !== "put" || !row.item) return;
    const { at: atMs, by, stamp, channel, seq, item }: ChangeRow = row;
    if (stamp === undefined && seq === undefined) return;
    const passed = { atMs, by, stamp, channel, seq, item, bytes: 2 * JSON.stringify(item).length };
    const key = keyText(row.key), before = this.#items.get(key) ?? [];
    this.#items.set(key, [...before, passed].slice(-versionsMax));
  }

  /** All that went by of an item, the oldest first. */
  all(key: Key): readonly PassedVersion[] {
    return this.#items.get(keyText(key)) ?? [];
  }

  /** The values of an entry's version, where they went by. */
  of(key: Key, channel: string | undefined, version: Version): PlainItem | undefined {
    if (version.removed) return undefined;
    return this.#items.get(keyText(key))?.findLast((passed) =>
      version.stamp === undefined
        ? passed.seq === version.seq && passed.channel === channel
        : passed.stamp === version.stamp && passed.by === version.by
    )?.item;
  }
}
