/**
 * Queries of the typed API: conditions on properties, the order of an index of the schema, and pages that continue
 * where the last one ended, whatever was written in between.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";
import type { Field, Model } from "../../schema/model.ts";
import type { SqlRow, SqlValue } from "../sqlite/driver.ts";
import { propertyToJson } from "./properties.ts";
import { columnName, readSql, textOf, toColumn } from "../store/columns.ts";
import { keyLookup } from "../store/key_lookup.ts";
import { ident } from "../store/sql.ts";
import { refuseAlteredTexts } from "../store/texts.ts";
import type { Store } from "../store/store.ts";

/** The member of a list or set; of a string, a part of it. */
export type MemberOf<T> = T extends ReadonlySet<infer Member> ? Member
  : T extends readonly (infer Member)[] ? Member
  : T extends string ? string
  : never;

/** A condition on a property; if it has several entries, all must hold. `begins` is for strings. */
export interface Condition<T> {
  /** Greater than this. */
  readonly gt?: T;
  /** Greater than this, or equal. */
  readonly gte?: T;
  /** Less than this. */
  readonly lt?: T;
  /** Less than this, or equal. */
  readonly lte?: T;
  /** Both ends included. */
  readonly between?: readonly [T, T];
  /** A text that begins so. */
  readonly begins?: string;
  /** A list or set has this member (a string, a number or a bigint); a string has this part. */
  readonly contains?: MemberOf<NonNullable<T>>;
  /** One of these. */
  readonly in?: readonly T[];
  /** Not this; null: there is a value. */
  readonly not?: T | null;
}

/** Conditions by property: a value (equal), null (not there), or a {@link Condition}. */
export type AllOf<Item> = { readonly [P in keyof Item]?: Item[P] | null | Condition<Item[P]> };

/** Conditions that must all hold, or a list of alternatives, one of which must hold. */
export type Where<Item> = AllOf<Item> | readonly AllOf<Item>[];

/** How to page and order. */
export interface FindOptions {
  /** The index whose sort value orders the items: `primary` (the default), or one of the schema's. Items without it are left out. */
  readonly index?: string;
  /** The most items of a page: 1 to 10,000, default 100. */
  readonly limit?: number;
  /** The `next` of the page before. */
  readonly next?: string;
  /** The last first. */
  readonly reverse?: boolean;
}

/** A page of items. No `next`: there are no more. */
export interface Page<Item> {
  /** The page's items. */
  readonly items: Item[];
  /** The token that asks for the next page; absent: this is the last. */
  readonly next?: string;
}

/** What a query needs from the reader of rows. */
export interface RowReader {
  readonly store: Store;
  readonly model: Model;
  readonly columnsSql: string;
  properties(row: SqlRow): Record<string, unknown>;
}

const limitMax = 10_000;

const operators = { gt: ">", gte: ">=", lt: "<", lte: "<=" } as const;
const conditionNames = new Set(["gt", "gte", "lt", "lte", "between", "begins", "contains", "in", "not"]);

