/**
 * Ensures one agent for each database file. The lease is an exclusive SQLite lock on a separate file beside the
 * database (`<path>.lease`), held for the agent's life: the kernel releases it with the process, however that ends, so
 * nothing expires and nothing is stale. Rejected: a row with a heartbeat (needs a sane clock, expires late), a lock on
 * the database file itself (closing any descriptor on it drops SQLite's own locks).
 *
 * The file also stores what must not travel with a copy of the database: whether the last agent ended cleanly, and
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

/** A held lease; disposing releases it. */
export interface Lease extends Disposable {
  readonly path: string;
  /** Whether the previous agent was killed, or the machine lost power. */
  readonly unclean: boolean;
  /** The generation of the database that ran here last; undefined: unknown. */
  readonly generation: string | undefined;
  /** Remembers a generation. */
  renew(generation: string): void;
  /** Stores that the agent ended cleanly: the next start need not check the database. */
  ended(): void;
  /**
   * Restores the lease's file to its former state, or removes a new one: for a start that was refused and changed
   * nothing.
   */
  left(): void;
}

/**
 * For a directory, SQLite only says that it can't be opened. A file with a second name (a hard link) has a lease and a
 * WAL beside each: two agents, or an application by the other name, would damage it.
 */
function checkIsFile(databasePath: string): void {
  const stat = statSync(databasePath, { throwIfNoEntry: false });
  if (stat?.isDirectory()) {
    throw new SyncError("io", `"${databasePath}" is a directory, not a database file`, { hint: "Name a file in it." });
  }
  if ((stat?.nlink ?? 1) <= 1) return;
  throw new SyncError("in-use", `"${databasePath}" has ${stat!.nlink} names (hard links)`, {
    hint: "remove the others, or use symbolic links: who opens it by another name damages it",
  });
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
 * @throws SyncError `in-use` if another agent, in this process or another, has it, or the file has a hard link; `io` if the
 * file can't be created, or the database's path is a directory
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
    // Another refused start may have removed the file meanwhile: a lock on a file without a name excludes nobody.
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
          // While the lock is held, so that the file is never another agent's; an agent that already has it open finds
          // its name gone (above).
          if (isNew) rmSync(path, { force: true });
          else held.prepare("UPDATE lease SET running = ?").run(last.running!);
        } catch {
          // For example a full disk. The refusal is the error to report; this only costs the next start a check.
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
