/**
 * A model's rows as items: what the sync logic reads and writes. Items are tagged JSON by attribute name, without
 * computed attributes, without the identity that the key names, without attributes that never leave the device.
 *
 * Guarantee: what {@link Rows.put} writes, {@link Rows.byKey} gives back so that {@link Rows.equals} holds, and
 * {@link Rows.merged} returns values that the device did not change in the form that their writer gave them.
 *
 * @module
 */
import {
  type Database,
  faultOf,
  type RowId,
  rowIdOf,
  rowIdsJson,
  type SqlRow,
  type SqlValue,
  type Statement,
} from "../sqlite/driver.ts";
import type { Key } from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Field, Identity, Model } from "../../schema/model.ts";
import type { Attributes, Json } from "../../schema/values.ts";
import { renderKey } from "../../schema/item.ts";
import { columnName, columnType, mayBeAltered, msToColumn, readSql, textOf, toItem } from "./columns.ts";
import { itemFields, keySql } from "./ddl.ts";
import { type KeyLookup, keyLookup } from "./key_lookup.ts";
import { RowValues } from "./row_values.ts";
import { isEnvironmental, toSyncError } from "./faults.ts";
import { ident } from "./sql.ts";
import { refuseAlteredTexts } from "./texts.ts";
import { keyJsonSql } from "./triggers.ts";

/** A row as an item. */
export interface LocalRow {
  /** The row's `_id`. */
  readonly id: RowId;
  readonly key: Key;
  readonly item: Attributes;
}

/** A row of a list: without an item if it has a value that its column's type does not allow. */
export interface RangeRow {
  readonly key: Key;
  readonly row?: LocalRow;
}

/** The result of deleting rows. */
export interface Removal {
  /** The `_id`s that no row has now. */
  readonly removed: readonly RowId[];
  /** Those whose rows an application's trigger or constraint refuses to delete. */
  readonly refused: readonly RowId[];
  /** The reason for the first of them. */
  readonly reason?: string;
}

/** The rows of one model. Writing methods are for the agent: call them inside `store.applying`. */
export interface Rows {
  /**
   * @throws SyncError `invalid` for a value that its column's type does not allow (in a table altered without the
   * schema)
   */
  byId(id: RowId): LocalRow | undefined;
  /** Rows by `_id`, read together. Missing rows, and rows for which {@link byId} would throw, are left out. */
  byIds(ids: readonly RowId[]): Map<RowId, LocalRow>;
  /** @throws SyncError as {@link byId} */
  byKey(key: Key): LocalRow | undefined;
  idByKey(key: Key): RowId | undefined;
  /** Undefined if there is no row, or if it has no key (in a table that was altered without the schema). */
  keyById(id: RowId): Key | undefined;
  /** The key fields of a row as JSON, for people; undefined if they have none. */
  keyJson(id: RowId): string | undefined;
  /**
   * Inserts the item or updates its row in place, keeping `_id` and what never leaves the device. Attributes that the
   * schema doesn't know are ignored; columns that the item lacks become NULL.
   *
   * @throws SyncError `constraint` for an item that the table can't hold, or whose attributes don't make the key
   */
  put(key: Key, item: Attributes): void;
  /**
   * As {@link put}, but a row that already has the same meaning, in any spelling, is left alone.
   *
   * @returns whether there was anything to change
   * @throws SyncError as {@link put}
   */
  replace(key: Key, item: Attributes): boolean;
  /** Whether there was a row. */
  remove(key: Key): boolean;
  /** Deletes rows by `_id`. A row that an application's trigger does not let go stays, and holds up no other. */
  removeIds(ids: readonly RowId[]): Removal;
  /** Those of them that rows have. */
  presentIds(ids: readonly RowId[]): RowId[];
  /** Sets the schema's timestamps of a row, ms since 1970. */
  setTimestamps(id: RowId, ms: { readonly created?: number; readonly updated?: number }): void;
  /** Whether {@link put} of this item would leave the row as it is. */
  equals(row: LocalRow, item: Attributes): boolean;
  /**
   * The item to send: the row's item, but with unchanged attributes in the base's own form, and with the base's
   * attributes that the schema does not know.
   */
  merged(row: LocalRow, base: Attributes | undefined): Attributes;
  /** The number of rows: reads a whole index. */
  count(): number;
  /**
   * A page of rows after `afterId`, by `_id`, whose keys are not in `_sync_seen` for the channel. Fewer than `limit`:
   * the last page.
   */
  unseen(channel: string, afterId: RowId, limit: number): { readonly id: RowId; readonly key: Key }[];
  /**
   * Rows with a hash value, after `after` and up to `to` (absent: the last), in the order of their sort values, by key.
   * A row for which {@link byKey} would throw has no item.
   */
  range(hash: string, after: string, to: string | undefined, limit: number): RangeRow[];
  /** Rows after `afterId` by `_id`, as {@link range}. */
  after(afterId: RowId, limit: number): (RangeRow & { readonly id: RowId })[];
}

