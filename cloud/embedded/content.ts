/**
 * Whether the content of the table's file is still the one that this process serves. `served(session)` holds a text that
 * only this process writes, a new one every ten seconds in which it commits. A copy that is put into the file's place has
 * another one, also a copy of this run:
 *
 * - by way of SQLite (`.restore` of the `sqlite3` shell): a transaction sees another text;
 * - past SQLite (`cp copy.db cloud.db`, which keeps the file): the connection's pages and the WAL hide it, so the text
 *   is read from the file alone, whenever the file has another time or size. Every checkpoint changes these, too.
 *
 * @module
 */
import { statSync, truncateSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { DatabaseSync } from "node:sqlite";
import { faultKind } from "./faults.ts";
import { serveSql, sessionSql } from "./layout.ts";

/** A copy that is older than this has another text. */
const renewMs = 10_000;

/** See the module. */
export class ServedContent {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #now: () => number;
  /** The texts that the file itself may have: what the last checkpoint found there, and all since. */
  #written: (string | undefined)[];
  #renewedMs: number;
  /** Time and size of the file when it was last looked at. */
  #looked = "";

  /** Takes the content over. @param now monotonic, ms */
  constructor(db: DatabaseSync, path: string, now: () => number = () => performance.now()) {
    this.#db = db;
    this.#path = path;
    this.#now = now;
    this.#renewedMs = now();
    const session = crypto.randomUUID();
    db.exec(`${serveSql} ('${session}')`);
    this.#checkpoint();
    this.#written = [this.#inFile(), session];
  }

  /** What a transaction must see. */
  get session(): string {
    return this.#written.at(-1)!;
  }

  /** Writes a new text if it is time. Runs inside a transaction. @returns what to call once that is committed */
  renew(): (() => void) | undefined {
    if (this.#now() - this.#renewedMs < renewMs) return undefined;
    const session = crypto.randomUUID();
    this.#db.exec(`${serveSql} ('${session}')`);
    return () => {
      this.#renewedMs = this.#now();
      this.#written.push(session);
      this.#checkpoint();
    };
  }

  /** If somebody reads, or it fails, the file gets it later: like SQLite's own checkpoints, which tell nobody either. */
  #checkpoint(): void {
    try {
      this.#db.exec("PRAGMA wal_checkpoint(PASSIVE)");
    } catch (error) {
      if (faultKind(error) === undefined) throw error;
    }
  }

  /** Whether somebody wrote to the file past SQLite. */
  get isReplaced(): boolean {
    const stat = statSync(this.#path, { throwIfNoEntry: false, bigint: true });
    if (!stat) return false;
    const now = `${stat.mtimeNs} ${stat.size}`;
    if (now === this.#looked) return false;
    let text: string | undefined;
    try {
      text = this.#inFile();
    } catch {
      // A checkpoint or a copy is under way, or what was copied is no such table: it is looked at again.
      return false;
    }
    const at = this.#written.indexOf(text);
    if (at < 0) return true;
    this.#written = this.#written.slice(at);
    this.#looked = now;
    return false;
  }

  /** The text in the file itself, without the WAL. SQLite opens it, because closing a descriptor drops its locks. */
  #inFile(): string | undefined {
    const url = pathToFileURL(this.#path);
    url.search = "immutable=1";
    const db = new DatabaseSync(url, { readOnly: true });
    try {
      return db.prepare(sessionSql).get()?.session as string | undefined;
    } finally {
      db.close();
    }
  }

  /** What SQLite has not written to the file yet belongs to the content before, and must not get into the copy. */
  giveUp(): void {
    truncateSync(`${this.#path}-wal`, 0);
  }
}
