/**
 * Capture: plain SQL triggers that record each local write in the outbox, in the same transaction, in whatever process
 * it is made. An entry is a hint "look at this row" or, if the row is gone, "look at this key": superfluous entries are
 * harmless, a missing entry loses a change.
 *
 *   kind 1  a row was inserted         row
 *   kind 2  a row was updated          row
 *   kind 3  a key lost its row         row, hash, sort, key: deleted, evicted by REPLACE, or its key changed
 *
 * REPLACE fires no delete trigger for the rows that it evicts (unless `recursive_triggers` is on), so BEFORE triggers
 * search for them: by the key, by each unique field, by `_id`. They compute the key from the columns, not from the
 * generated ones, whose value SQLite does not define in a BEFORE trigger of an UPDATE.
 *
 * `_sync_flag.applying` is the number of the model whose rows the agent is writing, otherwise 0. A write of an
 * application's trigger into another model is a change like any other.
 *
 * @module
 */
import { idIn } from "../../schema/identity.ts";
import type { Field, Identity, Model } from "../../schema/model.ts";
import { columnName } from "./columns.ts";
import { dataFields, isIdentity, itemFields, keySql, loneKeyField, nowSql, ownName, scopeColumns } from "./ddl.ts";
import { patternSql } from "./patterns.ts";
import { ident, literal, nowMsSql, templateSql } from "./sql.ts";

/** Kinds of outbox entries. */
export const outboxKinds = { insert: 1, update: 2, gone: 3 } as const;

/** The beginning of the message of a write that a trigger refuses: {@link readOnlyMessage} and foreign rows. */
const refused = "refused by Twintable: ";

/** The error of a local write to a model that only comes down. */
export function readOnlyMessage(model: Model): string {
  return `${refused}${model.name} is read-only on the device (its sync is "down")`;
}

/** The values of `_sync_flag."full"`. */
export const fullOf = { nothing: 0, outbox: 1, size: 2 } as const;

/** The error of a local write while the outbox is full (`agent/upkeep/capacity.ts`). */
export const fullMessage = `${refused}the outbox is full, since the cloud could not be reached for long; see _status`;

/** The same while the database is at its limit of bytes, for whatever reason. */
export const sizeMessage = `${refused}the database has reached its size limit; delete rows, or see _status`;

/** Whether an error's message is that of a full outbox or database. */
export function isFullMessage(message: string): boolean {
  return message.includes(fullMessage) || message.includes(sizeMessage);
}

/** Whether an error's message is that of a read-only model. */
export function isReadOnlyMessage(message: string): boolean {
  return message.includes(refused) && message.includes("is read-only on the device");
}

/** The JSON text of a row's key attributes in item form, without identity. `row` is `new`, `old` or an alias. */
export function keyJsonSql(model: Model, row: string): string {
  const pairs = model.keyFields.map((name) => {
    const field = model.fields.find((f) => f.name === name)!;
    return `${literal(field.attribute)}, ${keyValueSql(field, `${row}.${columnName(field)}`)}`;
  });
  return `json_object(${pairs.join(", ")})`;
}

function keyValueSql(field: Field, column: string): string {
  if (field.type === "number") return `CAST(${column} AS INTEGER)`;
  if (field.type === "boolean") return `json(CASE ${column} WHEN 1 THEN 'true' ELSE 'false' END)`;
  return column;
}

/**
 * The new row's `_id` for its entry, or the refusal while the outbox is full. A model with `keep: 'newest'` is not
 * refused, and neither is a deletion: deletions are how an application makes room, and there are no more of them than
 * rows.
 */
function rowSql(model: Model): string {
  if (model.keep) return "new._id";
  return `CASE _sync_flag."full" WHEN 0 THEN new._id WHEN ${fullOf.size} THEN RAISE(ABORT, ${literal(sizeMessage)}) ` +
    `ELSE RAISE(ABORT, ${literal(fullMessage)}) END`;
}

