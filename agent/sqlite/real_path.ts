/**
 * Where a database file really is, and which file it is. SQLite follows symbolic links and keeps `-wal` and `-shm` beside the
 * file itself: a lease or a watch beside the link would be another one, so that two agents could run on one file.
 *
 * A path is looked at here, never opened: closing such a descriptor would drop the locks of this process.
 *
 * @module
 */
import { lstatSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";

/** As many links as Linux follows. */
const linksMax = 40;

/** The path without symbolic links, also of a file that is still to be made, at the end of a link or not. */
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
    // No folder either: whoever makes it makes it here.
    return at;
  }
}

/** Which file a path leads to, told apart from any other; undefined: none. */
export function fileIdentity(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.dev}:${stat.ino}`;
}
