/**
 * A read that many questions share: each question gets a read that **began after the question arrived**, so that no
 * answer is older than its question; later changes arrive live. All questions that arrived before a read began use that
 * read, however long they waited, and one read is under way at a time. A few reads run without delay; beyond that, one
 * a second, however many questions there are: a whole fleet that asks for one item would otherwise reach the limit of
 * that item (3,000 reads a second in DynamoDB). A question that waits for this must not hold a slot meanwhile: see
 * {@link SharedRead.ready}.
 *
 * A counter, not a clock, orders questions and reads: many happen within a millisecond.
 *
 * @module
 */

/** Reads that run without delay, and how many more a second. */
const burst = 20, perSecond = 1;
/**
 * The greatest age of a read that is used: far less than the lifetime of log entries, or the time for which a floor
 * counts as just raised.
 */
const usableMs = 10_000;

/** A point in the order of events of this process. */
export type Moment = number;

/** Returns the present moment. */
export class Moments {
  #last = 0;

  next(): Moment {
    return ++this.#last;
  }
}

/** See the module. */
export class SharedRead<T> {
  readonly #read: () => Promise<T>;
  readonly #moments: Moments;
  readonly #now: () => number;
  readonly #pause: (ms: number) => Promise<void>;
  #tokens = burst;
  #countedMs: number;
  /** The one that began last, unless it failed. */
  #last: { readonly begun: Moment; readonly atMs: number; readonly value: Promise<T> } | undefined;
  /** The one under way, and the one that begins after it. */
  #running: Promise<unknown> | undefined;
  #next: Promise<T> | undefined;

  constructor(
    read: () => Promise<T>,
    time: { readonly moments: Moments; readonly now: () => number; readonly pause: (ms: number) => Promise<void> },
  ) {
    this.#read = read;
    this.#moments = time.moments;
    this.#now = time.now;
    this.#pause = time.pause;
    this.#countedMs = time.now();
  }

  /** The result of a read that began after `asked`. @throws the read's error */
  get(asked: Moment): Promise<T> {
    const last = this.#last;
    if (last && last.begun > asked && this.#now() - last.atMs < usableMs) return last.value;
    return this.#next ??= this.#begin();
  }

  /** Undefined if {@link get} takes no longer than a read or two; otherwise resolves when that is true. */
  ready(asked: Moment): Promise<void> | undefined {
    if (this.#last && this.#last.begun > asked) return undefined;
    if (this.#waitMs() === 0) return undefined;
    return this.get(asked).then(nothing, nothing);
  }

  async #begin(): Promise<T> {
    await this.#running;
    const waitMs = this.#waitMs();
    if (waitMs > 0) await this.#pause(waitMs);
    this.#waitMs();
    this.#tokens--;
    // Questions from here on must wait for another read.
    this.#next = undefined;
    const begun = this.#moments.next(), result = this.#read();
    const last = this.#last = { begun, atMs: this.#now(), value: result };
    const running: Promise<void> = result.then(nothing, () => {
      if (this.#last === last) this.#last = undefined;
    }).then(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return await result;
  }

  /** Adds the tokens that have accrued; returns how long until there is one. */
  #waitMs(): number {
    const now = this.#now();
    this.#tokens = Math.min(burst, this.#tokens + Math.max(0, now - this.#countedMs) * perSecond / 1000);
    this.#countedMs = now;
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) * 1000 / perSecond);
  }
}

function nothing(): void {}
