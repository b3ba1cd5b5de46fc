/**
 * A table that was restored to an earlier time, as the device knows of it (rules B1–B8). A restore begins a new epoch of the
 * table; the cloud says since when the table may lack what a device has. What the device learnt from the table as it was
 * before, from that time on, is **lost**: it is offered again, and the fleet heals the table (`heal.ts`).
 *
 * In `_sync`: `tableEpoch`, the epoch that the device met last; `era`, how many it has met; `restoredSince`. Each record
 * says in which era, and at which time of the cloud, its base was learnt.
 *
 * @module
 */
import { isExpired } from "../../schema.ts";
import type { ItemRecord } from "./items.ts";
import type { Store } from "../store/store.ts";

/** The time of a restore, and a message's, are known to about so much. */
const marginMs = 60_000;

/** When a record's base was learnt: the era, and the cloud's time in the message that brought it. */
export interface Learnt {
  era: number;
  atMs: number;
}

/** The epoch of the table in a channel's. */
export function tableEpochOf(channelEpoch: string): string {
  const dash = channelEpoch.indexOf("-");
  return dash < 0 ? channelEpoch : channelEpoch.slice(0, dash);
}

/** See the module. */
export class Restores {
  readonly #store: Store;
  readonly #learnt: Learnt;
  #epoch: string | undefined;
  #sinceMs: number | undefined;

  constructor(store: Store, learnt: Learnt) {
    this.#store = store;
    this.#learnt = learnt;
    this.restart();
  }

  /** Reads what is stored: after a start, or after a transaction failed. */
  restart(): void {
    const { db } = this.#store, epoch = this.#store.getMeta("tableEpoch"), since = this.#store.getMeta("restoredSince");
    // A version of Twintable without eras made this file: the cursors know.
    const cursor = db.sql("SELECT epoch FROM _sync_channels WHERE epoch IS NOT NULL LIMIT 1").get()?.epoch;
    this.#epoch = epoch === undefined ? cursor == null ? undefined : tableEpochOf(String(cursor)) : String(epoch);
    this.#learnt.era = Number(this.#store.getMeta("era") ?? 0);
    this.#sinceMs = since === undefined ? undefined : Number(since);
  }

  /** The epoch that the device met last; undefined: none yet. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  /** Since when the table may lack what the device has; undefined: it was not restored. */
  get sinceMs(): number | undefined {
    return this.#sinceMs;
  }

  /** Whether an answer of this epoch is of the table that the device's rows are of. Absent: an older cloud does not say. */
  isPresent(epoch: string | undefined): boolean {
    return epoch === undefined || this.#epoch === undefined || epoch === this.#epoch;
  }

  /**
   * The first page of a snapshot, or the time, of another epoch. Must run inside a transaction.
   *
   * @param open a channel has not taken its snapshot of the epoch before: what that one lost is still asked for
   * @returns whether the table was restored
   */
  meet(epoch: string, sinceMs: number | undefined, open: boolean): boolean {
    if (epoch === this.#epoch) return false;
    const isFirst = this.#epoch === undefined;
    const times = [sinceMs, open ? this.#sinceMs : undefined].filter((time) => time !== undefined);
    this.#epoch = epoch;
    this.#store.setMeta("tableEpoch", epoch);
    if (isFirst) return false;
    this.#sinceMs = times.length > 0 ? Math.min(...times) : undefined;
    this.#store.setMeta("era", ++this.#learnt.era);
    this.#store.setMeta("restoredSince", this.#sinceMs);
    return this.#sinceMs !== undefined;
  }

  /**
   * Whether the table may lack the record's base (B3). Not by its stamp: a row that was written offline before the restored
   * time, and acknowledged after it, has a stamp from before.
   */
  hasLost(record: ItemRecord): boolean {
    return record.base !== undefined && this.#isFromBefore(record) &&
      !isExpired(record.model, record.base, this.#learnt.atMs);
  }

  /** Whether the table may have what the record knows to be removed (B7). */
  hasForgotten(record: ItemRecord): boolean {
    return record.base === undefined && record.gone !== undefined && this.#isFromBefore(record);
  }

  #isFromBefore({ era = 0, atMs, version, gone }: ItemRecord): boolean {
    if (this.#sinceMs === undefined || era >= this.#learnt.era) return false;
    // Learnt before this version of Twintable noted it: the stamp is the next best.
    const known = atMs ?? Math.floor((version?.[1] ?? gone ?? 0) / 1000);
    return known >= this.#sinceMs - marginMs;
  }
}
