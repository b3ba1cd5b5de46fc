/**
 * How many questions are answered at once: as many as leave the table fast for live writes. A table of limited speed
 * queues requests, and a live write waits for every catch-up read that was sent before it. So the limit follows the
 * duration of small reads: it grows by one while they are fast enough, and shrinks by a quarter when they take more
 * than {@link stretchMax} times as long as with one question at a time.
 *
 *     calm (one question at most) ──▶ the base is learnt        ┐
 *     busy, reads fast, all slots taken ──▶ one slot more       ├ each window of reads
 *     busy, reads slow ──▶ a quarter fewer                      ┘
 *     busy for long, or no base yet ──▶ probing: one question at a time until a calm window has passed
 *
 * Without the probe, the limit would mistake the queue of a long storm for the table's speed.
 *
 * @module
 */

/**
 * With fewer, one hanging question could hold up all others; more than the open requests of DynamoDB's client gain
 * nothing.
 */
const leastSlots = 2, mostSlots = 32;
/** The initial limit: with eight questions of 10 ms each, some 200 a second. */
const firstSlots = 8;
/**
 * For the mean, so that the 99th percentile of live changes stays within three times; a lower value would leave a fast
 * table's capacity unused.
 */
const stretchMax = 1.5;
/** Below this, a faster table gains nothing, and measurements are noise of timers and garbage collection. */
const baseLeastMs = 4;
/** One window: so many reads, over so long. */
const windowReads = 10, windowMs = 100;
/** The weight of one calm window in the base. */
const learning = 0.3;
/** How often the base is measured again, and the longest probe for it. */
const probeEveryMs = 30_000, probeMaxMs = 2_000;

/** See the module. */
export class AskLimit {
  readonly #now: () => number;
  #slots = firstSlots;
  #baseMs: number | undefined;
  #probingSinceMs: number | undefined;
  #calmAtMs = -Infinity;
  /** The window that is open. */
  #begunMs = 0;
  #reads = 0;
  #sumMs = 0;
  #mostAsks = 0;

  /** @param now any clock, ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Questions that may be under way now. */
  get slots(): number {
    return this.#probingSinceMs === undefined ? this.#slots : 1;
  }

  /**
   * A small read of the table ended.
   *
   * @param tookMs how long it took
   * @param asks questions under way by then
   */
  took(tookMs: number, asks: number): void {
    const now = this.#now();
    if (this.#reads === 0) this.#begunMs = now;
    this.#reads++;
    this.#sumMs += tookMs;
    this.#mostAsks = Math.max(this.#mostAsks, asks);
    if (this.#reads < windowReads || now - this.#begunMs < windowMs) return;
    this.#judge(this.#sumMs / this.#reads, this.#mostAsks, now);
    this.#reads = this.#sumMs = this.#mostAsks = 0;
  }

  #judge(meanMs: number, asks: number, now: number): void {
    if (asks <= 1) return this.#calm(meanMs, now);
    if (this.#probingSinceMs !== undefined) {
      // One that takes for ever must not hold up all others for as long.
      if (now - this.#probingSinceMs > probeMaxMs) this.#probed(now);
      return;
    }
    const base = this.#baseMs;
    if (base === undefined || now - this.#calmAtMs > probeEveryMs) {
      this.#probingSinceMs = now;
      return;
    }
    this.#baseMs = Math.min(base, meanMs);
    const isSlow = meanMs > stretchMax * Math.max(baseLeastMs, base);
    if (isSlow) this.#slots = Math.max(leastSlots, Math.floor(this.#slots * 0.75));
    else if (asks >= this.#slots) this.#slots = Math.min(mostSlots, this.#slots + 1);
  }

  #calm(meanMs: number, now: number): void {
    this.#baseMs = this.#baseMs === undefined ? meanMs : this.#baseMs + (meanMs - this.#baseMs) * learning;
    this.#probed(now);
  }

  #probed(now: number): void {
    this.#calmAtMs = now;
    this.#probingSinceMs = undefined;
  }
}
