/**
 * The files of an embedded table: their real paths, and their permissions. They contain token hashes and every tenant's
 * items.
 *
 * This module inspects paths and creates missing files; only SQLite opens an existing database, since closing any
 * descriptor on it drops SQLite's locks.
 *
 * @module
 */
import { chmodSync, closeSync, lstatSync, openSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { SyncError } from "../../schema/errors.ts";

/** As many links as Linux follows. */
const linksMax = 40;

/** The path without symbolic links, also for a file that does not exist yet: two names of one table have one lock. */
export function realTablePath(path: string): string {
  let at = resolve(path);
  try {
    for (let n = 0; n < linksMax && lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink(); n++) {
      at = resolve(dirname(at), readlinkSync(at));
    }
    return resolve(realpathSync(dirname(at)), basename(at));
  } catch {
    // No such folder: SQLite says so where it opens the file.
    return at;
  }
}

/**
 * Creates a missing file for its owner only; SQLite gives WAL and index the same mode. It removes others' read
 * permission from an existing file: earlier builds made files readable by everybody. If the file can't be created (no
 * such folder), SQLite can't open it either, and says so.
 */
export function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") return;
    // It is there, or another process made it meanwhile.
    for (const file of [path, `${path}-wal`, `${path}-shm`]) closeToOthers(file);
  }
}

function closeToOthers(file: string): void {
  const mode = statSync(file, { throwIfNoEntry: false })?.mode;
  if (mode === undefined || (mode & 0o007) === 0) return;
  try {
    chmodSync(file, mode & 0o770);
  } catch (error) {
    // Another user owns it; or the platform has no modes.
    if (!["EPERM", "ENOSYS", "ENOTSUP"].includes((error as { code?: string }).code ?? "")) throw error;
  }
}

/**
 * Refuses a file that has another name by a hard link: SQLite puts WAL and lock beside each name, so two processes that
 * open it by two names damage it, and neither notices the other. Symbolic links are resolved before.
 *
 * @throws SyncError `in-use`
 */
export function checkOneName(path: string): void {
  let names: number;
  try {
    names = statSync(path, { throwIfNoEntry: false })?.nlink ?? 1;
  } catch {
    // No folder can be there: SQLite says so where it opens the file.
    return;
  }
  if (names <= 1) return;
  throw new SyncError("in-use", `the table ${JSON.stringify(path)} has ${names} names (hard links)`, {
    hint: "remove the others, or use symbolic links: two processes would open it by two names, and damage it",
  });
}

/** The identity of the file at a path; undefined: none. Inspects without opening. */
export function fileId(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false, bigint: true });
  return stat && `${stat.dev}:${stat.ino}`;
}
