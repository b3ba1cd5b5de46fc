/**
 * What the device knows about a table that was restored to an earlier time (rules B1–B8). A restore starts a new epoch
 * of the table, and the cloud says since when the table may lack what a device has. What the device learnt from the
 * former table after that time is **lost**: devices offer it again, and so the fleet heals the table (`heal.ts`).
 *
 * Other epochs follow: in AWS at once, because the restored table has another stream. They end nothing: a key that waits
 * to be fetched when one begins is compared then, as it would have been before.
 *
 * Stored in `_sync`: `tableEpoch`, the last epoch that the device knows; `era`, how many it has known; `restores`, those of
 * them that were restores. Each record says in which era, and at which cloud time, the device learnt its base.
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

/** A restore of the table that the device has met. */
interface Restore {
  /** The era that began with it: what was learnt in an earlier one may be lost. */
  readonly era: number;
  /** The table lacks what was written after this time (cloud time, ms). */
  readonly sinceMs: number;
  /** When the device met it (cloud time, ms). */
  readonly metMs: number;
  /** The table's epochs since then, its own first. */
  readonly epochs: readonly string[];
}

/** Of more restores, or epochs since a restore, the device does not tell the earliest apart. */
const restoresMax = 8, epochsMax = 16;

/** See the module. */
export class Restores {
  readonly #store: Store;
  readonly #learnt: Learnt;
  #epoch: string | undefined;
  /** Earliest first. */
  #restores: readonly Restore[] = [];

  constructor(store: Store, learnt: Learnt) {
    this.#store = store;
    this.#learnt = learnt;
    this.restart();
  }

  /** Reads what is stored: after a start, or after a transaction failed. */
  restart(): void {
    const { db } = this.#store, epoch = this.#store.getMeta("tableEpoch"), restores = this.#store.getMeta("restores");
    // An older version of Twintable, without eras, made this file: the cursors contain the epoch.
    const cursor = db.sql("SELECT epoch FROM _sync_channels WHERE epoch IS NOT NULL LIMIT 1").get()?.epoch;
    this.#epoch = epoch === undefined ? cursor == null ? undefined : tableEpochOf(String(cursor)) : String(epoch);
    this.#learnt.era = Number(this.#store.getMeta("era") ?? 0);
    this.#restores = restores === undefined ? this.#formerly() : JSON.parse(String(restores));
  }

  /** What builds before the release stored: the last restore alone. */
  #formerly(): readonly Restore[] {
    const [since, met] = [this.#store.getMeta("restoredSince"), this.#store.getMeta("restoreMet")];
    if (since === undefined || this.#epoch === undefined) return [];
    return [{ era: this.#learnt.era, sinceMs: Number(since), metMs: Number(met ?? 0), epochs: [this.#epoch] }];
  }

  /** The last epoch that the device knows; undefined: none yet. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  /** Since when the last restored table may lack what the device has; undefined: no table was restored. */
  get sinceMs(): number | undefined {
    return this.#restores.at(-1)?.sinceMs;
  }

  /**
   * Whether an answer of this epoch belongs to the table that the device's rows come from. Absent: an older cloud does
   * not say.
   */
  isPresent(epoch: string | undefined): boolean {
    return epoch === undefined || this.#epoch === undefined || epoch === this.#epoch;
  }

  /**
   * Whether a channel with a cursor of this epoch has taken no snapshot since the table was restored.
   *
   * @param channelEpoch undefined: the channel has taken none at all, and has nothing to lose
   */
  isOpen(channelEpoch: string | undefined): boolean {
    const last = this.#restores.at(-1);
    return last !== undefined && channelEpoch !== undefined && !last.epochs.includes(tableEpochOf(channelEpoch));
  }

  /**
   * Handles the first page of a snapshot, or a `time`, of another epoch. Must run inside a transaction.
   *
   * @param sinceMs undefined: the table was not restored
   */
  meet(epoch: string, sinceMs: number | undefined): void {
    if (epoch === this.#epoch) return;
    const isFirst = this.#epoch === undefined;
    this.#epoch = epoch;
    this.#store.setMeta("tableEpoch", epoch);
    if (isFirst) return;
    this.#store.setMeta("era", ++this.#learnt.era);
    const { era, atMs: metMs } = this.#learnt, last = this.#restores.at(-1);
    if (sinceMs !== undefined) this.#restores = bounded([...this.#restores, { era, sinceMs, metMs, epochs: [epoch] }]);
    else if (last) {
      const epochs = [...last.epochs, epoch].slice(-epochsMax);
      this.#restores = [...this.#restores.slice(0, -1), { ...last, epochs }];
    } else return;
    this.#store.setMeta("restores", JSON.stringify(this.#restores));
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
    return this.#restores.some(({ sinceMs, metMs }) => atMs >= sinceMs - marginMs && atMs <= metMs);
  }

  #isFromBefore({ era: its = 0, atMs, version, gone }: ItemRecord): boolean {
    if (this.#restores.length === 0) return false;
    // Learnt before Twintable recorded this: the stamp is the next best.
    const known = atMs ?? Math.floor((version?.[1] ?? gone ?? 0) / 1000);
    return this.#restores.some(({ era, sinceMs }) => its < era && known >= sinceMs - marginMs);
  }
}

/** The two earliest count as one: what was learnt before either of them may be lost. */
function bounded(restores: readonly Restore[]): readonly Restore[] {
  if (restores.length <= restoresMax) return restores;
  const [first, second, ...rest] = restores as [Restore, Restore, ...Restore[]];
  return [{ ...second, sinceMs: Math.min(first.sinceMs, second.sinceMs) }, ...rest];
}
