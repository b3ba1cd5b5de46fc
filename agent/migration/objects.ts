/**
 * Whether a file still contains the objects of its schema. Any program that opens it may drop a trigger, and then
 * changes go unnoticed for good; a table may be dropped, or recreated without its indexes. An agent checks at its
 * start, and recreates what is missing or was altered.
 *
 * Columns, indexes and triggers that an application added are not checked.
 *
 * @module
 */
import type { Database } from "../sqlite/driver.ts";
import type { Identity, Model } from "../../schema/model.ts";
import { dataFields, keySql, tableSql, uniqueIndexes } from "../store/ddl.ts";
import { literal } from "../store/sql.ts";
import { agentTableNames, outboxIndexesSql, viewsSql } from "../store/tables.ts";
import { triggersSql } from "../store/triggers.ts";

/** The texts of the file's objects, by name, as SQLite stores them. */
type Objects = ReadonlyMap<string, string>;

function objectsOf(db: Database): Objects {
  const rows = db.prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all();
  return new Map(rows.map(({ name, sql }) => [String(name), String(sql)]));
}

/** The name in a CREATE statement of ours. */
function nameIn(sql: string): string {
  const [, quoted, plain] = /^CREATE (?:UNIQUE )?\w+ (?:"((?:[^"]|"")*)"|(\w+))/.exec(sql)!;
  return quoted?.replaceAll('""', '"') ?? plain!;
}

function isWhole(db: Database, objects: Objects, model: Model, identity: Identity): boolean {
  if (uniqueIndexes(model).some(({ name, sql }) => objects.get(name) !== sql)) return false;
  const sql = objects.get(model.name);
  if (sql === undefined || sql === tableSql(model, identity)) return sql !== undefined;
  // An additional column changes the text, but removes nothing.
  const present = db.prepare(`SELECT name FROM pragma_table_xinfo(${literal(model.name)})`).all();
  const names = new Set(present.map(({ name }) => String(name)));
  const { hash, sort } = keySql(model);
  const wanted = [...dataFields(model).map(({ name }) => name), ...[hash, ...(sort ? [sort] : [])].map(unquoted)];
  return wanted.every((name) => names.has(name));
}

function unquoted(name: string): string {
  return name.slice(1, -1).replaceAll('""', '"');
}

/** Whether a model's table has its columns and unique indexes. */
export function tableIsWhole(db: Database, model: Model, identity: Identity): boolean {
  return isWhole(db, objectsOf(db), model, identity);
}

/** The names of what is missing or altered, for these models (by the file's own numbers). */
export function alteredObjects(db: Database, models: ReadonlyMap<number, Model>, identity: Identity): string[] {
  const objects = objectsOf(db);
  const tables = [...models.values()].filter((model) => !isWhole(db, objects, model, identity)).map(({ name }) => name);
  const texts = [...models].flatMap(([number, model]) => triggersSql(model, number, identity))
    .concat(outboxIndexesSql(models), viewsSql(models));
  return [
    ...agentTableNames.filter((name) => !objects.has(name)),
    ...tables,
    ...texts.filter((sql) => objects.get(nameIn(sql)) !== sql).map(nameIn),
  ];
}
