/**
 * The embedded table's file: one SQLite database that holds the data table, its change stream and the log table.
 *
 * - `items(hash, sort, item)`: the data table. `item` is tagged JSON text, whole, keys included.
 * - `changes(seq, hash, sort, old, new)`: the change stream, filled by triggers, so that whatever writes `items` (also the
 *   `sqlite3` shell) is in it, in the same transaction. Rows that were handled are deleted: that is the stream's checkpoint.
 * - `unwanted(type)`: types that the stream's reader has no use for. Most of what a fleet sends is measurements, which
 *   nobody is told of: their changes are not recorded, which is half of what a write would cost.
 * - `log(hash, sort, item, expires)`: the log table, without a stream.
 *
 * Keys are compared as bytes (SQLite's BINARY collation on UTF-8), as DynamoDB does.
 *
 * @module
 */
import type { Index, Schema } from "../../schema/model.ts";

/** `PRAGMA application_id` of such a file ("ttbl"), and `PRAGMA user_version`: the layout's version. */
export const applicationId = 0x7474626c;
/** Raised when the layout changes. 2: `unwanted`. */
export const layoutVersion = 2;

const tablesSql = `
CREATE TABLE IF NOT EXISTS items(
  id INTEGER PRIMARY KEY, hash TEXT NOT NULL, sort TEXT NOT NULL DEFAULT '', item TEXT NOT NULL CHECK(json_valid(item)),
  UNIQUE(hash, sort)) STRICT;
CREATE TABLE IF NOT EXISTS log(
  hash TEXT NOT NULL, sort TEXT NOT NULL, item TEXT NOT NULL, expires INTEGER, PRIMARY KEY(hash, sort)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS log_expires ON log(expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS changes(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL, sort TEXT NOT NULL, old TEXT, new TEXT) STRICT;
CREATE TABLE IF NOT EXISTS stash(hash TEXT NOT NULL, sort TEXT NOT NULL, item TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS unwanted(type TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
`;

/** The triggers, by name: their bodies name the typeField, and are made anew at each start. */
function triggers(schema: Schema): Map<string, string> {
  const isUnwanted = (item: string) =>
    `EXISTS(SELECT 1 FROM unwanted WHERE type = ${attributeSql(schema.typeField, item)})`;
  const record = (values: string) => `INSERT INTO changes(hash, sort, old, new) ${values}`;
  return new Map([
    [
      "items_evict",
      `BEFORE INSERT ON items WHEN EXISTS(SELECT 1 FROM items WHERE hash = new.hash AND sort = new.sort) BEGIN
  DELETE FROM stash;
  INSERT INTO stash SELECT hash, sort, item FROM items WHERE hash = new.hash AND sort = new.sort;
END`,
    ],
    [
      "items_insert",
      `AFTER INSERT ON items WHEN NOT ${isUnwanted("new.item")} OR EXISTS(SELECT 1 FROM stash) BEGIN
  ${
        record(`VALUES (
    new.hash, new.sort, (SELECT item FROM stash WHERE hash = new.hash AND sort = new.sort), new.item)`)
      };
  DELETE FROM stash;
END`,
    ],
    [
      "items_update",
      `AFTER UPDATE ON items WHEN old.hash = new.hash AND old.sort = new.sort
  AND NOT (${isUnwanted("new.item")} AND ${isUnwanted("old.item")}) BEGIN
  ${record("VALUES (new.hash, new.sort, old.item, new.item)")};
END`,
    ],
    [
      "items_rekey",
      `AFTER UPDATE ON items WHEN old.hash <> new.hash OR old.sort <> new.sort BEGIN
  ${record(`SELECT old.hash, old.sort, old.item, NULL WHERE NOT ${isUnwanted("old.item")}`)};
  ${record(`SELECT new.hash, new.sort, NULL, new.item WHERE NOT ${isUnwanted("new.item")}`)};
END`,
    ],
    [
      "items_delete",
      `AFTER DELETE ON items WHEN NOT ${isUnwanted("old.item")} BEGIN
  ${record("VALUES (old.hash, old.sort, old.item, NULL)")};
  DELETE FROM stash WHERE hash = old.hash AND sort = old.sort;
END`,
    ],
  ]);
}

