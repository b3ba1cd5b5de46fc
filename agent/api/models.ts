/**
 * The typed API of a model for TypeScript applications: local SQL with JavaScript values, through the same triggers and
 * constraints as any other process. Every write is committed when the call returns, and is synced in the background.
 *
 * Calls inside `store.tx` join that transaction. All methods are synchronous, as SQLite is.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import { checkValue } from "../../schema/check.ts";
import { SyncError } from "../../schema/errors.ts";
import { renderKey } from "../../schema/item.ts";
import { idIn } from "../../schema/identity.ts";
import type { Field, Model } from "../../schema/model.ts";
import type { CreateOf, ItemOf, KeyOf, ModelName, OneTableSchema } from "../../schema/types.ts";
import type { Json } from "../../schema/values.ts";
import { type RowId, rowIdOf, type SqlRow, type SqlValue } from "../sqlite/driver.ts";
import { countRows, type FindOptions, findRows, type Page, type Where } from "./find.ts";
import { jsonToProperty, propertyToJson } from "./properties.ts";
import {
  columnName,
  columnToMs,
  columnType,
  mayBeAltered,
  readSql,
  textOf,
  toColumn,
  toItem,
} from "../store/columns.ts";
import { refuseAlteredTexts } from "../store/texts.ts";
import { ownName, uniqueIndexes } from "../store/ddl.ts";
import { toSyncError } from "../store/faults.ts";
import { ident } from "../store/sql.ts";
import type { Store } from "../store/store.ts";
import { changedProperties, type Properties, type UpdateParams } from "./update.ts";

export type { UpdateParams } from "./update.ts";
export type { AllOf, Condition, FindOptions, MemberOf, Page, Where } from "./find.ts";

/**
 * Names of a schema's models, in a form that a class with the schema as type parameter can pass on.
 *
 * @internal
 */
export type NameIn<S extends OneTableSchema> = keyof S["models"] & string;
/**
 * An item of a model.
 *
 * @internal
 */
type Item<S extends OneTableSchema, M> = ItemOf<S, Extract<M, ModelName<S>>>;
/**
 * What creating one takes.
 *
 * @internal
 */
type Create<S extends OneTableSchema, M> = CreateOf<S, Extract<M, ModelName<S>>>;
/**
 * Its key.
 *
 * @internal
 */
type KeyProperties<S extends OneTableSchema, M> = KeyOf<S, Extract<M, ModelName<S>>>;

/** What `update` takes: the key's properties and those to change. Null removes a property, undefined leaves it. */
export type UpdateOf<S extends OneTableSchema, M> =
  & KeyProperties<S, M>
  & { [P in keyof Create<S, M>]?: Create<S, M>[P] | null };

/**
 * A model's items on this device.
 *
 * All methods throw SyncError `invalid` (a value that the schema does not allow), `constraint` (another `unique` field),
 * `read-only` (a model that only comes down), `busy` and `full` (retryable), and TypeError for a property that the model
 * doesn't have, a missing key property, or a value of another type.
 */
export interface ModelApi<S extends OneTableSchema, M extends NameIn<S>> {
  /**
   * Inserts an item; defaults, ids and timestamps are filled in. @param params with `exists: null`, the item replaces
   * an existing one with this key: omitted properties are removed, or get their default
   * @throws SyncError `exists` if the key is taken
   */
  create(properties: Create<S, M>, params?: { readonly exists?: false | null }): Item<S, M>;
  /** Inserts items, all or none, in one transaction. @throws as {@link ModelApi.create} */
  createAll(list: readonly Create<S, M>[], params?: { readonly exists?: false | null }): Item<S, M>[];
  /** The item of a key; undefined if there is none. */
  get(key: KeyProperties<S, M>): Item<S, M> | undefined;
  /** The items of these keys as they are at one moment, in their order; undefined if there is none. */
  getAll(keys: readonly KeyProperties<S, M>[]): (Item<S, M> | undefined)[];
  /** Items that satisfy every condition, in the order of the index's sort value, a page at a time. */
  find(where?: Where<Item<S, M>>, options?: FindOptions): Page<Item<S, M>>;
  /**
   * The items of {@link ModelApi.find}, one by one. Pages are read as needed: the loop sees later writes, including its
   * own body's, in items that it has not reached yet.
   */
  each(where?: Where<Item<S, M>>, options?: Omit<FindOptions, "next">): IterableIterator<Item<S, M>>;
  /** How many items satisfy every condition. */
  count(where?: Where<Item<S, M>>): number;
  /**
   * Changes the given properties of an item, and what `params` say.
   *
   * @throws SyncError `not-found`; `invalid` for a path in `set` that does not exist
   */
  update(properties: UpdateOf<S, M>, params?: UpdateParams<Item<S, M>>): Item<S, M>;
  /** {@link ModelApi.update} where the key exists, else {@link ModelApi.create}. */
  upsert(properties: Create<S, M>): Item<S, M>;
  /**
   * Removes an item.
   *
   * @returns whether there was one
   * @throws SyncError `not-found` with `exists: true`
   */
  remove(key: KeyProperties<S, M>, params?: { readonly exists?: true | null }): boolean;
  /** Removes items, all or none, in one transaction. @returns how many there were @throws as {@link ModelApi.remove} */
  removeAll(keys: readonly KeyProperties<S, M>[], params?: { readonly exists?: true | null }): number;
}

