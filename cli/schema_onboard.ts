/**
 * `schema onboard`: what an agent's first start would do to an application's database, table by table. It tries the
 * start on a copy in a temporary folder, with the same code; it only reads the file itself.
 *
 * @module
 */
import { columnsOf } from "../agent/migration/rebuild.ts";
import { type Database, openDatabase, type SqlRow } from "../agent/sqlite/driver.ts";
import { deviceModels } from "../agent/store/ddl.ts";
import { ident } from "../agent/store/sql.ts";
import { openStore, type Store } from "../agent/store/store.ts";
import { type Identity, type Model, type Schema, SyncError } from "../schema.ts";
import { CommandError } from "./command.ts";
import { fileExists } from "./device_file.ts";

/** What would happen, for people. */
export interface OnboardPlan {
  readonly lines: readonly string[];
  /** The start would be refused. */
  readonly refused: boolean;
}

/** A table as it is before: its rows, and its columns by their names in lower case. */
interface Before {
  readonly rows: number;
  readonly columns: ReadonlyMap<string, SqlRow>;
}

/** @throws {CommandError} if the file is missing or can't be read as a database */
export async function planOnboarding(path: string, schema: Schema, identity: Identity): Promise<OnboardPlan> {
  if (!fileExists(path)) throw new CommandError(`${path} does not exist`);
  const folder = Deno.makeTempDirSync({ prefix: "twintable-onboard-" });
  try {
    const copy = `${folder}/copy.db`;
    await copyOf(path, copy);
    return tryOn(copy, schema, identity);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function copyOf(path: string, to: string): Promise<void> {
  let db: Database | undefined;
  try {
    db = openDatabase(path, { readOnly: true });
    await db.copyTo(to);
  } catch (cause) {
    throw new CommandError(`${path} can't be read: ${(cause as Error).message}`, { cause });
  } finally {
    db?.close();
  }
}

function tryOn(copy: string, schema: Schema, identity: Identity): OnboardPlan {
  const models = deviceModels(schema), before = new Map<string, Before>(), others: string[] = [];
  const db = openDatabase(copy, { bare: true });
  try {
    for (const { name } of models) {
      if (columnsOf(db, name).length > 0) before.set(name, lookAt(db, name));
    }
    const taken = new Set(models.map(({ name }) => name.toLowerCase()));
    others.push(
      ...db.prepare(
        `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name`,
      ).all().map(({ name }) => String(name)).filter((name) => !taken.has(name.toLowerCase())),
    );
  } finally {
    db.close();
  }
  const refusals = new Map<string, readonly string[]>();
  let store: Store | undefined;
  while (!store) {
    try {
      store = openStore({ path: copy, schema, identity, check: true, now: Date.now });
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      const { model } = error, said = refusalLines(error, copy);
      if (model === undefined || refusals.has(model)) return { lines: said, refused: true };
      refusals.set(model, said);
      // Without that table, the next try shows the result for the others.
      withdraw(copy, model);
    }
  }
  try {
    const { created, rebuilt } = store.migration, { db } = store;
    const lines = models.flatMap((model) => {
      const old = before.get(model.name), refusal = refusals.get(model.name);
      if (refusal) return refusal;
      if (!old || created.includes(model.name)) return [`${model.name}: a new, empty table`];
      if (!rebuilt.includes(model.name)) return [`${model.name}: stays as it is`];
      const waiting = db.prepare("SELECT count(DISTINCT row) AS n FROM _outbox WHERE model = ?")
        .get(store!.number(model))!.n;
      return [
        `${model.name}: rebuilt with its ${old.rows} rows; ${waiting} wait to be sent`,
        ...notes(db, model, old),
      ];
    });
    return {
      lines: [...lines, ...others.map((name) => `${name}: of no model, left alone`)],
      refused: refusals.size > 0,
    };
  } finally {
    store.close();
  }
}

/** A refusal row by row, and what to do, without the copy's name. */
function refusalLines({ model, message, details, hint }: SyncError, copy: string): string[] {
  const indent = model === undefined ? "" : "  ";
  const what = details && details.length > 1
    ? [`REFUSED: ${details.length} values of ${model}`, ...details.map((detail) => `${indent}${detail}`)]
    : [`REFUSED: ${message.replaceAll(copy, "the file")}`];
  return [...what, ...(hint === undefined ? [] : [`${indent}${hint}`])];
}

/** Removes a refused table, view or virtual table from the copy. */
function withdraw(copy: string, name: string): void {
  const db = openDatabase(copy, { bare: true });
  try {
    db.exec("PRAGMA foreign_keys = OFF");
    const { type } = db.prepare("SELECT type FROM pragma_table_list(?) WHERE schema = 'main'").get(name)!;
    db.exec(`DROP ${type === "view" ? "VIEW" : "TABLE"} ${ident(name)}`);
  } finally {
    db.close();
  }
}

function lookAt(db: Database, table: string): Before {
  const columns = db.prepare(`SELECT *, (SELECT count(*) FROM pragma_table_info(?1) WHERE pk > 0) AS keys
    FROM pragma_table_info(?1)`).all(table);
  return {
    rows: Number(db.prepare(`SELECT count(*) AS n FROM ${ident(table)}`).get()!.n),
    columns: new Map(columns.map((column) => [String(column.name).toLowerCase(), column])),
  };
}

/** What an application that continues to write to the table must know. */
function notes(db: Database, model: Model, old: Before): string[] {
  const kept = db.prepare("SELECT name, count(*) AS n FROM _sync_kept WHERE model = ? GROUP BY name ORDER BY name")
    .all(model.name).map(({ name, n }) => `  ${name}: of no field; its ${n} values move to _sync_kept`);
  const columns = db.prepare('SELECT name, "notnull" AS required, dflt_value AS preset FROM pragma_table_info(?)')
    .all(model.name).filter(({ name }) => name !== "_id");
  const writes = columns.flatMap(({ name, required, preset }) => {
    const was = old.columns.get(String(name).toLowerCase());
    if (was && isCounter(was) && preset !== null) {
      return [`  ${name}: new rows get an id by the schema; what the counter gave is _id now (last_insert_rowid())`];
    }
    if (preset === null && was && was.dflt_value !== null && was.dflt_value !== "NULL") {
      return [`  ${name}: its default ${was.dflt_value} is gone; give the field one`];
    }
    if (Number(required) === 0 || preset !== null) return [];
    const wasFilled = !was || isCounter(was) || Number(was.notnull) === 0 || was.dflt_value !== null;
    return wasFilled
      ? [`  ${name}: an INSERT that leaves it out is refused from now on; give the field a default`]
      : [];
  });
  return [...kept, ...writes];
}

/** A column that SQLite numbers if an INSERT omits it. */
function isCounter({ pk, keys, type }: SqlRow): boolean {
  return Number(pk) === 1 && Number(keys) === 1 && String(type).toUpperCase() === "INTEGER";
}