/**
 * The tables and triggers. `stash` keeps the image that an `INSERT OR REPLACE` evicts: SQLite fires no delete trigger for
 * it by default, and without the old image a raw write that copies `_source` and `_stamp` would pass for a device's own.
 *
 * @param fresh Makes the triggers anew, and takes everything for wanted until a reader says otherwise: for the process
 * that serves the table, not for a visitor.
 */
export function layoutSql(schema: Schema, fresh: boolean): string {
  const sql = [tablesSql];
  if (fresh) sql.push("DELETE FROM unwanted;");
  for (const [name, body] of triggers(schema)) {
    if (fresh) sql.push(`DROP TRIGGER IF EXISTS ${name};`);
    sql.push(`CREATE TRIGGER IF NOT EXISTS ${name} ${body};`);
  }
  return sql.join("\n");
}

/** SQL for the types whose items nobody reads in the stream; what was recorded of them already is taken out of it. */
export function unwantedSql({ typeField }: Schema): { clear: string; add: string; sweep: string } {
  // An image that is no JSON is let through: whoever reads it knows what to do.
  const isWanted = (image: string) =>
    `(${image} IS NOT NULL AND CASE WHEN json_valid(${image}) ` +
    `THEN NOT EXISTS(SELECT 1 FROM unwanted WHERE type = ${attributeSql(typeField, image)}) ELSE TRUE END)`;
  return {
    clear: "DELETE FROM unwanted",
    add: "INSERT OR IGNORE INTO unwanted(type) VALUES (?)",
    sweep: `DELETE FROM changes WHERE NOT (${isWanted("new")} OR ${isWanted("old")})`,
  };
}

/** The SQL expression for an item's attribute; `item` is the column that holds the item. */
export function attributeSql(attribute: string, item = "item"): string {
  const path = `$.${JSON.stringify(attribute)}`.replaceAll("'", "''");
  return `json_extract(${item}, '${path}')`;
}

/** The attributes by which items expire: seconds since 1970. DynamoDB has one for a table; here each model's counts. */
export function ttlAttributes(schema: Schema): string[] {
  const attributes = new Set<string>();
  for (const model of schema.models.values()) {
    const field = model.fields.find(({ name }) => name === model.ttlField);
    if (field) attributes.add(field.attribute);
  }
  return [...attributes];
}

/** SQLite indexes that the schema needs, by name: for its secondary indexes, and for expiry. */
export function schemaIndexes(schema: Schema): Map<string, string> {
  const indexes = new Map<string, string>();
  const add = (name: string, body: string) => {
    const quoted = `"${name.replaceAll('"', '""')}"`;
    indexes.set(name, `CREATE INDEX ${quoted} ON items(${body}`);
  };
  for (const index of schema.indexes) {
    if (index.name === schema.primary.name) continue;
    const { columns, present } = indexSql(index);
    add(`items_by_${index.name}`, `${columns.join(", ")}, hash, sort) WHERE ${present}`);
  }
  for (const attribute of ttlAttributes(schema)) {
    const sql = attributeSql(attribute);
    add(`items_ttl_${attribute}`, `${sql}) WHERE ${sql} IS NOT NULL`);
  }
  return indexes;
}

/** A secondary index's expressions, and the condition that an item is in it: it has all of the index's attributes. */
export function indexSql(index: Index): { columns: string[]; present: string } {
  const columns = [index.hash, ...(index.sort === undefined ? [] : [index.sort])].map((attribute) =>
    attributeSql(attribute)
  );
  return { columns, present: columns.map((sql) => `${sql} IS NOT NULL`).join(" AND ") };
}
