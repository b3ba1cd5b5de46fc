/**
 * The real path and the identity of a database file. SQLite follows symbolic links and stores `-wal` and `-shm` beside
 * the target: with a lease or a watch beside the link, two agents could run on one file.
 *
 * This module inspects a path without opening it: closing such a descriptor would drop this process's locks.
 *
 * @module
 */
import { lstatSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";

/** As many links as Linux follows. */
const linksMax = 40;

/** The path without symbolic links, also for a file that does not exist yet, at the end of a link or not. */
export function realPath(path: string): string {
  let at = resolve(path);
  for (let n = 0; n < linksMax; n++) {
    try {
      return realpathSync(at);
    } catch (error) {
      if ((error as { code?: string }).code !== "ENOENT") return at;
    }
    if (!lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink()) break;
    at = resolve(dirname(at), readlinkSync(at));
  }
  try {
    return resolve(realpathSync(dirname(at)), basename(at));
  } catch {
    // The folder does not exist either: it will be created here.
    return at;
  }
}

/** The identity of the file at a path; undefined: none. */
export function fileIdentity(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.dev}:${stat.ino}`;
}
