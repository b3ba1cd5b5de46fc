/**
 * The device's database, open: transactions, the capture flag, the models' rows, and the agent's small facts (`_sync`).
 *
 * Guarantee: only the device and account to which a file belongs can open it, and only a Twintable that knows its
 * layout. A migration is one transaction, so a crash leaves the old or the new schema, and nothing in between.
 *
 * The agent stores its facts in `_sync` for the `_status` view (`agent/upkeep/facts.ts`), `lastAck`, `lastSync` (ms),
 * `dropped`, `trimmed:<table>`, `generation`, `restoredAt`. The store itself: `complaints` (how many the last check
 * had), `format`, `device`, `account`, `fingerprint`, `schema`, `ddl`, `table:<model>`, and `resnapshot` (1 after a
 * migration that left columns to be filled; taking the snapshot removes it).
 *
 * @module
 */
import { type Database, type Driver, openDatabase, type SqlValue } from "../sqlite/driver.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import { createPrivately, shareWithGroup } from "../sqlite/private_file.ts";
import { complaintsText, findDamage, rebuildDerived } from "./damage.ts";
import { isEnvironmental, toSyncError } from "./faults.ts";
import { alteredObjects } from "../migration/objects.ts";
import { columnsFact, plainColumns } from "../migration/untag.ts";
import { migrate, type Migration, modelNumbers, schemaSql } from "../migration/migrate.ts";
import { type Rows, TableRows } from "./rows.ts";
import { cloudTableId, storeFormat } from "./tables.ts";

export type { LocalRow, Rows } from "./rows.ts";

/** How a store is opened. */
export interface StoreOptions {
  /** The database's file; it and its folder are created where they are missing (modes 0600 and 0700). `:memory:` for none. */
  readonly path: string;
  readonly schema: Schema;
  readonly identity: Identity;
  /**
   * Let the file's group read and write it: mode 0660. Default: its owner alone, 0600. A file that is already shared
   * stays shared.
   */
  readonly group?: boolean;
  /** Default `full`. */
  readonly synchronous?: "full" | "normal";
  /** Default: the runtime's own SQLite. */
  readonly driver?: Driver;
  /** Check for damage first: after an agent was killed or the machine lost power. Default false. */
  readonly check?: boolean;
  /** The wall clock, ms since 1970. */
  readonly now: () => number;
}

/** An open device database. Not re-entrant across tasks: every method is synchronous. */
export interface Store {
  readonly db: Database;
  readonly schema: Schema;
  readonly identity: Identity;
  /** What opening it had to change. */
  readonly migration: Migration;
  /** Complaints of the check of its pages that are not damage (`damage.ts`). */
  readonly complaints: readonly string[];
  /** The wall clock, ms since 1970. */
  now(): number;
  /**
   * Runs `fn` in a write transaction: committed when it returns, rolled back when it throws. A nested call joins the
   * outer one. `fn` must be synchronous.
   *
   * @param unchecked also while something of the agent's is dropped or altered: for writers that touch only `_sync`
   * @throws SyncError `busy`, `full`, `io` of SQLite itself; `altered` (see {@link Store.altered}); whatever `fn`
   * throws
   */
  tx<T>(fn: () => T, unchecked?: boolean): T;
  /**
   * The triggers, tables and views of the agent that somebody has dropped or altered since the store was opened:
   * application writes go unnoticed now, and the agent must not mix its own writes with them. This reads one number,
   * unless the file's schema has changed.
   */
  altered(): readonly string[];
  /** Counts transactions, so that what was collected for one does not get into the next. */
  readonly transaction: number;
  /**
   * Runs `fn` just before the current transaction is committed, for work that is cheaper when batched. Dropped on a
   * rollback.
   */
  beforeCommit(fn: () => void): void;
  /**
   * Runs `fn`, inside `tx`, with capture off for what the agent writes in it: no other connection ever sees the flag.
   * Writes of an application's triggers into other models meanwhile are captured. A nested call joins.
   */
  applying<T>(fn: () => T): T;
  /** Within {@link Store.applying}: rows of this model are written next. Undefined: a savepoint was rolled back, and the flag with it. */
  aim(model: Model | undefined): void;
  /** The file's own number of a model. @throws RangeError for a model that is not on the device */
  number(model: Model): number;
  /** The model of a number; undefined if this schema no longer has it. */
  modelByNumber(number: number): Model | undefined;
  /** @throws RangeError for a model that is not on the device */
  rows(model: Model): Rows;
  getMeta(name: string): string | number | undefined;
  /** Undefined removes it. */
  setMeta(name: string, value: string | number | undefined): void;
  close(): void;
}

class SqlStore implements Store {
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #models: ReadonlyMap<number, Model>;
  readonly #rows = new Map<string, Rows>();
  #depth = 0;
  #applying = 0;
  /** The model's number that the flag has; 0: none. -1: it may have another one. */
  #aimed = 0;
  #beforeCommit: (() => void)[] = [];
  #transaction = 0;
  #schemaVersion: SqlValue | undefined;
  #altered: readonly string[] = [];