/** An entry about an existing row, as an INSERT. */
function entrySql(model: Model, number: number, kind: number): string {
  return `INSERT INTO _outbox(model, row, kind, time, segment) ` +
    `SELECT ${number}, ${rowSql(model)}, ${kind}, ${nowMsSql}, segment FROM _sync_flag WHERE applying <> ${number}`;
}

/** An entry about a key that loses its row, `old` or an alias in `from`. */
function goneSql(model: Model, number: number, identity: Identity, row: string, where?: string, from = ""): string {
  const column = (name: string) => `${row}.${ident(name)}`;
  const hash = templateSql(model.hashKey.template, model, identity, column);
  const sort = model.sortKey ? templateSql(model.sortKey.template, model, identity, column) : "''";
  return `INSERT INTO _outbox(model, row, kind, time, segment, hash, sort, key) ` +
    `SELECT ${number}, ${row}._id, ${outboxKinds.gone}, ${nowMsSql}, _sync_flag.segment, ${hash}, ${sort}, ` +
    `${keyJsonSql(model, row)} FROM _sync_flag${from} WHERE _sync_flag.applying <> ${number}${
      where ? ` AND ${where}` : ""
    }`;
}

/** A condition on identity columns that is true for a foreign row, and the message for it. */
function foreign(model: Model, identity: Identity): { condition: string; raise: string } | undefined {
  const fields = dataFields(model).filter((field) => isIdentity(model, field));
  if (fields.length === 0) return undefined;
  const conditions = fields.map((field) => {
    const own = literal(idIn(model, identity, field.name)!);
    return `new.${columnName(field)} IS NOT ${own}`;
  });
  const own = fields.map((field) => `${field.name} ${idIn(model, identity, field.name)}`).join(", ");
  const message = literal(`${refused}this database holds ${model.name} rows of ${own} only`);
  const condition = conditions.join(" OR ");
  return { condition, raise: `SELECT RAISE(ABORT, ${message}) WHERE ${condition}` };
}

/** Selects the `_id`s of rows that a REPLACE by `new` would evict, one SELECT for each way. */
function evictions(model: Model, identity: Identity, event: "insert" | "update"): string[] {
  const table = ident(model.name);
  const other = event === "update" ? " AND _id <> old._id" : "";
  const key = keySql(model), lone = loneKeyField(model);
  const fresh = (name: string) => `new.${ident(name)}`;
  const hash = templateSql(model.hashKey.template, model, identity, fresh);
  const sort = model.sortKey && templateSql(model.sortKey.template, model, identity, fresh);
  // An INSERT without `_id` shows it as -1 here, which no row has: most inserts need not search.
  const ways = [
    event === "insert" ? `new._id <> -1 AND _id = new._id` : `_id = new._id`,
    lone
      ? `${columnName(lone)} = new.${columnName(lone)}`
      : `${key.hash} = ${hash}${sort ? ` AND ${key.sort} = ${sort}` : ""}`,
  ];
  return [
    ...ways.map((way) => `SELECT _id FROM ${table} WHERE ${way}${other}`),
    ...uniqueEvictions(model, identity, event),
  ];
}

/** Those evicted because of a `unique` field. */
function uniqueEvictions(model: Model, identity: Identity, event: "insert" | "update"): string[] {
  const other = event === "update" ? " AND _id <> old._id" : "";
  return model.fields.filter((f) => f.unique).map((field) => {
    const value = field.template
      ? templateSql(field.template, model, identity, (name) => `new.${ident(name)}`)
      : `new.${columnName(field)}`;
    const scope = scopeColumns(field).map((column) => ` AND ${column} = new.${column}`).join("");
    return `SELECT _id FROM ${ident(model.name)} WHERE ${columnName(field)} = ${value}${scope}${other}`;
  });
}

function trigger(model: Model, name: string, event: string, when: string | undefined, body: readonly string[]): string {
  return `CREATE TRIGGER ${ident(ownName(model, name))} ${event} ON ${ident(model.name)}${
    when ? `\nWHEN ${when}` : ""
  }\nBEGIN\n  ${body.join(";\n  ")};\nEND`;
}

