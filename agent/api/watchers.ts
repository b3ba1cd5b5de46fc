/**
 * Watches changes from the cloud, from a position that survives restarts. `_changes` is the only source: a live watcher
 * gets the same changes that it finds there after a restart, in the same order, with the same numbers.
 *
 * A change says what happened to a key; the item that comes with it is the row at the time of the call, which may be
 * newer. Changes are retained for a while (`limits.historyMax`): a watch from an older position is refused, not
 * silently served less.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import { type Attributes, parseJson, renderKey, SyncError } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import { plainItem } from "./models.ts";
import { jsonToProperty } from "./properties.ts";
import type { Store } from "../store/store.ts";

/** A change that came from the cloud and is committed. */
export interface WatchedChange {
  /** The change's number in `_changes`: ask for what is after it with `since`. */
  readonly sequence: number;
  /** The model's name. */
  readonly model: string;
  /** Whether the item was written or removed. */
  readonly op: "put" | "remove";
  /** The item's primary key in the table: hash and sort value. */
  readonly key: Key;
  /** The properties that the key is made of. */
  readonly keyProperties: Record<string, unknown>;
  /** The item's properties as they are now; absent for `remove`, and if the row is gone since. */
  readonly item?: Record<string, unknown>;
}

/** Where a watch starts and how it ends. */
export interface WatchOptions {
  /** Start with the change after this one. Default: with new changes only. 0: with the oldest that is retained. */
  readonly since?: number;
  /** Ends the watch. */
  readonly signal?: AbortSignal;
}

/** Rows of `_changes` read at once. */
const pageRows = 256;

interface Watcher {
  readonly model: Model;
  readonly tell: (change: WatchedChange) => void;
  /** The last change that it got, or that belonged to another model. */
  at: number;
}

/** The watchers of one agent. */
export class Watchers {
  readonly #store: Store;
  readonly #watchers: Set<Watcher> = new Set();
  #queued = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** The number of the newest change; 0: there never was one. It does not go back when old changes are deleted. */
  get sequence(): number {
    const row = this.#store.db.sql("SELECT seq FROM sqlite_sequence WHERE name = '_changes'").get();
    return Number(row?.seq ?? 0);
  }

  /**
   * Adds a watcher. Retained changes after `since` are delivered in a microtask, later ones after their commit.
   *
   * @returns a function that ends it
   * @throws SyncError `trimmed` if changes after `since` are no longer retained, or it is not a number of this database
   */
  add(model: Model, tell: (change: WatchedChange) => void, { since, signal }: WatchOptions): () => void {
    const newest = this.sequence;
    if (since !== undefined && since !== 0) this.#checkKept(since, newest);
    const watcher: Watcher = { model, tell, at: since ?? newest };
    const end = () => {
      this.#watchers.delete(watcher);
      signal?.removeEventListener("abort", end);
    };
    if (signal?.aborted) return end;
    signal?.addEventListener("abort", end, { once: true });
    this.#watchers.add(watcher);
    if (watcher.at < newest) this.wake();
    return end;
  }

  #checkKept(since: number, newest: number): void {
    if (!Number.isSafeInteger(since) || since < 0) {
      throw new RangeError(`since must be a change's sequence, not ${since}`);
    }
    const oldest = this.#store.db.sql("SELECT min(sequence) AS n FROM _changes").get()!.n;
    const kept = oldest === null ? newest + 1 : Number(oldest);
    if (since >= kept - 1 && since <= newest) return;
    throw new SyncError(
      "trimmed",
      `the changes after ${since} are no longer retained: those from ${kept} to ${newest} are`,
      {
        hint: "Note the agent's `sequence`, read the items themselves, then watch from there.",
      },
    );
  }

  /** There may be new changes. They are delivered in a microtask, after the present call has ended. */
  wake(): void {
    if (this.#queued || this.#watchers.size === 0) return;
    this.#queued = true;
    queueMicrotask(() => {
      this.#queued = false;
      for (const watcher of this.#watchers) this.#tellAll(watcher);
    });
  }

  /** Ends every watch. */
  close(): void {
    this.#watchers.clear();
  }

  #tellAll(watcher: Watcher): void {
    const page = this.#store.db.sql(
      "SELECT sequence, model, key, op FROM _changes WHERE sequence > ? ORDER BY sequence LIMIT ?",
    );
    for (let rows = page.all(watcher.at, pageRows); rows.length > 0; rows = page.all(watcher.at, pageRows)) {
      for (const row of rows) {
        // Its own callback may have ended it, or closed the agent.
        if (!this.#watchers.has(watcher)) return;
        watcher.at = Number(row.sequence);
        if (row.model !== watcher.model.name) continue;
        const change = this.#changeOf(watcher.model, row);
        if (change) this.#tell(watcher, change);
      }
    }
  }

  /** A callback that throws ends neither its own watch nor others. The error is reported to the program. */
  #tell(watcher: Watcher, change: WatchedChange): void {
    try {
      watcher.tell(change);
    } catch (error) {
      reportError(error);
    }
  }

  /** Undefined: a change of before the model had another key. There is no such item any more. */
  #changeOf(model: Model, row: Record<string, unknown>): WatchedChange | undefined {
    const attributes = parseJson(row.key as string) as Attributes;
    const key = renderKey(model, attributes, this.#store.identity);
    if (!key) return undefined;
    const fields = model.fields.filter((field) => model.keyFields.includes(field.name));
    const keyProperties = Object.fromEntries(
      fields.map((field) => [field.name, jsonToProperty(attributes[field.attribute] ?? null, field)]),
    );
    const op = row.op as "put" | "remove";
    const item = op === "put" ? plainItem(this.#store, model, key) : undefined;
    return { sequence: Number(row.sequence), model: model.name, op, key, keyProperties, ...(item ? { item } : {}) };
  }
}
