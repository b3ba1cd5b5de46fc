/**
 * The agent's state for other processes, stored in `_sync` for the `_status` view: link, last error, current problems
 * (`problems.ts`).
 *
 * Guarantee: a change is written as soon as the database accepts a write. A full disk accepts none: the facts are
 * written once it does, and the agent's own `status()` has them meanwhile.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";
import type { Store } from "../store/store.ts";

/** Names of facts, as `_sync` has them. */
export type FactName = "connected" | "lastError" | "lastErrorAt" | "problem" | "problems" | "walBytes";

/** The agent's facts. */
export class Facts {
  readonly #store: Store;
  readonly #values: Map<FactName, string | number | undefined> = new Map();
  readonly #unwritten: Set<FactName> = new Set();

  constructor(store: Store) {
    this.#store = store;
    this.set("walBytes", undefined);
  }

  get(name: FactName): string | number | undefined {
    return this.#values.get(name);
  }

  /** Sets a fact; undefined removes it. {@link write} stores it. */
  set(name: FactName, value: string | number | undefined): void {
    if (this.#values.has(name) && this.#values.get(name) === value) return;
    this.#values.set(name, value);
    this.#unwritten.add(name);
  }

  /** An error, and when it was: ms since 1970. */
  error(text: string | undefined, atMs: number): void {
    this.set("lastError", text);
    this.set("lastErrorAt", text === undefined ? undefined : Math.round(atMs));
  }

  /**
   * Writes what changed. False: the database accepts no write now; the next call tries again. @throws errors that are
   * not faults of the storage
   */
  write(): boolean {
    if (this.#unwritten.size === 0) return true;
    try {
      this.#store.tx(() => {
        for (const name of this.#unwritten) this.#store.setMeta(name, this.#values.get(name));
      }, true);
    } catch (error) {
      // Also if somebody has dropped `_sync`: then it cannot report anything.
      if (error instanceof SyncError || /no such table/.test(String(error))) return false;
      throw error;
    }
    this.#unwritten.clear();
    return true;
  }
}
