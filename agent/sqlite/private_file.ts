/**
 * Files that only their owner may open, or, on request, also their group.
 *
 * @module
 */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { realPath } from "./real_path.ts";

/**
 * Creates an empty file of mode 0600, and its folder (0700), if they are missing; SQLite gives a database's WAL the
 * same mode. This is the one descriptor on a database that is not SQLite's, and it is closed before SQLite knows the
 * file: it must be new (`wx`), so that no lock of this process can depend on it. Rejected: a umask, which affects the
 * whole process, and which older runtimes ignore.
 */
export function createPrivately(name: string): void {
  // At the end of a link, too: SQLite would create the link's target, readable by others.
  const path = realPath(name);
  if (existsSync(path)) return;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    // Another process created it since the check: then it exists.
    if ((error as { code?: string }).code !== "EEXIST") throw error;
  }
}

/**
 * Lets a file's group read and write it, and the files that SQLite stores beside it, so that another user's application
 * can open the database. SQLite gives a later WAL the database's own mode and group. Works by name, without a
 * descriptor. The folder determines the group: with its setgid bit, new files get the folder's group. @throws the
 * system's error if the file belongs to another user
 */
export function shareWithGroup(name: string): void {
  const path = realPath(name);
  for (const end of ["", "-wal", "-shm", "-journal"]) {
    const stat = statSync(path + end, { throwIfNoEntry: false });
    if (stat && (stat.mode & 0o060) !== 0o060) chmodSync(path + end, (stat.mode & 0o777) | 0o060);
  }
}