/** Reads rows as properties: the shared part of the API, `watch` and `find`. Hidden properties are left out. */
export class PropertyReader {
  readonly fields: readonly Field[];
  readonly columnsSql: string;

  constructor(readonly store: Store, readonly model: Model, withHidden = false) {
    this.fields = model.fields.filter((field) => withHidden || !field.hidden);
    this.columnsSql = ["_id AS id"].concat(
      this.fields.map((f, i) => `${readSql(f.template ? "TEXT" : columnType(f), columnName(f))} AS c${i}`),
    ).join(", ");
  }

  byId(id: RowId): Properties | undefined {
    const row = this.store.db.sql(`SELECT ${this.columnsSql} FROM ${ident(this.model.name)} WHERE _id = ?`).get(id);
    return row && this.properties(row);
  }

  properties(row: SqlRow): Properties {
    const properties: Properties = {};
    if (this.fields.some((_, i) => mayBeAltered(row[`c${i}`]))) this.#refuseAltered(row);
    for (const [i, field] of this.fields.entries()) {
      try {
        const value = this.#property(field, row[`c${i}`] ?? null);
        if (value !== undefined) properties[field.name] = value;
      } catch (cause) {
        const why = (cause as Error).message;
        throw new SyncError("invalid", `Reading ${this.model.name} row ${row.id}: ${field.name} ${why}`, { cause });
      }
    }
    return properties;
  }

  /** A value that the runtime made from bytes that are not text is invalid. @throws SyncError `invalid` */
  #refuseAltered(row: SqlRow): void {
    const texts = this.fields.map((field, i) => ({ name: field.name, sql: columnName(field), value: row[`c${i}`] }));
    refuseAlteredTexts(this.store.db, this.model, row.id, texts);
  }

  #property(field: Field, value: SqlValue): unknown {
    if (value === null) return field.nulls ? null : undefined;
    if (field.template) return textOf(value);
    // The column may hold a finer time than the item's seconds.
    if (field.type === "date") return new Date(columnToMs(value));
    return jsonToProperty(toItem(field, value)!, field);
  }
}

class SqlModel {
  readonly #reader: PropertyReader;
  readonly #fields: ReadonlyMap<string, Field>;
  readonly #table: string;

  constructor(readonly store: Store, readonly model: Model, readonly onWrite: () => void) {
    this.#reader = new PropertyReader(store, model);
    this.#fields = new Map(model.fields.map((field) => [field.name, field]));
    this.#table = ident(model.name);
  }