/** {@link Rows} of a model that has a table. */
export class TableRows implements Rows {
  readonly #fields: readonly Field[];
  readonly #table: string;
  readonly #values: RowValues;
  readonly #sql: Readonly<
    Record<
      | "byId"
      | "byIds"
      | "byKey"
      | "idByKey"
      | "keyById"
      | "update"
      | "insert"
      | "remove"
      | "unseen"
      | "list"
      | "after",
      string
    >
  >;
  readonly #lookup: KeyLookup;
  /** The previous item was new: then the next is tried as a new one, too, which saves a look-up of its row. */
  #mostlyNew = false;

  /** @param aim called before each write: see `Store.aim`; a no-op for readers */
  constructor(
    readonly db: Database,
    readonly model: Model,
    readonly identity: Identity,
    readonly aim: () => void = () => {},
  ) {
    this.#fields = itemFields(model);
    this.#table = ident(model.name);
    this.#values = new RowValues(model);
    const key = keySql(model);
    this.#lookup = keyLookup(model, identity);
    const keyColumns = `_id AS id, ${readSql("TEXT", key.hash)} AS h, ${
      key.sort ? readSql("TEXT", key.sort) : "''"
    } AS s`;
    const values = this.#fields.map((f, i) => `, ${readSql(columnType(f), columnName(f))} AS c${i}`).join("");
    // In a table that was altered without the schema: such a row is not an item of the table.
    const hasKey = `typeof(${key.hash}) = 'text'${key.sort ? ` AND typeof(${key.sort}) = 'text'` : ""}`;
    const where = this.#lookup.sql;
    const columns = this.#fields.map(columnName);
    this.#sql = {
      byId: `SELECT ${keyColumns}${values} FROM ${this.#table} WHERE _id = ?`,
      byIds: `SELECT ${keyColumns}${values} FROM ${this.#table} WHERE _id IN (SELECT value FROM json_each(?))`,
      byKey: `SELECT ${keyColumns}${values} FROM ${this.#table} WHERE ${where}`,
      idByKey: `SELECT _id AS id FROM ${this.#table} WHERE ${where}`,
      keyById: `SELECT ${keyColumns} FROM ${this.#table} WHERE _id = ?`,
      // A model that has only identity fields has no column to set: its row is already right.
      update: `UPDATE ${this.#table} SET ${columns.map((c) => `${c} = ?`).join(", ") || "_id = _id"} WHERE ${where}`,
      insert: columns.length > 0
        ? `INSERT INTO ${this.#table}(${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`
        : `INSERT INTO ${this.#table} DEFAULT VALUES`,
      remove: `DELETE FROM ${this.#table} WHERE ${where}`,
      list: `SELECT ${keyColumns}${values} FROM ${this.#table}`,
      after: `SELECT ${keyColumns}${values} FROM ${this.#table} WHERE _id > ? AND ${hasKey} ORDER BY _id LIMIT ?`,
      // The subquery keeps the model's own column names apart from those of _sync_seen; SQLite flattens it.
      unseen: `SELECT id, h, s FROM (SELECT ${keyColumns}, ${key.hash} AS hash0, ${key.sort ?? "''"} AS sort0
        FROM ${this.#table} WHERE _id > ? AND ${hasKey}) AS r
        WHERE NOT EXISTS (SELECT 1 FROM _sync_seen WHERE channel = ? AND hash = r.hash0 AND sort = r.sort0)
        ORDER BY id LIMIT ?`,
    };
  }

  byId(id: RowId): LocalRow | undefined {
    const row = this.db.sql(this.#sql.byId).get(id);
    return row && this.#toLocal(row);
  }

  byIds(ids: readonly RowId[]): Map<RowId, LocalRow> {
    const rows = new Map<RowId, LocalRow>();
    for (const row of this.db.sql(this.#sql.byIds).all(rowIdsJson(ids))) {
      try {
        rows.set(rowIdOf(row.id), this.#toLocal(row));
      } catch (error) {
        if (!(error instanceof SyncError) || error.code !== "invalid") throw error;
      }
    }
    return rows;
  }

  byKey(key: Key): LocalRow | undefined {
    const row = this.db.sql(this.#sql.byKey).get(...this.#lookup.values(key));
    return row && this.#toLocal(row);
  }

  idByKey(key: Key): RowId | undefined {
    const row = this.db.sql(this.#sql.idByKey).get(...this.#lookup.values(key));
    return row && rowIdOf(row.id);
  }

  keyJson(id: RowId): string | undefined {
    try {
      const row = this.db.sql(`SELECT ${keyJsonSql(this.model, "t")} AS key FROM ${this.#table} AS t WHERE _id = ?`)
        .get(id);
      return typeof row?.key === "string" && !mayBeAltered(row.key) ? row.key : undefined;
    } catch (error) {
      // A BLOB instead of a text has no JSON.
      if (isEnvironmental(error)) throw error;
      return undefined;
    }
  }

  keyById(id: RowId): Key | undefined {
    const row = this.db.sql(this.#sql.keyById).get(id);
    if (!row) return undefined;
    try {
      this.#checkTexts(row, []);
      return keyOfRow(row);
    } catch (error) {
      if (!(error instanceof SyncError) || error.code !== "invalid") throw error;
      return undefined;
    }
  }

  put(key: Key, item: Attributes): void {
    this.#write(key, item, true);
  }

  replace(key: Key, item: Attributes): boolean {
    if (this.#mostlyNew && this.#insertNew(key, item)) return true;
    const row = this.db.sql(this.#sql.byKey).get(...this.#lookup.values(key));
    this.#mostlyNew = row === undefined;
    if (row && this.#holds(row, item)) return false;
    this.#write(key, item, row !== undefined);
    return true;
  }

  /** False if anything prevents it: then the usual path reports the cause. */
  #insertNew(key: Key, item: Attributes): boolean {
    const values = this.#valuesOf(key, item);
    this.aim();
    try {
      // No row: an application's trigger skipped it (RAISE(IGNORE)).
      return this.db.sql(this.#sql.insert).changes(...values) > 0;
    } catch (error) {
      if (faultOf(error) === "constraint") return false;
      throw toSyncError(error, `Writing ${this.#name(key)}`);
    }
  }

  #valuesOf(key: Key, item: Attributes): SqlValue[] {
    const [hash, sort] = renderKey(this.model, item, this.identity) ?? [];
    if (hash !== key[0] || sort !== key[1]) {
      throw new SyncError("constraint", `${this.#name(key)}: the item's attributes don't give its key`);
    }
    try {
      return this.#values.columnsOf(item);
    } catch (cause) {
      throw new SyncError("constraint", `Writing ${this.#name(key)}: ${(cause as Error).message}`, { cause });
    }
  }

  #write(key: Key, item: Attributes, mayExist: boolean): void {
    const values = this.#valuesOf(key, item);
    this.aim();
    try {
      if (mayExist && this.db.sql(this.#sql.update).changes(...values, ...this.#lookup.values(key)) > 0) return;
      // A row that is there and was not updated was skipped.
      const isThere = mayExist && this.idByKey(key) !== undefined;
      if (isThere || this.db.sql(this.#sql.insert).changes(...values) === 0) throw this.#skipped("write of", key);
    } catch (error) {
      throw toSyncError(error, `Writing ${this.#name(key)}`);
    }
  }

  /** `RAISE(IGNORE)` ends a statement as if it had succeeded: only the number of changes shows it. */
  #skipped(what: string, key: Key): SyncError {
    return new SyncError(
      "constraint",
      `a trigger of an application ignores the ${what} ${this.#name(key)} (RAISE(IGNORE))`,
    );
  }

  remove(key: Key): boolean {
    this.aim();
    try {
      if (this.db.sql(this.#sql.remove).changes(...this.#lookup.values(key)) > 0) return true;
      if (this.idByKey(key) === undefined) return false;
      throw this.#skipped("removal of", key);
    } catch (error) {
      throw toSyncError(error, `Removing ${this.#name(key)}`);
    }
  }

  removeIds(ids: readonly RowId[]): Removal {
    this.aim();
    const sql = `DELETE FROM ${this.#table} WHERE _id IN (SELECT value FROM json_each(?))`;
    let remove: Statement;
    try {
      remove = this.db.sql(sql);
    } catch (error) {
      // A trigger calls a function that this process does not have: no deletion can even be prepared.
      if (isEnvironmental(error) || error instanceof SyncError) throw error;
      return { removed: [], refused: ids, reason: (error as Error).message };
    }
    try {
      if (remove.changes(rowIdsJson(ids)) === ids.length) return { removed: ids, refused: [] };
    } catch (error) {
      if (isEnvironmental(error) || !this.db.inTransaction) throw error;
    }
    // A trigger or a constraint of an application refuses or ignores some of them: delete them one by one.
    const removed: RowId[] = [], refused: RowId[] = [];
    let reason: string | undefined;
    for (const id of ids) {
      try {
        remove.run(rowIdsJson([id]));
        if (!this.#has(id)) {
          removed.push(id);
          continue;
        }
        reason ??= "a trigger of an application ignores it (RAISE(IGNORE))";
      } catch (error) {
        if (isEnvironmental(error) || !this.db.inTransaction) throw error;
        reason ??= (error as Error).message;
      }
      refused.push(id);
    }
    return { removed, refused, reason };
  }

  presentIds(ids: readonly RowId[]): RowId[] {
    return this.db.sql(`SELECT _id FROM ${this.#table} WHERE _id IN (SELECT value FROM json_each(?))`)
      .all(rowIdsJson(ids)).map(({ _id }) => rowIdOf(_id));
  }

  #has(id: RowId): boolean {
    return this.db.sql(`SELECT 1 FROM ${this.#table} WHERE _id = ?`).get(id) !== undefined;
  }

  setTimestamps(id: RowId, ms: { readonly created?: number; readonly updated?: number }): void {
    this.aim();
    for (const which of ["created", "updated"] as const) {
      const name = which === "created" ? this.model.createdField : this.model.updatedField;
      const field = this.model.fields.find((f) => f.name === name);
      const value = ms[which];
      if (!field || field.template || value === undefined) continue;
      this.db.sql(`UPDATE ${this.#table} SET ${columnName(field)} = ? WHERE _id = ?`).run(msToColumn(field, value), id);
    }
  }

  #holds(row: SqlRow, item: Attributes): boolean {
    try {
      return this.equals(this.#toLocal(row), item);
    } catch (error) {
      // A value that its type does not allow differs from any item's value: it must be overwritten.
      if (error instanceof SyncError && error.code === "invalid") return false;
      throw error;
    }
  }

  equals(row: LocalRow, item: Attributes): boolean {
    return this.#values.equals(row.item, item);
  }

  merged(row: LocalRow, base: Attributes | undefined): Attributes {
    return this.#values.merged(row.item, base);
  }

  count(): number {
    return Number(this.db.sql(`SELECT count(*) AS n FROM ${this.#table}`).get()!.n);
  }

  unseen(channel: string, afterId: RowId, limit: number): { readonly id: RowId; readonly key: Key }[] {
    return this.db.sql(this.#sql.unseen).all(afterId, channel, limit)
      .map((row) => ({ id: rowIdOf(row.id), key: keyOfRow(row) }));
  }

  range(hash: string, after: string, to: string | undefined, limit: number): RangeRow[] {
    const where = this.#lookup.between(hash, after, to);
    if (!where) return [];
    return this.db.sql(`${this.#sql.list} WHERE ${where.sql} ORDER BY ${this.#lookup.order} LIMIT ?`)
      .all(...where.values, limit).map((row) => this.#toRangeRow(row));
  }

  after(afterId: RowId, limit: number): (RangeRow & { readonly id: RowId })[] {
    return this.db.sql(this.#sql.after).all(afterId, limit)
      .map((row) => ({ id: rowIdOf(row.id), ...this.#toRangeRow(row) }));
  }

  #toRangeRow(row: SqlRow): RangeRow {
    const key = keyOfRow(row);
    try {
      return { key, row: this.#toLocal(row) };
    } catch (error) {
      if (!(error instanceof SyncError) || error.code !== "invalid") throw error;
      return { key };
    }
  }

  /**
   * Refuses a row with a text that is not UTF-8 (`CAST(x'42fc' AS TEXT)`), the key's texts first: the runtime has made
   * another text of it, which would be sent instead, or would remove another item.
   */
  #checkTexts(row: SqlRow, fields: readonly Field[]): void {
    if (!mayBeAltered(row.h) && !mayBeAltered(row.s) && !fields.some((_, i) => mayBeAltered(row[`c${i}`]))) return;
    const { hash, sort } = keySql(this.model);
    refuseAlteredTexts(this.db, this.model, row.id, [
      { name: "its key", sql: hash, value: row.h },
      { name: "its key", sql: sort ?? "''", value: row.s },
      ...fields.map((field, i) => ({ name: field.name, sql: columnName(field), value: row[`c${i}`] })),
    ]);
  }

  #toLocal(row: SqlRow): LocalRow {
    this.#checkTexts(row, this.#fields);
    const key = keyOfRow(row);
    const item: Record<string, Json> = {};
    for (const [i, field] of this.#fields.entries()) {
      try {
        const value = toItem(field, row[`c${i}`] ?? null);
        if (value !== undefined) item[field.attribute] = value;
      } catch (cause) {
        const why = (cause as Error).message;
        throw new SyncError("invalid", `Reading ${this.#name(key)}: ${field.name} ${why}`, { cause });
      }
    }
    return { id: rowIdOf(row.id), key, item };
  }

  #name(key: Key): string {
    return `${this.model.name} ${JSON.stringify(key)}`;
  }
}

/** @throws SyncError `invalid` for a row without a key (in a table that was altered without the schema) */
function keyOfRow(row: SqlRow): Key {
  try {
    return [textOf(row.h ?? null), textOf(row.s ?? null)];
  } catch (cause) {
    throw new SyncError("invalid", `row ${row.id} has no key: ${(cause as Error).message}`, { cause });
  }
}
