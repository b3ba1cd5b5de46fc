/**
 * The second driver: any SQLite library of this machine over FFI, SQLCipher among them, for encryption at rest. It
 * needs `--allow-ffi`, which voids the permission sandbox, so no library is loaded unless requested.
 *
 * It uses `Deno.dlopen` directly. Rejected: `jsr:@db/sqlite` (checked: 0.13.0), which cannot be made safe from outside.
 * It reads a text to its first NUL; it binds integral doubles of 2^53 and more as wrapped 64-bit integers; it makes a
 * row's object by code generated from column names, so that a name with a quote becomes code and `__proto__` is lost;
 * `get` without parameters returns the same object each time. This driver binds and reads a value by its length and
 * storage class.
 *
 * Two SQLites in one process break each other's locks on a file (https://www.sqlite.org/howtocorrupt.html, 2.2): if
 * another library of this process already has the file open, opening is refused; a library that opens it later can't be
 * noticed. See docs/device-database.md.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";
import {
  bound,
  closedError,
  connectionPragmas,
  type Database,
  type Driver,
  type OpenOptions,
  type SqlRow,
  type SqlValue,
  type Statement,
} from "./driver.ts";
import { loadLibrary, type SqliteSymbols } from "./ffi_library.ts";
import { isOpenElsewhere, OwnConnections } from "./other_connections.ts";

/** How the driver opens databases. */
export interface FfiOptions {
  /** The library's file; default: the system's SQLite. */
  readonly library?: string;
  /** The key of encrypted databases: any bytes, a passphrase as UTF-8; `x'…'` of 64 hex digits is SQLCipher's raw key. */
  readonly key?: Uint8Array;
}

const ok = 0, busy = 5, locked = 6, row = 100, done = 101;
const [integer, float, text, blob] = [1, 2, 3, 4];
const openReadOnly = 0x1, openReadWrite = 0x2, openCreate = 0x4;

/**
 * SQLite copies a value while it is bound: it holds no pointer to JavaScript's memory. Created on first use, because it
 * needs the permission.
 */
let transient: Deno.PointerValue = null;
/** An empty buffer would arrive as NULL. */
const nothing = new Uint8Array(1);
const encoder = new TextEncoder();
// A byte order mark is a character of the text.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function cString(value: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(`${value}\0`);
}

function message(pointer: Deno.PointerValue): string {
  return pointer === null ? "unknown error" : Deno.UnsafePointerView.getCString(pointer);
}

/** An open connection's handle, and its statements, which must be finalised before it. */
class Handle {
  readonly statements = new Set<Deno.PointerObject>();
  pointer: Deno.PointerValue;

  constructor(readonly lib: SqliteSymbols, pointer: Deno.PointerValue) {
    this.pointer = pointer;
  }

  /** The last error as it is. */
  error(): Error {
    return new Error(message(this.lib.sqlite3_errmsg(this.pointer)));
  }

  mustBeOpen(): void {
    if (this.pointer === null) throw closedError();
  }

  finalize(statement: Deno.PointerObject): void {
    if (this.statements.delete(statement)) this.lib.sqlite3_finalize(statement);
  }
}

/** Statements that are no longer referenced. */
const forgotten = new FinalizationRegistry<{ handle: Handle; statement: Deno.PointerObject }>(({ handle, statement }) =>
  handle.finalize(statement)
);

class FfiStatement implements Statement {
  readonly #handle: Handle;
  readonly #statement: Deno.PointerObject;
  readonly #parameters: number;
  #names: readonly string[] | undefined;

  constructor(handle: Handle, sql: string) {
    this.#handle = handle;
    const found = new BigUint64Array(1), code = encoder.encode(sql);
    const { lib } = handle;
    const source = code.length === 0 ? nothing : code;
    if (lib.sqlite3_prepare_v2(handle.pointer, source, code.length, new Uint8Array(found.buffer), null) !== ok) {
      throw handle.error();
    }
    const statement = Deno.UnsafePointer.create(found[0]!);
    if (statement === null) throw new Error(`no statement in ${JSON.stringify(sql)}`);
    this.#statement = statement;
    this.#parameters = lib.sqlite3_bind_parameter_count(statement);
    handle.statements.add(statement);
    forgotten.register(this, { handle, statement });
  }

