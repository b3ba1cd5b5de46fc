/**
 * The tables of a schema's models: one STRICT table each, whose constraints and defaults make a plain `INSERT` from any
 * process a complete and valid item.
 *
 * The cloud checks what plain SQL cannot, and answers `invalid`: `validate` patterns that SQL can't say
 * (`patterns.ts`), the members of sets and nested values.
 *
 * @module
 */
import { idIn } from "../../schema/identity.ts";
import type { Field, Identity, Model, Schema } from "../../schema/model.ts";
import type { SqlValue } from "../sqlite/driver.ts";
import type { Json } from "../../schema/values.ts";
import { type Template, templateFields, type TemplatePart } from "../../schema/template.ts";
import { columnName, columnType, toColumn } from "./columns.ts";
import {
  astralPattern,
  canonicalDateSql,
  generatorSql,
  ident,
  keyed,
  literal,
  nowIsoSql,
  nowMsSql,
  numeral,
  templateSql,
} from "./sql.ts";

/** The columns of a model's primary key, quoted; `sort` is missing where the table has no sort key. */
export interface KeySql {
  readonly hash: string;
  readonly sort?: string;
}

/** DynamoDB's limits for the parts of a primary key, bytes of UTF-8. */
const hashBytesMax = 2048, sortBytesMax = 1024;

/** The fields whose columns hold data: all except computed ones. */
export function dataFields(model: Model): Field[] {
  return model.fields.filter((field) => !field.template);
}

/** Those of them that travel. The identity that the key names does not: each side knows it. */
export function itemFields(model: Model): Field[] {
  return dataFields(model).filter((field) => field.synced && !isIdentity(model, field));
}

/** Whether the field is a device or account id that the model's key names. */
export function isIdentity(model: Model, field: Field): boolean {
  return model.identityFields.includes(field.name);
}

function keyField(model: Model, attribute: string): Field | undefined {
  return model.fields.find((field) => field.attribute === attribute);
}

/** The columns of the key: a declared attribute's column, or a separate one. The schema allows only texts as keys. */
export function keySql(model: Model): KeySql {
  const column = ({ attribute }: { attribute: string }) => ident(keyField(model, attribute)?.name ?? attribute);
  return { hash: column(model.hashKey), sort: model.sortKey && column(model.sortKey) };
}

/**
 * The field that alone identifies a model's items, as the last part of the sort value; undefined: a single field does
 * not.
 */
export function loneKeyField(model: Model): Field | undefined {
  const isFixed = (part: TemplatePart) => "literal" in part || model.identityFields.includes(part.field);
  const parts = model.sortKey?.template.parts ?? [], last = parts.at(-1);
  if (!last || isFixed(last) || "literal" in last || last.width !== undefined) return undefined;
  if (![...model.hashKey.template.parts, ...parts.slice(0, -1)].every(isFixed)) return undefined;
  const field = model.fields.find(({ name }) => name === last.field);
  return field?.type === "string" && !field.template ? field : undefined;
}

/** A schema's default as its column holds it; undefined if there is none. */
export function defaultColumn(field: Field): SqlValue | undefined {
  const value = field.default;
  if (value === undefined || value === null) return undefined;
  if (field.type === "set") return JSON.stringify(value);
  // A default is a property's value: a date as ms, not the seconds of the item.
  if (field.type === "date" && typeof value === "number") return toColumn({ ...field, ttl: false }, value);
  return toColumn(field, value as Json);
}

function defaultText(column: SqlValue): string {
  if (column === null) return "NULL";
  if (typeof column === "string") return literal(column);
  if (typeof column === "number") return numeral(column);
  if (typeof column === "bigint") return String(column);
  return `x'${Array.from(column, (byte) => byte.toString(16).padStart(2, "0")).join("")}'`;
}

/** The expression that fills a column that an INSERT omits; undefined: NULL. */
export function defaultSql(model: Model, field: Field, identity: Identity): string | undefined {
  const constant = defaultColumn(field);
  if (constant !== undefined) return defaultText(constant);
  if (field.timestamp) return field.isoDates ? nowIsoSql : nowMsSql;
  if (field.generate) return generatorSql(field.generate);
  if (field.defaultNow) return field.type === "number" ? nowMsSql : nowSql(field);
  const own = idIn(model, identity, field.name);
  return own === undefined ? undefined : literal(own);
}

