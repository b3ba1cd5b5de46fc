/**
 * Adapts the sync state to a new schema: pending changes, cursors, records of keys. It runs in the migration's
 * transaction, after the tables have their new form.
 *
 * | what changed | what happens |
 * | --- | --- |
 * | a model that comes down is new, is back, or its table or direction changed | a snapshot fills in what the cloud has |
 * | a model begins to go up | its rows are sent |
 * | a field begins to travel, or under another attribute name | rows that have a value are sent |
 * | a field of an `up` model is back with its values | rows that have one are sent: the cloud may have lost them meanwhile |
 * | a model stays on the device from now on | what waited of it is dropped: the rows have it |
 * | a model is gone | its table is not touched; pending removals are stored, and its rows onboarded when it is back |
 *
 * Refused before anything is touched: a model whose rows would get other keys (`refuseRekeyed`), and a model whose
 * local rows would be replaced by the cloud's (`none` to `down`).
 *
 * @module
 */
import { comesDown, goesUp } from "../../schema/direction.ts";
import { type Database, faultOf, pagesOf, type SqlRow } from "../sqlite/driver.ts";
import { SyncError } from "../../schema/errors.ts";
import { compileSchema } from "../../schema/compile.ts";
import { keysText } from "../../schema/model_digest.ts";
import type { Field, Identity, Model, Schema } from "../../schema/model.ts";
import { parseJson } from "../../schema/json.ts";
import type { Attributes } from "../../schema/values.ts";
import { columnName } from "../store/columns.ts";
import { itemFields } from "../store/ddl.ts";
import { keyLookup } from "../store/key_lookup.ts";
import { toColumnLeniently } from "./recast.ts";
import { ident, nowMsSql } from "../store/sql.ts";
import { keptRemoval } from "../store/tables.ts";
import { outboxKinds } from "../store/triggers.ts";

/** The schema that the file has now; undefined for a new file, or if this version can no longer compile it. */
export function presentSchema(db: Database): Schema | undefined {
  const text = db.prepare("SELECT value FROM _sync WHERE name = 'schema'").get()?.value;
  if (typeof text !== "string") return undefined;
  try {
    return compileSchema(parseJson(text));
  } catch {
    // Written by another version of Twintable. Without it every value is checked, and every model counts as changed.
    return undefined;
  }
}

function has(db: Database, sql: string, ...values: number[]): boolean {
  return db.prepare(`SELECT EXISTS (${sql}) AS found`).get(...values)!.found === 1;
}

/**
 * Refuses a schema that would turn a model's rows into other items, or remove them.
 *
 * @param retyped the schema names an item's model in another attribute than before
 */
export function refuseImpossible(db: Database, number: number, model: Model, old: Model, retyped: boolean): void {
  const rows = has(db, `SELECT 1 FROM ${ident(model.name)}`);
  if (rows && old.sync === "none" && model.sync === "down") {
    throw new SyncError(
      "migration",
      `The rows of ${model.name} are local, and the new schema would let the cloud's replace them`,
      {
        hint: "Nothing was changed. Delete or move these rows first, or let the model sync both ways.",
      },
    );
  }
  if (old.sync === "none" || (!retyped && keysText(old) === keysText(model))) return;
  const known = rows || has(db, "SELECT 1 FROM _outbox WHERE model = ?", number) ||
    has(db, "SELECT 1 FROM _sync_items WHERE model = ? AND base IS NOT NULL", number);
  if (!known) return;
  if (retyped) {
    throw new SyncError(
      "migration",
      `The new schema has another typeField: the cloud has ${model.name}'s items by the old`,
      {
        hint: "Nothing was changed. Keep the typeField, or begin with a new file and a new table.",
      },
    );
  }
  throw new SyncError(
    "migration",
    `The new schema makes other keys of ${model.name}'s rows: the cloud has them under the old ones`,
    {
      hint: "Nothing was changed. Give the model with the new keys a new name, or begin with a new file.",
    },
  );
}

/**
 * Carries out the consequences of a change to one model.
 *
 * @param old undefined for a model that is new or back
 * @param returned fields whose values came back
 */
export function carryOver(
  db: Database,
  number: number,
  model: Model,
  old: Model | undefined,
  returned: readonly Field[],
): void {
  if (!goesUp(model)) {
    if (model.sync === "none") dropWaiting(db, number);
    return;
  }
  bringRemovalsBack(db, number, model);
  if (old?.sync === "none") return enqueue(db, number, model);
  const fields = [...(old ? newlySent(old, model) : []), ...returned.filter((field) => field.synced)];
  if (fields.length > 0) {
    enqueue(
      db,
      number,
      model,
      fields.map(({ name }) => `${ident(name)} IS NOT NULL`).join(" OR "),
    );
  }
}

/**
 * The cloud's values for new fields of the schema, which so far only the base carried: without them in the row, a local
 * change before the snapshot would remove them from the cloud.
 */