  constructor(
    readonly db: Database,
    readonly schema: Schema,
    readonly identity: Identity,
    readonly migration: Migration,
    readonly now: () => number,
    readonly complaints: readonly string[],
  ) {
    this.#models = modelNumbers(db, schema);
    this.#schemaVersion = db.sql("PRAGMA schema_version").get()!.schema_version;
    this.#numbers = new Map([...this.#models].map(([number, model]) => [model.name, number]));
  }

  get transaction(): number {
    return this.#transaction;
  }

  altered(): readonly string[] {
    const version = this.db.sql("PRAGMA schema_version").get()!.schema_version;
    if (version !== this.#schemaVersion) {
      const hasModels = this.db.prepare("SELECT 1 FROM sqlite_master WHERE name = '_sync_models'").get() !== undefined;
      this.#altered = hasModels ? alteredObjects(this.db, this.#models, this.identity) : ["_sync_models"];
      this.#schemaVersion = version;
    }
    return this.#altered;
  }

  tx<T>(fn: () => T, unchecked = false): T {
    if (this.#depth > 0) return this.#joined(fn);
    this.#transaction++;
    try {
      this.db.exec("BEGIN IMMEDIATE");
    } catch (error) {
      throw toSyncError(error, "Beginning a transaction");
    }
    try {
      // With the lock held, no other program can alter anything before the commit.
      if (!unchecked && this.altered().length > 0) throw alteredError(this.altered());
      const result = this.#joined(fn);
      if (result instanceof Promise) throw new TypeError("a transaction's function must be synchronous");
      for (const last of this.#beforeCommit.splice(0)) last();
      this.#commit();
      return result;
    } catch (error) {
      this.#applying = this.#aimed = 0;
      this.#beforeCommit = [];
      // SQLite rolls back by itself if it runs out of disk or memory: then there is nothing left to roll back.
      if (this.db.inTransaction) this.db.exec("ROLLBACK");
      throw isEnvironmental(error) ? toSyncError(error, "Writing the database") : error;
    }
  }

  #joined<T>(fn: () => T): T {
    this.#depth++;
    try {
      return fn();
    } finally {
      this.#depth--;
    }
  }

  #commit(): void {
    try {
      this.db.exec("COMMIT");
    } catch (error) {
      throw toSyncError(error, "Committing a transaction");
    }
  }

