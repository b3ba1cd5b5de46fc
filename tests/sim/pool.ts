/**
 * Devices' databases in memory, used again from run to run: making their tables anew took a quarter of a run's time. A
 * database comes back as it was when it was made, row by row; one that can't be brought there is closed for good.
 *
 * @module
 */
import { type Database, openDatabase, type SqlValue } from "../../agent/sqlite/driver.ts";
import { openStore, type Store } from "../../agent/store/store.ts";
import type { Identity, Schema } from "../../schema/model.ts";

/** Databases that wait at most, the longest unused go first: some 100 KB each. */
const waitingMax = 500;

/** The rows of a table as they were when it was made. */
interface Fresh {
  readonly table: string;
  readonly rows: readonly Readonly<Record<string, SqlValue>>[];
}

interface Pooled {
  readonly db: Database;
  readonly fresh: readonly Fresh[];
  /** What the database consists of, triggers included. */
  readonly objects: unknown;
}

/** What waits, by schema, device and account, the longest unused first. */
const waiting = new Map<string, Pooled[]>();
let waits = 0;
const schemaIds = new WeakMap<Schema, number>();
let schemas = 0;

function keyOf(schema: Schema, { deviceId, accountId }: Identity): string {
  let id = schemaIds.get(schema);
  if (id === undefined) schemaIds.set(schema, id = ++schemas);
  return `${id} ${deviceId} ${accountId}`;
}

/** A store in memory, as a new one is. Its `close` gives the database back. */
export function openPooled(schema: Schema, identity: Identity, now: () => number): Store {
  const key = keyOf(schema, identity), list = waiting.get(key);
  const used = list?.pop();
  if (list?.length === 0) waiting.delete(key);
  if (used) waits--;
  const db = used?.db ?? openDatabase(":memory:", { synchronous: "normal" });
  const driver = () => db;
  const store = openStore({ path: ":memory:", schema, identity, synchronous: "normal", driver, now });
  const fresh = used?.fresh ?? freshOf(db), objects = used?.objects ?? objectsOf(db);
  store.close = () => giveBack(key, { db, fresh, objects });
  return store;
}

function objectsOf(db: Database): unknown {
  return db.prepare("SELECT count(*) AS n FROM sqlite_master").get()!.n;
}

function freshOf(db: Database): Fresh[] {
  const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all().map(({ name }) => `"${name}"`);
  return tables.map((table) => ({ table, rows: db.prepare(`SELECT * FROM ${table}`).all() }));
}

function giveBack(key: string, pooled: Pooled): void {
  if (!restore(pooled)) return pooled.db.close();
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

/** Puts every row back as it was. False where more than rows differ. */
function restore({ db, fresh, objects }: Pooled): boolean {
  if (db.inTransaction || db.prepare("SELECT 1 FROM temp.sqlite_master").get()) return false;
  if (objectsOf(db) !== objects) return false;
  db.exec("BEGIN");
  // As when the agent applies something: no trigger captures or refuses it. The flag's own row goes last.
  const numbers = new Map(db.sql("SELECT name, number FROM _sync_models").all().map((row) => [row.name, row.number]));
  const order = [...fresh].sort((a, b) => Number(a.table === `"_sync_flag"`) - Number(b.table === `"_sync_flag"`));
  for (const { table, rows } of order) {
    db.sql("UPDATE _sync_flag SET applying = ?").run(numbers.get(JSON.parse(table)) ?? 0);
    db.sql(`DELETE FROM ${table}`).run();
    for (const row of rows) {
      const names = Object.keys(row);
      db.sql(`INSERT INTO ${table}(${names.map((n) => `"${n}"`)}) VALUES (${names.map(() => "?")})`)
        .run(...Object.values(row));
    }
  }
  db.exec("COMMIT");
  return true;
}
