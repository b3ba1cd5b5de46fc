/**
 * The files of an embedded table: where they really are, and for whom. Token hashes and every tenant's items are in them.
 *
 * A path is looked at here and a missing file is made; a database that is there is never opened but by SQLite, since closing
 * any descriptor on it drops SQLite's locks.
 *
 * @module
 */
import { chmodSync, closeSync, lstatSync, openSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";

/** As many links as Linux follows. */
const linksMax = 40;

/** The path without symbolic links, also of a file that is still to be made: two names of one table have one lock. */
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
 * Makes the file for its owner alone where it is missing; SQLite gives WAL and index the same mode. From one that is there
 * already, the right of everybody is taken: builds before made them readable. Where it can't be made (no such folder),
 * SQLite can't open it either, and says so.
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
    // Another owner's, who may have his reasons; or a platform without modes.
    if (!["EPERM", "ENOSYS", "ENOTSUP"].includes((error as { code?: string }).code ?? "")) throw error;
  }
}

/** Which file a path leads to now; undefined: none. It is looked at, not opened. */
export function fileId(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false, bigint: true });
  return stat && `${stat.dev}:${stat.ino}`;
}
