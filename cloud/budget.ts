/**
 * Token buckets: what a device or an account may use of something, again and again. A bucket fills at a rate up to its burst;
 * whoever takes more goes into debt and is told how long to wait. Debt is bounded by what one request can cost, so that a
 * single large one delays its sender alone and not for ever.
 *
 * @module
 */

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

/** A bucket for each name. Names that have been quiet until their bucket was full again are forgotten. */
export class Budget {
  readonly #buckets = new Map<string, Bucket>();

  /** @param namesMax buckets that are remembered; the one that was used longest ago goes first */
  constructor(readonly rate: Rate, private readonly namesMax = 20_000) {}

  /** Takes an amount; returns how long the taker is to wait before its next one, ms (0: not at all). */
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
    // A clock that steps back gives nothing and takes nothing.
    const passedMs = Math.max(0, nowMs - bucket.atMs);
    bucket.tokens = Math.min(burst, bucket.tokens + passedMs / 1000 * perSecond);
    bucket.atMs = nowMs;
    this.#buckets.delete(name);
    this.#buckets.set(name, bucket);
    if (this.#buckets.size > this.namesMax) this.#buckets.delete(this.#buckets.keys().next().value!);
    return bucket;
  }
}
