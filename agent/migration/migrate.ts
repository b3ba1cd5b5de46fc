/**
 * Brings a file to a schema: creates what is missing and rebuilds the tables that differ, keeping `_id` and data. It
 * runs in the caller's transaction: a crash or a refusal leaves the file as it was.
 *
 * A table is rebuilt (`rebuild.ts`) rather than altered, since SQLite can add neither a column with an expression as
 * default nor a constraint. `transition.ts` handles pending changes and cursors.
 *
 * @module
 */
import type { Database } from "../sqlite/driver.ts";
import type { Field, Identity, Model, Schema } from "../../schema/model.ts";
import { deviceModels, keySql, loneKeyField, ownName, tableSql, uniqueIndexes } from "../store/ddl.ts";
import { columnsOf, rebuild } from "./rebuild.ts";
import { columnsFact, plainColumns, untagColumns } from "./untag.ts";
import { ident } from "../store/sql.ts";
import {
  agentTablesSql,
  applicationId,
  laterColumns,
  laterIndexesSql,
  outboxIndexesSql,
  storeFormat,
  viewNames,
  viewsSql,
} from "../store/tables.ts";
import { alteredObjects, tableIsWhole } from "./objects.ts";
import { type Bypass, findBypass, notice, type Noticed, restoreState } from "./bypass.ts";
import { onboard, refuseForeign, refuseOthers } from "./onboard.ts";
import { comesDown, goesUp } from "../sync/items.ts";
import { bringUnsentBack, lastKept, noteUnsent } from "./unsent.ts";
import { carryOver, fillNewFields, letGo, needsSnapshot, presentSchema, refuseImpossible } from "./transition.ts";
import { triggersSql } from "../store/triggers.ts";

/** What a migration did. */
export interface Migration {
  /** Models whose table was made. */
  readonly created: string[];
  /** Models whose table was rebuilt: a snapshot has to fill what the old one lacked. */
  readonly rebuilt: string[];
  /** Triggers, tables and views that somebody had dropped or altered: writes meanwhile may have gone unnoticed. */
  readonly restored: string[];
  /** What was written meanwhile, as far as rows and their bases show. */
  readonly noticed: Noticed[];
}

/** All DDL of a model's table. The file stores it, to see later whether the table must be rebuilt. */
export function modelSql(model: Model, identity: Identity): string[] {
  return [tableSql(model, identity), ...uniqueIndexes(model).map((index) => index.sql)];
}

/**
 * {@link modelSql} of versions that had an index over the rendered key for every model: dropping that index does not
 * require moving the rows.
 */
function formerSql(model: Model, identity: Identity): string {
  const { hash, sort } = keySql(model), indexes = uniqueIndexes(model).map((index) => index.sql);
  const over = [hash, ...(sort ? [sort] : [])].join(", ");
  const item = `CREATE UNIQUE INDEX ${ident(ownName(model, "item"))} ON ${ident(model.name)}(${over})`;
  return [tableSql(model, identity), item, ...indexes].join(";\n");
}

/** The whole schema as SQL, for people to read. */
export function schemaSql(schema: Schema, identity: Identity): string {
  const models = deviceModels(schema);
  const numbers = new Map(models.map((model, i) => [i + 1, model]));
  const parts = [
    agentTablesSql.trim(),
    laterIndexesSql.trim(),
    ...models.flatMap((model, i) => [...modelSql(model, identity), ...triggersSql(model, i + 1, identity)]),
    ...outboxIndexesSql(numbers),
    ...viewsSql(numbers),
  ];
  return parts.map((sql) => sql.replace(/;?$/, ";")).join("\n\n") + "\n";
}

/**
 * The models of this schema that the file has a number for. A number is assigned once and never changes: outbox entries
 * and triggers contain it.
 */
export function modelNumbers(db: Database, schema: Schema): Map<number, Model> {
  const numbers = new Map<number, Model>();
  for (const { number, name } of db.prepare("SELECT number, name FROM _sync_models ORDER BY number").all()) {
    const model = schema.models.get(String(name));
    if (model?.onDevice) numbers.set(Number(number), model);
  }
  return numbers;
}

/**
 * Makes the file fit the schema. Must run inside a transaction with `legacy_alter_table` on (else SQLite checks an
 * application's views while a table is away).
 *
 * @throws SyncError `migration` if rows can't be carried over: nothing has changed then, once the caller rolls back.
 */
export function migrate(db: Database, schema: Schema, identity: Identity): Migration {
  refuseOthers(db);
  const bypass = findBypass(db);
  makeAgentTables(db);
  const { basesLost } = restoreState(db, bypass);
  for (const { name } of deviceModels(schema)) {
    db.prepare("INSERT OR IGNORE INTO _sync_models(name) VALUES (?)").run(name);
  }
  const numbers = modelNumbers(db, schema);
  const before = presentSchema(db);
  // A new schema, or a new version of Twintable, makes all of it again anyway.
  const isSame = fact(db, "ddl") === schemaSql(schema, identity);
  const restored = [...new Set([...bypass.missing, ...(isSame ? alteredObjects(db, numbers, identity) : [])])];
  // A trigger with another text may capture as little as a missing one.
  const altered = restored.flatMap((name) => /^_sync_(\w+)\./.exec(name)?.[1] ?? name);
  const bypassed: Bypass = { ...bypass, models: new Set([...bypass.models, ...altered]) };
  dropOwnObjects(db);
  const migration: Migration = { created: [], rebuilt: [], restored, noticed: [] };
  const isTagged = fact(db, columnsFact) !== plainColumns;
  letGo(db, schema);
  const run: Run = { db, schema, identity, before, bypassed, basesLost, isTagged, migration };
  let snapshot = bypass.tables.size > 0;
  for (const [number, model] of numbers) snapshot = migrateModel(run, number, model) || snapshot;
  for (const sql of [...outboxIndexesSql(numbers), ...viewsSql(numbers)]) db.exec(sql);
  const set = db.sql("INSERT OR REPLACE INTO _sync(name, value) VALUES (?, ?)");
  set.run("format", storeFormat);
  set.run(columnsFact, plainColumns);
  set.run("device", identity.deviceId);
  set.run("account", identity.accountId);
  set.run("fingerprint", schema.fingerprint);
  set.run("schema", JSON.stringify(schema.source));
  // The text stored here decides later whether the triggers are those of this version of Twintable.
  set.run("ddl", schemaSql(schema, identity));
  if (snapshot) set.run("resnapshot", 1);
  return migration;
}

