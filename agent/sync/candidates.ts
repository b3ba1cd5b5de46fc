/**
 * Keys that a snapshot's list did not show are **candidates** for a removal, never removals. A list proves nothing
 * about missing items: a read may have been short, an index may hide an item. So each candidate is fetched by name, by
 * a strong read of the base table, and only an answered absence removes its row; a copy goes to `_conflicts` (`swept`).
 * Rule C2.
 *
 * Candidates are marked in `_sync_items`, in the transaction that ends the snapshot: a kill loses none. If there are
 * suspiciously many of one model, they are fetched slowly, and `_status.problem` says so, so that somebody can look
 * before the rows are gone.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import type { Key } from "../../protocol.ts";
import type { Context } from "./context.ts";

/** More candidates of a model than both of these are suspicious. */
const suspiciousCount = 1000, suspiciousShare = 0.1;
/** Of such a model, so many keys are fetched at a time, and so often: 20 a second. */
const reviewKeys = 100, reviewMs = 5_000;

/** A key that is to be fetched, and the serial of its mark. */
export interface Marked {
  readonly key: Key;
  readonly model: Model;
  readonly serial: number;
}

/** Says which candidates may be asked for at this moment. */
export class Candidates {
  readonly #context: Context;
  /** Models with suspiciously many, and when they may be asked for next (monotonic). */
  readonly #reviewed: Map<Model, number> = new Map();

  constructor(context: Context) {
    this.#context = context;
    this.look();
  }

  /** Counts them: at a start, and after each snapshot. Runs inside or outside of a transaction. */
  look(): void {
    const { store, clock, problems } = this.#context;
    this.#reviewed.clear();
    const sentences: string[] = [];
    const counts = store.db.sql("SELECT model, count(*) AS n FROM _sync_items WHERE swept IS NOT NULL GROUP BY model");
    for (const { model: number, n } of counts.all()) {
      const model = store.modelByNumber(Number(number)), count = Number(n);
      if (!model || count <= suspiciousCount) continue;
      const rows = store.rows(model).count();
      if (count <= rows * suspiciousShare) continue;
      this.#reviewed.set(model, clock.monotonicMs());
      sentences.push(`${count} of ${rows} rows of ${model.name}`);
    }
    if (sentences.length === 0) return problems.clear("review");
    problems.raise(
      "review",
      `the cloud's list lacks ${
        sentences.join(" and ")
      }: each is asked for by name, slowly; what is gone from the table ` +
        "is removed here and kept in _conflicts (swept)",
    );
  }

  /** Candidates whose turn it is, up to `limit` of each model: those of one that waits may all have a change that does. */
  take(limit: number): Marked[] {
    const { store, records, clock } = this.#context, now = clock.monotonicMs();
    const taken: Marked[] = [];
    for (const model of store.schema.models.values()) {
      if (!model.onDevice) continue;
      const dueMs = this.#reviewed.get(model);
      if (dueMs !== undefined && dueMs > now) continue;
      const found = records.candidates(model, dueMs === undefined ? limit : Math.min(limit, reviewKeys));
      if (dueMs !== undefined) this.#reviewed.set(model, now + reviewMs);
      taken.push(...found);
    }
    return taken;
  }

  /** Up to `limit` candidates of each model, whether it is their turn or not. */
  all(limit: number): Marked[] {
    const { store, records } = this.#context;
    return [...store.schema.models.values()].filter(({ onDevice }) => onDevice)
      .flatMap((model) => records.candidates(model, limit));
  }

  /** Some were answered: with the last one of a model, its review is over. */
  answered(): void {
    const { records } = this.#context;
    if ([...this.#reviewed.keys()].some((model) => records.candidates(model, 1).length === 0)) this.look();
  }

  /** When candidates that wait may be asked for (monotonic). */
  get dueMs(): number {
    return Math.min(Infinity, ...this.#reviewed.values());
  }
}
