/**
 * Recreates a table for a model whose columns, types or constraints changed, and fills it from the old one. `_id`s
 * stay, and so do indexes, triggers and views of an application. It runs in the migration's transaction.
 *
 * A column is matched by its attribute (so that a field with a new name and the same `map` keeps its values), otherwise
 * by its name. If its type changed, each value is converted (`recast.ts`), or the migration is refused. Values of
 * columns that the new model lacks move to `_sync_kept`, and come back with the column if the cloud cannot have newer
 * ones.
 *
 * @module
 */
import { type Database, faultOf, pagesOf, type SqlRow, type SqlValue } from "../sqlite/driver.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Field, Identity, Model } from "../../schema/model.ts";
import { dateTextToMs, msToColumn, notUtf8, textOf } from "../store/columns.ts";
import { dataFields, isIdentity, tableSql, type UniqueIndex, uniqueIndexes } from "../store/ddl.ts";
import { addOwnColumns, type OwnColumn, ownColumns } from "./own_columns.ts";
import { AmbiguousDate, foreignDateMs } from "./foreign_dates.ts";
import { recast } from "./recast.ts";
import { ident, keyed, literal } from "../store/sql.ts";
import { keyJsonSql } from "../store/triggers.ts";

/** Values on their way to a column of another type, by the row's `_id`. Gone when the migration is done. */
const recastTable = "_sync_recast";
/** The lowest row id that there is. */
const rowIdMin = -(2n ** 63n);
/** How many rows a refusal's message names. */
const rowsNamed = 5;
/** How many rows its details name. */
const detailsMax = 1_000;

/** The columns of a table that hold data, in its order; none if there is no such table. */
export function columnsOf(db: Database, table: string): string[] {
  return db.prepare(`SELECT name FROM pragma_table_xinfo(${literal(table)}) WHERE hidden = 0`).all()
    .map((row) => String(row.name));
}

/** Where a field's values come from. */
interface Source {
  readonly field: Field;
  /** The old table's column. */
  readonly column: string;
  /** The values may be of another type. */
  readonly recast: boolean;
  /** The values were not written as dates of a schema: `foreign_dates.ts`. */
  readonly foreignDates: boolean;
}

/**
 * The old table's columns for the fields of the new model, and its columns that no field uses.
 *
 * @param old the model as the file had it; undefined if unknown: then names decide, and every value is checked
 * @param present the columns of the old table that hold data, without its row id
 * @param isOwn whether the old table is one of Twintable's
 */
export function sourcesOf(
  model: Model,
  old: Model | undefined,
  present: readonly string[],
  isOwn = true,
): { sources: Source[]; removed: string[] } {
  const left = new Map(present.map((name) => [name.toLowerCase(), name]));
  const found = new Map<string, Source>();
  const take = (field: Field, before: Field | undefined, name: string) => {
    const column = left.get(name.toLowerCase());
    if (column === undefined || found.has(field.name)) return;
    left.delete(name.toLowerCase());
    // With an earlier check of dates in keys, an older SQLite accepted days that do not exist.
    const isKeyDate = field.type === "date" && field.isoDates && keyed(model, field);
    found.set(field.name, {
      field,
      column,
      recast: before === undefined || isKeyDate || !sameType(before, field),
      foreignDates: field.type === "date" && (before === undefined ? !isOwn : before.type !== "date"),
    });
  };
  const fields = dataFields(model), before = old ? dataFields(old) : [];
  for (const field of fields) {
    const same = before.find((f) => f.attribute === field.attribute);
    if (same) take(field, same, same.name);
  }
  for (const field of fields) take(field, before.find((f) => f.name === field.name), field.name);
  return { sources: fields.flatMap((field) => found.get(field.name) ?? []), removed: [...left.values()] };
}

function sameType(a: Field, b: Field): boolean {
  return a.type === b.type && a.members === b.members && (a.type !== "date" || a.isoDates === b.isoDates);
}

/**
 * Rebuilds a model's table.
 *
 * @param made the text that the table was made with; undefined: it was not Twintable's
 * @returns the fields whose values came back from `_sync_kept`
 * @throws SyncError `migration` if a row doesn't fit: nothing may be committed then
 */