  #bindOne(at: number, given: SqlValue): number {
    const { lib } = this.#handle, statement = this.#statement, value = bound(given);
    if (value === null) return lib.sqlite3_bind_null(statement, at);
    if (typeof value === "number") return lib.sqlite3_bind_double(statement, at, value);
    if (typeof value === "bigint") {
      if (BigInt.asIntN(64, value) !== value) throw new RangeError(`${value} is beyond 64 bits`);
      return lib.sqlite3_bind_int64(statement, at, value);
    }
    if (typeof value === "string") {
      const bytes = encoder.encode(value);
      return lib.sqlite3_bind_text(statement, at, bytes.length ? bytes : nothing, bytes.length, transient);
    }
    if (!(value instanceof Uint8Array)) throw new TypeError(`a value of type ${typeof value} can't be bound`);
    const bytes = value as Uint8Array<ArrayBuffer>;
    return lib.sqlite3_bind_blob(statement, at, bytes.length ? bytes : nothing, bytes.length, transient);
  }

  /** Binds, and runs to the first row: whether there is one. */
  #start(values: readonly SqlValue[]): boolean {
    const { lib } = this.#handle;
    this.#handle.mustBeOpen();
    if (values.length > this.#parameters) {
      throw new RangeError(`${values.length} values for ${this.#parameters} parameters`);
    }
    if (this.#parameters > 0) lib.sqlite3_clear_bindings(this.#statement);
    for (let i = 0; i < values.length; i++) {
      if (this.#bindOne(i + 1, values[i]!) !== ok) throw this.#handle.error();
    }
    return this.#step();
  }

  #step(): boolean {
    const code = this.#handle.lib.sqlite3_step(this.#statement);
    if (code === row) return true;
    if (code === done) return false;
    throw this.#handle.error();
  }

  #reset(): void {
    // Its code is that of the step before, which was already reported.
    this.#handle.lib.sqlite3_reset(this.#statement);
  }

  #value(at: number): SqlValue {
    const { lib } = this.#handle, statement = this.#statement;
    switch (lib.sqlite3_column_type(statement, at)) {
      case integer: {
        const value = lib.sqlite3_column_int64(statement, at);
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : value;
      }
      case float:
        return lib.sqlite3_column_double(statement, at);
      case text: {
        const pointer = lib.sqlite3_column_text(statement, at);
        return decoder.decode(this.#bytes(pointer, at));
      }
      case blob: {
        const pointer = lib.sqlite3_column_blob(statement, at);
        return this.#bytes(pointer, at).slice();
      }
      default:
        return null;
    }
  }

  /** SQLite's memory, valid until the next step. */
  #bytes(pointer: Deno.PointerValue, at: number): Uint8Array {
    const length = this.#handle.lib.sqlite3_column_bytes(this.#statement, at);
    if (pointer === null || length === 0) return new Uint8Array(0);
    return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length));
  }

  #row(): SqlRow {
    const { lib } = this.#handle;
    const names = this.#names ??= Array.from(
      { length: lib.sqlite3_column_count(this.#statement) },
      (_, at) => message(lib.sqlite3_column_name(this.#statement, at)),
    );
    const found: SqlRow = {};
    for (let at = 0; at < names.length; at++) {
      const name = names[at]!;
      if (name === "__proto__") {
        Object.defineProperty(found, name, {
          value: this.#value(at),
          enumerable: true,
          writable: true,
          configurable: true,
        });
      } else found[name] = this.#value(at);
    }
    return found;
  }

  run(...values: SqlValue[]): void {
    try {
      for (let found = this.#start(values); found; found = this.#step());
    } finally {
      this.#reset();
    }
  }

  changes(...values: SqlValue[]): number {
    this.run(...values);
    return this.#handle.lib.sqlite3_changes(this.#handle.pointer);
  }

  get(...values: SqlValue[]): SqlRow | undefined {
    try {
      return this.#start(values) ? this.#row() : undefined;
    } finally {
      this.#reset();
    }
  }

  all(...values: SqlValue[]): SqlRow[] {
    const rows: SqlRow[] = [];
    try {
      for (let found = this.#start(values); found; found = this.#step()) rows.push(this.#row());
      return rows;
    } finally {
      this.#reset();
    }
  }
}

class FfiDatabase implements Database {
  readonly #handle: Handle;
  readonly #own: Disposable;
  readonly #cache = new Map<string, Statement>();

  constructor(private readonly options: FfiOptions, path: string, open: OpenOptions = {}) {
    const lib = loadLibrary(options.library);
    transient ??= Deno.UnsafePointer.create(0xffff_ffff_ffff_ffffn);
    if (isOpenElsewhere(path)) {
      throw new SyncError("driver", `"${path}" is open in this process by another SQLite library`, {
        hint: "two of them break each other's locks and lose commits: use one driver, or another process",
      });
    }
    const found = new BigUint64Array(1);
    const flags = open.readOnly ? openReadOnly : openReadWrite | openCreate;
    const code = lib.sqlite3_open_v2(cString(path), new Uint8Array(found.buffer), flags, null);
    this.#handle = new Handle(lib, Deno.UnsafePointer.create(found[0]!));
    this.#own = OwnConnections.add(path);
    try {
      if (code !== ok) throw this.#handle.error();
      this.#unlock(path);
      this.exec(connectionPragmas(open));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The key must come before anything else, and is verified at once. */
  #unlock(path: string): void {
    const { key } = this.options, { lib, pointer } = this.#handle;
    if (key === undefined) return;
    if (!lib.sqlite3_key) {
      throw new SyncError("driver", `the SQLite library ${this.options.library ?? "of the system"} can't encrypt`, {
        hint: "name SQLCipher's",
      });
    }
    lib.sqlite3_key(pointer, key as Uint8Array<ArrayBuffer>, key.length);
    if (!this.prepare("PRAGMA cipher_version").get()) {
      throw new SyncError("driver", `the SQLite library ${this.options.library ?? "of the system"} does not encrypt`);
    }
    // Errors are returned by calls; the library would also write them to stderr.
    this.exec("PRAGMA cipher_log = off");
    try {
      this.prepare("SELECT count(*) FROM sqlite_schema").get();
    } catch (cause) {
      if (!/not a database/.test((cause as Error).message)) throw cause;
      throw new SyncError("driver", `the key does not open "${path}"`, {
        cause,
        hint: "it is another key, or the file is not encrypted",
      });
    }
  }

  get inTransaction(): boolean {
    const { lib, pointer } = this.#handle;
    return pointer !== null && lib.sqlite3_get_autocommit(pointer) === 0;
  }

  exec(sql: string): void {
    this.#handle.mustBeOpen();
    const { lib, pointer } = this.#handle;
    if (lib.sqlite3_exec(pointer, cString(sql), null, null, null) !== ok) throw this.#handle.error();
  }

  prepare(sql: string): Statement {
    this.#handle.mustBeOpen();
    return new FfiStatement(this.#handle, sql);
  }

  sql(sql: string): Statement {
    let statement = this.#cache.get(sql);
    if (!statement) this.#cache.set(sql, statement = this.prepare(sql));
    return statement;
  }

  // deno-lint-ignore require-await -- the built-in driver's takes its time
  async copyTo(path: string): Promise<void> {
    this.#handle.mustBeOpen();
    const { lib, pointer } = this.#handle;
    const to = new FfiDatabase(this.options, path, { bare: true });
    try {
      const main = cString("main");
      const copying = lib.sqlite3_backup_init(to.#handle.pointer, main, pointer, main);
      if (copying === null) throw to.#handle.error();
      const deadline = performance.now() + copyWaitMs;
      let code: number;
      // In one step: in several, each write of another process meanwhile would start it again.
      while ([busy, locked].includes(code = lib.sqlite3_backup_step(copying, -1)) && performance.now() < deadline);
      lib.sqlite3_backup_finish(copying);
      if (code !== done) throw new Error(message(lib.sqlite3_errstr(code)));
    } finally {
      to.close();
    }
  }

  /** Encrypts the database with another key, in one transaction. No other connection may have it open. */
  rekey(key: Uint8Array): void {
    const { lib, pointer } = this.#handle;
    // With a rollback journal, which has the old key like the file: a crash leaves one key or the other.
    const mode = this.prepare("PRAGMA journal_mode = DELETE").get()?.journal_mode;
    if (mode !== "delete") throw new Error("database is locked");
    if (lib.sqlite3_rekey!(pointer, key as Uint8Array<ArrayBuffer>, key.length) !== ok) throw this.#handle.error();
  }

  close(): void {
    const { lib, pointer, statements } = this.#handle;
    if (pointer === null) return;
    this.#cache.clear();
    for (const statement of [...statements]) this.#handle.finalize(statement);
    this.#handle.pointer = null;
    lib.sqlite3_close_v2(pointer);
    this.#own[Symbol.dispose]();
  }
}

/** How long a copy waits for the locks of others. */
const copyWaitMs = 10_000;

/**
 * A driver for a library. @throws SyncError `driver` with the reason why the library can't be used; opening throws if
 * the key does not open a file
 */
export function ffiDriver(options: FfiOptions = {}): Driver {
  loadLibrary(options.library);
  return (path, open) => new FfiDatabase(options, path, open);
}

/**
 * Changes the key of an encrypted database. Nobody else may have it open. @throws as {@link ffiDriver}; `busy` faults
 */
export function rotateKey(path: string, options: FfiOptions, key: Uint8Array): void {
  const db = new FfiDatabase(options, path);
  try {
    db.rekey(key);
  } finally {
    db.close();
  }
}
