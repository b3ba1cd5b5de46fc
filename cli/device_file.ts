/**
 * A device's database as the commands meet it: opened through SQLite only, recognised, and told whether an agent runs on
 * it. A path is looked at, never opened besides SQLite: closing such a descriptor would drop the locks of this process.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { type Database, type Driver, faultOf, openDatabase } from "../agent/sqlite/driver.ts";
import { leasePath } from "../agent/sqlite/lease.ts";
import { SyncError } from "../schema.ts";
import { CommandError } from "./command.ts";

/** Whether there is a file of this path. */
export function fileExists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

/**
 * Whether an agent holds the lease beside the database (see agent/sqlite/lease.ts): an exclusive lock, which lets nobody read the
 * lease's file.
 */
export function isLeased(path: string): boolean {
  const file = leasePath(path);
  if (!fileExists(file)) return false;
  const lease = new DatabaseSync(file, { readOnly: true });
  try {
    // Not by the option: Deno 2.9 takes its 0 for the default, 5 s.
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
    throw new CommandError(`${path} can't be opened: ${(cause as Error).message}`, { cause });
  }
}

function unreadable(path: string, cause: unknown): Error {
  if (cause instanceof CommandError || cause instanceof SyncError) return cause;
  const foreign = faultOf(cause) === "not-a-database" || /no such (table|column)/.test((cause as Error).message);
  const reason = foreign ? "is not a device database" : `can't be read: ${(cause as Error).message}`;
  return new CommandError(`${path} ${reason}`, { cause });
}

/** Runs `use` on a read-only connection. @throws {CommandError} where the file is missing or no device database */
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

/** {@link readDevice} for what takes its time. */
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
