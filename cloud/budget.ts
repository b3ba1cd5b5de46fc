/**
 * Token buckets: how much of something a device or an account may use over time. A bucket fills at a rate up to its
 * burst; a taker that takes more goes into debt and learns how long to wait. Debt is bounded by the cost of one
 * request, so a single large one delays only its sender, and not for ever.
 *
 * @module
 */
import { BoundedMap } from "../protocol/bounded_map.ts";

/** What a bucket gives. */
export interface Rate {
  /** How much in a second, on average. */
  readonly perSecond: number;
  /** How much at once. */
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** A bucket for each name. Names whose bucket is full again are dropped. */
export class Budget {
  readonly #buckets: BoundedMap<string, Bucket>;

  /** @param namesMax the most buckets in memory; the least recently used is dropped first */
  constructor(readonly rate: Rate, namesMax = 20_000) {
    this.#buckets = new BoundedMap(namesMax);
  }

  /** Takes an amount; returns how long the taker must wait before the next one, ms (0: not at all). */
  take(name: string, amount: number, nowMs: number): number {
    const bucket = this.#bucketOf(name, nowMs);
    bucket.tokens -= amount;
    return this.#waitOf(bucket);
  }

  /** How long a name has to wait by now, ms, without taking anything. */
  waitMs(name: string, nowMs: number): number {
    return this.#buckets.has(name) ? this.#waitOf(this.#bucketOf(name, nowMs)) : 0;
  }

  #waitOf({ tokens }: Bucket): number {
    return tokens >= 0 ? 0 : -tokens / this.rate.perSecond * 1000;
  }

  #bucketOf(name: string, nowMs: number): Bucket {
    const { perSecond, burst } = this.rate;
    const bucket = this.#buckets.get(name) ?? { tokens: burst, atMs: nowMs };
    // A clock that goes back neither fills nor empties a bucket.
    const passedMs = Math.max(0, nowMs - bucket.atMs);
    bucket.tokens = Math.min(burst, bucket.tokens + passedMs / 1000 * perSecond);
    bucket.atMs = nowMs;
    this.#buckets.set(name, bucket);
    return bucket;
  }
}
