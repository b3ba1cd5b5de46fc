/**
 * `_changes`: the applied changes from the cloud, in order, for applications to poll and for `watch`. The changes of
 * one transaction are inserted by one statement at its end, not one by one.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import type { Attributes } from "../../schema.ts";
import type { DeviceClock } from "./clock.ts";
import type { Store } from "../store/store.ts";

type Row = readonly [model: string, key: string, op: "put" | "remove"];

/** Writes `_changes`. */
export class ChangesTable {
  #rows: Row[] = [];
  #transaction = -1;

  constructor(readonly store: Store, readonly clock: DeviceClock) {}

  /** Adds a change. Must run inside the transaction that makes it. */
  add(model: Model, keyAttributes: Attributes, op: "put" | "remove"): void {
    if (this.#transaction !== this.store.transaction) {
      this.#transaction = this.store.transaction;
      const rows = this.#rows = [] as Row[];
      this.store.beforeCommit(() => this.#insert(rows));
    }
    this.#rows.push([model.name, JSON.stringify(keyAttributes), op]);
  }

  #insert(rows: readonly Row[]): void {
    this.store.db.sql(
      `INSERT INTO _changes(model, key, op, time)
       SELECT value ->> 0, value ->> 1, value ->> 2, ? FROM json_each(?) ORDER BY json_each.key`,
    ).run(this.clock.nowMs(), JSON.stringify(rows));
  }
}
