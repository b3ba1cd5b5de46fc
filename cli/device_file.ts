/**
 * A device's database, for commands: opens it only through SQLite, checks that it is one, and finds out whether an
 * agent runs on it. It inspects a path without opening it outside of SQLite: closing such a descriptor would drop this
 * process's locks.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { type Database, type Driver, faultOf, openDatabase } from "../agent/sqlite/driver.ts";
import { leasePath } from "../agent/sqlite/lease.ts";
import { SyncError } from "../schema.ts";
import { CommandError } from "./command.ts";

/** Whether there is a file at this path. */
export function fileExists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

/**
 * Whether an agent holds the lease beside the database (see agent/sqlite/lease.ts): with an exclusive lock, nobody else
 * can read the lease's file.
 */
export function isLeased(path: string): boolean {
  const file = leasePath(path);
  if (!fileExists(file)) return false;
  const lease = new DatabaseSync(file, { readOnly: true });
  try {
    // Not by the option: Deno 2.9 treats 0 as the default, 5 s.
    lease.exec("PRAGMA busy_timeout = 0");
    lease.prepare("SELECT count(*) FROM sqlite_schema").get();
    return false;
  } catch (error) {
    if (faultOf(error) === "busy") return true;
    throw error;
  } finally {
    lease.close();
  }
}

function openReadOnly(path: string, driver: Driver): Database {
  if (!fileExists(path)) throw new CommandError(`${path} does not exist`);
  try {
    return driver(path, { readOnly: true });
  } catch (cause) {
    if (cause instanceof SyncError) throw cause;
    const { message } = cause as Error, hint = "this user may not read it, or its folder";
    throw new CommandError(`${path} can't be opened: ${/unable to open/.test(message) ? hint : message}`, { cause });
  }
}

function unreadable(path: string, cause: unknown): Error {
  if (cause instanceof CommandError || cause instanceof SyncError) return cause;
  const foreign = faultOf(cause) === "not-a-database" || /no such (table|column)/.test((cause as Error).message);
  const { message } = cause as Error;
  // SQLite needs a file beside it, to read as well.
  const isShut = /readonly database|unable to open/.test(message);
  const why = isShut ? "this user may not write beside it, into its folder, which SQLite must" : message;
  const reason = foreign ? "is not a device database" : `can't be read: ${why}`;
  return new CommandError(`${path} ${reason}`, { cause });
}

/** Runs `use` on a read-only connection. @throws {CommandError} if the file is missing or not a device database */
export function readDevice<T>(path: string, use: (db: Database) => T, driver: Driver = openDatabase): T {
  const db = openReadOnly(path, driver);
  try {
    db.prepare("SELECT device FROM _status").get();
    return use(db);
  } catch (cause) {
    throw unreadable(path, cause);
  } finally {
    db.close();
  }
}

/** {@link readDevice} for asynchronous work. */
export async function readDeviceSlowly<T>(
  path: string,
  use: (db: Database) => Promise<T>,
  driver: Driver = openDatabase,
): Promise<T> {
  const db = openReadOnly(path, driver);
  try {
    db.prepare("SELECT device FROM _status").get();
    return await use(db);
  } catch (cause) {
    throw unreadable(path, cause);
  } finally {
    db.close();
  }
}