/** The columns whose change matters to the cloud, for `UPDATE OF`; a changed rowid counts as one. */
function syncedColumns(model: Model): string {
  const identity = dataFields(model).filter((field) => isIdentity(model, field));
  return ["_id", ...[...itemFields(model), ...identity].map(columnName)].join(", ");
}

/** Unique columns that never leave the device: their change is not sent, but rows that it evicts are. */
function localUniques(model: Model): string[] {
  return dataFields(model).filter((field) => field.unique && !field.synced).map(columnName);
}

/** Whether an UPDATE gave a row another key or another row number. */
function rekeyedSql(model: Model): string {
  return `(${["_id", ...model.keyFields.map(ident)].map((c) => `old.${c} IS NOT new.${c}`).join(" OR ")})`;
}

/** How `updated` is set if an UPDATE did not. */
interface Touch {
  /** The column. */
  readonly column: string;
  /** A BEFORE trigger. */
  readonly before: string;
  /** The statement of an AFTER trigger. */
  readonly after: string;
}

/**
 * If an UPDATE does not set `updated`, two triggers do. The BEFORE trigger makes `RETURNING` return it: SQLite takes
 * columns that the statement does not set from the row as its BEFORE triggers left it (its test trigger1-18.0 says so;
 * its manual leaves it open). It does not act if the row's key changes, or if the statement may be ignored because of
 * another row's `unique` value: then only `updated` would change. The AFTER trigger sets it in every other case. The
 * guards also end both if triggers recurse.
 */
function touchOf(model: Model, number: number, identity: Identity): Touch | undefined {
  const field = model.fields.find((f) => f.name === model.updatedField);
  if (!field || field.template) return undefined;
  const column = columnName(field), now = nowSql(field);
  const isLeft = `new.${column} IS old.${column} AND new.${column} IS NOT ${now} ` +
    `AND (SELECT applying FROM _sync_flag) <> ${number}`;
  const set = `UPDATE ${ident(model.name)} SET ${column} = ${now} WHERE _id = new._id`;
  const clashes = uniqueEvictions(model, identity, "update").map((select) => ` AND NOT EXISTS (${select})`);
  const when = `${isLeft} AND NOT ${rekeyedSql(model)}${clashes.join("")}`;
  return {
    column,
    before: trigger(model, "touch", `BEFORE UPDATE OF ${syncedColumns(model)}`, when, [set]),
    after: `${set} AND ${isLeft}`,
  };
}

/**
 * The trigger that records an UPDATE. If the model has `updated`, the trigger on that column does: it runs for the
 * statement that sets it, the application's or the one above, in the same transaction as the row's other columns. So
 * one UPDATE makes one entry.
 */
function updateTriggers(model: Model, number: number, identity: Identity): string[] {
  const gone = goneSql(model, number, identity, "old", rekeyedSql(model)),
    entry = entrySql(model, number, outboxKinds.update);
  const touch = touchOf(model, number, identity), of = syncedColumns(model);
  if (!touch) return [trigger(model, "update", `AFTER UPDATE OF ${of}`, undefined, [gone, entry])];
  const { column, before, after } = touch;
  const others = of.split(", ").filter((c) => c !== column).join(", ");
  return [
    before,
    trigger(model, "update", `AFTER UPDATE OF ${others}`, undefined, [
      gone,
      `${entry} AND new.${column} IS old.${column}`,
      after,
    ]),
    trigger(model, "updated", `AFTER UPDATE OF ${column}`, undefined, [entry]),
  ];
}

