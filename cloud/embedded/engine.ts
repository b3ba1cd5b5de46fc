/**
 * The embedded table's connection: opening, the lock against a second process, and **group commit**. Work that arrives
 * while a transaction is being prepared is committed together, so that one disk sync serves all concurrent callers.
 * Durable (`synchronous=FULL`) when the returned promise resolves. A crash before that leaves the state of the previous
 * transaction.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { setImmediate } from "node:timers";
import { SyncError } from "../../schema.ts";
import type { Schema } from "../../schema/model.ts";
import { ServedContent } from "./content.ts";
import { faultKind, faultOf } from "./faults.ts";
import { checkOneName, fileId, makePrivate, realTablePath } from "./files.ts";
import { Turns } from "./turns.ts";
import { applicationId, laterColumn, layoutSql, layoutVersion, schemaIndexes, sessionSql } from "./layout.ts";

/** How a commit syncs: FULL survives a power cut, NORMAL may lose the last moments in one, never more. */
export type Synchronous = "full" | "normal";

/** How an engine opens its file. */
export interface EngineOptions {
  readonly synchronous: Synchronous;
  readonly shared: boolean;
  /** The file's maximum size, in pages of 4 KB: beyond it, writes fail as on a full disk. */
  readonly pagesMax?: number;
  /** How long callers may keep one turn of the event loop; default {@link sliceMsDefault}. */
  readonly sliceMs?: number;
}

interface Job {
  run(): unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly weight: number;
}

/** Writes in one transaction: 4,000 block the event loop for at most some 100 ms. */
const transactionWeightMax = 4000;
/** Another process (a shell) may hold the write lock that long before a write fails as `unavailable`. */
const busyTimeoutMs = 5000;
/** The slice of a turn of the event loop: unrelated work waits at most this long, and for the current step. */
const sliceMsDefault = 10;
/** Rows that a list reads at first: of 400 KB each, 3 MB. */
const stepFirst = 8;
/** A file up to this size is checked at every start: a fraction of a second. */
const checkedAlwaysBytes = 64 * 1024 * 1024;
/** How often to check for another process's commits. */
const pollMs = 250;
/** How often the files are checked; also before each commit. */
const lookMs = 1000;
/** How often reads check the main file. */
const readLookMs = 20;

/** The connection. All SQL is synchronous, so code between two awaits sees one state. */
export class Engine {
  readonly db: DatabaseSync;
  readonly path: string;
  /** Whoever reads or writes asks here first. */
  readonly turns: Turns;
  #lock: DatabaseSync | undefined;
  /** The identities of the table's and the lock's files when they were opened. */
  #fileId: string | undefined;
  #lockId: string | undefined;
  /** Of a process that serves the table; undefined: this one does not. */
  #content: ServedContent | undefined;
  /** When a read looks at the file next (monotonic). */
  #nextLookMs = 0;
  readonly #looking: ReturnType<typeof setInterval> | undefined;
  readonly #lost = Promise.withResolvers<SyncError>();
  #fault: SyncError | undefined;
  readonly #statements = new Map<string, StatementSync>();
  #jobs: Job[] = [];
  #scheduled = false;
  #closed = false;
  #dataVersion = 0;
  readonly #waiters = new Set<() => void>();
  /** Counts commits that may have added to the stream. */
  commits = 0;

