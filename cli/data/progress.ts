/**
 * Says on standard error how a long command gets on: how many, how fast, how long it will take.
 *
 * @module
 */

/** Counts, and says so every few seconds. */
export class Progress {
  readonly #startMs = performance.now();
  #toldMs = this.#startMs;
  #count = 0;

  /**
   * @param what is counted, as in "Setting"
   * @param intervalMs between two lines: 2 s where a person looks, else 10 s
   */
  constructor(private readonly what: string, private readonly intervalMs = Deno.stderr.isTerminal() ? 2_000 : 10_000) {}

  /** So many more. @param part of the whole that is done, from 0 to 1, where that is known */
  add(count: number, part?: number): void {
    this.#count += count;
    const now = performance.now();
    if (now - this.#toldMs < this.intervalMs) return;
    this.#toldMs = now;
    const seconds = (now - this.#startMs) / 1000;
    const left = part !== undefined && part > 0.001 ? `, ${durationText(seconds / part - seconds)} left` : "";
    console.error(`${this.what}: ${this.#count.toLocaleString("en")} items, ${this.#rate()} a second${left}`);
  }

  /** The whole, as a sentence's end. */
  summary(): string {
    const seconds = (performance.now() - this.#startMs) / 1000;
    return `${this.#count.toLocaleString("en")} items in ${durationText(seconds)} (${this.#rate()} a second)`;
  }

  #rate(): string {
    const seconds = Math.max(0.001, (performance.now() - this.#startMs) / 1000);
    return Math.round(this.#count / seconds).toLocaleString("en");
  }
}

/** As `4 s`, `12 min`, `3 h 20 min`. */
export function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.max(seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds), 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
