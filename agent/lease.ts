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
import { DatabaseSync } from "node:sqlite";
import { SyncError } from "../schema.ts";
import { faultOf } from "./driver.ts";
import { createPrivately } from "./private_file.ts";

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
}

/**
 * Takes the lease of a database file.
 *
 * @throws SyncError `in-use` where another agent, in this process or another, has it; `io` where the file can't be made
 */
export function takeLease(databasePath: string): Lease {
  const path = `${databasePath}.lease`;
  if (databasePath === ":memory:") {
    return { path, unclean: false, generation: undefined, renew() {}, ended() {}, [Symbol.dispose]() {} };
  }
  let db: DatabaseSync | undefined;
  try {
    createPrivately(path);
    db = new DatabaseSync(path);
    const held = db;
    held.exec("PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
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
      [Symbol.dispose]: () => held.close(),
    };
  } catch (cause) {
    db?.close();
    if (faultOf(cause) === "busy") {
      throw new SyncError("in-use", `another agent is running on "${databasePath}"`, {
        cause,
        hint: "stop it first; one agent serves a database file, any number of applications may open it",
      });
    }
    throw new SyncError("io", `the lease "${path}" can't be taken: ${(cause as Error).message}`, {
      cause,
      hint: "check the folder's permissions and space; a damaged lease file may be deleted",
    });
  }
}