/** The context of each model's migration. */
interface Run {
  readonly db: Database;
  readonly schema: Schema;
  readonly identity: Identity;
  /** The file's schema until now. */
  readonly before: Schema | undefined;
  readonly bypassed: Bypass;
  /** The bases were dropped by somebody else. */
  readonly basesLost: boolean;
  /** The columns are of a version that stored every value as tagged JSON. */
  readonly isTagged: boolean;
  readonly migration: Migration;
}

function fact(db: Database, name: string): unknown {
  return db.sql("SELECT value FROM _sync WHERE name = ?").get(name)?.value;
}

function makeAgentTables(db: Database): void {
  db.exec(agentTablesSql);
  for (const { table, name, sql } of laterColumns) {
    if (!columnsOf(db, table).includes(name)) db.exec(`ALTER TABLE ${table} ADD COLUMN ${sql}`);
  }
  db.exec(laterIndexesSql);
  // Only if there is none: another mark belongs to an application.
  if (db.prepare("PRAGMA application_id").get()!.application_id === 0) {
    db.exec(`PRAGMA application_id = ${applicationId}`);
  }
}

/** Brings one model's table, its rows and its triggers to the schema. @returns whether a snapshot has to fill it */
function migrateModel(run: Run, number: number, model: Model): boolean {
  const { db, identity, before, bypassed, migration } = run;
  const wanted = modelSql(model, identity).join(";\n");
  const present = columnsOf(db, model.name);
  const known = fact(db, `table:${model.name}`);
  const old = known === undefined ? undefined : before?.models.get(model.name);
  if (present.length > 0 && known !== undefined && run.isTagged) untagColumns(db, model, present);
  if (present.length > 0 && old) refuseImpossible(db, number, model, old, before!.typeField !== run.schema.typeField);
  const isAsWanted = known === wanted || known === formerSql(model, identity);
  const changed = !isAsWanted || !tableIsWhole(db, model, identity);
  const keptBefore = lastKept(db);
  let returned: Field[] = [];
  if (present.length === 0) createTable(run, number, model);
  else if (changed) returned = rebuildTable(run, number, model, old, present, known);
  if (loneKeyField(model)) db.exec(`DROP INDEX IF EXISTS ${ident(ownName(model, "item"))}`);
  carryOver(db, number, model, old, returned);
  if (changed) {
    fillNewFields(db, number, model, old, identity);
    noteUnsent(db, number, model, old, keptBefore);
    bringUnsentBack(db, number, model);
  }
  let snapshot = needsSnapshot(model, old, changed);
  if (present.length > 0 && known !== undefined) {
    const noticed = notice(db, number, model, identity, bypassed, run.basesLost);
    if (noticed && noticed.sent + noticed.missing > 0) migration.noticed.push(noticed);
    snapshot ||= bypassed.models.has(model.name) && comesDown(model);
  }
  db.sql("INSERT OR REPLACE INTO _sync(name, value) VALUES (?, ?)").run(`table:${model.name}`, wanted);
  for (const sql of triggersSql(model, number, identity)) db.exec(sql);
  return snapshot;
}

function createTable({ db, identity, migration }: Run, number: number, model: Model): void {
  for (const sql of modelSql(model, identity)) db.exec(sql);
  // No row is left to compare an awaited echo with: incoming items are applied as they are.
  db.sql("UPDATE _sync_items SET awaiting = 0 WHERE model = ?").run(number);
  migration.created.push(model.name);
}

/**
 * @param known the SQL that the table was made with; undefined: it existed before Twintable. @returns fields whose
 * values came back
 */
function rebuildTable(
  { db, identity, migration }: Run,
  number: number,
  model: Model,
  old: Model | undefined,
  present: string[],
  known: unknown,
): Field[] {
  if (known === undefined) refuseForeign(db, model, identity, present);
  // The first statement of the SQL that created it.
  const made = typeof known === "string" ? known.split(/;\n(?=CREATE )/)[0] : undefined;
  const returned = rebuild(db, model, old, identity, made);
  migration.rebuilt.push(model.name);
  // A table from before Twintable, or before a reset: its rows are onboarded as if they were inserted.
  if (known === undefined && goesUp(model)) onboard(db, model, number);
  return returned;
}

/** Triggers, views and outbox indexes are recreated at each migration: they name models and numbers. */
function dropOwnObjects(db: Database): void {
  const triggers = db.sql(
    "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '\\_sync\\_%' ESCAPE '\\'",
  );
  for (const { name } of triggers.all()) db.exec(`DROP TRIGGER ${ident(String(name))}`);
  for (const name of viewNames) db.exec(`DROP VIEW IF EXISTS ${name}`);
  db.exec("DROP INDEX IF EXISTS _sync_outbox_row");
}