function downTriggers(model: Model, number: number): string[] {
  const body = [`SELECT RAISE(ABORT, ${literal(readOnlyMessage(model))})`];
  const when = `(SELECT applying FROM _sync_flag) <> ${number}`;
  return [
    trigger(model, "insert", "BEFORE INSERT", when, body),
    trigger(model, "update", `BEFORE UPDATE OF ${syncedColumns(model)}`, when, body),
    trigger(model, "delete", "BEFORE DELETE", when, body),
    // A local column may be set, unless REPLACE would evict another row by it: no DELETE trigger would see that.
    ...localUniques(model).map((c) => {
      const evicts = `EXISTS (SELECT 1 FROM ${ident(model.name)} WHERE ${c} = new.${c} AND _id <> old._id)`;
      return trigger(model, `evict.${c.slice(1, -1)}`, `BEFORE UPDATE OF ${c}`, `${when} AND ${evicts}`, body);
    }),
  ];
}

function captureTriggers(model: Model, number: number, identity: Identity): string[] {
  const stranger = foreign(model, identity);
  const before = (event: "insert" | "update") => {
    const selects = evictions(model, identity, event);
    const when = [...(stranger ? [stranger.condition] : []), ...selects.map((select) => `EXISTS (${select})`)];
    const where = `evicted._id IN (${selects.join(" UNION ")})`;
    const entry = goneSql(model, number, identity, "evicted", where, `, ${ident(model.name)} AS evicted`);
    return { when: when.join("\n  OR "), body: [...(stranger ? [stranger.raise] : []), entry] };
  };
  const onInsert = before("insert"), onUpdate = before("update");
  const evicting = [syncedColumns(model), ...localUniques(model)].join(", ");
  return [
    trigger(model, "insert_before", "BEFORE INSERT", onInsert.when, onInsert.body),
    trigger(model, "insert", "AFTER INSERT", undefined, [entrySql(model, number, outboxKinds.insert)]),
    trigger(model, "update_before", `BEFORE UPDATE OF ${evicting}`, onUpdate.when, onUpdate.body),
    ...updateTriggers(model, number, identity),
    trigger(model, "delete", "AFTER DELETE", undefined, [goneSql(model, number, identity, "old")]),
  ];
}

function localTriggers(model: Model, number: number, identity: Identity): string[] {
  const stranger = foreign(model, identity);
  const touch = touchOf(model, number, identity);
  return [
    ...(stranger ? [trigger(model, "insert_before", "BEFORE INSERT", stranger.condition, [stranger.raise])] : []),
    ...(stranger ? [trigger(model, "update_before", "BEFORE UPDATE", stranger.condition, [stranger.raise])] : []),
    ...(touch
      ? [touch.before, trigger(model, "update", `AFTER UPDATE OF ${syncedColumns(model)}`, undefined, [touch.after])]
      : []),
  ];
}

/** All triggers of a model. `number` is the model's number in this file. */
export function triggersSql(model: Model, number: number, identity: Identity): string[] {
  if (model.sync === "none") return [...localTriggers(model, number, identity), ...validateTriggers(model, number)];
  if (model.sync === "down") return downTriggers(model, number);
  return [...captureTriggers(model, number, identity), ...validateTriggers(model, number)];
}

/** The SQL condition for a field's `validate`; undefined if SQL cannot express it, or the field has none. */
export function validateSql(field: Field, column: string): string | undefined {
  if (!field.validate || field.type !== "string" || field.template) return undefined;
  return patternSql(field.validate.source, field.validate.flags, column);
}

/**
 * Enforces `validate` for local writes, if SQL can express it. By triggers, not by a CHECK: existing rows stay, and the
 * cloud checks what it sends.
 */
function validateTriggers(model: Model, number: number): string[] {
  return dataFields(model).flatMap((field) => {
    const c = columnName(field), condition = validateSql(field, `new.${c}`);
    if (condition === undefined) return [];
    const message = `${refused}${model.name}.${field.name} must match /${field.validate!.source}/`;
    const when = `new.${c} IS NOT NULL AND NOT (${condition}) AND (SELECT applying FROM _sync_flag) <> ${number}`;
    const body = [`SELECT RAISE(ABORT, ${literal(message)})`];
    return [
      trigger(model, `validate_insert.${field.name}`, "BEFORE INSERT", when, body),
      trigger(model, `validate_update.${field.name}`, `BEFORE UPDATE OF ${c}`, when, body),
    ];
  });
}
