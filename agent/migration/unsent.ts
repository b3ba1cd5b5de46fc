/**
 * Unsent values of a removed column: an application wrote a field of a new schema, and the device went back to the
 * schema before it, which sends its rows without the field. The values are stored like all values of such columns
 * (`_sync_kept`), together with what the cloud had under that attribute at the time. When the column is back, so is the
 * value, and it is sent if the cloud still has the same; otherwise somebody else has written the attribute meanwhile,
 * and the stored value goes to `_conflicts`.
 *
 * Both run inside the migration's transaction, while capture has no triggers.
 *
 * @module
 */
import { type Database, faultOf, pagesOf } from "../sqlite/driver.ts";
import { parseJson } from "../../schema.ts";
import type { Field, Model } from "../../schema/model.ts";
import type { Attributes } from "../../schema/values.ts";
import { isTracked } from "../../schema/direction.ts";
import { normalised, sameValue, toItem } from "../store/columns.ts";
import { itemFields, keySql } from "../store/ddl.ts";
import { keepConflict } from "../store/kept.ts";
import { ident, nowMsSql } from "../store/sql.ts";
import { keyJsonSql, outboxKinds } from "../store/triggers.ts";
import { recast } from "./recast.ts";
import { exact, exactSql } from "./rebuild.ts";

/** The last stored value so far. */
export function lastKept(db: Database): number {
  return Number(db.sql("SELECT coalesce(max(rowid), 0) AS id FROM _sync_kept").get()!.id);
}

/** The table's item that a row was made from, as far as the device knows. */
function baseOf(db: Database, model: Model, row: number): Attributes {
  const { hash, sort } = keySql(model);
  const found = db.sql(
    `SELECT i.base FROM ${ident(model.name)} AS t JOIN _sync_items AS i ON i.hash = t.${hash} AND i.sort = ${
      sort ? `t.${sort}` : "''"
    } WHERE t._id = ? AND i.base IS NOT NULL`,
  ).get(row);
  return found ? parseJson(found.base as string) as Attributes : {};
}

const textOf = (base: Attributes, attribute: string) => JSON.stringify(base[attribute] ?? null);

/**
 * Marks values that were stored after `since` and had not been acknowledged, NULL among them. `old` is the model with the
 * column.
 */
export function noteUnsent(db: Database, number: number, model: Model, old: Model | undefined, since: number): void {
  if (old && isTracked(old)) noteBases(db, number, model, old, since);
  // A NULL that the cloud has as well, or whose field never had another value there, is no value.
  db.sql(
    "DELETE FROM _sync_kept WHERE rowid > ? AND model = ? AND value IS NULL AND (base IS NULL OR base = 'null')",
  ).run(since, model.name);
}

function noteBases(db: Database, number: number, model: Model, old: Model, since: number): void {
  const note = db.sql("UPDATE _sync_kept SET base = ? WHERE rowid = ?");
  const kept = db.sql(
    `SELECT k.rowid AS id, k.row, k.name FROM _sync_kept AS k WHERE k.rowid > ? AND k.model = ?
     AND EXISTS (SELECT 1 FROM _outbox AS o WHERE o.model = ? AND o.row = k.row) ORDER BY k.rowid LIMIT ?`,
  );
  const behind = (after: { id?: unknown } | undefined, size: number) =>
    kept.all(Number(after?.id ?? since), model.name, number, size);
  for (const { id, row, name } of pagesOf(behind)) {
    const field = itemFields(old).find((f) => f.name === name);
    if (field) note.run(textOf(baseOf(db, model, Number(row)), field.attribute), Number(id));
  }
}

/** Restores the values of columns that are back. */
export function bringUnsentBack(db: Database, number: number, model: Model): void {
  if (!isTracked(model)) return;
  const fields = new Map(itemFields(model).map((field) => [field.name, field]));
  // In the order in which they were stored: the newest of a row's values wins.
  const kept = db.sql(
    `SELECT rowid AS id, row, name, key, base, ${exactSql("value")} FROM _sync_kept
     WHERE model = ? AND base IS NOT NULL AND rowid > ? ORDER BY rowid LIMIT ?`,
  );
  const drop = db.sql("DELETE FROM _sync_kept WHERE rowid = ?");
  const behind = (after: { id?: unknown } | undefined, size: number) =>
    kept.all(model.name, Number(after?.id ?? 0), size);
  for (const value of pagesOf(behind)) {
    const field = fields.get(String(value.name)), row = Number(value.row);
    if (!field || !isRowOf(db, model, row, String(value.key))) continue;
    const base = baseOf(db, model, row);
    const isAsItWas = textOf(base, field.attribute) === value.base;
    const isDone = isAsItWas
      ? put(db, number, model, field, row, value)
      // It was under way when the column went, and was acknowledged after all.
      : isKnown(field, value, base) || giveWay(db, model, field, value);
    if (isDone) drop.run(Number(value.id));
  }
}

/** Another row may have the `_id` now. */
function isRowOf(db: Database, model: Model, row: number, key: string): boolean {
  const sql = `SELECT 1 FROM ${ident(model.name)} AS t WHERE _id = ? AND ${keyJsonSql(model, "t")} = ?`;
  return db.sql(sql).get(row, key) !== undefined;
}

/** Whether the cloud has this value. */
function isKnown(field: Field, value: KeptRow, base: Attributes): boolean {
  try {
    return sameValue(toItem(field, exact(value)) ?? null, normalised(field, base[field.attribute]) ?? null);
  } catch (error) {
    if (error instanceof RangeError || error instanceof SyntaxError) return false;
    throw error;
  }
}

type KeptRow = Parameters<typeof exact>[0];

/** @returns false if the value has no meaning in the field's type, or the table refuses it: then it stays stored */
function put(db: Database, number: number, model: Model, field: Field, row: number, value: KeptRow): boolean {
  try {
    db.sql(`UPDATE ${ident(model.name)} SET ${ident(field.name)} = ? WHERE _id = ?`).run(
      recast(field, exact(value)),
      row,
    );
  } catch (error) {
    if (error instanceof RangeError || error instanceof SyntaxError || faultOf(error) === "constraint") return false;
    throw error;
  }
  db.sql(
    `INSERT INTO _outbox(model, row, kind, time, segment) SELECT ?, ?, ${outboxKinds.update}, ${nowMsSql}, segment
     FROM _sync_flag`,
  ).run(number, row);
  return true;
}

function giveWay(db: Database, model: Model, field: Field, value: KeptRow): boolean {
  // With SQLite's time, like everything that a migration enqueues.
  const timeMs = Number(db.sql(`SELECT ${nowMsSql} AS ms`).get()!.ms);
  const key = parseJson(String(value.key)) as Attributes;
  try {
    const lost = toItem(field, exact(value));
    const item = { ...key, [field.attribute]: lost ?? null };
    keepConflict(db, { model: model.name, key, op: "update", item, why: "stale", timeMs });
    return true;
  } catch (error) {
    if (error instanceof RangeError || error instanceof SyntaxError) return false;
    throw error;
  }
}
