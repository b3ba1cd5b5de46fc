/**
 * What the fuzzer did, line by line in the round's folder, and the writes that it meant.
 *
 * @module
 */
import type { Intent } from "./writes.ts";

/** See the module. */
export class Journal {
  readonly intents = new Map<string, Intent>();
  /** Transactions that an application was told to be committed, by device. */
  readonly committed = new Map<string, Set<string>>();
  /** Of writes to the cloud that were answered as done: by token, or of a removal its key. */
  readonly cloudWrites: { readonly token: string; readonly key: string }[] = [];
  /** When what has a token was committed: between these, ms on the real clock. */
  readonly times = new Map<string, { readonly fromMs: number; readonly toMs: number }>();
  /** Sentences that nobody should have heard, as they were heard. */
  readonly complaints: string[] = [];
  readonly counts: Record<string, number> = {};
  readonly #began = performance.now();

  constructor(readonly path: string) {}

  note(what: string, detail: Record<string, unknown> = {}): void {
    const line = JSON.stringify({ ms: Math.round(performance.now() - this.#began), what, ...detail });
    Deno.writeTextFileSync(this.path, `${line}\n`, { append: true });
  }

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  meant(intents: readonly Intent[]): void {
    for (const intent of intents) this.intents.set(intent.token, intent);
  }

  /** These were just committed. */
  done(intents: readonly Intent[]): void {
    for (const { token, time } of intents) this.times.set(token, { fromMs: time, toMs: Date.now() });
  }

  complain(sentence: string): void {
    this.note("complaint", { sentence });
    this.complaints.push(sentence);
  }
}