export function rebuild(
  db: Database,
  model: Model,
  old: Model | undefined,
  identity: Identity,
  made: string | undefined,
): Field[] {
  const table = ident(model.name), fresh = `_sync_new_${model.name}`;
  const present = columnsOf(db, model.name);
  const objects = db.prepare(
    `SELECT sql FROM sqlite_master WHERE tbl_name = ? COLLATE NOCASE AND type IN ('index', 'trigger')
     AND sql IS NOT NULL AND name NOT LIKE '\\_sync\\_%' ESCAPE '\\'`,
  ).all(model.name);
  const id = rowIdOf(db, model.name, present) ?? numbered(db, model.name, present);
  const wasOurs = isOurs(db, model);
  const { sources, removed } = sourcesOf(model, old, present.filter((name) => name.toLowerCase() !== id), wasOurs);
  const own = made === undefined ? [] : ownOf(db, model, made, removed);
  try {
    db.exec(tableSql(model, identity, fresh));
    const carried = addOwnColumns(db, fresh, own);
    // Computed columns are computed again.
    fill(db, model, fresh, sources, id, carried.filter((name) => removed.includes(name)));
    keep(db, model, fresh, removed.filter((name) => !carried.includes(name)), id);
    db.exec(`DROP TABLE ${table}`);
    db.exec(`ALTER TABLE ${ident(fresh)} RENAME TO ${table}`);
    for (const index of uniqueIndexes(model)) makeUnique(db, model, index);
    // Under the new constraints, so that violations are left out; before an application's triggers could see it.
    const returned = bringBack(db, model, sources);
    for (const { sql } of objects) restore(db, model, String(sql));
    return returned;
  } catch (cause) {
    if (faultOf(cause) !== "constraint" || cause instanceof SyncError) throw cause;
    throw refused(model, `The rows of ${model.name} don't fit the new schema: ${said(cause, model, fresh)}`, { cause });
  }
}

/** Whether Twintable made the table, even if its notes are gone (after a reset, or in a dump). */
function isOurs(db: Database, model: Model): boolean {
  const { sql } = db.prepare("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE")
    .get(model.name)!;
  return String(sql).includes(`CONSTRAINT "_id can't be -1"`);
}

/** The application's columns, without those that a field of the new schema uses. */
function ownOf(db: Database, model: Model, made: string, removed: readonly string[]): OwnColumn[] {
  const { sql } = db.prepare("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?").get(model.name)!;
  const taken = new Set(model.fields.map(({ name }) => name.toLowerCase()));
  const computed = new Set(
    db.prepare(`SELECT name FROM pragma_table_xinfo(${literal(model.name)}) WHERE hidden > 1`).all().map(({ name }) =>
      name
    ),
  );
  return ownColumns(made, String(sql)).filter(({ name }) =>
    !taken.has(name.toLowerCase()) && (removed.includes(name) || computed.has(name))
  );
}

function refused(
  model: Model,
  message: string,
  options: { cause?: unknown; hint?: string; details?: readonly string[] } = {},
): SyncError {
  return new SyncError("migration", message, {
    model: model.name,
    hint: "Nothing was changed. Change these rows under the old schema first, or give the field a default.",
    ...options,
  });
}

/**
 * The name of the integer id of a table's rows: `_id` if that is its INTEGER PRIMARY KEY, otherwise the rowid under a
 * name that no column has; undefined if there is none. Our own tables always have `_id`.
 */
function rowIdOf(db: Database, table: string, present: readonly string[]): string | undefined {
  const { wr } = db.prepare("SELECT wr FROM pragma_table_list(?) WHERE schema = 'main'").get(table)!;
  if (wr === 1) return undefined;
  const keys = db.prepare("SELECT lower(name) AS name, upper(type) AS type FROM pragma_table_info(?) WHERE pk > 0").all(
    table,
  );
  if (keys.length === 1 && keys[0]!.name === "_id" && keys[0]!.type === "INTEGER") return "_id";
  const taken = new Set(present.map((name) => name.toLowerCase()));
  return ["rowid", "_rowid_", "oid"].find((name) => !taken.has(name));
}

