/**
 * What the agent knows of each key beside its row: the **base** (the table's item that the row was made from), whether the
 * echo of its own write is awaited, whether it must be fetched again, and which stamp was removed last. It stands in the
 * side table `_sync_items`, by key, because `INSERT OR REPLACE` wipes a row and everything in it.
 *
 *            local write                 ack: base := sent              mark or item seen
 *   clean ─────────────▶ pending ─▶ in flight ─────────▶ awaiting echo ─────────▶ clean
 *     ▲                     ▲___________│ newer write                │ anything unexpected
 *     └───────────── fetched ◀───────────── recheck ◀────────────────┘
 *
 * Only **tracked** models have a record for each key: those that come down, and those that other devices may write (`up`
 * in a shared scope). An `up` model of one device has one only while it is rebased on a foreign item.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import { type Attributes, fieldOf, isExpired, parseJson } from "../../schema.ts";
import type { Current, Key, Version } from "../../protocol.ts";
import type { Learnt } from "./restores.ts";
import { keepConflict } from "../store/kept.ts";
import type { Store } from "../store/store.ts";
import type { Marked } from "./candidates.ts";

export { comesDown, goesUp, isTracked } from "../../schema/direction.ts";
export { keyText } from "../../protocol/keys.ts";

/** The agent's record of one key. */
export interface ItemRecord {
  readonly key: Key;
  readonly model: Model;
  /** The attributes of the table's item that the row came from, unknown ones included. Undefined: the table has none, as far as known. */
  base?: Attributes;
  /** The base's version; undefined where the item has no stamp (something wrote it that does not know of Twintable). */
  version?: Version;
  /** The agent's own write was acknowledged and has not come back yet. */
  awaiting: boolean;
  /** Set: fetch the key once it is settled. A serial number, so that an answer to an older question is told apart. */
  recheck?: number;
  /** With `recheck`: a snapshot's list did not show the key. If its fetch finds nothing, a copy of the row is kept. */
  swept?: boolean;
  /** The highest stamp that is known to be removed from the table. */
  gone?: number;
  /** The stamp given last to a change of this key. */
  issued?: number;
  /** Versions that a change of this key was sent with, and that the cloud refused because of its schema: a worker of another version may have written them. */
  prior?: readonly Version[];
  /** In which era of the table, and when (cloud's time, ms), base and `gone` were learnt: see `restores.ts`. {@link ItemRecords.save} sets them. */
  era?: number;
  atMs?: number;
  /** What the restored table lacks is offered: sent as it was, with the stamp that it had (`heal.ts`). */
  offer?: { readonly item: Attributes; readonly stamp: number };
  /** What was read: what has changed since is learnt now. */
  readonly read?: { readonly base?: Attributes; readonly gone?: number };
  /** It stands in the table: saving it when it says nothing any more has something to delete. */
  stored?: boolean;
}

/**
 * Whether the row of a record has expired. Not where the table's item says its time in a text, as some writer put it: the
 * row holds a date then, and the table never deletes the item by it.
 */
export function isRowExpired(model: Model, item: Attributes, base: Attributes | undefined, nowMs: number): boolean {
  return isExpired(model, item, nowMs) && !(base && expiresByText(model, base));
}

/** Whether an item's expiry time is a text, which is none to the table. */
export function expiresByText(model: Model, item: Attributes): boolean {
  const field = model.ttlField === undefined ? undefined : fieldOf(model, model.ttlField);
  return field !== undefined && typeof item[field.attribute] === "string";
}

/** The key fields' attributes among an item's: how `Change.key`, `_conflicts` and hints name a key. */
export function keyAttributesOf(model: Model, item: Attributes): Attributes {
  const attributes: Record<string, Attributes[string]> = {};
  for (const name of model.keyFields) {
    const { attribute } = fieldOf(model, name)!;
    if (attribute in item) attributes[attribute] = item[attribute]!;
  }
  return attributes;
}

/** Reads and writes records. Every writing method must run inside the store's transaction. */
export class ItemRecords {
  #recheckSerial: number;
  /** What is learnt from the message that is handled now. */
  readonly learnt: Learnt = { era: 0, atMs: 0 };

