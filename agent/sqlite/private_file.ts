/**
 * Files that only their owner may open, or, where that is asked for, their owner's group, too.
 *
 * @module
 */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { realPath } from "./real_path.ts";

/**
 * Makes an empty file of mode 0600, and its folder (0700), where they are missing; SQLite gives a database's WAL the same
 * mode. This is the one descriptor on a database that is not SQLite's, and it is closed before SQLite knows the file: it
 * must be new (`wx`), so that no lock of this process can hang on it. Rejected: a umask, which is the whole process's, and
 * which older runtimes ignore.
 */
export function createPrivately(name: string): void {
  // At the end of a link, too: SQLite would make the file that it leads to, and make it readable.
  const path = realPath(name);
  if (existsSync(path)) return;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    // Another process made it between the look and this: then it is there.
    if ((error as { code?: string }).code !== "EEXIST") throw error;
  }
}

/**
 * Lets the group of a file read and write it, and of the files that SQLite keeps beside it: another user's application opens the
 * database then. SQLite gives a WAL that is made later the database's own mode and group. By its name, without a descriptor.
 * Which group it is the folder says: with its setgid bit, files that are made in it get its group.
 *
 * @throws what the system says, where the file is another user's
 */
export function shareWithGroup(name: string): void {
  const path = realPath(name);
  for (const end of ["", "-wal", "-shm"]) {
    const stat = statSync(path + end, { throwIfNoEntry: false });
    if (stat && (stat.mode & 0o060) !== 0o060) chmodSync(path + end, (stat.mode & 0o777) | 0o060);
  }
}
