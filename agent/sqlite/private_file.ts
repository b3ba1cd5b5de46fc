/**
 * Files that only their owner may open.
 *
 * @module
 */
import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
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
