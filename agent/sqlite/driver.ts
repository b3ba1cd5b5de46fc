/**
 * The database port of the agent, and its default driver over the runtime's own `node:sqlite`. All SQL of the agent
 * goes through this port, so that another driver (`driver_ffi.ts`) can replace it. The port ensures: whole numbers are
 * bound as INTEGER (the runtime binds every JS number as REAL, which an ANY column would store as `7.0`); every
 * connection waits for a lock instead of failing; settings that affect durability are set explicitly.
 *
 * @module
 */
import { backup, DatabaseSync, type StatementSync } from "node:sqlite";
import { SyncError } from "../../schema/errors.ts";

/** A value that SQLite stores. Booleans don't exist in it: bind 0 or 1. */
export type SqlValue = null | number | bigint | string | Uint8Array;

/** A row's number: 64 bits, as a bigint only where a number can't hold it, so that equal ones are equal keys of a map. */
export type RowId = number | bigint;

/** Below every row number (except -2^63): the start of a walk by row number. An application may use negative ones. */
export const beforeRows: RowId = -(2n ** 63n);

/** A row's number as the driver reads it. */
export function rowIdOf(value: SqlValue | undefined): RowId {
  if (typeof value === "number" || typeof value === "bigint") return value;
  throw new TypeError(`a row number is required, not ${typeof value}`);
}

/** Row numbers as a JSON list, for `json_each`: all digits of each. */
export function rowIdsJson(ids: readonly RowId[]): string {
  return `[${ids.join(",")}]`;
}

/** One result row by column name. */
export type SqlRow = Record<string, SqlValue>;

/**
 * A prepared statement. It may be run any number of times. A stored statement must not outlive a change of its columns'
 * names. There is no iteration over rows: the runtime's own iteration treats a read error as the end, so unread rows
 * would count as absent. Read a long list by pages of `all`, which throws ({@link pagesOf}).
 */
export interface Statement {
  /** Runs it to its end, and discards its rows. */
  run(...values: SqlValue[]): void;
  /** Runs it to its end. @returns how many rows it changed itself, without triggers */
  changes(...values: SqlValue[]): number;
  get(...values: SqlValue[]): SqlRow | undefined;
  all(...values: SqlValue[]): SqlRow[];
}

/** One connection. Not shared between threads. Errors come as the driver throws them: see {@link faultOf}. */
export interface Database {
  /** Runs statements separated by `;`, without values and results. */
  exec(sql: string): void;
  /** Prepares a statement. Integers come back as numbers, those beyond 2^53 as bigint. */
  prepare(sql: string): Statement;
  /** {@link prepare}, cached for the life of the connection: for fixed texts in hot paths. */
  sql(text: string): Statement;
  /** Whether a transaction is open. SQLite may have rolled it back by itself (disk full). */
  readonly inTransaction: boolean;
  /**
   * Copies the whole database over the one at `path`, in one step, as of one moment. The copy of an encrypted database
   * is encrypted with the same key.
   */
  copyTo(path: string): Promise<void>;
  /** Closing a closed connection does nothing. */
  close(): void;
}

/** How a connection is opened. */
export interface OpenOptions {
  /**
   * `full` (the default): a commit is on the disk when it returns. `normal`: a power loss may take the last commits, never
   * the database's consistency.
   */
  readonly synchronous?: "full" | "normal";
  /** How long a statement waits for another connection's lock. Default 10,000 ms; 0 fails at once. */
  readonly busyTimeoutMs?: number;
  /** Read-only; the file must exist. */
  readonly readOnly?: boolean;
  /** Do not change settings that are stored in the file (the journal mode). */
  readonly bare?: boolean;
}

/** Opens the database at `path` (`:memory:` for none), creating it where it is missing. */
export type Driver = (path: string, options?: OpenOptions) => Database;

/** The settings that every connection of the agent has, as one script. */
export function connectionPragmas(options: OpenOptions = {}): string {
  const { synchronous = "full", busyTimeoutMs = 10_000, readOnly, bare } = options;
  if (readOnly || bare) return `PRAGMA busy_timeout = ${Math.trunc(busyTimeoutMs)}; PRAGMA temp_store = MEMORY`;
  // busy_timeout first: setting the journal mode needs a lock already. After one huge transaction, the next checkpoint
  // truncates the WAL file to 16 MB; otherwise it would keep its size for good.
  return `PRAGMA busy_timeout = ${Math.trunc(busyTimeoutMs)};
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = ${synchronous === "normal" ? "NORMAL" : "FULL"};
    PRAGMA journal_size_limit = 16777216;
    PRAGMA temp_store = MEMORY;
    PRAGMA foreign_keys = OFF;`;
}

/** Binds a value as SQLite should store it: a whole JS number as INTEGER. `-0` becomes 0, which SQLite can't tell from it. */
export function bound(value: SqlValue): SqlValue {
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
}

/** {@link bound} of each, in place. */
export function allBound(values: SqlValue[]): SqlValue[] {
  for (let i = 0; i < values.length; i++) values[i] = bound(values[i]!);
  return values;
}

/** Bigints that a double holds become numbers again: the runtime reads either all integers as bigint, or none. */
export function narrowed(row: SqlRow): SqlRow {
  for (const name in row) {
    const value = row[name];
    if (typeof value === "bigint" && BigInt(Number(value)) === value && Number.isSafeInteger(Number(value))) {
      row[name] = Number(value);
    }
  }
  return row;
}

/**
 * Rows come from the runtime as arrays, and their objects are made here: the runtime's own objects have no prototype,
 * and V8 stores each as a hash table (3.5 µs for a row of seven columns instead of 1.1). `run` uses `get`, which makes
 * no object for the number of changes (0.9 µs for an insert instead of 1.9).
 */
