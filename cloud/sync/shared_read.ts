/**
 * A read that many ask for: whoever asks gets one that **began after their question arrived**, so that nobody is told less
 * than was true then; what changes later is told them live. Questions that arrived before a read began all take that one,
 * however long they waited for their turn, and one is under way at a time. A few go at once; beyond, one a second, however
 * many ask: a whole fleet that asks for one item would otherwise meet the limit of that item (3,000 reads a second in
 * DynamoDB). Who must wait for that is not to hold a slot meanwhile: see {@link SharedRead.ready}.
 *
 * When a question arrived and when a read began is told by a counter, not by a clock: within a millisecond there are many.
 *
 * @module
 */

/** Reads that go at once, and how many more a second. */
const burst = 20, perSecond = 1;
/** Nobody builds on an older read: far less than log entries live, or a floor counts as just raised. */
const usableMs = 10_000;

/** A point in the order of events of this process. */
export type Moment = number;

/** Gives the moment that it is. */
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

  /** What a read gives that began after `asked`. @throws what that read throws */
  get(asked: Moment): Promise<T> {
    const last = this.#last;
    if (last && last.begun > asked && this.#now() - last.atMs < usableMs) return last.value;
    return this.#next ??= this.#begin();
  }

  /** Undefined where {@link get} takes no longer than a read or two; else resolves when it does no longer. */
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
    // From here on what is asked for must wait for another.
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

  /** Counts what has come in; how long until there is one. */
  #waitMs(): number {
    const now = this.#now();
    this.#tokens = Math.min(burst, this.#tokens + Math.max(0, now - this.#countedMs) * perSecond / 1000);
    this.#countedMs = now;
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) * 1000 / perSecond);
  }
}

function nothing(): void {}