/** Replaces a table whose rows have no id by a copy whose rows do, in the order of its key. */
function numbered(db: Database, table: string, present: readonly string[]): string {
  const columns = present.map(ident).join(", "), copy = "_sync_numbered";
  db.exec(`CREATE TABLE ${copy}(${columns}, _sync_row INTEGER PRIMARY KEY)`);
  db.exec(`INSERT INTO ${copy}(${columns}) SELECT ${columns} FROM ${ident(table)}`);
  db.exec(`DROP TABLE ${ident(table)}; ALTER TABLE ${copy} RENAME TO ${ident(table)}`);
  return "_sync_row";
}

function fill(
  db: Database,
  model: Model,
  fresh: string,
  sources: readonly Source[],
  id: string,
  own: readonly string[],
): void {
  const changed = sources.filter((source) => source.recast);
  if (changed.length > 0) collect(db, model, changed, id);
  // A new column is NULL in old rows if it may be, not its default: an item that lacks the attribute lacks it here,
  // too.
  const empty = dataFields(model).filter((field) =>
    !sources.some((source) => source.field === field) && !field.required && !keyed(model, field) &&
    !isIdentity(model, field)
  );
  const names = [...sources.map(({ field }) => field), ...empty].map((field) => `, ${ident(field.name)}`).join("") +
    own.map((name) => `, ${ident(name)}`).join("");
  const values = sources.map((source) => {
    const at = changed.indexOf(source);
    return at < 0 ? `, t.${ident(source.column)}` : `, r.c${at}`;
  }).join("") + empty.map(() => ", NULL").join("") + own.map((name) => `, t.${ident(name)}`).join("");
  const join = changed.length > 0 ? ` LEFT JOIN ${recastTable} AS r ON r.id = t.${id}` : "";
  const rows = `INTO ${ident(fresh)}(_id${names}) SELECT t.${id}${values} FROM ${ident(model.name)} AS t${join}`;
  try {
    db.exec(`INSERT ${rows}`);
  } catch (cause) {
    if (faultOf(cause) !== "constraint") throw cause;
    throw refused(
      model,
      `The rows of ${model.name} don't fit the new schema: ${said(cause, model, fresh)}${
        unfitRows(db, model, fresh, rows, id)
      }`,
      { cause },
    );
  }
  db.exec(`DROP TABLE IF EXISTS ${recastTable}`);
}

/** SQLite's message about the new table, with the model's name. */
function said(cause: unknown, model: Model, fresh: string): string {
  return (cause as Error).message.replaceAll(`${fresh}.`, `${model.name}.`);
}

/** The rows that caused a refusal: those that are missing after all others are inserted. Empty if SQLite can't tell. */
function unfitRows(db: Database, model: Model, fresh: string, rows: string, id: string): string {
  try {
    db.exec(`INSERT OR IGNORE ${rows}`);
  } catch (error) {
    // A value that a STRICT column can't hold is never ignored.
    if (faultOf(error) !== "constraint") throw error;
    return "";
  }
  const unfit = `FROM ${ident(model.name)} WHERE ${id} NOT IN (SELECT _id FROM ${ident(fresh)})`;
  const ids = db.prepare(`SELECT ${id} AS id ${unfit} LIMIT ${rowsNamed}`).all().map((row) => String(row.id));
  const more = Number(db.prepare(`SELECT count(*) AS n ${unfit}`).get()!.n) - ids.length;
  if (ids.length === 0) return "";
  return ` (row${ids.length > 1 ? "s" : ""} ${ids.join(", ")}${more > 0 ? ` and ${more} more` : ""})`;
}

