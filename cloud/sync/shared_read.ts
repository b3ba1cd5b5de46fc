/**
 * A read that many ask for: whoever asks gets one that **begins after it was asked for**, so that nobody is told less than
 * was true then; but one is under way at a time, and all who come meanwhile share the next. A few go at once; beyond, 50 a
 * second, however many ask: a whole fleet that asks for one item would otherwise meet the limit of that item (3,000 reads a
 * second in DynamoDB). Not fewer: whoever waits for one holds a slot of those who answer, and one a second let eight devices
 * through in that time (`deno task bench storm`).
 *
 * @module
 */

/** Reads that go at once, and how many more a second. */
const burst = 20, perSecond = 50;

/** See the module. */
export class SharedRead<T> {
  readonly #read: () => Promise<T>;
  readonly #now: () => number;
  readonly #pause: (ms: number) => Promise<void>;
  #tokens = burst;
  #countedMs: number;
  /** The one under way, and the one that begins after it. */
  #running: Promise<unknown> | undefined;
  #next: Promise<T> | undefined;

  constructor(read: () => Promise<T>, now: () => number, pause: (ms: number) => Promise<void>) {
    this.#read = read;
    this.#now = now;
    this.#pause = pause;
    this.#countedMs = now();
  }

  /** What a read gives that begins from now on. @throws what that read throws */
  get(): Promise<T> {
    return this.#next ??= this.#begin();
  }

  async #begin(): Promise<T> {
    await this.#running;
    const waitMs = this.#waitMs();
    if (waitMs > 0) await this.#pause(waitMs);
    this.#waitMs();
    this.#tokens--;
    // From here on what is asked for must wait for another.
    this.#next = undefined;
    const result = this.#read();
    const running: Promise<void> = result.then(() => undefined, () => undefined).then(() => {
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
