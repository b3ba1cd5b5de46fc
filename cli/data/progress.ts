/**
 * Reports the progress of a long command on standard error: how many, how fast, how much longer.
 *
 * @module
 */
import { durationText } from "../../protocol/duration_text.ts";
import { say as tell } from "../terminal.ts";

/** How far it is, in whatever unit: items, bytes. */
export interface Way {
  readonly done: number;
  readonly whole: number;
  /** It may be less. */
  readonly isMost?: boolean;
}

/** Counts, and reports every few seconds. */
export class Progress {
  readonly #startMs: number;
  #toldMs: number;
  #count = 0;
  /** Where it was at the first count: an interrupted command continues somewhere. */
  #first: { readonly done: number; readonly ms: number } | undefined;

  /**
   * @param what is counted, as in "Setting"
   * @param options `intervalMs` between two lines: 2 s on a terminal, otherwise 10 s
   */
  constructor(private readonly what: string, private readonly options: ProgressOptions = {}) {
    this.#startMs = this.#toldMs = this.#now();
  }

  #now(): number {
    return this.options.now?.() ?? performance.now();
  }

  /** Adds to the count. @param way how far that is, if known */
  add(count: number, way?: Way): void {
    this.#count += count;
    const now = this.#now();
    if (way) this.#first ??= { done: way.done, ms: now };
    const { intervalMs = Deno.stderr.isTerminal() ? 2_000 : 10_000, say = tell } = this.options;
    if (now - this.#toldMs < intervalMs) return;
    this.#toldMs = now;
    const left = way ? this.#left(way, now) : "";
    say(`${this.what}: ${this.#count.toLocaleString("en")} items, ${this.#rate()} a second${left}`);
  }

  #left({ done, whole, isMost }: Way, now: number): string {
    const first = this.#first!, rate = (done - first.done) / (now - first.ms);
    // A count that is older than the items.
    if (!(rate > 0) || done > whole) return "";
    return `, ${isMost ? "at most " : ""}${durationText((whole - done) / rate / 1000)} left`;
  }

  /** The total, as the end of a sentence. */
  summary(): string {
    const seconds = (this.#now() - this.#startMs) / 1000;
    return `${this.#count.toLocaleString("en")} items in ${durationText(seconds)} (${this.#rate()} a second)`;
  }

  #rate(): string {
    const seconds = Math.max(0.001, (this.#now() - this.#startMs) / 1000);
    return Math.round(this.#count / seconds).toLocaleString("en");
  }
}

interface ProgressOptions {
  readonly intervalMs?: number;
  readonly now?: () => number;
  readonly say?: (line: string) => void;
}
