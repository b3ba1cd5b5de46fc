/**
 * Makes every call of a table a step that the scheduler takes: between two of them anything else may happen, and a worker
 * that died never takes its next one.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Table } from "../../cloud/table/port.ts";
import { SyncError } from "../../schema.ts";
import type { Fault } from "./double.ts";

interface Step {
  readonly owner: number;
  go(): void;
}

/** The pending steps of all workers. */
export class Gate {
  readonly pending: Step[] = [];

  /** Waits for the scheduler. */
  turn(owner: number): Promise<void> {
    return new Promise((go) => this.pending.push({ owner, go }));
  }

  /** Lets one step go. */
  step(index: number): void {
    this.pending.splice(index, 1)[0]!.go();
  }

  /** A worker died: what it waited for never happens. */
  kill(owner: number): void {
    for (let i = this.pending.length - 1; i >= 0; i--) if (this.pending[i]!.owner === owner) this.pending.splice(i, 1);
  }
}

/** A table whose every call waits for its turn, and may fail: before anything was done, or after all of it. */
export function gated(table: Table, turn: () => Promise<void>, fault: () => Fault): Table {
  const pass = async <R>(call: () => Promise<R>): Promise<R> => {
    await turn();
    const what = fault();
    if (what === "throttled") throw unavailable();
    const result = await call();
    if (what === "repeated") throw unavailable();
    return result;
  };
  return {
    get: (keys) => pass(() => table.get(keys)),
    write: (writes, options) => pass(() => table.write(writes, options)),
    query: (query) => pass(() => table.query(query)),
    scan: (options) => pass(() => table.scan(options)),
    close: () => table.close(),
  };
}

function unavailable(): SyncError {
  return new SyncError("unavailable", "the table can't be reached", { retryable: true });
}

/** Lets everything that can run without a step of the gate run. */
export function idle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