  beforeCommit(fn: () => void): void {
    if (this.#depth === 0) throw new TypeError("beforeCommit() must be called inside tx()");
    this.#beforeCommit.push(fn);
  }

  applying<T>(fn: () => T): T {
    if (this.#depth === 0) throw new TypeError("applying() must run inside tx()");
    this.#applying++;
    try {
      return fn();
    } finally {
      this.#applying--;
      // The flag must never be committed with another value than 0. If the transaction is gone, so is the flag.
      if (this.#applying === 0 && this.#aimed !== 0) {
        this.#aimed = 0;
        if (this.db.inTransaction) this.db.sql("UPDATE _sync_flag SET applying = 0").run();
      }
    }
  }

  aim(model: Model | undefined): void {
    if (this.#applying === 0) return;
    const number = model ? this.number(model) : -1;
    if (number > 0 && number !== this.#aimed) this.db.sql("UPDATE _sync_flag SET applying = ?").run(number);
    this.#aimed = number;
  }

  number(model: Model): number {
    const number = this.#numbers.get(model.name);
    if (number === undefined) throw new RangeError(`the model ${model.name} has no table on the device`);
    return number;
  }

  modelByNumber(number: number): Model | undefined {
    return this.#models.get(number);
  }

  rows(model: Model): Rows {
    let rows = this.#rows.get(model.name);
    if (!rows) {
      this.number(model);
      this.#rows.set(model.name, rows = new TableRows(this.db, model, this.identity, () => this.aim(model)));
    }
    return rows;
  }

  getMeta(name: string): string | number | undefined {
    const value = this.db.sql("SELECT value FROM _sync WHERE name = ?").get(name)?.value;
    return typeof value === "string" || typeof value === "number" ? value : undefined;
  }

  setMeta(name: string, value: string | number | undefined): void {
    if (value === undefined) this.db.sql("DELETE FROM _sync WHERE name = ?").run(name);
    else this.db.sql("INSERT OR REPLACE INTO _sync(name, value) VALUES (?, ?)").run(name, value);
  }

  close(): void {
    this.db.close();
  }
}

/** The error of writes while something of the agent's is missing, and the error with which an agent stops. */
export function alteredError(names: readonly string[]): SyncError {
  const some = names.slice(0, 5).join(", "), more = names.length - 5;
  return new SyncError(
    "altered",
    `an application has dropped or altered ${some}${more > 0 ? ` and ${more} more` : ""} while the agent ran, ` +
      "so that changes go unnoticed",
    { hint: "start the agent again: it recreates them, and compares every row with its last synced version" },
  );
}

/**
 * Opens the device's database and brings it to the schema.
 *
 * @throws SyncError `not-a-database`, `foreign-database` (another device or account, a cloud's table), `newer-format`,
 * `migration` (rows that don't fit the new schema), `busy`, `full`, `io`, `corrupt`
 */
export function openStore(options: StoreOptions): Store {
  const { path, schema, identity, driver = openDatabase, synchronous, check, now } = options;
  const action = `Opening the database "${path}"`;
  let db: Database | undefined;
  try {
    if (path !== ":memory:") createPrivately(path);
    // Before SQLite creates a WAL, which gets the same mode.
    if (path !== ":memory:" && options.group) shareWithGroup(path);
    db = driver(path, { synchronous });
    const complaints = check || hadComplaints(db) ? checkPages(db, path) : [];
    checkOwner(db, path, identity);
    const store = new SqlStore(db, schema, identity, bringTo(db, schema, identity), now, complaints);
    // Until a check finds nothing, each start checks.
    if ((store.getMeta("complaints") ?? 0) !== complaints.length) {
      store.tx(() => store.setMeta("complaints", complaints.length || undefined));
    }
    return store;
  } catch (error) {
    db?.close();
    throw toSyncError(error, action);
  }
}

/**
 * A store on a file that an agent has made, for a program that reads and writes beside it: nothing is migrated or
 * checked, and its writes are captured like any application's. Closing it closes the connection.
 *
 * @param schema the file's own (`presentSchema`)
 */
export function storeBeside(db: Database, schema: Schema, identity: Identity): Store {
  return new SqlStore(db, schema, identity, { created: [], rebuilt: [], restored: [], noticed: [] }, Date.now, []);
}

/** Whether the last check complained about something. */
function hadComplaints(db: Database): boolean {
  if (!db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sync'").get()) return false;
  return db.prepare("SELECT 1 FROM _sync WHERE name = 'complaints'").get() !== undefined;
}

/**
 * Refuses a damaged database before the agent uses it. Rebuilds what can be rebuilt, and returns SQLite's remaining
 * complaints that are not damage.
 */
function checkPages(db: Database, path: string): readonly string[] {
  const { damage, complaints } = findDamage(db);
  if (damage.length === 0) return rebuildDerived(db, complaints);
  throw new SyncError("corrupt", `"${path}" is damaged: ${complaintsText(damage)}`, {
    hint:
      "Nothing was changed. Restore a backup (the command restore), or move the file away and start with a new one.",
  });
}

/** Refuses a file that this agent must not open, before anything in it is touched. */
function checkOwner(db: Database, path: string, identity: Identity): void {
  if (db.prepare("PRAGMA application_id").get()!.application_id === cloudTableId) {
    throw new SyncError("foreign-database", `"${path}" is a cloud's embedded table, not a device's database`, {
      hint: "Name another file.",
    });
  }
  if (!db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sync'").get()) return;
  const facts = new Map(db.prepare("SELECT name, value FROM _sync").all().map((row) => [row.name, row.value]));
  const format = Number(facts.get("format") ?? storeFormat);
  if (format > storeFormat) {
    throw new SyncError("newer-format", `"${path}" was written by a newer Twintable (format ${format})`, {
      hint: "Use that version, or start with a new file.",
    });
  }
  for (const [what, own] of [["device", identity.deviceId], ["account", identity.accountId]] as const) {
    const theirs = facts.get(what);
    if (theirs === undefined || theirs === own) continue;
    throw new SyncError("foreign-database", `"${path}" belongs to the ${what} "${theirs}", not to "${own}"`, {
      hint:
        `Start with --${what} ${theirs}, or give ${what} "${own}" a database file of its own (the command reset --rows empties this one).`,
    });
  }
}

/**
 * Migrates if the file's DDL differs from that of this schema and this version of Twintable, or is no longer in the
 * file: what is missing is recreated. `verify` finds what was written without it.
 */
function bringTo(db: Database, schema: Schema, identity: Identity): Migration {
  const fact = (name: string) => db.prepare("SELECT value FROM _sync WHERE name = ?").get(name)?.value;
  const same = () =>
    db.prepare("SELECT 1 FROM sqlite_master WHERE name = '_sync'").get() !== undefined &&
    fact(columnsFact) === plainColumns && fact("ddl") === schemaSql(schema, identity) &&
    fact("fingerprint") === schema.fingerprint &&
    db.prepare("SELECT 1 FROM sqlite_master WHERE name = '_sync_models'").get() !== undefined &&
    alteredObjects(db, modelNumbers(db, schema), identity).length === 0 &&
    db.prepare("SELECT 1 FROM _sync_flag").get() !== undefined;
  const unchanged: Migration = { created: [], rebuilt: [], restored: [], noticed: [] };
  if (same()) return unchanged;
  db.exec("PRAGMA legacy_alter_table = ON; BEGIN IMMEDIATE");
  try {
    // Another process may have done it while this one waited for the lock.
    const migration = same() ? unchanged : migrate(db, schema, identity);
    db.exec("COMMIT");
    return migration;
  } catch (error) {
    if (db.inTransaction) db.exec("ROLLBACK");
    throw error;
  } finally {
    db.exec("PRAGMA legacy_alter_table = OFF");
  }
}
