/**
 * One agent a database file. The lease is an exclusive lock of SQLite on a file of its own beside the database
 * (`<path>.lease`), held for the agent's life: the kernel drops it with the process, however that ends, so there is
 * nothing to expire and nothing stale. Rejected: a row with a heartbeat (needs a sane clock, expires late), a lock on the
 * database file itself (closing any descriptor on it drops SQLite's own locks).
 *
 * The file also remembers what must not go with the database when it is copied: whether the last agent ended in order, and
 * which generation of the database ran here (see `generation.ts`).
 *
 * @module
 */
import { rmSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { SyncError } from "../../schema.ts";
import { faultOf } from "./driver.ts";
import { createPrivately } from "./private_file.ts";
import { realPath } from "./real_path.ts";

/** A held lease; disposing gives it up. */
export interface Lease extends Disposable {
  readonly path: string;
  /** Whether the agent before this one was killed, or the machine lost its power. */
  readonly unclean: boolean;
  /** The generation of the database that ran here last; undefined: none is known. */
  readonly generation: string | undefined;
  /** Remembers a generation. */
  renew(generation: string): void;
  /** Remembers that the agent ended in order: the next start need not check the database. */
  ended(): void;
  /** Leaves the lease's file as it was found, or none where there was none: for who was refused and changed nothing. */
  left(): void;
}

/** SQLite says of a directory only that it can't be opened. */
function checkIsFile(databasePath: string): void {
  if (!statSync(databasePath, { throwIfNoEntry: false })?.isDirectory()) return;
  throw new SyncError("io", `"${databasePath}" is a directory, not a database file`, { hint: "Name a file in it." });
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

/** Where the lease of a database is: beside the file itself, not beside a link to it. */
export function leasePath(databasePath: string): string {
  return `${realPath(databasePath)}.lease`;
}

function inUse(databasePath: string, cause?: unknown): SyncError {
  return new SyncError("in-use", `another agent is running on "${databasePath}"`, {
    cause,
    hint: "stop it first; one agent serves a database file, any number of applications may open it",
  });
}

/**
 * Takes the lease of a database file.
 *
 * @throws SyncError `in-use` where another agent, in this process or another, has it; `io` where the file can't be made, or
 * the database's path is a directory
 */
export function takeLease(databasePath: string): Lease {
  if (databasePath === ":memory:") {
    const path = databasePath;
    return { path, unclean: false, generation: undefined, renew() {}, ended() {}, left() {}, [Symbol.dispose]() {} };
  }
  const path = leasePath(databasePath);
  let db: DatabaseSync | undefined;
  try {
    checkIsFile(databasePath);
    createPrivately(path);
    const file = inodeOf(path);
    db = new DatabaseSync(path);
    const held = db;
    held.exec("PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    // Another start that was refused may have removed the file meanwhile: a lock on one without a name holds nobody off.
    if (inodeOf(path) !== file) throw inUse(databasePath);
    const isNew = held.prepare("SELECT 1 FROM sqlite_schema").get() === undefined;
    held.exec(
      `CREATE TABLE IF NOT EXISTS lease(id INTEGER PRIMARY KEY CHECK (id = 1), running INTEGER, generation TEXT);
      INSERT OR IGNORE INTO lease VALUES (1, 0, NULL)`,
    );
    const last = held.prepare("SELECT running, generation FROM lease").get()!;
    held.exec("UPDATE lease SET running = 1; COMMIT");
    return {
      path,
      unclean: last.running === 1,
      generation: typeof last.generation === "string" ? last.generation : undefined,
      renew: (generation) => void held.prepare("UPDATE lease SET generation = ?").run(generation),
      ended: () => held.exec("UPDATE lease SET running = 0"),
      left() {
        try {
          // While it is held, so that it is never another's; who has it open already finds its name gone (above).
          if (isNew) rmSync(path, { force: true });
          else held.prepare("UPDATE lease SET running = ?").run(last.running!);
        } catch {
          // A full disk, say. The refusal is the news; this costs the next start a check, no more.
        }
      },
      [Symbol.dispose]: () => held.close(),
    };
  } catch (cause) {
    db?.close();
    if (cause instanceof SyncError) throw cause;
    if (faultOf(cause) === "busy") throw inUse(databasePath, cause);
    throw new SyncError("io", `the lease "${path}" can't be taken: ${(cause as Error).message}`, {
      cause,
      hint: "check the folder's permissions and space; a damaged lease file may be deleted",
    });
  }
}
