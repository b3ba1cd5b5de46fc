/**
 * `schema init`: a first schema, or a proposal from an SQLite database or a DynamoDB table. It writes only the named
 * file, and never overwrites an existing one.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { ident } from "../agent/store/sql.ts";
import {
  firstSchema,
  type ProposedColumn,
  type ProposedTable,
  proposeFromItems,
  proposeFromTables,
} from "../schema/propose.ts";
import { compileSchema, type Item, parseSchema } from "../schema.ts";
import { CommandError } from "./command.ts";
import { fileExists } from "./device_file.ts";

/** `schema_sample.ts`, whose types can't be imported without its packages. */
interface SampleModule {
  sampleTable(url: string): Promise<{ items: Item[]; indexes: Record<string, { hash: string; sort?: string }> }>;
}

/** The source of a proposal. */
export interface InitSource {
  /** An SQLite database. */
  readonly db?: string;
  /** `dynamodb://TABLE`. */
  readonly table?: string;
  /** The attribute that names an item's type. */
  readonly typeField?: string;
}

/** The schema's text. It compiles, or this fails. */
export async function initialSchema({ db, table, typeField }: InitSource): Promise<string> {
  const text = db !== undefined
    ? proposeFromTables(tablesOf(db))
    : table !== undefined
    ? await fromTable(table, typeField)
    : firstSchema();
  compileSchema(parseSchema(text));
  return text;
}

/** Writes a new file. */
export function writeNew(file: string, text: string): void {
  try {
    Deno.writeTextFileSync(file, text, { createNew: true });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw new CommandError(`${file} is there already`);
    throw error;
  }
}

/** The tables of applications, without SQLite's own, the agent's and virtual ones. */
function tablesOf(path: string): ProposedTable[] {
  if (!fileExists(path)) throw new CommandError(`${path} does not exist`);
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const names = db.prepare(
      `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
       AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name`,
    ).all().map((row) => String(row.name));
    const tables = names.map((name): ProposedTable => ({ name, columns: columnsOf(db, name) }));
    if (tables.length === 0) throw new CommandError(`${path} has no tables of its own`);
    return tables;
  } finally {
    db.close();
  }
}

function columnsOf(db: DatabaseSync, table: string): ProposedColumn[] {
  const refers = new Map(
    db.prepare('SELECT "from" AS name, "table" AS target FROM pragma_foreign_key_list(?)').all(table)
      .map(({ name, target }) => [String(name).toLowerCase(), String(target)]),
  );
  const columns = db.prepare(
    'SELECT name, type, "notnull" AS required, dflt_value AS preset, pk FROM pragma_table_xinfo(?) WHERE hidden = 0',
  );
  return columns.all(table).map((row) => {
    const name = String(row.name), target = refers.get(name.toLowerCase());
    return {
      name,
      type: String(row.type),
      notNull: Number(row.required) !== 0,
      ...(row.preset === null ? {} : { preset: String(row.preset) }),
      key: Number(row.pk),
      ...(target === undefined ? {} : { refers: target }),
      unclear: unclearDates(db, ident(table), ident(name)),
    };
  });
}

/** Whether a column has texts of a time without a zone, or numbers: for a date, these are ambiguous. */
function unclearDates(db: DatabaseSync, table: string, column: string): { zone: boolean; unit: boolean } {
  const has = (what: string) =>
    db.prepare(`SELECT EXISTS (SELECT 1 FROM ${table} WHERE ${what}) AS yes`).get()!.yes === 1;
  return {
    zone: has(`${column} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' AND ${column} NOT GLOB '*[Zz]' AND
      substr(${column}, 11) NOT GLOB '*[-+][0-9][0-9]:[0-9][0-9]'`),
    unit: has(`typeof(${column}) IN ('integer', 'real')`),
  };
}

/** A device's program does not contain the AWS SDK: it is loaded by a name that the module graph does not follow. */
async function fromTable(url: string, typeField: string | undefined): Promise<string> {
  if (Deno.build.standalone) throw new CommandError("this binary is for devices: a DynamoDB table is read from source");
  const module: SampleModule = await import(new URL("./schema_sample.ts", import.meta.url).href);
  const { items, indexes } = await module.sampleTable(url);
  if (items.length === 0) throw new CommandError(`${url} has no items to propose from`);
  return proposeFromItems(items, indexes, typeField);
}
