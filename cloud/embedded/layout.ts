/**
 * The embedded table's file: one SQLite database that holds the data table, its change stream and the log table.
 *
 * - `items(hash, sort, item)`: the data table. `item` is tagged JSON text, whole, keys included.
 * - `changes(seq, hash, sort, old, new, expired)`: the change stream, filled by triggers, so that every write to
 *   `items` (also from the `sqlite3` shell) is in it, in the same transaction. Handled rows are deleted: that is the
 *   stream's checkpoint.
 * - `unwanted(type)`: types that the stream's reader does not need. Most of a fleet's changes are measurements, which
 *   no device gets: their changes are not recorded at all.
 * - `log(hash, sort, item, expires)`: the log table, without a stream.
 * - `served(session)`: which serving process wrote the content last. A copy that is put into the file's place while a
 *   process serves it has another session.
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
  seq INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL, sort TEXT NOT NULL, old TEXT, new TEXT,
  expired INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS stash(hash TEXT NOT NULL, sort TEXT NOT NULL, item TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS unwanted(type TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS served(session TEXT NOT NULL) STRICT;
`;

/** Reads which serving process the content belongs to. */
export const sessionSql = "SELECT session FROM served";

/** Takes the content over for a serving process. */
export const serveSql = "DELETE FROM served; INSERT INTO served VALUES ";

/** A column that came later than its table: added where it is missing. Older builds ignore it. */
export const laterColumn = { table: "changes", name: "expired", sql: "expired INTEGER" } as const;

const dropTriggersSql = ["items_evict", "items_insert", "items_update", "items_rekey", "items_delete"]
  .map((name) => `DROP TRIGGER IF EXISTS ${name};`).join("\n");

/** Whether an item is of an unwanted type; `item` is the column that holds it. */
function isUnwantedSql({ typeField }: Schema, item: string): string {
  return `EXISTS(SELECT 1 FROM unwanted WHERE type = ${attributeSql(typeField, item)})`;
}

function triggersSql(schema: Schema): string {
  const oldUnwanted = isUnwantedSql(schema, "old.item"), newUnwanted = isUnwantedSql(schema, "new.item");
  return `
CREATE TRIGGER IF NOT EXISTS items_evict BEFORE INSERT ON items
WHEN EXISTS(SELECT 1 FROM items WHERE hash = new.hash AND sort = new.sort) BEGIN
  DELETE FROM stash;
  INSERT INTO stash SELECT hash, sort, item FROM items WHERE hash = new.hash AND sort = new.sort;
END;
CREATE TRIGGER IF NOT EXISTS items_insert AFTER INSERT ON items
WHEN NOT ${newUnwanted} OR EXISTS(SELECT 1 FROM stash) BEGIN
  INSERT INTO changes(hash, sort, old, new) VALUES (
    new.hash, new.sort, (SELECT item FROM stash WHERE hash = new.hash AND sort = new.sort), new.item);
  DELETE FROM stash;
END;
CREATE TRIGGER IF NOT EXISTS items_update AFTER UPDATE ON items
WHEN old.hash = new.hash AND old.sort = new.sort AND NOT (${newUnwanted} AND ${oldUnwanted}) BEGIN
  INSERT INTO changes(hash, sort, old, new) VALUES (new.hash, new.sort, old.item, new.item);
END;
CREATE TRIGGER IF NOT EXISTS items_rekey AFTER UPDATE ON items WHEN old.hash <> new.hash OR old.sort <> new.sort BEGIN
  INSERT INTO changes(hash, sort, old, new) SELECT old.hash, old.sort, old.item, NULL WHERE NOT ${oldUnwanted};
  INSERT INTO changes(hash, sort, old, new) SELECT new.hash, new.sort, NULL, new.item WHERE NOT ${newUnwanted};
END;
CREATE TRIGGER IF NOT EXISTS items_delete AFTER DELETE ON items WHEN NOT ${oldUnwanted} BEGIN
  INSERT INTO changes(hash, sort, old, new) VALUES (old.hash, old.sort, old.item, NULL);
  DELETE FROM stash WHERE hash = old.hash AND sort = old.sort;
END;
`;
}

/** Marks every type as wanted. */
export const wantAllSql = "DELETE FROM unwanted;";

/**
 * The tables and triggers. `stash` keeps the image that an `INSERT OR REPLACE` evicts: SQLite fires no delete trigger
 * for it by default, and without the old image, a raw write that copies `_source` and `_stamp` would look like a
 * device's own.
 *
 * @param fresh Recreates the triggers, which name the schema's typeField, and marks everything as wanted until a reader
 * says otherwise: for the serving process, not for a visitor.
 */
export function layoutSql(schema: Schema, fresh: boolean): string {
  return tablesSql + (fresh ? wantAllSql + dropTriggersSql : "") + triggersSql(schema);
}

/** Removes records of types that are now unwanted from `changes`. */
export function sweepUnwantedSql(schema: Schema): string {
  // An image that is not JSON passes: the reader handles it.
  const isWanted = (image: string) =>
    `(${image} IS NOT NULL AND CASE WHEN json_valid(${image}) THEN NOT ${isUnwantedSql(schema, image)} ELSE TRUE END)`;
  return `DELETE FROM changes WHERE NOT (${isWanted("new")} OR ${isWanted("old")})`;
}

/**
 * The SQL that reads a value whole: the runtime's driver cuts a text at its first NUL. Such a text comes as bytes: see
 * `wholeOf`.
 */
export function wholeSql(sql: string): string {
  return `CASE WHEN typeof(${sql}) = 'text' AND instr(${sql}, char(0)) THEN CAST(${sql} AS BLOB) ELSE ${sql} END`;
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