class BuiltinStatement implements Statement {
  #names: readonly string[] | undefined;

  constructor(readonly statement: StatementSync) {
    // The runtimes' own type declarations do not know of it.
    (statement as StatementSync & { setReturnArrays(enabled: boolean): void }).setReturnArrays(true);
  }

  #object(values: readonly SqlValue[]): SqlRow {
    const names = this.#names ??= this.statement.columns().map(({ name }) => name);
    const row: SqlRow = {};
    for (let i = 0; i < values.length; i++) row[names[i]!] = values[i]!;
    return row;
  }

  run(...values: SqlValue[]): void {
    this.statement.get(...allBound(values));
  }

  changes(...values: SqlValue[]): number {
    return Number(this.statement.run(...allBound(values)).changes);
  }

  get(...values: SqlValue[]): SqlRow | undefined {
    allBound(values);
    let row: SqlValue[] | undefined;
    try {
      row = this.statement.get(...values) as SqlValue[] | undefined;
    } catch (error) {
      if (!isBeyondDouble(error)) throw error;
      const found = this.#exact(() => this.statement.get(...values) as SqlValue[] | undefined);
      return found && narrowed(this.#object(found));
    }
    return row && this.#object(row);
  }

  all(...values: SqlValue[]): SqlRow[] {
    allBound(values);
    let rows: SqlValue[][];
    try {
      rows = this.statement.all(...values) as unknown as SqlValue[][];
    } catch (error) {
      if (!isBeyondDouble(error)) throw error;
      const found = this.#exact(() => this.statement.all(...values) as unknown as SqlValue[][]);
      return found.map((row) => narrowed(this.#object(row)));
    }
    return rows.map((row) => this.#object(row));
  }

  /** Reads all integers as bigint, which is slower: only for the few results with an integer beyond a double. */
  #exact<T>(read: () => T): T {
    this.statement.setReadBigInts(true);
    try {
      return read();
    } finally {
      this.statement.setReadBigInts(false);
    }
  }
}

/** The runtime's error for an integer beyond 2^53. */
function isBeyondDouble(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "ERR_OUT_OF_RANGE";
}

class BuiltinDatabase implements Database {
  readonly #connection: DatabaseSync;
  readonly #cache = new Map<string, Statement>();

  constructor(path: string, options?: OpenOptions) {
    this.#connection = new DatabaseSync(path, {
      enableForeignKeyConstraints: false,
      readOnly: options?.readOnly ?? false,
    });
    try {
      this.#connection.exec(connectionPragmas(options));
    } catch (error) {
      this.#connection.close();
      throw error;
    }
  }

  get inTransaction(): boolean {
    return this.#connection.isOpen && this.#connection.isTransaction;
  }

  exec(sql: string): void {
    this.#mustBeOpen();
    this.#connection.exec(sql);
  }

  prepare(sql: string): Statement {
    this.#mustBeOpen();
    return new BuiltinStatement(this.#connection.prepare(sql));
  }

  sql(text: string): Statement {
    let statement = this.#cache.get(text);
    if (!statement) this.#cache.set(text, statement = this.prepare(text));
    return statement;
  }

  async copyTo(path: string): Promise<void> {
    this.#mustBeOpen();
    // In one step: in several, each write of another process meanwhile would start it again.
    await backup(this.#connection, path, { rate: -1 });
  }

  #mustBeOpen(): void {
    if (!this.#connection.isOpen) throw closedError();
  }

  close(): void {
    this.#cache.clear();
    if (this.#connection.isOpen) this.#connection.close();
  }
}

/** The error of a call on a closed database, or on a closed agent. */
export function closedError(why?: string): SyncError {
  return new SyncError("closed", `the agent is closed${why === undefined ? "" : `: ${why}`}`, {
    hint: "open it again",
  });
}

/** The default driver: the runtime's own SQLite. Throws SQLite's error if the file can't be opened. */
export const openDatabase: Driver = (path, options) => new BuiltinDatabase(path, options);

/**
 * All rows of a list, page by page, to its end or to the error. `page` returns the rows after one, `size` of them
 * except at the end. The caller's writes meanwhile must not move rows to a later position.
 */
export function* pagesOf(
  page: (after: SqlRow | undefined, size: number) => readonly SqlRow[],
  size = 100,
): Iterable<SqlRow> {
  let rows = page(undefined, size);
  yield* rows;
  while (rows.length === size) yield* rows = page(rows.at(-1), size);
}

/** The kinds of fault that the agent tells apart. */
export type SqlFault = "busy" | "full" | "constraint" | "readonly" | "not-a-database" | "corrupt" | "io" | "other";

/**
 * What kind of fault a driver's error is. By the message, because `node:sqlite` under Deno carries no result code; the
 * texts are those of SQLite's `sqlite3ErrStr` and of its constraint messages, unchanged for many years.
 */
export function faultOf(error: unknown): SqlFault {
  const message = error instanceof Error ? error.message : String(error);
  if (/is locked|database is busy/.test(message)) return "busy";
  if (/disk is full/.test(message)) return "full";
  if (/constraint failed|cannot store |datatype mismatch|string or blob too big/.test(message)) return "constraint";
  if (/readonly database/.test(message)) return "readonly";
  if (/not a database/.test(message)) return "not-a-database";
  // Only for the file: malformed JSON in a row is a fault of that row only.
  if (/image is malformed|malformed database schema/.test(message)) return "corrupt";
  if (/I\/O error|unable to open|^E[A-Z]+: /.test(message)) return "io";
  return "other";
}