/** Converts values into {@link recastTable}: a table, not memory, whatever the number of rows. */
function collect(db: Database, model: Model, changed: readonly Source[], id: string): void {
  db.exec(
    `CREATE TABLE ${recastTable}(id INTEGER PRIMARY KEY, ${changed.map((_, i) => `c${i} ANY`).join(", ")}) STRICT`,
  );
  const misfits = new Misfits(model);
  changed.forEach((source, i) => {
    const c = ident(source.column);
    const read = db.prepare(
      `SELECT ${id} AS id, ${exactSql(c)} FROM ${ident(model.name)}
       WHERE ${c} IS NOT NULL AND ${id} >= ? ORDER BY ${id} LIMIT ?`,
    );
    const write = db.prepare(
      `INSERT INTO ${recastTable}(id, c${i}) VALUES (?, ?) ON CONFLICT(id) DO UPDATE SET c${i} = excluded.c${i}`,
    );
    for (const row of pagesOf((after, size) => read.all(after ? BigInt(String(after.id)) + 1n : rowIdMin, size))) {
      let value: SqlValue = row.value ?? null;
      try {
        // A text that is not UTF-8 is reported like any unconvertible value: reading it would produce another text.
        value = exact(row);
        write.run(row.id!, cast(model, source, value));
      } catch (error) {
        if (!(error instanceof RangeError) && !(error instanceof SyntaxError)) throw error;
        misfits.add(source.field, row.id!, value, error);
      }
    }
  });
  misfits.refuse();
}

/** Values that can't be converted, row by row. */
class Misfits {
  readonly #details: string[] = [];
  readonly #ambiguous = new Set<string>();
  #count = 0;
  #first: unknown;

  constructor(readonly model: Model) {}

