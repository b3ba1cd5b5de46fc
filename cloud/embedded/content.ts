/**
 * Whether the content of the table's file is still the one that this process serves. `served(session)` holds a text that
 * only this process writes, another one with each commit. A copy that is put into the file's place has another text, also
 * a copy of this run, however young:
 *
 * - by way of SQLite (`.restore` of the `sqlite3` shell): a transaction sees another text;
 * - past SQLite (`cp copy.db cloud.db`, which keeps the file): the connection's pages and the WAL hide it, so the text
 *   is read from the file alone, whenever the file has another time or size. Every checkpoint changes these, too, so any
 *   text since the last one is taken for a checkpoint: a copy that is younger than that, where the WAL makes up for what
 *   it lacks.
 *
 * @module
 */
import { statSync, truncateSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { faultKind } from "./faults.ts";
import { serveSql, sessionSql } from "./layout.ts";

/** What the file itself has is no older than this, where anything is committed and nobody reads. */
const checkpointMs = 10_000;
/** Times of files go in steps of some milliseconds. */
const momentMs = 20;

/** See the module. */
export class ServedContent {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #now: () => number;
  readonly #run = crypto.randomUUID();
  /** The commits whose text the file itself may have: from what the last checkpoint was seen to bring, to the last. */
  #from = 0;
  #to = 0;
  /** What was there before this process; void once a checkpoint has brought a text of this one. */
  #before: { readonly text: string | undefined } | undefined;
  #checkpointedMs: number;
  readonly #renewal: StatementSync;
  /** Time and size of the file when it was last looked at. */
  #looked = "";
  /** When it is looked at though they are the same (monotonic). */
  #againMs = Infinity;

  /** Takes the content over. @param now monotonic, ms */
  constructor(db: DatabaseSync, path: string, now: () => number = () => performance.now()) {
    this.#db = db;
    this.#path = path;
    this.#now = now;
    this.#checkpointedMs = now();
    db.exec(`${serveSql} ('${this.session}')`);
    this.#checkpoint();
    this.#before = { text: this.#inFile() };
    this.#renewal = db.prepare("UPDATE served SET session = ?");
  }

  /** What a transaction must see. */
  get session(): string {
    return `${this.#run} ${this.#to}`;
  }

  /** Writes the next text. Runs inside a transaction. @returns what to call once that is committed */
  renew(): () => void {
    const next = this.#to + 1, isDue = this.#now() - this.#checkpointedMs >= checkpointMs;
    this.#renewal.run(`${this.#run} ${next}`);
    return () => {
      this.#to = next;
      if (!isDue) return;
      this.#checkpointedMs = this.#now();
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
    const now = `${stat.mtimeNs} ${stat.size}`, isSame = now === this.#looked;
    if (isSame && performance.now() < this.#againMs) return false;
    let text: string | undefined;
    try {
      text = this.#inFile();
    } catch {
      // A checkpoint or a copy is under way, or what was copied is no such table: it is looked at again.
      return false;
    }
    if (!this.#mayHave(text)) return true;
    this.#looked = now;
    // Of writes of one moment the file has one time: it is looked at once more.
    this.#againMs = isSame ? Infinity : performance.now() + momentMs;
    return false;
  }

  #mayHave(text: string | undefined): boolean {
    const [run, at] = text?.split(" ") ?? [];
    if (run !== this.#run) return this.#before !== undefined && text === this.#before.text;
    const serial = Number(at);
    if (serial < this.#from || serial > this.#to) return false;
    this.#from = serial;
    this.#before = undefined;
    return true;
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
