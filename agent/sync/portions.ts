/**
 * How much is asked for at once, once something did not get through or could not be read (rule D4). Each time half as much:
 * of a channel down to a page that only names its items, of named keys down to one, which then alone is at fault. Once as
 * much as was too much has come in smaller portions, they grow again, as far as where nothing is asked for in particular:
 * one item at fault costs log2 n questions that fail, not their square.
 *
 *     as the cloud likes ─▶ 64 ─▶ 32 ─▶ … ─▶ 1 ─▶ 0: names alone        (items of a channel's page)
 *                     100 ─▶ 50 ─▶ … ─▶ 1 ─▶ set aside                  (keys)
 *
 * In memory only: a start asks for everything again, and finds the same in a few rounds.
 *
 * @module
 */
import { type Channel, fetchKeysMax } from "../../protocol.ts";

/** What is asked for first instead of a whole page, of up to 500 items. */
const firstItems = 64;

interface Portion {
  size: number;
  /** So much of what was too much has not come yet. */
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

  /** A channel's page is too much. Returns false where less can't be asked for. */
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

  /** So many keys at once are too much. Returns false where it was one. */
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
