/**
 * Removes the sync state from a device's database. The rows may stay: at its next start, an agent onboards them like
 * any existing table (`migrate.ts`). Or they are removed, too: then the database is as good as new, for another device
 * or account.
 *
 * The tables for people stay with the rows: `_rejected`, `_conflicts`, `_changes`, `_verify` and values of removed
 * columns. They contain keys or values, so they are removed with the rows.
 *
 * @module
 */
import type { Database } from "../sqlite/driver.ts";
import { ident } from "../store/sql.ts";
import { applicationId, viewNames } from "../store/tables.ts";

const stateTables = [
  "_outbox",
  "_inflight",
  "_sync_items",
  "_sync_channels",
  "_sync_seen",
  "_sync_aside",
  "_sync_waits",
  "_sync_lacks",
  "_sync_clock",
  "_sync_flag",
  "_sync_models",
];
/** `_sync` itself stays with them, emptied: it shows that these tables are Twintable's. */
const keptTables = [
  "_sync",
  "_rejected",
  "_conflicts",
  "_changes",
  "_sync_kept",
  "_verify",
  "_sync_verify",
  "_sync_orders",
];

/** How many changes the cloud has not acknowledged: what a reset would lose, or send again. */
export function unsentEntries(db: Database): number {
  return Number(db.prepare("SELECT count(*) AS n FROM _outbox").get()!.n);
}

/**
 * Resets a database in one transaction. No agent may run on it (hold its lease).
 *
 * @param rows whether the models' tables go, too
 */
export function resetDatabase(db: Database, { rows }: { readonly rows: boolean }): void {
  db.exec("BEGIN IMMEDIATE");
  try {
    const models = db.prepare("SELECT name FROM _sync_models").all().map((row) => String(row.name));
    const own = db.prepare(
      "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '\\_sync\\_%' ESCAPE '\\'",
    ).all();
    for (const { name } of own) db.exec(`DROP TRIGGER ${ident(String(name))}`);
    for (const name of viewNames) db.exec(`DROP VIEW IF EXISTS ${name}`);
    const tables = rows ? [...stateTables, ...keptTables, ...models] : stateTables;
    for (const name of tables) db.exec(`DROP TABLE IF EXISTS ${ident(name)}`);
    if (!rows) db.exec("DELETE FROM _sync WHERE name <> 'format'");
    // Another mark is an application's.
    else if (db.prepare("PRAGMA application_id").get()!.application_id === applicationId) {
      db.exec("PRAGMA application_id = 0");
    }
    db.exec("COMMIT");
  } catch (error) {
    if (db.inTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

/** Bytes of one row of zeros: small enough for any limit of SQLite's, and for memory. */
const zeroBytes = 1 << 20;

/**
 * {@link resetDatabase} with the rows, and nothing of them is left in the file. Pages that are already free are filled
 * with zeros first, so that a crash leaves a device's database that can be reset again; pages that are freed later are
 * overwritten (`secure_delete`). The file keeps its size where `VACUUM` is refused, as it is to a program without all
 * permissions (it would attach a database); later rows reuse the space.
 */
export function wipeDatabase(db: Database): void {
  db.exec("PRAGMA secure_delete = ON");
  fillFreePages(db);
  resetDatabase(db, { rows: true });
  try {
    db.exec("VACUUM");
  } catch (error) {
    if (!/too many attached databases/.test((error as Error).message)) throw error;
  }
}

function fillFreePages(db: Database): void {
  const free = () => Number(db.prepare("PRAGMA freelist_count").get()!.freelist_count);
  const pageBytes = Number(db.prepare("PRAGMA page_size").get()!.page_size);
  db.exec("BEGIN IMMEDIATE; CREATE TABLE _sync_zeros(zeros BLOB)");
  try {
    const fill = db.prepare("INSERT INTO _sync_zeros VALUES (zeroblob(?))");
    // The last row may be larger than what is left: the file grows by that at most.
    for (let left = free(); left > 0; left = free()) fill.run(Math.min(left * pageBytes, zeroBytes));
    db.exec("DROP TABLE _sync_zeros; COMMIT");
  } catch (error) {
    if (db.inTransaction) db.exec("ROLLBACK");
    throw error;
  }
}