  create(properties: Properties, { exists = false }: { readonly exists?: false | null } = {}): Properties {
    const given = this.#columns(properties);
    return this.#write("Creating", () => {
      const old = exists === null ? this.#idOfWhole(properties) : undefined;
      if (old !== undefined) this.#delete(old);
      const names = [...(old === undefined ? [] : ["_id"]), ...[...given.keys()].map(columnName)];
      const sql = names.length > 0
        ? `INSERT INTO ${this.#table}(${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`
        : `INSERT INTO ${this.#table} DEFAULT VALUES`;
      const values = [...(old === undefined ? [] : [old]), ...given.values()];
      this.store.db.sql(sql).run(...values);
      const { id } = this.store.db.sql("SELECT last_insert_rowid() AS id").get()!;
      return this.#reader.byId(rowIdOf(id))!;
    });
  }

  createAll(list: readonly Properties[], params?: { readonly exists?: false | null }): Properties[] {
    return this.#write("Creating", () => list.map((properties) => this.create(properties, params)));
  }

  get(key: Properties): Properties | undefined {
    return this.#read(() => {
      const id = this.#idOf(key);
      return id === undefined ? undefined : this.#reader.byId(id);
    });
  }

  getAll(keys: readonly Properties[]): (Properties | undefined)[] {
    const { db } = this.store, read = () => keys.map((key) => this.get(key));
    if (db.inTransaction) return read();
    // One moment, by a read transaction: nobody has to wait for it.
    db.exec("BEGIN");
    try {
      return read();
    } finally {
      db.exec("COMMIT");
    }
  }

  find(where: Where<Properties> = {}, options: FindOptions = {}): Page<Properties> {
    return this.#read(() => findRows(this.#reader, where, options));
  }

  *each(
    where: Where<Properties> = {},
    options: Omit<FindOptions, "next"> = {},
  ): Generator<Properties, undefined, unknown> {
    let next: string | undefined;
    do {
      const page = this.find(where, { ...options, next });
      yield* page.items;
      next = page.next;
    } while (next !== undefined);
  }

  count(where: Where<Properties> = {}): number {
    return this.#read(() => countRows(this.#reader, where));
  }

  update(properties: Properties, params: UpdateParams<Properties> = {}): Properties {
    return this.#write("Updating", () => {
      const id = this.#idOf(properties);
      if (id === undefined && params.exists !== null) throw this.#notFound(properties);
      const now = id === undefined ? {} : new PropertyReader(this.store, this.model, true).byId(id)!;
      const changed = changedProperties(this.model, params, (field) => now[field.name]);
      const all = { ...properties, ...changed };
      return id === undefined ? this.create(all) : this.#set(id, all);
    });
  }

  upsert(properties: Properties): Properties {
    return this.#write("Writing", () => {
      const id = this.#idOfWhole(properties);
      return id === undefined ? this.create(properties) : this.#set(id, properties);
    });
  }

  remove(key: Properties, { exists = null }: { readonly exists?: true | null } = {}): boolean {
    return this.#write("Removing", () => {
      const id = this.#idOf(key);
      if (id === undefined && exists) throw this.#notFound(key);
      return id !== undefined && this.#delete(id);
    });
  }

  removeAll(keys: readonly Properties[], params?: { readonly exists?: true | null }): number {
    return this.#write("Removing", () => keys.filter((key) => this.remove(key, params)).length);
  }

  #delete(id: RowId): boolean {
    return this.store.db.sql(`DELETE FROM ${this.#table} WHERE _id = ?`).changes(id) > 0;
  }

  /** As {@link #idOf}; without its whole key the item is new: missing parts are generated. */
  #idOfWhole(properties: Properties): RowId | undefined {
    return this.model.keyFields.every((name) => properties[name] != null) ? this.#idOf(properties) : undefined;
  }

  #notFound(properties: Properties): SyncError {
    return new SyncError("not-found", `${this.#name(properties)} does not exist`);
  }

  #set(id: RowId, properties: Properties): Properties {
    const given = this.#columns(properties);
    // They identify the item and cannot change.
    for (const name of [...this.model.keyFields, ...this.model.identityFields]) given.delete(this.#fields.get(name)!);
    if (given.size > 0) {
      const assignments = [...given.keys()].map((field) => `${columnName(field)} = ?`).join(", ");
      this.store.db.sql(`UPDATE ${this.#table} SET ${assignments} WHERE _id = ?`).run(...given.values(), id);
    }
    return this.#reader.byId(id)!;
  }

  /** The given properties as column values. Computed ones are left out, so that an item that was read can be written. */
  #columns(properties: Properties): Map<Field, SqlValue> {
    const columns = new Map<Field, SqlValue>();
    for (const [name, value] of Object.entries(properties)) {
      const field = this.#fields.get(name);
      if (!field) throw new TypeError(`the model ${this.model.name} has no property "${name}"`);
      if (field.template || value === undefined) continue;
      columns.set(field, this.#column(field, value));
    }
    return columns;
  }

  #column(field: Field, value: unknown): SqlValue {
    const json = this.#json(field, value);
    const problem = json === null ? undefined : checkValue(field, json);
    if (problem !== undefined) throw new SyncError("invalid", `${this.model.name}: ${field.name} ${problem}`);
    // The column keeps the ms that the item's seconds lose.
    return toColumn(
      field.ttl ? { ...field, ttl: false } : field,
      field.ttl ? this.#json({ ...field, ttl: false }, value) : json,
    );
  }

  #json(field: Field, value: unknown): Json {
    try {
      return propertyToJson(field, value) ?? null;
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new SyncError("invalid", `${this.model.name}: ${field.name}: ${cause.message}`, { cause });
    }
  }

  #idOf(properties: Properties): RowId | undefined {
    const attributes: Record<string, Json> = {};
    for (const name of this.model.keyFields) {
      const field = this.#fields.get(name)!;
      if (properties[name] == null) throw new TypeError(`the key of ${this.model.name} needs "${name}"`);
      attributes[field.attribute] = this.#json(field, properties[name]);
    }
    for (const name of this.model.identityFields) {
      const own = idIn(this.model, this.store.identity, name);
      // Another device's item is not here.
      if (properties[name] !== undefined && properties[name] !== own) return undefined;
    }
    const key = renderKey(this.model, attributes, this.store.identity);
    return key && this.store.rows(this.model).idByKey(key);
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (isOwn(error)) throw error;
      throw toSyncError(error, `Reading ${this.model.name}`);
    }
  }

  #write<T>(action: string, write: () => T): T {
    try {
      const result = this.store.tx(write);
      this.onWrite();
      return result;
    } catch (error) {
      if (isOwn(error)) throw error;
      throw this.#fault(error, action);
    }
  }

  /** Distinguishes constraint errors: the key is taken, another unique value is taken, or a value is not allowed. */
  #fault(error: unknown, action: string): SyncError {
    const fault = toSyncError(error, `${action} ${this.model.name}`);
    if (fault.code !== "constraint") return fault;
    if (!fault.message.includes("UNIQUE constraint")) return new SyncError("invalid", fault.message, { cause: error });
    // SQLite names the columns of the index.
    const names = [ownName(this.model, "item"), ownName(this.model, "key")];
    const isKey = uniqueIndexes(this.model).filter(({ name }) => names.includes(name)).some(({ columns }) =>
      fault.message.endsWith(columns.map((column) => `${this.model.name}.${JSON.parse(column)}`).join(", "))
    );
    return isKey
      ? new SyncError("exists", `${action} ${this.model.name}: there is an item with this key`, { cause: error })
      : fault;
  }

  #name(properties: Properties): string {
    return `${this.model.name} ${
      JSON.stringify(Object.fromEntries(this.model.keyFields.map((n) => [n, String(properties[n])])))
    }`;
  }
}

