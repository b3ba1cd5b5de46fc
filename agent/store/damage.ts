/**
 * Distinguishes a damaged database from complaints of SQLite's check about its content. Damage breaks the file: pages,
 * the freelist, the structure of a table or an index. A value that violates a constraint is not damage: another version
 * of SQLite judged it differently, an application changed its constraint, its collation or function is unknown here, or
 * its full-text index is out of step. The agent must not refuse a device for that after every power cut.
 *
 * Guarantee: {@link findDamage} reads every page in use, even if the schema names functions that this process does not
 * have. A complaint that is not known to be harmless counts as damage.
 *
 * @module
 */
import { faultOf } from "../sqlite/driver.ts";
import { ident, literal } from "./sql.ts";

/** The required part of a connection. */
export interface Checkable {
  prepare(sql: string): { all(): unknown[] };
  exec(sql: string): void;
}

/** What a check found. */
export interface Findings {
  /** What breaks the file. */
  readonly damage: readonly string[];
  /** Complaints of SQLite that do not keep it from working. */
  readonly complaints: readonly string[];
}

/** SQLite reports structure first: lines about content, however many, hide none of it. */
const linesMax = 1_000;

/** Lines of `PRAGMA quick_check` about content (SQLite's `pragma.c`; virtual tables say their own). */
const contentPatterns: readonly RegExp[] = [
  /^CHECK constraint failed in /,
  /^(NULL|TEXT|NUMERIC|non-\w+) value in /,
  // Derived from the table. The agent reads only its own indexes, and they carry their unique constraints.
  /^(malformed|unable to validate the) inverted index for FTS\d table |^fts[345]: /,
  /^(In RTree|unable to validate R-Tree|R-Tree|RTree) /i,
];

/** Errors of a statement that names what this process does not have. */
const unknownPattern =
  /(no such|unknown) (collation sequence|function|module|tokenizer)|unsafe use of|vtable constructor failed/;

function lines(db: Checkable, argument: string): string[] {
  const rows = db.prepare(`PRAGMA quick_check(${argument})`).all();
  return rows.map((row) => String(Object.values(row as Record<string, unknown>)[0])).filter((line) => line !== "ok");
}

/** Whether an error is the schema's, not the file's. */
function isUnknown(error: unknown): error is Error {
  return faultOf(error) === "other" && unknownPattern.test((error as Error).message);
}

function isDamage(error: unknown): boolean {
  return ["corrupt", "not-a-database"].includes(faultOf(error));
}

/** Reads each value of a table, overflow pages included, without any index: a broken page makes that fail. */
function readWhole(db: Checkable, table: string): void {
  const columns = db.prepare(`SELECT name FROM pragma_table_xinfo(${literal(table)}) WHERE hidden = 0`).all() as {
    readonly name: string;
  }[];
  const sum = columns.map(({ name }) => `sum(length(CAST(${ident(name)} AS BLOB)))`).join(", ") || "count(*)";
  db.prepare(`SELECT ${sum} FROM ${ident(table)} NOT INDEXED`).all();
}

function tableByTable(db: Checkable): string[] {
  const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all() as { readonly name: string }[];
  const found: string[] = [], complaints: string[] = [];
  for (const { name } of tables) {
    try {
      found.push(...lines(db, literal(name)));
    } catch (error) {
      if (!isUnknown(error)) throw error;
      complaints.push(`CHECK constraint failed in ${name}: ${error.message}`);
      try {
        readWhole(db, name);
      } catch (again) {
        if (!isUnknown(again)) throw again;
      }
    }
  }
  return [...found, ...complaints];
}

/**
 * Checks a database. It reads every page: some seconds for a gigabyte.
 *
 * @throws the driver's error for an unreadable disk or a busy file
 */
export function findDamage(db: Checkable): Findings {
  let found: string[];
  try {
    try {
      found = lines(db, String(linesMax));
    } catch (error) {
      if (!isUnknown(error)) throw error;
      found = tableByTable(db);
    }
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { damage: [(error as Error).message], complaints: [] };
  }
  const isContent = (line: string) => contentPatterns.some((pattern) => pattern.test(line));
  return { damage: found.filter((line) => !isContent(line)), complaints: found.filter(isContent) };
}

/** Rebuilds what is derived from a table: full-text indexes. Returns the complaints that are left. */
export function rebuildDerived(db: Checkable, complaints: readonly string[]): string[] {
  return complaints.filter((line) => {
    const found = /inverted index for FTS\d table (?:\w+\.)?(\S+?)(?::|$)|^fts[345]: .*table "([^"]+)"/.exec(line);
    const table = found?.[1] ?? found?.[2];
    if (table === undefined) return true;
    try {
      db.exec(`INSERT INTO ${ident(table)}(${ident(table)}) VALUES ('rebuild')`);
      return lines(db, literal(table)).length > 0;
    } catch (error) {
      // An index without its own content can't be rebuilt: it stays a complaint. The caller handles faults of the disk.
      if (faultOf(error) === "other" || faultOf(error) === "corrupt") return true;
      throw error;
    }
  });
}

/** Complaints as a sentence for people. */
export function complaintsText(complaints: readonly string[]): string {
  const more = complaints.length - 3;
  return `${complaints.slice(0, 3).join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}