export function fillNewFields(
  db: Database,
  number: number,
  model: Model,
  old: Model | undefined,
  identity: Identity,
): void {
  if (!old) return;
  const carried = new Set(itemFields(old).map((field) => field.attribute));
  const names = new Set(old.fields.map((field) => field.name));
  const fresh = itemFields(model).filter(({ attribute, name }) => !carried.has(attribute) && !names.has(name));
  if (fresh.length === 0) return;
  const { sql: where, values: valuesOf } = keyLookup(model, identity);
  const bases = db.prepare(
    `SELECT hash, sort, base FROM _sync_items WHERE model = ? AND base IS NOT NULL AND (hash, sort) > (?, ?)
     ORDER BY hash, sort LIMIT ?`,
  );
  // No key has an empty hash value.
  const behind = (after: SqlRow | undefined, size: number) =>
    bases.all(number, after?.hash ?? "", after?.sort ?? "", size);
  for (const { hash, sort, base } of pagesOf(behind)) {
    const item = parseJson(base as string) as Attributes;
    for (const field of fresh) {
      const value = item[field.attribute];
      if (value === undefined || value === null) continue;
      try {
        db.sql(
          `UPDATE ${ident(model.name)} SET ${columnName(field)} = ? WHERE ${where}`,
        ).run(toColumnLeniently(field, value), ...valuesOf([hash as string, sort as string]));
      } catch (error) {
        // A value that the new column can't hold: the snapshot sets the item aside.
        if (!(error instanceof RangeError) && !(error instanceof SyntaxError) && faultOf(error) !== "constraint") {
          throw error;
        }
      }
    }
  }
}

/** Whether the model needs a snapshot from the cloud. */
export function needsSnapshot(model: Model, old: Model | undefined, rebuilt: boolean): boolean {
  return comesDown(model) &&
    (rebuilt || !old || old.sync !== model.sync || old.scope !== model.scope ||
      attributesOf(old) !== attributesOf(model));
}

/** The attribute of each column. */
function attributesOf(model: Model): string {
  return JSON.stringify(itemFields(model).map(({ name, attribute }) => [name, attribute]).sort());
}

/** Fields whose values the cloud does not have under their attribute's name, although the device may. */
function newlySent(old: Model, model: Model): Field[] {
  const sent = new Set(itemFields(old).map((field) => field.attribute));
  const names = new Set(old.fields.filter((field) => !field.template).map((field) => field.name));
  return itemFields(model).filter((field) => !sent.has(field.attribute) && names.has(field.name));
}

/** Enqueues rows again. As an update, not an insert: the cloud may already have them. */
function enqueue(db: Database, number: number, model: Model, where = "TRUE"): void {
  db.exec(
    `INSERT INTO _outbox(model, row, kind, time, segment) SELECT ${number}, _id, ${outboxKinds.update}, ${nowMsSql}, ` +
      `segment FROM ${ident(model.name)}, _sync_flag WHERE ${where}`,
  );
}

function dropWaiting(db: Database, number: number): void {
  db.prepare("DELETE FROM _outbox WHERE model = ?").run(number);
  db.prepare("DELETE FROM _sync_items WHERE model = ?").run(number);
  db.prepare("DELETE FROM _sync_aside WHERE model = ?").run(number);
}

/**
 * Models of the file that the schema lacks: their tables stay, without triggers. Unsent rows are found in the table
 * when the model is back; removals are stored separately. The snapshot then brings what is set aside or was to be
 * fetched.
 */
export function letGo(db: Database, schema: Schema): void {
  const gone = db.prepare(
    "SELECT m.number, m.name FROM _sync_models AS m JOIN _sync AS s ON s.name = 'table:' || m.name",
  ).all().filter(({ name }) => !schema.models.get(String(name))?.onDevice);
  for (const { number, name } of gone) {
    const values = [Number(number)];
    db.prepare(
      `INSERT INTO _sync_kept(model, row, name, value) SELECT ?, row, '${keptRemoval}',
         json_object('time', time, 'segment', segment, 'hash', hash, 'sort', sort, 'key', key)
       FROM _outbox WHERE model = ? AND key IS NOT NULL`,
    ).run(String(name), ...values);
    db.prepare("DELETE FROM _outbox WHERE model = ?").run(...values);
    db.prepare("DELETE FROM _sync_aside WHERE model = ?").run(...values);
    db.prepare("UPDATE _sync_items SET recheck = NULL, swept = NULL, awaiting = 0 WHERE model = ?").run(...values);
    db.prepare("DELETE FROM _sync WHERE name = ?").run(`table:${name}`);
  }
}

function bringRemovalsBack(db: Database, number: number, model: Model): void {
  db.prepare(
    `INSERT INTO _outbox(model, row, kind, time, segment, hash, sort, key)
     SELECT ?, row, ${outboxKinds.gone}, json_extract(value, '$.time'), json_extract(value, '$.segment'),
       json_extract(value, '$.hash'), json_extract(value, '$.sort'), json_extract(value, '$.key')
     FROM _sync_kept WHERE model = ? AND name = '${keptRemoval}'`,
  ).run(number, model.name);
  db.prepare(`DELETE FROM _sync_kept WHERE model = ? AND name = '${keptRemoval}'`).run(model.name);
}
