/**
 * An outage in the log: one line when it begins, one when it ends with how long it lasted and how much failed meanwhile, and
 * with `-v` each failure. The broker, a table, its change stream, a publisher: whoever tries something again and again has
 * one of these, and says nothing else of it.
 *
 *     fine ──failed──▶ (patience) ──failed──▶ away: "begins" ──over──▶ fine: "ends"
 *                           └──over──▶ fine, nothing was told
 *
 * Guarantees:
 * - An error that an outage has told is known to {@link Log}: any other line that has it, or an error that was caused by
 *   it, is written with `-v` alone. So nothing that depends on the broken thing adds lines, whoever wrote it.
 * - What comes and goes is one outage: where it begins again within {@link holdMs} of its end, nothing is said until it
 *   has held for that long. Thus there are at most three lines in {@link holdMs}, and a line for each further kind of fault.
 *
 * @module
 */
import { type Log, noteTold } from "./log.ts";

/** So long nothing may fail before an outage that came back counts as over. */
export const holdMs = 10_000;

/** How an {@link Outage} is made. */
export interface OutageOptions {
  /** Failures within so many ms that a success follows are no outage; default 0: the first failure is one. */
  readonly patienceMs?: number;
  /** Monotonic ms; default `performance.now`. */
  readonly nowMs?: () => number;
}

/** What one failure was. */
export interface Failure {
  /** Which of those that share the outage failed; it is over when none does any more. Default: there is but one. */
  readonly part?: string;
  /** What kind of fault: another kind in the same outage is told once. Default the error's `code`. */
  readonly kind?: string;
  /** It was given up: an outage at once, whatever the patience. */
  readonly final?: boolean;
  /** When the attempt began, by the same clock: one from before the outage's end says nothing new. */
  readonly begunMs?: number;
}

/** See the module's text. */
export class Outage {
  readonly #nowMs: () => number;
  readonly #patienceMs: number;
  /** Parts that fail now, with when they first did. */
  readonly #failing: Map<string, number> = new Map();
  /** Kinds of faults that were told: of this outage, and of one that it is said to go on from. */
  readonly #kinds: Set<string> = new Set();
  #sinceMs: number | undefined;
  #told = false;
  #failures = 0;
  #lastMs = -Infinity;
  #endedMs = -Infinity;

  /** @param what what is away, as a sentence's subject: `the table "x"` */
  constructor(private readonly log: Log, private readonly what: string, options: OutageOptions = {}) {
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#patienceMs = options.patienceMs ?? 0;
  }

  /** A line has said that it is away, and none yet that it is back. */
  get active(): boolean {
    return this.#told;
  }

  /** Something failed. */
  failed(error: Error, { part = "", kind, final = false, begunMs }: Failure = {}): void {
    const now = this.#nowMs();
    if (begunMs !== undefined && begunMs < this.#endedMs) return noteTold(error);
    const isAgain = this.#sinceMs === undefined && now - this.#endedMs < holdMs;
    if (this.#sinceMs === undefined && !isAgain) this.#kinds.clear();
    this.#sinceMs ??= now;
    if (!this.#failing.has(part)) this.#failing.set(part, now);
    this.#failures++;
    this.#lastMs = now;
    const first = Math.min(...this.#failing.values());
    const isOutage = this.#told || isAgain || final || now - first >= this.#patienceMs;
    if (!isOutage) return this.log.debug("{what} fails: {error}", { what: this.what, error });
    const code = kind ?? (error as { code?: unknown }).code ?? error.name;
    this.#tell(error, String(code), isAgain);
    noteTold(error);
  }

  #tell(error: Error, kind: string, isAgain: boolean): void {
    const { what } = this, isNew = !this.#kinds.has(kind);
    this.#kinds.add(kind);
    if (isAgain && !isNew) this.log.debug("{what} is away again: {error}", { what, error });
    else if (!this.#told) this.log.warn("{what} is away: {error}", { what, error });
    else if (isNew) this.log.warn("{what} is still away, now: {error}", { what, error });
    else this.log.debug("{what} is still away: {error}", { what, error });
    this.#told = true;
  }

  /** Something succeeded. Costs nothing while there is no outage. */
  over(part = ""): void {
    if (this.#sinceMs === undefined) return;
    this.#failing.delete(part);
    if (this.#failing.size > 0) return;
    const now = this.#nowMs();
    if (!this.#told) return this.#reset();
    // It came back soon after its end: only a while without a failure is one.
    if (this.#sinceMs - this.#endedMs < holdMs && now - this.#lastMs < holdMs) return;
    const seconds = ((now - this.#sinceMs) / 1000).toFixed(1), count = this.#failures;
    const attempts = count === 1 ? "1 attempt failed" : `${count} attempts failed`;
    this.log.info("{what} is back after {seconds} s: {attempts}", { what: this.what, seconds, attempts, count });
    this.#reset();
    this.#endedMs = now;
  }

  #reset(): void {
    this.#sinceMs = undefined;
    this.#told = false;
    this.#failures = 0;
  }
}