/** The present time in the form of the field's date column. */
export function nowSql(field: Field): string {
  return field.isoDates ? nowIsoSql : nowMsSql;
}

/** Whether a template of the model's key pads the field. */
function isPadded(model: Model, field: Field): boolean {
  const parts = [model.hashKey, ...(model.sortKey ? [model.sortKey] : [])].flatMap((key) => key.template.parts);
  return parts.some((part) => "field" in part && part.field === field.name && part.width !== undefined);
}

/** The constraints of a column, each with the sentence that a violation shows. NULL satisfies all of them. */
function checks(model: Model, field: Field): [sentence: string, sql: string][] {
  const c = columnName(field);
  const list: [string, string][] = [];
  const add = (what: string, sql: string) => list.push([`${field.name} ${what}`, sql]);
  switch (field.type) {
    case "number":
      add(
        keyed(model, field) ? "must be a whole number, since it stands in the key" : "must be a number",
        keyed(model, field)
          ? `CASE typeof(${c}) WHEN 'integer' THEN 1 WHEN 'real' THEN ${c} = CAST(${c} AS INTEGER) AND ` +
            `abs(${c}) <= 9007199254740991 WHEN 'text' THEN CAST(CAST(${c} AS INTEGER) AS TEXT) = ${c} ` +
            `WHEN 'null' THEN 1 ELSE 0 END`
          // The range is DynamoDB's. Decimal text is what JSON calls a number.
          : `CASE typeof(${c}) WHEN 'integer' THEN 1 WHEN 'real' THEN ${c} = 0 OR abs(${c}) BETWEEN 1e-130 AND 9.99e125 ` +
            `WHEN 'text' THEN NOT ${c} GLOB '*[^-+.0-9eE]*' AND json_valid(${c}) WHEN 'null' THEN 1 ELSE 0 END`,
      );
      break;
    case "boolean":
      add("must be 0 or 1", `${c} IN (0, 1)`);
      break;
    case "date":
      if (!field.isoDates) {
        add("must be ms since 1970 of a date", `${c} BETWEEN -8640000000000000 AND 8640000000000000`);
      } else if (keyed(model, field)) {
        add("must be a date as 2024-12-31T23:59:59.000Z", canonicalDateSql(c));
      } else {
        add(
          "must be an ISO date",
          `${c} GLOB '[0-9][0-9][0-9][0-9]-*' AND julianday(${c}) IS NOT NULL OR ${c} IS NULL`,
        );
      }
      break;
    case "object":
      add("must be a JSON object", `CASE WHEN json_valid(${c}) THEN json_type(${c}) = 'object' ELSE ${c} IS NULL END`);
      break;
    case "array":
      add("must be a JSON array", `CASE WHEN json_valid(${c}) THEN json_type(${c}) = 'array' ELSE ${c} IS NULL END`);
      break;
    case "set":
      add(
        "must be a JSON array of its members, one at least",
        `CASE WHEN json_valid(${c}) THEN json_type(${c}) = 'array' AND json_array_length(${c}) > 0 ELSE ${c} IS NULL END`,
      );
      break;
  }
  if (field.enum && (field.type === "string" || field.type === "number")) {
    const values = field.enum.map((value) => typeof value === "number" ? numeral(value) : literal(value));
    add(`must be one of ${field.enum.join(", ")}`, `${c} IN (${values.join(", ")})`);
  }
  // Drivers and shells cut a text at a NUL: a key with a NUL could not be distinguished from another.
  if (field.type === "string" && keyed(model, field)) add("must not have a NUL", `instr(${c}, char(0)) = 0`);
  if (field.type === "string" && isPadded(model, field)) {
    add("must not have characters beyond U+FFFF, since it is padded", `NOT ${c} GLOB ${astralPattern}`);
  }
  return list;
}

function columnSql(model: Model, field: Field, identity: Identity): string {
  const parts = [columnName(field), columnType(field)];
  if (field.required || keyed(model, field) || isIdentity(model, field)) parts.push("NOT NULL");
  const value = defaultSql(model, field, identity);
  if (value !== undefined) parts.push(`DEFAULT (${value})`);
  for (const [sentence, sql] of checks(model, field)) parts.push(`CONSTRAINT ${ident(sentence)} CHECK (${sql})`);
  return parts.join(" ");
}

function computedSql(name: string, template: Template, model: Model, identity: Identity): string {
  return `${ident(name)} TEXT GENERATED ALWAYS AS (${templateSql(template, model, identity)}) VIRTUAL`;
}