/** Whether an error already has the form for the caller. */
function isOwn(error: unknown): boolean {
  return error instanceof SyncError || error instanceof TypeError || error instanceof RangeError;
}

function deviceModel(store: Store, name: string): Model {
  const model = store.schema.models.get(name);
  if (!model) throw new RangeError(`the schema has no model "${name}"`);
  if (!model.onDevice) throw new RangeError(`the model ${name} is not on the device`);
  return model;
}

/**
 * The API of a model.
 *
 * @param onWrite called after each write of this API, once it is committed (or joined an outer transaction)
 * @throws RangeError for a model that the schema does not have on the device
 */
export function modelApi<S extends OneTableSchema, M extends NameIn<S>>(
  store: Store,
  name: M,
  onWrite: () => void = () => {},
): ModelApi<S, M> {
  // The types of a schema literal exist only at compile time: the one class serves all of them.
  return new SqlModel(store, deviceModel(store, name), onWrite) as unknown as ModelApi<S, M>;
}

/** The properties of an item by its key in the table; undefined if the device has no such row. */
export function plainItem(store: Store, model: Model, key: Key): Record<string, unknown> | undefined {
  const id = store.rows(model).idByKey(key);
  return id === undefined ? undefined : new PropertyReader(store, model).byId(id);
}