  constructor(name: string, schema: Schema, options: EngineOptions) {
    const path = name === ":memory:" ? name : realTablePath(name);
    this.path = path;
    this.turns = new Turns(options.sliceMs ?? sliceMsDefault);
    this.#lock = path === ":memory:" || options.shared ? undefined : lock(path);
    try {
      // SQLite removes the WAL when the last connection closes: an existing one means an unclean end.
      const unclean = !options.shared && existsSync(`${path}-wal`);
      this.db = open(path, schema, options, unclean);
    } catch (error) {
      this.#lock?.close();
      throw error;
    }
    this.#dataVersion = this.#readDataVersion();
    if (!this.#lock) return;
    this.#content = new ServedContent(this.db, path);
    this.#fileId = fileId(path);
    this.#lockId = fileId(`${path}-lock`);
    this.#looking = setInterval(() => this.#look(), lookMs);
    // It keeps no process alive.
    unrefTimer(this.#looking);
  }

  /**
   * Resolves when the file was deleted or replaced while it is served, or another process serves it: then nothing works
   * any more.
   */
  get lost(): Promise<SyncError> {
    return this.#lost.promise;
  }

  /**
   * Whether the files are still those that were opened. Writes to a deleted file are lost with the process, and two
   * processes on one file would pass on each other's changes twice or never. A removed lock file is recreated, unless
   * another process was faster.
   */
  #look(): boolean {
    if (this.#fault || this.#closed || !this.#lock) return !this.#fault;
    const what = `the table ${JSON.stringify(this.path)}`;
    if (fileId(this.path) !== this.#fileId) return this.#lose(`${what} was deleted or replaced while it was served`);
    if (fileId(`${this.path}-lock`) === this.#lockId) return this.#isItself();
    try {
      const again = lock(this.path);
      this.#lock.close();
      this.#lock = again;
      this.#lockId = fileId(`${this.path}-lock`);
      return this.#isItself();
    } catch {
      return this.#lose(`${what} is served by another process: its lock file was removed`);
    }
  }

  /** No copy was written over the file: the connection would read a mixture of both from then on. */
  #isItself(): boolean {
    const state = this.#content?.state ?? "served";
    if (state !== "replaced") return state === "served";
    let isPast = true;
    try {
      // If a transaction sees a copy, SQLite wrote it, and what is in the WAL is the copy's.
      isPast = this.#seesSession();
    } catch (error) {
      // What it reads is a mixture.
      if (faultKind(error) === undefined) throw error;
    }
    this.#loseContent();
    if (isPast) this.#content!.giveUp();
    return false;
  }

  /**
   * Inside a transaction: whether the content is still the one that this process serves. `.restore` of the `sqlite3`
   * shell puts a copy into the same file: changes and absences of it are not this table's.
   */
  #isServed(): boolean {
    if (this.#fault) return false;
    // Each look at the file costs as much as a small read.
    const now = performance.now();
    if (now >= this.#nextLookMs) {
      if (!this.#isItself()) return false;
      this.#nextLookMs = now + readLookMs;
    }
    return this.#seesSession() || this.#loseContent();
  }

  /** Why nothing is read or written now. */
  get #reason(): SyncError {
    return this.#fault ??
      new SyncError("unavailable", `somebody is writing into the file of the table ${JSON.stringify(this.path)}`, {
        retryable: true,
        hint: "it is looked at again; if a copy is put there, stop what serves the table first",
      });
  }

  #seesSession(): boolean {
    if (!this.#content) return true;
    let row: unknown;
    try {
      row = this.sql(sessionSql).get();
    } catch (error) {
      // A copy that an older build made.
      if (!/no such table/.test((error as Error).message)) throw error;
    }
    return (row as [string] | undefined)?.[0] === this.#content.session;
  }

  #loseContent(): false {
    return this.#lose(`the content of the table ${JSON.stringify(this.path)} was replaced while it was served`);
  }

  #lose(message: string): false {
    // For devices it is an outage: their changes wait.
    const hint = "stop what uses it and start again; after a restore, run cloud table restored first";
    this.#fault = new SyncError("unavailable", message, { retryable: true, hint });
    this.#lost.resolve(this.#fault);
    return false;
  }

  /**
   * A prepared statement, cached by its text. Its rows are arrays: the runtime's objects cost three times as much. A
   * write whose count is not needed is best run by `get`, which makes no object for the number of changes.
   */
  sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (!statement) {
      statement = this.db.prepare(text);
      // The runtimes' own type declarations do not know of it.
      (statement as StatementSync & { setReturnArrays(enabled: boolean): void }).setReturnArrays(true);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  /**
   * Rows of a statement, to its proven end, or up to `limit` rows or an approximate number of bytes. The statement's
   * last two parameters are LIMIT and OFFSET. Run it inside {@link readTogether}: it may need more than one step.
   *
   * The runtime's own iteration treats an error as the end: unread rows would then be missing, and absence removes rows
   * from devices. So rows are read in steps with `all`, which throws; few at first, because some hold megabytes.
   */
  rows<Row extends readonly unknown[]>(
    text: string,
    values: readonly (string | number)[],
    { limit, bytesMax, bytesOf }: { limit: number; bytesMax: number; bytesOf: (row: Row) => number },
  ): Row[] {
    const rows: Row[] = [], statement = this.sql(text);
    let bytes = 0, step = Math.min(limit, stepFirst);
    while (step > 0) {
      const read = statement.all(...values, step, rows.length) as unknown as Row[];
      for (const row of read) {
        rows.push(row);
        bytes += bytesOf(row);
      }
      if (read.length < step || bytes > bytesMax) break;
      step = Math.min(limit - rows.length, Math.max(1, Math.floor((bytesMax - bytes) / (bytes / rows.length + 1))));
    }
    return rows;
  }

  /** Runs a read. Errors of SQLite come out as `SyncError`. */
  read<T>(work: () => T): T {
    this.#checkOpen();
    try {
      return work();
    } catch (error) {
      throw faultOf(error, this.path);
    }
  }

  /**
   * Runs several reads in one transaction: a lone statement takes and releases the WAL's locks, which costs more than
   * finding a row.
   */
  readTogether<T>(work: () => T): T {
    return this.read(() => {
      this.db.exec("BEGIN");
      try {
        if (!this.#isServed()) throw this.#reason;
        return work();
      } finally {
        this.db.exec("COMMIT");
      }
    });
  }

  /**
   * Runs work inside a transaction that other callers' work may share; resolves after the commit. The work must be
   * repeatable: if the shared transaction fails, each runs once more in its own, so that it fails alone. @param weight
   * Approximate number of rows that it writes.
   */
  transact<T>(work: () => T, weight = 1): Promise<T> {
    this.#checkOpen();
    return new Promise<T>((resolve, reject) => {
      this.#jobs.push({ run: work, resolve: resolve as (value: unknown) => void, reject, weight });
      // In memory, there is no disk sync to share, and the simulation needs the result without a turn of the event
      // loop.
      if (this.path === ":memory:") return this.#flush();
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.#flush();
      });
    });
  }

  #flush(): void {
    while (this.#jobs.length > 0) {
      let weight = 0, count = 0;
      while (count < this.#jobs.length && (count === 0 || weight < transactionWeightMax)) {
        weight += this.#jobs[count++]!.weight;
      }
      this.#commit(this.#jobs.splice(0, count));
    }
  }

