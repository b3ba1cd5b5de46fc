/**
 * What the device knows about a table that was restored to an earlier time (rules B1–B8). A restore starts a new epoch
 * of the table, and the cloud says since when the table may lack what a device has. What the device learnt from the
 * former table after that time is **lost**: devices offer it again, and so the fleet heals the table (`heal.ts`).
 *
 * Stored in `_sync`: `tableEpoch`, the last epoch that the device knows; `era`, how many it has known; `restoredSince`;
 * `restoreMet`, when it came to the last one.
 * Each record says in which era, and at which cloud time, the device learnt its base.
 *
 * @module
 */
import { isExpired } from "../../schema.ts";
import type { ItemRecord } from "./items.ts";
import type { Store } from "../store/store.ts";

/** The precision to which the times of a restore and of a message are known. */
export const marginMs = 60_000;

/** When a record's base was learnt: the era, and the cloud's time in the message that brought it. */
export interface Learnt {
  era: number;
  atMs: number;
}

/** The epoch of the table within a channel's epoch. */
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
  /** When the device met the present epoch (cloud time). */
  #metMs: number | undefined;

  constructor(store: Store, learnt: Learnt) {
    this.#store = store;
    this.#learnt = learnt;
    this.restart();
  }

  /** Reads what is stored: after a start, or after a transaction failed. */
  restart(): void {
    const { db } = this.#store, epoch = this.#store.getMeta("tableEpoch"), since = this.#store.getMeta("restoredSince");
    // An older version of Twintable, without eras, made this file: the cursors contain the epoch.
    const cursor = db.sql("SELECT epoch FROM _sync_channels WHERE epoch IS NOT NULL LIMIT 1").get()?.epoch;
    this.#epoch = epoch === undefined ? cursor == null ? undefined : tableEpochOf(String(cursor)) : String(epoch);
    this.#learnt.era = Number(this.#store.getMeta("era") ?? 0);
    this.#sinceMs = since === undefined ? undefined : Number(since);
    const met = this.#store.getMeta("restoreMet");
    this.#metMs = met === undefined ? undefined : Number(met);
  }

  /** The last epoch that the device knows; undefined: none yet. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  /** Since when the table may lack what the device has; undefined: it was not restored. */
  get sinceMs(): number | undefined {
    return this.#sinceMs;
  }

  /**
   * Whether an answer of this epoch belongs to the table that the device's rows come from. Absent: an older cloud does
   * not say.
   */
  isPresent(epoch: string | undefined): boolean {
    return epoch === undefined || this.#epoch === undefined || epoch === this.#epoch;
  }

  /**
   * Handles the first page of a snapshot, or a `time`, of another epoch. Must run inside a transaction.
   *
   * @param open a channel has not taken its snapshot of the former epoch yet: what that restore lost is still to be
   * offered
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
    this.#store.setMeta("restoreMet", this.#metMs = this.#learnt.atMs);
    return this.#sinceMs !== undefined;
  }

  /**
   * Whether the table may lack the record's base (B3). The stamp does not decide: a row that was written offline before
   * the restored time, and acknowledged after it, has an earlier stamp.
   */
  hasLost(record: ItemRecord): boolean {
    return record.base !== undefined && this.#isFromBefore(record) &&
      !isExpired(record.model, record.base, this.#learnt.atMs);
  }

  /** Whether the table may have an item that, by the record, was removed (B7). */
  hasForgotten(record: ItemRecord): boolean {
    return record.base === undefined && record.gone !== undefined && this.#isFromBefore(record);
  }

  /** Whether the table may lack what was set aside at this time (cloud time): no record says in which era that was. */
  hasLostSince(atMs: number): boolean {
    if (this.#sinceMs === undefined || this.#metMs === undefined) return false;
    return atMs >= this.#sinceMs - marginMs && atMs <= this.#metMs;
  }

  #isFromBefore({ era = 0, atMs, version, gone }: ItemRecord): boolean {
    if (this.#sinceMs === undefined || era >= this.#learnt.era) return false;
    // Learnt before Twintable recorded this: the stamp is the next best.
    const known = atMs ?? Math.floor((version?.[1] ?? gone ?? 0) / 1000);
    return known >= this.#sinceMs - marginMs;
  }
}