/** SQL with its parameters. */
interface Clause {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/**
 * Runs a query.
 *
 * @throws TypeError or RangeError for an unknown property, index, condition, limit or `next`
 */
export function findRows(
  reader: RowReader,
  where: Where<Record<string, unknown>>,
  options: FindOptions,
): Page<Record<string, unknown>> {
  const { store, model, columnsSql } = reader;
  const { limit = 100, reverse = false } = options;
  if (!Number.isInteger(limit) || limit < 1 || limit > limitMax) throw new RangeError(`limit must be 1 to ${limitMax}`);
  const order = orderSql(store, model, options.index ?? "primary");
  const clauses = whereClauses(model, where);
  clauses.push({ sql: `${order} IS NOT NULL`, values: [] });
  if (options.next !== undefined) {
    clauses.push({ sql: `(${order}, _id) ${reverse ? "<" : ">"} (?, ?)`, values: decodeNext(options.next) });
  }
  const way = reverse ? "DESC" : "ASC";
  const rows = store.db.sql(
    `SELECT ${columnsSql}, ${readSql("TEXT", order)} AS position FROM ${ident(model.name)} ` +
      `WHERE ${clauses.map((c) => c.sql).join(" AND ")} ORDER BY ${order} ${way}, _id ${way} LIMIT ?`,
  ).all(...clauses.flatMap((c) => c.values), limit + 1);
  const page = rows.slice(0, limit);
  const items = page.map((row) => reader.properties(row));
  const last = page.at(-1);
  if (rows.length <= limit || !last) return { items };
  refuseAlteredTexts(store.db, model, last.id, [{ name: "its place in the order", sql: order, value: last.position }]);
  return { items, next: JSON.stringify([textOf(last.position ?? null), Number(last.id)]) };
}

/** Counts what {@link findRows} would return over all pages. @throws as it */
export function countRows({ store, model }: RowReader, where: Where<Record<string, unknown>>): number {
  const clauses = whereClauses(model, where);
  const sql = clauses.length > 0 ? ` WHERE ${clauses.map((c) => c.sql).join(" AND ")}` : "";
  const row = store.db.sql(`SELECT count(*) AS n FROM ${ident(model.name)}${sql}`).get(
    ...clauses.flatMap((c) => c.values),
  )!;
  return Number(row.n);
}

function whereClauses(model: Model, where: Where<Record<string, unknown>>): Clause[] {
  if (Array.isArray(where)) {
    const ways = (where as readonly AllOf<Record<string, unknown>>[]).map((one) => whereClauses(model, one));
    const sql = ways.map((clauses) => `(${clauses.map((c) => c.sql).join(" AND ") || "TRUE"})`).join(" OR ");
    // An empty list of alternatives matches nothing.
    return [{ sql: `(${sql || "FALSE"})`, values: ways.flat().flatMap((c) => c.values) }];
  }
  return Object.entries(where).flatMap(([name, wanted]) =>
    wanted === undefined ? [] : conditionClauses(fieldOf(model, name), wanted)
  );
}

function fieldOf(model: Model, name: string): Field {
  const field = model.fields.find((f) => f.name === name);
  if (!field) throw new TypeError(`the model ${model.name} has no property "${name}"`);
  return field;
}

function orderSql(store: Store, model: Model, index: string): string {
  if (index === "primary") return keyLookup(model, store.identity).order;
  const found = store.schema.indexes.find((i) => i.name === index);
  if (!found) throw new RangeError(`the schema has no index "${index}"`);
  const field = model.fields.find((f) => f.attribute === (found.sort ?? found.hash));
  if (!field) throw new RangeError(`the model ${model.name} has no attribute of the index "${index}"`);
  return field.template || field.type === "string" ? columnName(field) : `CAST(${columnName(field)} AS TEXT)`;
}

function decodeNext(next: string): [string, number] {
  try {
    const [position, id] = JSON.parse(next);
    if (typeof position === "string" && Number.isSafeInteger(id)) return [position, id];
  } catch {
    // Falls through to the common message: a text that is not JSON is not a token either.
  }
  throw new RangeError(`"${next.slice(0, 40)}" is not a next token of find`);
}

function isCondition(wanted: unknown): wanted is Condition<unknown> {
  if (typeof wanted !== "object" || wanted === null || Object.getPrototypeOf(wanted) !== Object.prototype) return false;
  const names = Object.keys(wanted);
  return names.length > 0 && names.every((name) => conditionNames.has(name));
}

function conditionClauses(field: Field, wanted: unknown): Clause[] {
  const column = columnName(field);
  if (wanted === null) return [{ sql: `${column} IS NULL`, values: [] }];
  const value = (v: unknown) => columnValue(field, v);
  if (!isCondition(wanted)) return [{ sql: `${column} = ?`, values: [value(wanted)] }];
  // A decimal that is stored as text would sort after every number, so it is compared by its double.
  const ordered = field.type === "number"
    ? `iif(typeof(${column}) = 'text', CAST(${column} AS REAL), ${column})`
    : column;
  const bound = (v: unknown) => {
    const inColumn = value(v);
    return field.type === "number" && typeof inColumn === "string" ? Number(inColumn) : inColumn;
  };
  const clauses: Clause[] = [];
  for (const name of ["gt", "gte", "lt", "lte"] as const) {
    if (wanted[name] !== undefined) {
      clauses.push({ sql: `${ordered} ${operators[name]} ?`, values: [bound(wanted[name])] });
    }
  }
  if (wanted.between) {
    clauses.push({ sql: `${ordered} BETWEEN ? AND ?`, values: wanted.between.map(bound) });
  }
  if (wanted.begins !== undefined) {
    clauses.push({ sql: `substr(${column}, 1, length(?)) = ?`, values: [wanted.begins, wanted.begins] });
  }
  if (wanted.contains !== undefined) clauses.push(containsClause(field, wanted.contains));
  if (wanted.in) {
    clauses.push({ sql: `${column} IN (${wanted.in.map(() => "?").join(", ")})`, values: wanted.in.map(value) });
  }
  if (wanted.not === null) clauses.push({ sql: `${column} IS NOT NULL`, values: [] });
  else if (wanted.not !== undefined) clauses.push({ sql: `${column} IS NOT ?`, values: [value(wanted.not)] });
  return clauses;
}

function containsClause(field: Field, member: unknown): Clause {
  const column = columnName(field);
  const isText = typeof member === "string";
  if (field.type === "string" && isText) return { sql: `instr(${column}, ?) > 0`, values: [member] };
  if ((field.type === "array" || field.type === "set") && (isText || ["number", "bigint"].includes(typeof member))) {
    // By type, too: in JSON's own view, `true` is 1.
    const types = isText ? "('text')" : "('integer', 'real')";
    return {
      sql: `EXISTS (SELECT 1 FROM json_each(${column}) WHERE value = ? AND type IN ${types})`,
      values: [member as string | number | bigint],
    };
  }
  throw new TypeError(`${field.name} is of type ${field.type}: it can't contain a ${typeof member}`);
}

/** A compared value as the column holds it. Structured values have no order and more than one text. */
function columnValue(field: Field, value: unknown): SqlValue {
  if (field.type === "object" || field.type === "array" || field.type === "set") {
    throw new TypeError(`${field.name} is of type ${field.type}: it can't be compared in find`);
  }
  const plain = field.ttl ? { ...field, ttl: false } : field;
  try {
    return toColumn(plain, propertyToJson(plain, value));
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new SyncError("invalid", `${field.name}: ${cause.message}`, { cause });
  }
}
