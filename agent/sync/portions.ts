/**
 * How much the device asks for at once after something did not get through or could not be read (rule D4). Each failure
 * halves the portion: for a channel, down to a page that only names its items; for named keys, down to a single key,
 * which is then the faulty one. Once the amount that failed has arrived in smaller portions, portions grow again, up to
 * no limit: one faulty item costs log2 n failed questions, not their square.
 *
 *     as the cloud likes ─▶ 64 ─▶ 32 ─▶ … ─▶ 1 ─▶ 0: names alone        (items of a channel's page)
 *                     100 ─▶ 50 ─▶ … ─▶ 1 ─▶ set aside                  (keys)
 *
 * In memory only: after a start, the device asks for everything again, and finds the same in a few rounds.
 *
 * @module
 */
import { type Channel, fetchKeysMax } from "../../protocol.ts";

/** The first smaller portion, instead of a whole page of up to 500 items. */
const firstItems = 64;

interface Portion {
  size: number;
  /** How much of the amount that failed has not arrived yet. */
  suspect: number;
}

/** See the module. */
export class Portions {
  readonly #pages: Map<Channel, Portion> = new Map();
  readonly #keys: Portion = { size: fetchKeysMax, suspect: 0 };

  /** Items of a channel's page; undefined: as many as the cloud likes. */
  limitOf(channel: Channel): number | undefined {
    return this.#pages.get(channel)?.size;
  }

  /** A channel's page is too large. Returns false if the device can't ask for less. */
  less(channel: Channel): boolean {
    const size = this.#pages.get(channel)?.size ?? 2 * firstItems;
    if (size === 0) return false;
    this.#pages.set(channel, { size: Math.floor(size / 2), suspect: size });
    return true;
  }

  /** A channel's page of so many items has come. */
  arrived(channel: Channel, items: number): void {
    const page = this.#pages.get(channel);
    if (!page) return;
    grow(page, items);
    if (page.size > firstItems) this.#pages.delete(channel);
  }

  /** Keys of one question. */
  get keys(): number {
    return this.#keys.size;
  }

  /** So many keys at once are too many. Returns false if it was one. */
  fewerKeys(asked: number): boolean {
    if (asked <= 1) {
      grow(this.#keys, 1);
      return false;
    }
    this.#keys.size = Math.ceil(asked / 2);
    this.#keys.suspect = asked;
    return true;
  }

  /** So many keys have been answered. */
  keysArrived(count: number): void {
    grow(this.#keys, count);
    this.#keys.size = Math.min(fetchKeysMax, this.#keys.size);
  }
}

function grow(portion: Portion, arrived: number): void {
  portion.suspect -= Math.max(1, arrived);
  if (portion.suspect <= 0) portion.size = Math.max(1, 2 * portion.size);
}