  #commit(jobs: readonly Job[]): void {
    let results: unknown[], renewed: (() => void) | undefined;
    if (!this.#look()) {
      for (const job of jobs) job.reject(this.#reason);
      return;
    }
    try {
      this.db.exec("BEGIN IMMEDIATE");
      try {
        if (!this.#isServed()) throw this.#reason;
        results = jobs.map((job) => job.run());
        renewed = this.#content?.renew();
        this.db.exec("COMMIT");
      } catch (error) {
        if (this.db.isTransaction) this.db.exec("ROLLBACK");
        throw error;
      }
    } catch (error) {
      if (jobs.length > 1) { for (const job of jobs) this.#commit([job]); }
      else jobs[0]!.reject(faultOf(error, this.path));
      return;
    }
    this.commits++;
    jobs.forEach((job, i) => job.resolve(results[i]));
    this.#wake();
    renewed?.();
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  /** Waits until there was a commit after `commits`, by this process or another, or the signal aborts. */
  async committed(commits: number, signal: AbortSignal): Promise<void> {
    while (this.commits === commits && !signal.aborted && !this.#closed) {
      await this.#pause(signal);
      if (this.#closed || this.path === ":memory:") continue;
      const version = this.#readDataVersion();
      if (version !== this.#dataVersion) this.commits++;
      this.#dataVersion = version;
    }
  }

  #pause(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiters.delete(done);
        signal.removeEventListener("abort", done);
        clearTimeout(timer);
        resolve();
      };
      const timer = this.path === ":memory:" ? undefined : setTimeout(done, pollMs);
      this.#waiters.add(done);
      signal.addEventListener("abort", done);
    });
  }

  #readDataVersion(): number {
    const [version] = this.sql("PRAGMA data_version").get() as unknown as [number];
    return version;
  }

