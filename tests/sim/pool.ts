/**
 * Devices' databases in memory, used again from run to run: making their tables anew took a quarter of a run's time. A
 * database comes back as it was when it was made, or as a copy says, row by row; one that can't be brought there is closed
 * for good.
 *
 * @module
 */
import { type Database, openDatabase, type SqlValue } from "../../agent/sqlite/driver.ts";
import { openStore, type Store } from "../../agent/store/store.ts";
import type { Identity, Schema } from "../../schema/model.ts";

/** Databases that wait at most, the longest unused go first: some 100 KB each. */
const waitingMax = 500;

/** The rows of a table as they were when it was made, or copied. */
interface TableRows {
  readonly table: string;
  readonly columns: readonly string[];
  /** For each column of any type another one follows, with the value's class: 7.0 reads as 7, and is another value. */
  readonly classes: readonly string[];
  readonly rows: readonly Readonly<Record<string, SqlValue>>[];
}

/** A database's rows at one time. */
export interface RowsCopy {
  readonly schema: Schema;
  readonly identity: Identity;
  readonly tables: readonly TableRows[];
}

interface Pooled {
  readonly key: string;
  readonly db: Database;
  readonly fresh: readonly TableRows[];
}

/** What waits, by schema, device and account, the longest unused first. */
const waiting = new Map<string, Pooled[]>();
let waits = 0;
/** What a new database consists of, triggers included, by the same key. */
const objects = new Map<string, string>();
const schemaIds = new WeakMap<Schema, number>();
let schemas = 0;

function keyOf(schema: Schema, { deviceId, accountId }: Identity): string {
  let id = schemaIds.get(schema);
  if (id === undefined) schemaIds.set(schema, id = ++schemas);
  return `${id} ${deviceId} ${accountId}`;
}

function takeOrMake(schema: Schema, identity: Identity, now: () => number): Pooled {
  const key = keyOf(schema, identity), list = waiting.get(key), used = list?.pop();
  if (list?.length === 0) waiting.delete(key);
  if (used) {
    waits--;
    return used;
  }
  const db = openDatabase(":memory:", { synchronous: "normal" });
  openOn(db, schema, identity, now);
  objects.set(key, objectsOf(db));
  return { key, db, fresh: rowsOf(db) };
}

function openOn(db: Database, schema: Schema, identity: Identity, now: () => number): Store {
  return openStore({ path: ":memory:", schema, identity, synchronous: "normal", driver: () => db, now });
}

/** A store in memory, as a new one is, or by `copy` with its rows. Its `close` gives the database back. */
export function openPooled(schema: Schema, identity: Identity, now: () => number, copy?: RowsCopy): Store {
  const pooled = takeOrMake(copy?.schema ?? schema, copy?.identity ?? identity, now);
  if (copy) putRows(pooled.db, copy.tables);
  const store = openOn(pooled.db, schema, identity, now);
  store.close = () => giveBack(pooled);
  return store;
}

/** All rows of a database as they are; undefined: they lie in other tables than those of a new database. */
export function copyRows(db: Database, schema: Schema, identity: Identity): RowsCopy | undefined {
  if (objectsOf(db) !== objects.get(keyOf(schema, identity))) return undefined;
  return { schema, identity, tables: rowsOf(db) };
}

function objectsOf(db: Database): string {
  const rows = db.sql("SELECT name, coalesce(sql, '') AS sql FROM sqlite_master ORDER BY name").all();
  return rows.map(({ name, sql }) => `${name} ${sql}`).join("\n");
}

const classOf = (column: string) => `class of ${column}`;

function rowsOf(db: Database): TableRows[] {
  const names = db.sql("SELECT name FROM sqlite_master WHERE type = 'table'").all().map(({ name }) => String(name));
  return names.map((name) => {
    const info = db.sql("SELECT name, type FROM pragma_table_info(?)").all(name);
    const columns = info.map(({ name }) => String(name));
    const classes = info.filter(({ type }) => type === "ANY").map(({ name }) => String(name));
    const more = classes.map((column) => `, typeof("${column}") AS "${classOf(column)}"`);
    return { table: `"${name}"`, columns, classes, rows: db.sql(`SELECT *${more.join("")} FROM "${name}"`).all() };
  });
}

function giveBack(pooled: Pooled): void {
  const { key, db, fresh } = pooled;
  if (db.inTransaction || db.prepare("SELECT 1 FROM temp.sqlite_master").get() || objectsOf(db) !== objects.get(key)) {
    return db.close();
  }
  putRows(db, fresh);
  const list = waiting.get(key) ?? [];
  // To the end: what is used often stays.
  waiting.delete(key);
  waiting.set(key, [...list, pooled]);
  if (++waits <= waitingMax) return;
  const [oldest, idle] = waiting.entries().next().value!;
  idle.shift()!.db.close();
  waits--;
  if (idle.length === 0) waiting.delete(oldest);
}

/** What is put last: the flag steers the triggers, and inserting moves the counters. */
const lastTables = [`"_sync_flag"`, `"sqlite_sequence"`];

function putRows(db: Database, tables: readonly TableRows[]): void {
  db.exec("BEGIN");
  // As when the agent applies something: no trigger captures or refuses it.
  const numbers = new Map(db.sql("SELECT name, number FROM _sync_models").all().map((row) => [row.name, row.number]));
  const order = [...tables].sort((a, b) => lastTables.indexOf(a.table) - lastTables.indexOf(b.table));
  for (const { table, columns, classes, rows } of order) {
    db.sql("UPDATE _sync_flag SET applying = ?").run(numbers.get(JSON.parse(table)) ?? 0);
    db.sql(`DELETE FROM ${table}`).run();
    for (const row of rows) {
      const isReal = (column: string) => classes.includes(column) && row[classOf(column)] === "real";
      const places = columns.map((column) => isReal(column) ? "CAST(? AS REAL)" : "?");
      db.sql(`INSERT INTO ${table}(${columns.map((column) => `"${column}"`)}) VALUES (${places})`)
        .run(...columns.map((column) => row[column]!));
    }
  }
  db.exec("COMMIT");
}