/** A text with less than a quarter of the byte limit in characters cannot exceed it: the cheap test comes first. */
function lengthCheck(part: string, bytesMax: number, what: string): string {
  return `CONSTRAINT ${ident(`the key's ${what} must have 1 to ${bytesMax} bytes`)} CHECK (` +
    `length(${part}) BETWEEN 1 AND ${bytesMax / 4} OR length(CAST(${part} AS BLOB)) BETWEEN 1 AND ${bytesMax})`;
}

/** An encoded field is in the item only as a piece of another: the row must be one that can be read back from there. */
function encodedChecks(model: Model): string[] {
  return model.fields.flatMap((field) => {
    if (!field.encoded) return [];
    const { holder, separator, whole } = field.encoded;
    const sentence = `${field.name} stands in ${holder} between ${separator}: none of ${
      [field.name, ...whole].join(", ")
    } can have it`;
    const free = whole.map((name) => `instr(${ident(name)}, ${literal(separator)}) = 0`);
    const there = `(${columnName(field)} IS NULL OR ${ident(holder)} IS NOT NULL)`;
    return [
      `CONSTRAINT ${ident(sentence)} CHECK (${[there, ...free.map((sql) => `coalesce(${sql}, 1)`)].join(" AND ")})`,
    ];
  });
}

/** The table of a model, under its own name or another (a migration builds the new one beside the old). */
export function tableSql(model: Model, identity: Identity, table = model.name): string {
  const key = keySql(model);
  // In a BEFORE INSERT trigger, -1 means an `_id` that SQLite has not assigned yet.
  const columns = [`_id INTEGER PRIMARY KEY CONSTRAINT "_id can't be -1" CHECK (_id <> -1)`];
  for (const field of model.fields) {
    columns.push(
      field.template ? computedSql(field.name, field.template, model, identity) : columnSql(model, field, identity),
    );
  }
  for (const part of [model.hashKey, model.sortKey]) {
    if (part && !keyField(model, part.attribute)) {
      columns.push(computedSql(part.attribute, part.template, model, identity));
    }
  }
  columns.push(...encodedChecks(model));
  columns.push(lengthCheck(key.hash, hashBytesMax, "hash"));
  if (key.sort) columns.push(lengthCheck(key.sort, sortBytesMax, "sort"));
  return `CREATE TABLE ${ident(table)} (\n  ${columns.join(",\n  ")}\n) STRICT`;
}

/**
 * The name of an index or a trigger of a model's table. The dot avoids clashes: no model's and no field's name has one
 * (with `_`, the index `key` of a model `outbox` would be the agent's own `_sync_outbox_key`).
 */
export function ownName(model: Model, suffix: string): string {
  return `_sync_${model.name}.${suffix}`;
}

/** The columns that form the scope of a `unique` field, quoted. */
export function scopeColumns({ uniqueScope }: Field): string[] {
  return uniqueScope ? [...new Set(templateFields(uniqueScope))].map(ident) : [];
}

/** A unique index and its columns. */
export interface UniqueIndex {
  readonly name: string;
  /** Its columns, quoted. */
  readonly columns: readonly string[];
  readonly sql: string;
}

/**
 * The unique indexes of a model: over the rendered key if no single field identifies it (`key_lookup.ts`), over the
 * fields that the key names, and over each `unique` field.
 */
export function uniqueIndexes(model: Model): UniqueIndex[] {
  const key = keySql(model);
  const lists: [string, string[]][] = [
    ["item", loneKeyField(model) ? [] : key.sort ? [key.hash, key.sort] : [key.hash]],
    ["key", model.keyFields.map(ident)],
    ...model.fields.filter((field) => field.unique).map((
      field,
    ): [string, string[]] => [`unique.${field.name}`, [...scopeColumns(field), columnName(field)]]),
  ];
  const indexes: UniqueIndex[] = [];
  for (const [suffix, columns] of lists) {
    const known = indexes.some((index) => index.columns.join() === columns.join());
    if (columns.length === 0 || known) continue;
    const name = ownName(model, suffix);
    const sql = `CREATE UNIQUE INDEX ${ident(name)} ON ${ident(model.name)}(${columns.join(", ")})`;
    indexes.push({ name, columns, sql });
  }
  return indexes;
}

/** The models that have a table on the device. */
export function deviceModels(schema: Schema): Model[] {
  return [...schema.models.values()].filter((model) => model.onDevice);
}