  #checkOpen(): void {
    if (this.#closed) throw new SyncError("closed", `the table ${JSON.stringify(this.path)} is closed`);
    if (this.#fault) throw this.#fault;
  }

  /** Commits what is waiting and closes. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    clearInterval(this.#looking);
    this.#wake();
    this.db.close();
    this.#lock?.close();
  }
}

function unrefTimer(timer: unknown): void {
  if (typeof timer === "number") globalThis.Deno?.unrefTimer(timer);
  else (timer as { unref(): void }).unref();
}

/**
 * Excludes a second process: a lock on a separate database, held by an open transaction. The operating system releases
 * it when the process ends, however it ends; a lease in a row would have to expire first.
 */
function lock(path: string): DatabaseSync {
  checkOneName(path);
  let db: DatabaseSync | undefined;
  try {
    makePrivate(`${path}-lock`);
    db = new DatabaseSync(`${path}-lock`);
    db.exec("PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE");
    return db;
  } catch (error) {
    db?.close();
    if (faultKind(error) !== "busy") throw faultOf(error, path);
    throw new SyncError("in-use", `another process serves the table ${JSON.stringify(path)}`, {
      cause: error,
      hint: "stop it first: an embedded table is served by one process; several need DynamoDB",
    });
  }
}

function open(
  path: string,
  schema: Schema,
  { synchronous, pagesMax, shared }: EngineOptions,
  unclean: boolean,
): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    if (path !== ":memory:") makePrivate(path);
    db = new DatabaseSync(path);
    db.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384`);
    checkLayout(db, path);
    if (!shared) checkPages(db, path, unclean);
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous.toUpperCase()}`);
    db.exec("BEGIN IMMEDIATE");
    // A visitor beside the serving process may have another schema, and does not touch its triggers and indexes.
    db.exec(layoutSql(schema, !shared));
    addColumn(db, laterColumn);
    if (!shared) createIndexes(db, schema);
    db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${layoutVersion}; COMMIT`);
    if (pagesMax !== undefined) db.exec(`PRAGMA max_page_count = ${pagesMax}`);
    return db;
  } catch (error) {
    db?.close();
    throw error instanceof SyncError ? error : faultOf(error, path);
  }
}

/**
 * Refuses a damaged file before any device gets an answer from it: items that cannot be found in it would be removed
 * from devices. Runs after an unclean end, and always if the file is small; it reads every page, some seconds for a
 * gigabyte.
 */
function checkPages(db: DatabaseSync, path: string, unclean: boolean): void {
  const number = (name: string) => Number(Object.values(db.prepare(`PRAGMA ${name}`).get()!)[0]);
  if (!unclean && number("page_count") * number("page_size") > checkedAlwaysBytes) return;
  const found = db.prepare("PRAGMA quick_check(1)").all().map((row) => String(Object.values(row)[0]));
  if (found.length === 1 && found[0] === "ok") return;
  throw new SyncError("corrupt", `the table ${JSON.stringify(path)} is damaged: ${found.join("; ")}`, {
    hint: "nothing was changed, and no device got an answer: restore a backup in its place",
  });
}

function checkLayout(db: DatabaseSync, path: string): void {
  const id = Number(db.prepare("PRAGMA application_id").get()!.application_id);
  const version = Number(db.prepare("PRAGMA user_version").get()!.user_version);
  const tables = Number(db.prepare("SELECT count(*) AS n FROM sqlite_master").get()!.n);
  if (id !== applicationId && tables > 0) {
    throw new SyncError("not-a-table", `${JSON.stringify(path)} is an SQLite database, but not an embedded table`);
  }
  if (version > layoutVersion) {
    throw new SyncError("newer", `the table ${JSON.stringify(path)} was written by a newer version of Twintable`, {
      hint: "use that version",
    });
  }
}

function addColumn(db: DatabaseSync, { table, name, sql }: typeof laterColumn): void {
  if (db.prepare("SELECT 1 FROM pragma_table_info(?) WHERE name = ?").get(table, name)) return;
  db.exec(`ALTER TABLE ${table} ADD COLUMN ${sql}`);
}

/** Indexes follow the schema: new ones are built, those that it no longer has are dropped. */
function createIndexes(db: DatabaseSync, schema: Schema): void {
  const wanted = schemaIndexes(schema);
  const rows = db.prepare(
    "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'items' AND sql IS NOT NULL",
  ).all();
  for (const { name, sql } of rows as { name: string; sql: string }[]) {
    if (wanted.get(name) === sql) wanted.delete(name);
    else db.exec(`DROP INDEX "${name.replaceAll('"', '""')}"`);
  }
  for (const sql of wanted.values()) db.exec(sql);
}