  add(field: Field, id: SqlValue, value: SqlValue, why: Error): void {
    this.#first ??= why;
    if (why instanceof AmbiguousDate) this.#ambiguous.add(field.name);
    if (this.#count++ >= detailsMax) return;
    const shown = value instanceof Uint8Array ? `${value.length} bytes` : String(value).slice(0, 80);
    const what = why instanceof AmbiguousDate
      ? why.message
      : value instanceof Uint8Array && why.message === notUtf8
      ? notUtf8
      : `can't become a ${field.type}`;
    this.#details.push(`${this.model.name} row ${id}: ${field.name} = ${shown} ${what}`);
  }

  /** @throws SyncError `migration` if there are any */
  refuse(): void {
    if (this.#count === 0) return;
    const named = this.#details.slice(0, rowsNamed), more = this.#count - named.length;
    const unnamed = this.#count - this.#details.length;
    const rules = [...this.#ambiguous].map((name) => `"${name}": {"zone": "Europe/Berlin", "unit": "s"}`).join(", ");
    throw refused(this.model, named.join("; ") + (more > 0 ? `; and ${more} more` : ""), {
      cause: this.#first,
      details: [...this.#details, ...(unnamed > 0 ? [`and ${unnamed} more`] : [])],
      ...(rules === "" ? {} : {
        hint: `Nothing was changed. Say in the schema how such dates are read, as "process": {"${this.model.name}": ` +
          `{"dates": {${rules}}}}, or change these rows first.`,
      }),
    });
  }
}

/** Reads a value of any type whole, as columns.ts does: the driver cuts a text at a NUL and refuses an integer beyond 2^53. */
export function exactSql(column: string): string {
  return `typeof(${column}) AS type, CASE typeof(${column}) WHEN 'text' THEN CAST(${column} AS BLOB)
       WHEN 'integer' THEN CAST(${column} AS TEXT) ELSE ${column} END AS value`;
}

/** The value of a row that {@link exactSql} read. */
export function exact({ type, value = null }: SqlRow): SqlValue {
  if (type === "text") return textOf(value);
  if (type !== "integer") return value;
  const integer = BigInt(String(value));
  return Number.isSafeInteger(Number(integer)) ? Number(integer) : integer;
}

/** @throws RangeError if the value means none of the field's type, or may mean several dates */
function cast(model: Model, { field, foreignDates }: Source, value: SqlValue): SqlValue {
  const ms = foreignDates ? foreignDateMs(model.dates?.get(field.name), value) : undefined;
  const cast = ms === undefined ? recast(field, value) : msToColumn(field, ms);
  return keyed(model, field) && field.type === "date" && typeof cast === "string"
    ? msToColumn(field, dateTextToMs(cast)!)
    : cast;
}

/** Makes a unique index; where rows clash, says which. */
function makeUnique(db: Database, model: Model, index: UniqueIndex): void {
  try {
    db.exec(index.sql);
  } catch (cause) {
    if (faultOf(cause) !== "constraint") throw cause;
    const twins = db.prepare(
      `SELECT group_concat(_id, ', ') AS ids FROM ${ident(model.name)}
       WHERE ${index.columns.map((c) => `${c} IS NOT NULL`).join(" AND ")}
       GROUP BY ${index.columns.join(", ")} HAVING count(*) > 1 LIMIT 1`,
    ).get();
    const what = index.columns.join(", ");
    throw refused(
      model,
      `The rows of ${model.name} don't fit the new schema: ${what} must be unique, and the rows ${twins?.ids} share a value`,
      { cause, hint: "Nothing was changed. Make these values differ under the old schema first." },
    );
  }
}

/** Recreates an index or a trigger of an application, which Twintable must not drop. */
function restore(db: Database, model: Model, sql: string): void {
  try {
    db.exec(sql);
  } catch (cause) {
    const why = (cause as Error).message;
    throw refused(
      model,
      `An application's own object on ${model.name} does not fit the new schema (${why}): ${sql}`,
      {
        cause,
        hint: "Nothing was changed. Drop or change it before you install the new schema.",
      },
    );
  }
}

/** Whether the cloud cannot have a newer value of the field: it never travels, or only this device writes the items. */
function isOwn(model: Model, field: Field): boolean {
  return !field.synced || model.sync === "none" || (model.sync === "up" && model.scope === "device");
}

/**
 * Gives returning fields the values that {@link keep} stored, and returns which fields got any. Values that do not fit
 * stay stored.
 */
function bringBack(db: Database, model: Model, sources: readonly Source[]): Field[] {
  const missing = dataFields(model).filter((field) => !sources.some((source) => source.field === field));
  return missing.filter((field) => isOwn(model, field) && bringFieldBack(db, model, field));
}

function bringFieldBack(db: Database, model: Model, field: Field): boolean {
  // In the order in which they were stored: the newest of a row's values wins.
  const kept = db.prepare(
    `SELECT rowid AS id, row, key, ${exactSql("value")} FROM _sync_kept
     WHERE model = ? AND name = ? AND rowid > ? ORDER BY rowid LIMIT ?`,
  );
  // A row with another key may have the `_id` now.
  const write = db.prepare(
    `UPDATE OR IGNORE ${ident(model.name)} AS t SET ${ident(field.name)} = ?
     WHERE _id = ? AND ${keyJsonSql(model, "t")} = ?`,
  );
  const drop = db.prepare("DELETE FROM _sync_kept WHERE rowid = ?");
  let found = false;
  for (const value of pagesOf((after, size) => kept.all(model.name, field.name, after?.id ?? -1, size))) {
    try {
      if (write.changes(recast(field, exact(value)), Number(value.row), value.key!) === 0) continue;
    } catch (error) {
      // It has no meaning in the type; or a STRICT column can't hold it, which is not ignored.
      if (error instanceof RangeError || error instanceof SyntaxError || faultOf(error) === "constraint") continue;
      throw error;
    }
    drop.run(Number(value.id));
    found = true;
  }
  return found;
}

/**
 * Stores the values of columns that the new schema lacks: nothing that an application wrote is dropped silently. A NULL
 * of a row that waits to be sent is a value like any other; `unsent.ts` decides whether it is news to the cloud.
 */
function keep(db: Database, model: Model, fresh: string, removed: readonly string[], id: string): void {
  const number = `(SELECT number FROM _sync_models WHERE name = ${literal(model.name)})`;
  for (const name of removed) {
    db.exec(
      `INSERT INTO _sync_kept(model, row, name, value, key)
       SELECT ${literal(model.name)}, n._id, ${literal(name)}, t.${ident(name)}, ${keyJsonSql(model, "n")}
       FROM ${ident(model.name)} AS t JOIN ${ident(fresh)} AS n ON n._id = t.${id} WHERE t.${ident(name)} IS NOT NULL
         OR EXISTS (SELECT 1 FROM _outbox AS o WHERE o.model = ${number} AND o.row = n._id)`,
    );
  }
}
