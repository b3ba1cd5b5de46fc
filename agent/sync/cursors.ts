/**
 * Each channel's cursor: how far its log is applied, and the current snapshot. In memory and in `_sync_channels`; a cursor is
 * stored in the transaction of the rows that it is about.
 *
 * @module
 */
import type { Channel, CursorOf, Page, SnapshotPage } from "../../protocol.ts";
import type { Store } from "../store/store.ts";

/** A channel's cursor. */
export interface Cursor {
  epoch?: string;
  seq?: number;
  snapshot?: { epoch: string; head: number; after: string };
  /**
   * Cloud time at which a further snapshot is due: after an epoch change, lost entries may still be written. 0: now.
   * The device keeps its place in the log meanwhile and reads on from there, because the log contains removals and a
   * snapshot does not.
   */
  againMs?: number;
}

/** The cursors of all channels. */
export class Cursors implements Iterable<[Channel, Cursor]> {
  readonly #cursors: Map<Channel, Cursor> = new Map();

  constructor(private readonly store: Store) {}

  /** Reads them from the database. */
  load(): void {
    const { db } = this.store;
    this.#cursors.clear();
    for (const row of db.sql("SELECT * FROM _sync_channels").all()) {
      this.#cursors.set(row.channel as string, {
        epoch: row.epoch as string | undefined ?? undefined,
        seq: row.seq === null ? undefined : Number(row.seq),
        snapshot: row.snap_epoch === null ? undefined : {
          epoch: row.snap_epoch as string,
          head: Number(row.snap_head),
          after: row.snap_after as string,
        },
        againMs: row.again === null ? undefined : Number(row.again),
      });
    }
  }

  [Symbol.iterator](): Iterator<[Channel, Cursor]> {
    return this.#cursors.entries();
  }

  /** Those of the channels, for people. */
  shown(channels: readonly Channel[]): Record<Channel, { epoch?: string; seq?: number; snapshot: boolean }> {
    return Object.fromEntries(channels.map((channel) => {
      const { epoch, seq, snapshot } = this.#cursors.get(channel) ?? {};
      return [channel, { epoch, seq, snapshot: snapshot !== undefined }];
    }));
  }

  get(channel: Channel): Cursor | undefined {
    return this.#cursors.get(channel);
  }

  /** Stores it. */
  set(channel: Channel, cursor: Cursor): void {
    this.#cursors.set(channel, cursor);
    this.store.db.sql(`
      INSERT OR REPLACE INTO _sync_channels(channel, epoch, seq, snap_epoch, snap_head, snap_after, again)
      VALUES (?, ?, ?, ?, ?, ?, ?)`).run(
      channel,
      cursor.epoch ?? null,
      cursor.seq ?? null,
      cursor.snapshot?.epoch ?? null,
      cursor.snapshot?.head ?? null,
      cursor.snapshot?.after ?? null,
      cursor.againMs ?? null,
    );
  }

  /** A migration left columns empty for which the cloud may have values: a snapshot of each channel fills them. */
  snapshotAfterMigration(): void {
    const { store } = this;
    if (store.getMeta("resnapshot") === undefined) return;
    store.tx(() => {
      store.db.sql("UPDATE _sync_channels SET again = 0, snap_epoch = NULL, snap_head = NULL, snap_after = NULL").run();
      store.setMeta("resnapshot", undefined);
    });
  }
}

/** Where a question asks from. */
export function cursorOf(channel: Channel, { epoch, seq, snapshot, againMs }: Cursor): CursorOf {
  return { channel, ...(seq !== undefined && againMs !== 0 ? { epoch, seq } : {}), ...(snapshot ? { snapshot } : {}) };
}

/**
 * The place from which the log is read after a snapshot, if before the snapshot's head: a snapshot shows no removal,
 * and a change in flight whose item was removed meanwhile would bring it back (sim: versions 7201556). Only if the log
 * can still be read from there: a snapshot that was needed because it could not does not return to that place.
 */
export function resumedFrom({ epoch, seq, snapshot, againMs }: Cursor, of: string): number {
  if (snapshot?.epoch === of) return snapshot.head;
  return againMs === 0 && epoch === of && seq !== undefined ? seq : Infinity;
}

/** The cursor after a page that will be applied next; undefined if there is nothing to ask for after it. */
export function behindPage(cursor: Cursor, page: Page): Cursor | undefined {
  const follows = page.more && !cursor.snapshot && page.from === cursor.seq && page.epoch === cursor.epoch;
  return follows ? { epoch: page.epoch, seq: page.to } : undefined;
}

/** As {@link behindPage}, of a page of a snapshot. */
export function behindSnapshotPage(cursor: Cursor, { epoch, head, after, next }: SnapshotPage): Cursor | undefined {
  const state = cursor.snapshot;
  const follows = after === undefined || (state?.after === after && state.epoch === epoch);
  if (!follows || next === undefined) return undefined;
  return { snapshot: { epoch, head: after === undefined ? head : state!.head, after: next } };
}
