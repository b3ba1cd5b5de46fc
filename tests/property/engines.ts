/**
 * Two SQLites in memory: the runtime's own, and the oldest that is supported, 3.38. The second one is WebAssembly turned into
 * JavaScript, from a published package, for tests alone.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
// deno-lint-ignore no-import-prefix
import initSqlJs from "npm:sql.js@1.7.0/dist/sql-asm.js";
import { schemaSql } from "../../agent/migration/migrate.ts";
import type { Schema } from "../../schema.ts";
import { identity } from "./twinned.ts";

/** One column's value as text that tells type and value. */
export type Cell = string | null;

/** A database in memory. */
export interface Engine extends Disposable {
  readonly version: string;
  /** Runs one statement; gives SQLite's complaint, or undefined. */
  run(sql: string): string | undefined;
  /** The rows, each value as its SQL literal (`quote`): name the columns. */
  rows(columns: readonly string[], rest: string): Cell[][];
}

function literals(columns: readonly string[]): string {
  return columns.map((column) => `quote(${column})`).join(", ");
}

/** The runtime's SQLite. */
export function currentEngine(): Engine {
  const db = new DatabaseSync(":memory:");
  return {
    version: String(Object.values(db.prepare("SELECT sqlite_version()").get()!)[0]),
    run: (sql) => complaint(() => db.exec(sql)),
    rows: (columns, rest) =>
      db.prepare(`SELECT ${literals(columns)} ${rest}`).all().map((row) => Object.values(row) as Cell[]),
    [Symbol.dispose]: () => db.close(),
  };
}

const { Database: OldDatabase } = await initSqlJs();

/** SQLite 3.38. */
export function oldestEngine(): Engine {
  const db = new OldDatabase();
  const all = (sql: string): Cell[][] => (db.exec(sql)[0]?.values ?? []) as Cell[][];
  return {
    version: String(all("SELECT sqlite_version()")[0]![0]),
    run: (sql) => complaint(() => void db.exec(sql)),
    rows: (columns, rest) => all(`SELECT ${literals(columns)} ${rest}`),
    [Symbol.dispose]: () => db.close(),
  };
}

function complaint(step: () => void): string | undefined {
  try {
    step();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Makes a schema's tables and all of the agent's. */
export function prepare(engine: Engine, schema: Schema): void {
  const problem = engine.run(schemaSql(schema, identity));
  if (problem !== undefined) throw new Error(`SQLite ${engine.version} does not take the DDL: ${problem}`);
}
