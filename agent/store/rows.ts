/**
 * A model's rows as items: what the sync logic reads and writes. Items are tagged JSON by attribute name, without computed
 * attributes, without the identity that the key names, without attributes that never leave the device.
 *
 * Guarantee: what {@link Rows.put} writes, {@link Rows.byKey} gives back so that {@link Rows.equals} holds, and
 * {@link Rows.merged} gives back untouched what the device did not change, whatever form its writer gave it.
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
import { checkValue } from "../../schema/check.ts";
import { renderKey } from "../../schema/item.ts";
import {
  columnName,
  columnType,
  mayBeAltered,
  msToColumn,
  normalised,
  readSql,
  retagged,
  sameValue,
  textOf,
  toItem,
} from "./columns.ts";
import { defaultColumn, itemFields, keySql } from "./ddl.ts";
import { type KeyLookup, keyLookup } from "./key_lookup.ts";
import { toColumnLeniently } from "../migration/recast.ts";
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

/** A row of a list: without an item where it has a value that its column's type does not allow. */
export interface RangeRow {
  readonly key: Key;
  readonly row?: LocalRow;
}

/** What became of rows that were to go. */
export interface Removal {
  /** The `_id`s that no row has now. */
  readonly removed: readonly RowId[];
  /** Those whose rows an application's trigger or constraint keeps. */
  readonly refused: readonly RowId[];
  /** What the first of them was kept for. */
  readonly reason?: string;
}

/** The rows of one model. Writing methods are for the agent: call them inside `store.applying`. */
export interface Rows {
  /** @throws SyncError `invalid` for a value that its column's type does not allow (a table altered behind the schema) */
  byId(id: RowId): LocalRow | undefined;
  /** Rows by `_id`, read together. One that is missing, or that {@link byId} would throw for, is left out. */
  byIds(ids: readonly RowId[]): Map<RowId, LocalRow>;
  /** @throws SyncError as {@link byId} */
  byKey(key: Key): LocalRow | undefined;
  idByKey(key: Key): RowId | undefined;
  /** Undefined where there is no row, or it has no key: of a table that was altered behind the schema. */
  keyById(id: RowId): Key | undefined;
  /** The key fields of a row as JSON, for people; undefined where they have none. */
  keyJson(id: RowId): string | undefined;
  /**
   * Inserts the item or updates its row in place, keeping `_id` and what never leaves the device. Attributes that the
   * schema doesn't know are ignored; columns that the item lacks become NULL.
   *
   * @throws SyncError `constraint` for an item that the table can't hold, or whose attributes don't give the key
   */
  put(key: Key, item: Attributes): void;
  /**
   * As {@link put}, but a row that says the same already, in whatever spelling, is left alone.
   *
   * @returns whether there was anything to change
   * @throws SyncError as {@link put}
   */
  replace(key: Key, item: Attributes): boolean;
  /** Whether there was a row. */
  remove(key: Key): boolean;
  /** Deletes rows by `_id`. One that an application's trigger won't let go stays, and holds up no other. */
  removeIds(ids: readonly RowId[]): Removal;
  /** Those of them that rows have. */
  presentIds(ids: readonly RowId[]): RowId[];
  /** Sets the schema's timestamps of a row, ms since 1970. */
  setTimestamps(id: RowId, ms: { readonly created?: number; readonly updated?: number }): void;
  /** Whether {@link put} of this item would leave the row as it is. */
  equals(row: LocalRow, item: Attributes): boolean;
  /**
   * What is sent up: the row's item, but each attribute that is as the base has it in the base's own form, and with the
   * attributes of the base that the schema doesn't know.
   */
  merged(row: LocalRow, base: Attributes | undefined): Attributes;
  /** How many rows there are: reads the whole of an index. */
  count(): number;
  /** A page of rows behind `afterId`, by `_id`, whose keys `_sync_seen` does not have for the channel. Fewer than `limit`: the last page. */
  unseen(channel: string, afterId: RowId, limit: number): { readonly id: RowId; readonly key: Key }[];
  /**
   * Rows under a hash value behind `after` and up to `to` (absent: the last), in the order of their sort values, by key. A row
   * that {@link byKey} would throw for has no item.
   */
  range(hash: string, after: string, to: string | undefined, limit: number): RangeRow[];
  /** Rows behind `afterId` by `_id`, as {@link range}. */
  after(afterId: RowId, limit: number): (RangeRow & { readonly id: RowId })[];
}

