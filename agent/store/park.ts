/**
 * Rows that are taken out for a moment: if items swap the values of a `unique` field, or pass them on in a ring, each
 * blocks the next, and SQLite has no unique index that is checked only at the end of a transaction. So all of them are
 * deleted first, and inserted again with their new values.
 *
 * Guarantee: a row comes back with its `_id`, with what never leaves the device, and with columns that an application
 * added. They are copied only by SQL, so that no value passes through a driver that might round or cut it. Rejected:
 * NULL or a placeholder in the unique column meanwhile, which `required` and `enum` may not allow; dropping the index,
 * which takes long for a large table.
 *
 * @module
 */
import type { Database, SqlValue } from "../sqlite/driver.ts";
import type { Key } from "../../protocol.ts";
import type { Identity, Model } from "../../schema/model.ts";
import type { Attributes } from "../../schema/values.ts";
import { renderTemplate } from "../../schema/template.ts";
import { idIn } from "../../schema/identity.ts";
import { fieldOf } from "../../schema/item.ts";
import { columnName, readSql, textOf, toColumn } from "./columns.ts";
import { itemFields, keySql, scopeColumns } from "./ddl.ts";
import { keyLookup } from "./key_lookup.ts";
import { toSyncError } from "./faults.ts";
import { ident, literal } from "./sql.ts";

/** The keys of other rows that hold a value which the item would have in a `unique` field. */
export function clashingKeys(db: Database, model: Model, identity: Identity, key: Key, item: Attributes): Key[] {
  const { hash, sort } = keySql(model);
  const lookup = keyLookup(model, identity);
  const found = new Map<string, Key>();
  for (const field of model.fields.filter((f) => f.unique)) {
    const value = field.template
      ? renderTemplate(field.template, (name) => {
        const own = model.identityFields.includes(name) ? idIn(model, identity, name) : undefined;
        return own ?? item[fieldOf(model, name)?.attribute ?? name];
      }) ?? null
      : toColumn(field, item[field.attribute]);
    if (value === null) continue;
    const scope = scopeColumns(field).map((sql) => {
      const column = model.fields.find((f) => columnName(f) === sql);
      const own = column && model.identityFields.includes(column.name) ? idIn(model, identity, column.name) : undefined;
      return { sql, value: own ?? (column ? toColumn(column, item[column.attribute]) : null) };
    });
    const rows = db.sql(
      `SELECT ${readSql("TEXT", hash)} AS h, ${sort ? readSql("TEXT", sort) : "''"} AS s FROM ${ident(model.name)} ` +
        `WHERE ${columnName(field)} = ?${
          scope.map(({ sql }) => ` AND ${sql} IS ?`).join("")
        } AND (${lookup.sql}) IS NOT TRUE`,
    ).all(value, ...scope.map((column) => column.value), ...lookup.values(key));
    for (const row of rows) {
      const other: Key = [textOf(row.h ?? null), textOf(row.s ?? null)];
      found.set(JSON.stringify(other), other);
    }
  }
  return [...found.values()];
}

/** Rows of one model that are taken out. Must be created, used and dropped inside one transaction, with capture off. */
export class Park {
  readonly #table: string;
  readonly #columns: readonly string[];

  constructor(readonly db: Database, readonly model: Model, readonly identity: Identity) {
    this.#table = `temp.${ident(`_sync_parked_${model.name}`)}`;
    this.#columns = db.prepare(`SELECT name FROM pragma_table_xinfo(${literal(model.name)}) WHERE hidden = 0`).all()
      .map((row) => ident(String(row.name)));
    // Without types: every value stays as it is.
    db.exec(`DROP TABLE IF EXISTS ${this.#table}; CREATE TABLE ${this.#table}(h, s, ${this.#columns.join(", ")})`);
  }

  /** Takes the key's row out. Does nothing if there is none. */
  take(key: Key): void {
    const { sql, values } = keyLookup(this.model, this.identity);
    const table = ident(this.model.name);
    this.db.prepare(`INSERT INTO ${this.#table} SELECT ?, ?, ${this.#columns.join(", ")} FROM ${table} WHERE ${sql}`)
      .run(...key, ...values(key));
    this.db.prepare(`DELETE FROM ${table} WHERE ${sql}`).run(...values(key));
  }

  /**
   * Inserts a row that was taken out again, with the item's values. False: no row of this key was taken out.
   *
   * @throws SyncError `constraint` if it clashes with another row
   */
  put(key: Key, item: Attributes): boolean {
    const fields = new Map(itemFields(this.model).map((field) => [columnName(field), field]));
    const values: SqlValue[] = [];
    const columns = this.#columns.map((column) => {
      const field = fields.get(column);
      if (!field) return column;
      values.push(toColumn(field, item[field.attribute]));
      return "?";
    });
    try {
      return this.db.prepare(
        `INSERT INTO ${ident(this.model.name)}(${this.#columns.join(", ")}) SELECT ${columns.join(", ")} ` +
          `FROM ${this.#table} WHERE h = ? AND s = ?`,
      ).changes(...values, ...key) > 0;
    } catch (error) {
      throw toSyncError(error, `Writing ${this.model.name} ${JSON.stringify(key)}`);
    }
  }

  /** Drops the rows that were taken out. */
  close(): void {
    this.db.exec(`DROP TABLE ${this.#table}`);
  }
}
