/**
 * Whether the content of the table's file is still the one that this process serves. `served(session)` holds a text that
 * only this process writes, another one with each commit. A copy that is put into the file's place has another text, also
 * a copy of this run, however young:
 *
 * - by way of SQLite (`.restore` of the `sqlite3` shell): a transaction sees another text;
 * - past SQLite (`cp copy.db cloud.db`, which keeps the file): the connection's pages and the WAL hide it, so the text
 *   is read from the file alone, whenever the file has another time or size. Every checkpoint changes these, too, so any
 *   text since the last one may be a checkpoint's. A copy that is younger than that has such a text, but not the file's
 *   pages where SQLite made it (`VACUUM INTO`, `.backup`, `.dump`): beside the WAL it is a mixture. Such a copy has a
 *   schema version of its own, which begins at random with each run. Only a plain copy of the file's bytes has the same
 *   one: nothing is lost by that, because the WAL has all that it lacks.
 *
 * A file that can't be read as this table, because a copy or somebody's checkpoint is under way, is **unclear**: nothing
 * is read from it or written to it until that has passed; if it does not, the content is replaced.
 *
 * Left is the moment between the look and the write that follows it: of some microseconds, because SQLite has no lock
 * that `cp` would respect.
 *
 * @module
 */
import { existsSync, statSync, truncateSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { faultKind } from "./faults.ts";
import { serveSql, sessionSql } from "./layout.ts";

/** What the file itself has is no older than this, where anything is committed and nobody reads. */
const checkpointMs = 10_000;
/** Times of files go in steps of some milliseconds. */
const momentMs = 20;
/** Longer than another process's checkpoint writes pages. */
const unclearMs = 3_000;
/** Schema versions are signed numbers of 32 bits, and rise with each change of the schema. */
const schemaVersionMax = 2 ** 30;

/** What the file itself has: who served it last, and the version of its schema. */
interface InFile {
  readonly text: string | undefined;
  readonly schema: number;
}

function schemaVersionOf(db: DatabaseSync): number {
  return Number(db.prepare("PRAGMA schema_version").get()!.schema_version);
}

/** A schema version at random. Connections prepare their statements anew; SQLite uses it for nothing else. */
function drawSchemaVersion(db: DatabaseSync): number {
  // The runtimes' own type declarations do not know of it; older ones have none, and are not defensive.
  const defended = db as DatabaseSync & { enableDefensive?(isOn: boolean): void };
  defended.enableDefensive?.(false);
  db.exec(`PRAGMA schema_version = ${1 + Math.floor(Math.random() * schemaVersionMax)}`);
  defended.enableDefensive?.(true);
  return schemaVersionOf(db);
}

/** Undefined: nobody's, as in a file of an older build, or an empty one. */
function sessionIn(db: DatabaseSync): string | undefined {
  try {
    return db.prepare(sessionSql).get()?.session as string | undefined;
  } catch (error) {
    if (!/no such table/.test((error as Error).message)) throw error;
    return undefined;
  }
}

/** See the module. */
export class ServedContent {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #now: () => number;
  readonly #run = crypto.randomUUID();
  /** The commits whose text the file itself may have: from what the last checkpoint was seen to bring, to the last. */
  #from = 0;
  #to = 0;
  /** The version of the schema that the last checkpoint was seen to bring. */
  #schema = 0;
  /** What was there before this process; void once a checkpoint has brought a text of this one. */
  #before: InFile | undefined;
  #checkpointedMs: number;
  readonly #renewal: StatementSync;
  /** Time and size of the file when it was last looked at. */
  #looked = "";
  /** When it is looked at though they are the same (monotonic). */
  #againMs = Infinity;
  /** Since when it can't be read as this table. */
  #unclearSinceMs: number | undefined;

  /** Takes the content over. @param now monotonic, ms */
  constructor(db: DatabaseSync, path: string, now: () => number = () => performance.now()) {
    this.#db = db;
    this.#path = path;
    this.#now = now;
    this.#checkpointedMs = now();
    this.#schema = drawSchemaVersion(db);
    db.exec(`${serveSql} ('${this.session}')`);
    this.#checkpoint();
    this.#before = this.#inFile();
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

  /** Whether somebody wrote to the file past SQLite; or may be doing so. */
  get state(): "served" | "replaced" | "unclear" {
    const stat = statSync(this.#path, { throwIfNoEntry: false, bigint: true });
    if (!stat) return "served";
    const now = `${stat.mtimeNs} ${stat.ctimeNs} ${stat.size}`, isSame = now === this.#looked;
    if (isSame && performance.now() < this.#againMs) return "served";
    let found: InFile;
    try {
      found = this.#inFile();
    } catch (error) {
      // That it can't be opened is no matter of its content.
      return faultKind(error) === "cannot-open" ? "served" : this.#unclear();
    }
    if (!this.#mayHave(found)) return "replaced";
    this.#unclearSinceMs = undefined;
    this.#looked = now;
    // Of writes of one moment the file has one time: it is looked at once more.
    this.#againMs = isSame ? Infinity : performance.now() + momentMs;
    return "served";
  }

  #unclear(): "unclear" | "replaced" {
    this.#unclearSinceMs ??= this.#now();
    return this.#now() - this.#unclearSinceMs < unclearMs ? "unclear" : "replaced";
  }

  #mayHave({ text, schema }: InFile): boolean {
    const [run, at] = text?.split(" ") ?? [];
    if (run !== this.#run) return text === this.#before?.text && schema === this.#before?.schema;
    const serial = Number(at);
    if (serial < this.#from || serial > this.#to) return false;
    // Somebody's index raises it, from what the file has to what the WAL has.
    if (schema < this.#schema || schema > schemaVersionOf(this.#db)) return false;
    this.#from = serial;
    this.#schema = schema;
    this.#before = undefined;
    return true;
  }

  /** What is in the file itself, without the WAL. SQLite opens it, because closing a descriptor drops its locks. */
  #inFile(): InFile {
    const url = pathToFileURL(this.#path);
    url.search = "immutable=1";
    const db = new DatabaseSync(url, { readOnly: true });
    try {
      return { text: sessionIn(db), schema: schemaVersionOf(db) };
    } finally {
      db.close();
    }
  }

  /** What SQLite has not written to the file yet belongs to the content before, and must not get into the copy. */
  giveUp(): void {
    const wal = `${this.#path}-wal`;
    if (existsSync(wal)) truncateSync(wal, 0);
  }
}