/** What a row is given for attributes that it needs and its item lacks: the item is older than the requirement. */
function neededDefaults(model: Model): Map<Field, Json> {
  return new Map(
    itemFields(model).flatMap((field): [Field, Json][] => {
      const value = field.required ? defaultColumn(field) : undefined;
      return value === undefined ? [] : [[field, toItem(field, typeof value === "bigint" ? String(value) : value)!]];
    }),
  );
}

/** The same by attribute, for the cloud to count with. */
export function rowDefaults(model: Model): Attributes {
  return Object.fromEntries([...neededDefaults(model)].map(([{ attribute }, value]) => [attribute, value]));
}

/** {@link Rows} of a model that has a table. */
export class TableRows implements Rows {
  readonly #fields: readonly Field[];
  readonly #table: string;
  readonly #known: ReadonlySet<string>;
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
  /** The item before was a new one: then the next is tried as one, which spares a look for its row. */
  #mostlyNew = false;
  /** Of columns that may not be NULL: what an item that lacks the attribute has. The item is older than the requirement. */
  readonly #defaults: ReadonlyMap<Field, Json>;

  /** @param aim called before each write: see `Store.aim`; for who only reads, nothing */
  constructor(
    readonly db: Database,
    readonly model: Model,
    readonly identity: Identity,
    readonly aim: () => void = () => {},
  ) {
    this.#fields = itemFields(model);
    this.#defaults = neededDefaults(model);
    this.#table = ident(model.name);
    this.#known = new Set(model.fields.map((field) => field.attribute));
    const key = keySql(model);
    this.#lookup = keyLookup(model, identity);
    const keyColumns = `_id AS id, ${readSql("TEXT", key.hash)} AS h, ${
      key.sort ? readSql("TEXT", key.sort) : "''"
    } AS s`;
    const values = this.#fields.map((f, i) => `, ${readSql(columnType(f), columnName(f))} AS c${i}`).join("");
    // Of a table that was altered behind the schema: such a row is none of the table's items.
    const hasKey = `typeof(${key.hash}) = 'text'${key.sort ? ` AND typeof(${key.sort}) = 'text'` : ""}`;
    const where = this.#lookup.sql;
    const columns = this.#fields.map(columnName);
    this.#sql = {
      byId: `SELECT ${keyColumns}${values} FROM ${this.#table} WHERE _id = ?`,
      byIds: `SELECT ${keyColumns}${values} FROM ${this.#table} WHERE _id IN (SELECT value FROM json_each(?))`,
      byKey: `SELECT ${keyColumns}${values} FROM ${this.#table} WHERE ${where}`,
      idByKey: `SELECT _id AS id FROM ${this.#table} WHERE ${where}`,
      keyById: `SELECT ${keyColumns} FROM ${this.#table} WHERE _id = ?`,
      // A model of nothing but identity has no column to set: its row is as it must be.
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
      // A BLOB where a text belongs has no JSON.
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

  /** False where anything stands in the way: then the usual way tells what. */
  #insertNew(key: Key, item: Attributes): boolean {
    const values = this.#valuesOf(key, item);
    this.aim();
    try {
      // None: a trigger of an application skipped the row (RAISE(IGNORE)).
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
    return this.#fields.map((field) => this.#toColumn(field, key, this.#given(field, item)));
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

  /** `RAISE(IGNORE)` ends a statement as if it had succeeded: only what it changed tells. */
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
      // A trigger that calls what this process does not have: no deletion can even be prepared.
      if (isEnvironmental(error) || error instanceof SyncError) throw error;
      return { removed: [], refused: ids, reason: (error as Error).message };
    }
    try {
      if (remove.changes(rowIdsJson(ids)) === ids.length) return { removed: ids, refused: [] };
    } catch (error) {
      if (isEnvironmental(error) || !this.db.inTransaction) throw error;
    }
    // A trigger or a constraint of an application refuses some of them, or ignores it: each by itself.
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
      // A value that its type does not allow is none that the item has: it is to be written over.
      if (error instanceof SyncError && error.code === "invalid") return false;
      throw error;
    }
  }

  equals(row: LocalRow, item: Attributes): boolean {
    return this.#fields.every((field) => this.#same(field, row.item[field.attribute], this.#given(field, item)));
  }

  merged(row: LocalRow, base: Attributes | undefined): Attributes {
    if (!base) return row.item;
    const merged: [string, Json][] = [];
    for (const field of this.#fields) {
      const mine = row.item[field.attribute], theirs = base[field.attribute];
      const same = this.#same(field, mine, this.#given(field, base));
      const value = same && this.#isTakenBack(field, theirs) ? theirs : this.#asSent(field, mine, theirs);
      if (value !== undefined) merged.push([field.attribute, value]);
    }
    // Not by assignment: `__proto__` is a name like any other.
    return Object.fromEntries([
      ...merged,
      ...Object.entries(base).filter(([attribute]) => !this.#known.has(attribute)),
    ]);
  }

  #asSent(field: Field, mine: Json | undefined, theirs: Json | undefined): Json | undefined {
    if (mine === undefined || (field.type !== "object" && field.type !== "array")) return mine;
    const sent = retagged(mine, theirs);
    // The schema may have changed: what was a set is declared a list now.
    return checkValue(field, sent) === undefined ? sent : mine;
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

  /** An item's value, or what stands for one that the table needs and the item lacks. */
  #given(field: Field, item: Attributes): Json | undefined {
    return item[field.attribute] ?? this.#defaults.get(field) ?? item[field.attribute];
  }

  /** Whether the cloud takes a base's own form: not one of a type that the field had once, nor a gap that it must fill. */
  #isTakenBack(field: Field, theirs: Json | undefined): boolean {
    return theirs == null ? !this.#defaults.has(field) : checkValue(field, theirs) === undefined;
  }

  /** Whether the row's value is the one that the column would have for the given one. */
  #same(field: Field, mine: Json | undefined, given: Json | undefined): boolean {
    try {
      return sameValue(mine, normalised(field, given));
    } catch {
      // A value of another type than the column's may mean one of it; otherwise it is no value that the column has.
      const meant = this.#meant(field, given);
      return meant !== undefined && sameValue(mine, meant);
    }
  }

  #meant(field: Field, given: Json | undefined): Json | undefined {
    try {
      const column = toColumnLeniently(field, given);
      return toItem(field, typeof column === "bigint" ? String(column) : column);
    } catch {
      return undefined;
    }
  }

  #toColumn(field: Field, key: Key, value: Json | undefined): SqlValue {
    try {
      return toColumnLeniently(field, value);
    } catch (cause) {
      const why = (cause as Error).message;
      throw new SyncError("constraint", `Writing ${this.#name(key)}: ${field.name} ${why}`, { cause });
    }
  }

  /**
   * Refuses a row with a text that is no UTF-8 (`CAST(x'42fc' AS TEXT)`), its key's first: the runtime has made another one of
   * it, which would go up in its place, or remove another item.
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

/** @throws SyncError `invalid` for a row without a key: of a table that was altered behind the schema */
function keyOfRow(row: SqlRow): Key {
  try {
    return [textOf(row.h ?? null), textOf(row.s ?? null)];
  } catch (cause) {
    throw new SyncError("invalid", `row ${row.id} has no key: ${(cause as Error).message}`, { cause });
  }
}
