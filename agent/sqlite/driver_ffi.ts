/**
 * The second driver: `@db/sqlite` over FFI. It can open any SQLite build that the environment names (`DENO_SQLITE_PATH`),
 * SQLCipher among them. It needs `--allow-ffi`, which voids the permission sandbox, so nothing loads it unless asked.
 *
 * The module is imported by a computed name, so that neither the module graph nor a compiled binary contains it: who asks
 * for this driver has `@db/sqlite` in the import map and, for `deno compile`, names it with `--include`.
 *
 * @module
 */
import { allBound, closedError, connectionPragmas } from "./driver.ts";
import type { Database, Driver, OpenOptions, SqlRow, Statement } from "./driver.ts";
import { SyncError } from "../../schema/errors.ts";

/** What this driver uses of the module's statements, as their documentation states it. */
export interface FfiStatement {
  run(...values: unknown[]): number;
  get(...values: unknown[]): SqlRow | undefined;
  all(...values: unknown[]): SqlRow[];
}
/** What it uses of the module's connections. Results are rows as objects; errors carry SQLite's message. */
export interface FfiDatabase {
  readonly inTransaction: boolean;
  readonly open: boolean;
  exec(sql: string): number;
  prepare(sql: string): FfiStatement;
  close(): void;
}
/** What it uses of the module. */
export interface FfiModule {
  readonly Database: new (path: string, options: { int64: boolean; create: boolean }) => FfiDatabase;
}

class FfiDatabaseAdapter implements Database {
  readonly #connection: FfiDatabase;
  readonly #cache = new Map<string, Statement>();

  constructor(module: FfiModule, path: string, options?: OpenOptions) {
    // Without int64 the module reads every integer as 32 bits. With it, integers beyond 2^53 are bigints, others numbers.
    this.#connection = new module.Database(path, { int64: true, create: true });
    try {
      this.#connection.exec(connectionPragmas(options));
    } catch (error) {
      this.#connection.close();
      throw error;
    }
  }

  get inTransaction(): boolean {
    return this.#connection.open && this.#connection.inTransaction;
  }

  exec(sql: string): void {
    if (!this.#connection.open) throw closedError();
    this.#connection.exec(sql);
  }

  /**
   * The module hands SQLite the text's length in UTF-16 units where bytes are wanted, which cuts a text that is not plain
   * ASCII. Spaces at the end make up for it: at most two bytes more than units for each unit.
   */
  prepare(sql: string): Statement {
    if (!this.#connection.open) throw closedError();
    const padding = new TextEncoder().encode(sql).length - sql.length;
    const statement = this.#connection.prepare(sql + " ".repeat(padding));
    return {
      run: (...values) => void statement.run(...allBound(values)),
      changes: (...values) => statement.run(...allBound(values)),
      get: (...values) => statement.get(...allBound(values)),
      all: (...values) => statement.all(...allBound(values)),
    };
  }

  sql(text: string): Statement {
    let statement = this.#cache.get(text);
    if (!statement) this.#cache.set(text, statement = this.prepare(text));
    return statement;
  }

  close(): void {
    this.#cache.clear();
    if (this.#connection.open) this.#connection.close();
  }
}

/**
 * Loads the driver.
 *
 * @throws SyncError `driver` where `@db/sqlite` can't be loaded.
 */
export async function loadFfiDriver(): Promise<Driver> {
  let module: FfiModule;
  try {
    module = await import(["@db", "sqlite"].join("/")) as FfiModule;
  } catch (cause) {
    throw new SyncError("driver", "The SQLite driver @db/sqlite can't be loaded", {
      cause,
      hint: "Run with --allow-ffi and the import map entry @db/sqlite, or leave --driver out.",
    });
  }
  return ffiDriver(module);
}

/** The driver over a module that is loaded already. */
export function ffiDriver(module: FfiModule): Driver {
  return (path, options) => new FfiDatabaseAdapter(module, path, options);
}