  constructor(readonly store: Store) {
    this.#recheckSerial = Number(
      store.db.sql("SELECT coalesce(max(recheck), 0) AS n FROM _sync_items WHERE recheck IS NOT NULL").get()!.n,
    );
  }

  get(key: Key): ItemRecord | undefined {
    const row = this.store.db.sql("SELECT * FROM _sync_items WHERE hash = ? AND sort = ?").get(key[0], key[1]);
    if (!row) return undefined;
    const model = this.store.modelByNumber(Number(row.model));
    if (!model) return undefined;
    const base = row.base === null ? undefined : parseJson(row.base as string) as Attributes;
    const gone = row.gone === null ? undefined : Number(row.gone);
    return {
      key,
      model,
      base,
      version: row.source === null ? undefined : [row.source as string, Number(row.stamp)],
      awaiting: row.awaiting === 1,
      recheck: row.recheck === null ? undefined : Number(row.recheck),
      swept: row.swept === 1,
      gone,
      issued: row.issued === null ? undefined : Number(row.issued),
      prior: row.prior === null ? undefined : JSON.parse(row.prior as string) as Version[],
      era: row.era === null ? undefined : Number(row.era),
      atMs: row.at === null ? undefined : Number(row.at),
      offer: row.offer === null ? undefined : parseJson(row.offer as string) as unknown as ItemRecord["offer"],
      read: { base, gone },
      stored: true,
    };
  }

  /** The record of a key, or a new one that is not stored until {@link save}. */
  open(model: Model, key: Key): ItemRecord {
    return this.get(key) ?? { key, model, awaiting: false };
  }

  /** Stores a record; one that says nothing any more is deleted. */
  save(record: ItemRecord): void {
    const { key, base, version, awaiting, recheck, swept, gone, issued, prior, offer } = record;
    if (base !== record.read?.base || gone !== record.read?.gone) Object.assign(record, this.learnt);
    if (
      base === undefined && !awaiting && recheck === undefined && gone === undefined && issued === undefined &&
      !prior &&
      !offer
    ) {
      if (record.stored) this.store.db.sql("DELETE FROM _sync_items WHERE hash = ? AND sort = ?").run(key[0], key[1]);
      record.stored = false;
      return;
    }
    record.stored = true;
    this.store.db.sql(`
      INSERT INTO _sync_items(hash, sort, model, source, stamp, base, awaiting, recheck, swept, gone, issued, prior, era, at, offer)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT(hash, sort) DO UPDATE SET model = excluded.model, source = excluded.source, stamp = excluded.stamp,
        base = excluded.base, awaiting = excluded.awaiting, recheck = excluded.recheck, swept = excluded.swept,
        gone = excluded.gone, issued = excluded.issued, prior = excluded.prior, era = excluded.era, at = excluded.at,
        offer = excluded.offer`).run(
      key[0],
      key[1],
      this.store.number(record.model),
      version?.[0] ?? null,
      version?.[1] ?? null,
      base === undefined ? null : JSON.stringify(base),
      awaiting ? 1 : 0,
      recheck ?? null,
      swept && recheck !== undefined ? 1 : null,
      gone ?? null,
      issued ?? null,
      prior ? JSON.stringify(prior) : null,
      record.era ?? null,
      record.atMs ?? null,
      offer ? JSON.stringify(offer) : null,
    );
  }

  /** Marks a record to be fetched again; the caller saves it. */
  mark(record: ItemRecord): void {
    record.recheck = ++this.#recheckSerial;
  }

  /** Marks a record that a snapshot did not show: see `candidates.ts`. The caller saves it. */
  markUnseen(record: ItemRecord): void {
    this.mark(record);
    record.swept = true;
  }

  /** Whether any key waits to be fetched. */
  get unfetched(): boolean {
    return this.store.db.sql("SELECT 1 FROM _sync_items WHERE recheck IS NOT NULL LIMIT 1").get() !== undefined;
  }

  /** Keys that wait to be fetched, oldest first, without what snapshots did not show. */
  rechecks(limit: number): Marked[] {
    return this.#marked(
      this.store.db.sql(
        `SELECT hash, sort, model, recheck FROM _sync_items WHERE recheck IS NOT NULL AND swept IS NULL
         ORDER BY recheck LIMIT ?`,
      ).all(limit),
    );
  }

  /** Keys of a model that snapshots did not show, oldest first. */
  candidates(model: Model, limit: number): Marked[] {
    return this.#marked(
      this.store.db.sql(
        `SELECT hash, sort, model, recheck FROM _sync_items WHERE swept IS NOT NULL AND model = ?
         ORDER BY recheck LIMIT ?`,
      ).all(this.store.number(model), limit),
    );
  }

  #marked(rows: readonly Record<string, unknown>[]): Marked[] {
    return rows.flatMap((row) => {
      const model = this.store.modelByNumber(Number(row.model));
      return model
        ? [{ key: [row.hash as string, row.sort as string] as const, model, serial: Number(row.recheck) }]
        : [];
    });
  }

  /**
   * Makes the row and the base what the table has (`current`, or absent). The record is changed, not saved. Must run
   * inside `applying`, so that it is not captured. A row that breaks a local constraint throws `SyncError("constraint")`.
   *
   * A row that says the same already is left alone: the application may have spelled a value in another way (a date, JSON
   * text), and its own write that comes back is no change.
   *
   * @returns whether there was anything to change
   */
  replace(record: ItemRecord, current: Current | undefined | null): boolean {
    const rows = this.store.rows(record.model);
    const changed = current ? rows.replace(record.key, current.item) : rows.remove(record.key);
    record.swept = false;
    // Only now: an item that the table refused leaves row and base as they were.
    record.base = current?.item;
    record.version = current?.version;
    return changed;
  }

  /** Keeps a version that lost, in the open. */
  conflict(
    model: Model,
    key: Attributes | Key,
    op: string,
    item: Attributes | undefined,
    why: string,
    version?: Version,
    timeMs = 0,
  ): void {
    keepConflict(this.store.db, { model: model.name, key, op, item, why, version, timeMs });
  }
}
