/**
 * `jsr:@db/sqlite` behind the database port, for the contract suite alone: nothing that is shipped uses it. Where the registry can be
 * reached, `TWINTABLE_DB_SQLITE=jsr:@db/sqlite@0.13` (or the path of its `mod.ts`) runs the suite on the real module, and shows where it
 * departs: texts end at their first NUL, integral doubles of 2^53 and more wrap (`agent/sqlite/driver_ffi.ts` has why).
 *
 * @module
 */
import { isAbsolute, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  allBound,
  connectionPragmas,
  type Database,
  type Driver,
  narrowed,
  type SqlRow,
  type SqlValue,
  type Statement,
} from "../../agent/sqlite/driver.ts";
import { noted } from "./tools.ts";

/** What is used of the module, as its documentation in the registry has it. */
interface ModuleStatement {
  run(...values: SqlValue[]): number;
  get(...values: SqlValue[]): SqlRow | undefined;
  all(...values: SqlValue[]): SqlRow[];
  finalize(): void;
}
interface ModuleDatabase {
  readonly autocommit: boolean;
  exec(sql: string): number;
  prepare(sql: string): ModuleStatement;
  backup(to: ModuleDatabase): void;
  close(): void;
}
interface Module {
  readonly Database: new (path: string, options: Record<string, unknown>) => ModuleDatabase;
}

class OverModule implements Database {
  readonly #module: Module;
  readonly #database: ModuleDatabase;
  readonly #cache = new Map<string, Statement>();
  #isOpen = true;

  constructor(module: Module, path: string, options: Parameters<Driver>[1] = {}) {
    this.#module = module;
    const { readOnly = false } = options;
    // Numbers come as bigint where they need to; JSON stays text.
    const own = { readonly: readOnly, create: !readOnly, int64: true, parseJson: false };
    this.#database = new module.Database(path, own);
    this.exec(connectionPragmas(options));
  }

  get inTransaction(): boolean {
    return this.#isOpen && !this.#database.autocommit;
  }

  exec(sql: string): void {
    this.#mustBeOpen();
    this.#database.exec(sql);
  }

  prepare(sql: string): Statement {
    this.#mustBeOpen();
    const statement = this.#database.prepare(sql);
    // It gives the same object again for a query without values.
    const own = (row: SqlRow) => narrowed({ ...row });
    return {
      run: (...values) => void statement.run(...allBound(values)),
      changes: (...values) => statement.run(...allBound(values)),
      get(...values) {
        const row = statement.get(...allBound(values));
        return row && own(row);
      },
      all: (...values) => statement.all(...allBound(values)).map(own),
    };
  }

  sql(text: string): Statement {
    let statement = this.#cache.get(text);
    if (!statement) this.#cache.set(text, statement = this.prepare(text));
    return statement;
  }

  // deno-lint-ignore require-await -- others take their time
  async copyTo(path: string): Promise<void> {
    this.#mustBeOpen();
    const to = new OverModule(this.#module, path, { bare: true });
    try {
      this.#database.backup(to.#database);
    } finally {
      to.close();
    }
  }

  #mustBeOpen(): void {
    if (!this.#isOpen) throw new Error("the database is closed");
  }

  close(): void {
    if (this.#isOpen) this.#database.close();
    this.#isOpen = false;
  }
}

const named = Deno.env.get("TWINTABLE_DB_SQLITE") || undefined;

async function load(specifier: string): Promise<Driver> {
  const isPath = isAbsolute(specifier) || /^\.{0,2}\//.test(specifier);
  const module = await import(isPath ? pathToFileURL(resolve(specifier)).href : specifier) as Module;
  return (path, options) => new OverModule(module, path, options);
}

/** The driver over the module that `TWINTABLE_DB_SQLITE` names; undefined: none is named, which is told. */
export const dbSqlite: Driver | undefined = noted(
    named
      ? undefined
      : "TWINTABLE_DB_SQLITE names no @db/sqlite (a path or jsr:@db/sqlite); it is in JSR's registry alone",
  )
  ? undefined
  : await load(named!);
