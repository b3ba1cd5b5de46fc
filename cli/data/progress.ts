/**
 * Reports the progress of a long command on standard error: how many, how fast, how much longer.
 *
 * @module
 */
import { durationText } from "../../protocol/duration_text.ts";

/** Counts, and reports every few seconds. */
export class Progress {
  readonly #startMs = performance.now();
  #toldMs = this.#startMs;
  #count = 0;

  /**
   * @param what is counted, as in "Setting"
   * @param intervalMs between two lines: 2 s on a terminal, otherwise 10 s
   */
  constructor(private readonly what: string, private readonly intervalMs = Deno.stderr.isTerminal() ? 2_000 : 10_000) {}

  /** Adds to the count. @param part of the whole that is done, from 0 to 1, if known */
  add(count: number, part?: number): void {
    this.#count += count;
    const now = performance.now();
    if (now - this.#toldMs < this.intervalMs) return;
    this.#toldMs = now;
    const seconds = (now - this.#startMs) / 1000;
    const left = part !== undefined && part > 0.001 ? `, ${durationText(seconds / part - seconds)} left` : "";
    console.error(`${this.what}: ${this.#count.toLocaleString("en")} items, ${this.#rate()} a second${left}`);
  }

  /** The total, as the end of a sentence. */
  summary(): string {
    const seconds = (performance.now() - this.#startMs) / 1000;
    return `${this.#count.toLocaleString("en")} items in ${durationText(seconds)} (${this.#rate()} a second)`;
  }

  #rate(): string {
    const seconds = Math.max(0.001, (performance.now() - this.#startMs) / 1000);
    return Math.round(this.#count / seconds).toLocaleString("en");
  }
}
