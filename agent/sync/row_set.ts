/**
 * Rows that are remembered by their number.
 *
 * @module
 */
import type { RowId } from "../sqlite/driver.ts";

/** Rows by their model's number and their `_id`. */
export class RowSet {
  readonly #byModel: Map<number, Set<RowId>> = new Map();

  add(model: number, row: RowId): void {
    const rows = this.#byModel.get(model);
    if (rows) rows.add(row);
    else this.#byModel.set(model, new Set([row]));
  }

  /** Whether it was there. */
  delete(model: number, row: RowId): boolean {
    return this.#byModel.get(model)?.delete(row) ?? false;
  }

  clear(): void {
    this.#byModel.clear();
  }
}
