/**
 * What the agent knows of each key in addition to its row: the **base** (the table's item that the row was made from),
 * whether it awaits the echo of its own write, whether it must fetch the key again, and which stamp was removed last.
 * This is in the side table `_sync_items`, by key, because `INSERT OR REPLACE` deletes a row with everything in it.
 *
 *            local write                 ack: base := sent              mark or item seen
 *   clean ─────────────▶ pending ─▶ in flight ─────────▶ awaiting echo ─────────▶ clean
 *     ▲                     ▲___________│ newer write                │ anything unexpected
 *     └───────────── fetched ◀───────────── recheck ◀────────────────┘
 *
 * Only **tracked** models have a record for each key: those that come down, and those that other devices may write
 * (`up` in a shared scope). An `up` model of one device has one only while it is rebased on a foreign item.
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
  /** The base's version; undefined if the item has no stamp (a program that does not know Twintable wrote it). */
  version?: Version;
  /** The agent's own write was acknowledged and has not come back yet. */
  awaiting: boolean;
  /** Set: fetch the key once it is settled. A serial number, to recognise an answer to an older question. */
  recheck?: number;
  /** With `recheck`: a snapshot's list did not show the key. If its fetch finds nothing, a copy of the row is kept. */
  swept?: boolean;
  /** The highest stamp that is known to be removed from the table. */
  gone?: number;
  /** The highest stamp that an item without a later one is known to have replaced: gone, once the key is absent. */
  superseded?: number;
  /** The last stamp given to a change of this key. */
  issued?: number;
  /** Versions that a change of this key was sent with, and that the cloud refused because of its schema: a worker of another version may have written them. */
  prior?: readonly Version[];
  /**
   * The era of the table, and the cloud's time (ms), in which base and `gone` were learnt: see `restores.ts`.
   * {@link ItemRecords.save} sets them.
   */
  era?: number;
  atMs?: number;
  /** The restored table lacks this item, and it is offered: sent unchanged, with its original stamp (`heal.ts`). */
  offer?: { readonly item: Attributes; readonly stamp: number };
  /** The state as read: whatever differs from it on saving was learnt now. */
  readonly read?: { readonly base?: Attributes; readonly gone?: number };
  /** The record is in the database: saving it when it is empty must delete it. */
  stored?: boolean;
}

/**
 * Whether the row of a record has expired. Not if the table's item has its time as a text, from some other writer: the
 * row then holds a date, but the table never deletes the item by it.
 */
export function isRowExpired(model: Model, item: Attributes, base: Attributes | undefined, nowMs: number): boolean {
  return isExpired(model, item, nowMs) && !(base && expiresByText(model, base));
}

/** Whether an item's expiry time is a text, which the table does not treat as an expiry. */
export function expiresByText(model: Model, item: Attributes): boolean {
  const field = model.ttlField === undefined ? undefined : fieldOf(model, model.ttlField);
  return field !== undefined && typeof item[field.attribute] === "string";
}

/** The key fields' attributes among an item's: the form in which `Change.key`, `_conflicts` and hints name a key. */
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
  /** What the message that is being handled teaches. */
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
      superseded: row.superseded === null ? undefined : Number(row.superseded),
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

  /** Stores a record; deletes an empty one. */
  save(record: ItemRecord): void {
    const { key, base, version, awaiting, recheck, swept, gone, superseded, issued, prior, offer } = record;
    if (base !== record.read?.base || gone !== record.read?.gone) Object.assign(record, this.learnt);
    if (
      base === undefined && !awaiting && recheck === undefined && gone === undefined && superseded === undefined &&
      issued === undefined && !prior && !offer
    ) {
      if (record.stored) this.store.db.sql("DELETE FROM _sync_items WHERE hash = ? AND sort = ?").run(key[0], key[1]);
      record.stored = false;
      return;
    }
    record.stored = true;
    this.store.db.sql(`
      INSERT INTO _sync_items(hash, sort, model, source, stamp, base, awaiting, recheck, swept, gone, issued, prior, era, at, offer,
        superseded)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT(hash, sort) DO UPDATE SET model = excluded.model, source = excluded.source, stamp = excluded.stamp,
        base = excluded.base, awaiting = excluded.awaiting, recheck = excluded.recheck, swept = excluded.swept,
        gone = excluded.gone, issued = excluded.issued, prior = excluded.prior, era = excluded.era, at = excluded.at,
        offer = excluded.offer, superseded = excluded.superseded`).run(
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
      superseded ?? null,
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

  /**
   * Keys that wait to be fetched, oldest first, without those that snapshots did not show.
   *
   * @param held the numbers of models whose changes wait, with all their keys: at most `limit` of these come last
   */
  rechecks(limit: number, held: readonly number[] = []): Marked[] {
    const list = (where: string) =>
      this.#marked(
        this.store.db.sql(
          `SELECT hash, sort, model, recheck FROM _sync_items WHERE recheck IS NOT NULL AND swept IS NULL ${where}
           ORDER BY recheck LIMIT ?`,
        ).all(limit),
      );
    if (held.length === 0) return list("");
    return [...list(`AND model NOT IN (${held.join(", ")})`), ...list(`AND model IN (${held.join(", ")})`)];
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
   * Makes the row and the base equal to what the table has (`current`, or absent). The record is changed, not saved.
   * Must run inside `applying`, so that it is not captured. A row that breaks a local constraint throws
   * `SyncError("constraint")`.
   *
   * A row that already has the same meaning is left alone: the application may have spelled a value in another way (a
   * date, JSON text), and its own write that comes back is not a change.
   *
   * @returns whether there was anything to change
   */
  replace(record: ItemRecord, current: Current | undefined | null): boolean {
    const rows = this.store.rows(record.model);
    const changed = current ? rows.replace(record.key, current.item) : rows.remove(record.key);
    record.swept = false;
    // Only now: if the table refuses the item, row and base stay as they were.
    record.base = current?.item;
    record.version = current?.version;
    return changed;
  }

  /** Stores a version that lost in `_conflicts`. */
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
