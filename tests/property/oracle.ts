/**
 * What must hold when both sides have come to rest: each row equals its item, attribute by attribute. Columns are read by
 * plain SQL and compared as values of their type, by code that shares nothing with the agent's own conversions.
 *
 * @module
 */
import { unplaceItem } from "../../schema/placement.ts";
import assert from "node:assert/strict";
import {
  canonicalDecimal,
  canonicalJson,
  completeItem,
  type Field,
  isExpired,
  type Item,
  type Model,
  parseJson,
  parsePlain,
  stripItem,
} from "../../schema.ts";
import { type Json, setOf } from "../../schema/values.ts";
import { identity, type Twinned } from "./twinned.ts";

/** A column as SQLite stores it: its type, its bytes as hex, and for a date its ms by SQLite's own arithmetic. */
interface Cell {
  readonly type: string;
  readonly hex: string;
  readonly real: number | null;
  readonly ms: number | null;
}

/** One row: cells by field name. */
export type Row = Record<string, Cell>;

/** The rows of a model by key text. */
export function rowsOf({ store }: Twinned, model: Model): Map<string, Row> {
  const fields = model.fields.filter((field) => !field.template);
  const columns = fields.map(({ name }, i) => {
    const c = `"${name}"`;
    return `typeof(${c}) AS t${i}, hex(CAST(${c} AS BLOB)) AS h${i}, CASE typeof(${c}) WHEN 'real' THEN ${c} END AS r${i}, ` +
      `CASE WHEN typeof(${c}) IN ('text') THEN CAST((julianday(${c}) - 2440587.5) * 86400000 + 0.5 AS INTEGER) END AS m${i}`;
  });
  const sql = `SELECT hex("${model.hashKey.attribute}") AS hash, hex("${model.sortKey!.attribute}") AS sort, ${columns}
    FROM "${model.name}" ORDER BY _id`;
  return new Map(
    store.db.prepare(sql).all().map((row) => [
      `${textOf(String(row.hash))} ${textOf(String(row.sort))}`,
      Object.fromEntries(fields.map(({ name }, i) => [name, {
        type: String(row[`t${i}`]),
        hex: String(row[`h${i}`]),
        real: row[`r${i}`] as number | null,
        ms: row[`m${i}`] as number | null,
      }])),
    ]),
  );
}

function textOf(hex: string): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.fromHex(hex));
}

/** The cell's value in a form that can be compared; undefined for NULL. */
function cellValue(field: Field, cell: Cell): unknown {
  if (cell.type === "null") return undefined;
  const text = () => textOf(cell.hex);
  switch (field.type) {
    case "string":
      return text();
    case "number":
      return canonicalDecimal(cell.type === "real" ? String(cell.real) : text());
    case "boolean":
      return text() === "1";
    case "date": {
      const ms = cell.type === "integer" ? Number(text()) : cell.ms!;
      return field.ttl ? Math.ceil(ms / 1000) : ms;
    }
    case "object":
    case "array":
      return canonicalJson(parsePlain(text()) as Json);
    case "set":
      return members(parseJson(text()) as Json[]);
    case "binary":
      return cell.hex;
  }
}

function members(list: readonly Json[]): string {
  const texts = list.map((member) => {
    if (typeof member === "string") return `s${member}`;
    return `n${canonicalDecimal(typeof member === "number" ? String(member) : (member as { $n: string }).$n)}`;
  });
  return JSON.stringify([...new Set(texts)].sort());
}

/** A nested value as an application reads it: of a set a list, of a binary its base64, of a number beyond a double its digits. */
function shown(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(shown);
  const entries = Object.entries(value as { readonly [name: string]: Json });
  const [name, only] = entries.length === 1 ? entries[0]! : ["", null];
  if (["$n", "$b"].includes(name)) return only;
  if (["$ss", "$bs"].includes(name)) return only;
  if (name === "$ns") return (only as string[]).map(Number);
  const members = name === "$m" ? Object.entries(only as object) as [string, Json][] : entries;
  return Object.fromEntries(members.map(([name, member]) => [name, shown(member)]));
}

/** The attribute's value in the same form; undefined for null and for an attribute that is not there. */
function itemValue(field: Field, value: Json | undefined): unknown {
  if (value === undefined || value === null) return undefined;
  switch (field.type) {
    case "number":
      return canonicalDecimal(typeof value === "number" ? String(value) : (value as { $n: string }).$n);
    case "date":
      return typeof value === "number" ? value : Date.parse(value as string);
    case "object":
    case "array":
      return canonicalJson(shown(value));
    case "set": {
      const set = setOf(value)!;
      return members(set.members.map((member) => set.tag === "$ns" ? { $n: member } : member));
    }
    case "binary": {
      const base64 = typeof value === "string" ? value : (value as { $b: string }).$b;
      return Uint8Array.fromBase64(base64).toHex().toUpperCase();
    }
    default:
      return value;
  }
}

/** Compares both sides. Keys that are set aside on the device are left out: they are shown as such. */
export async function checkEqual(twinned: Twinned): Promise<void> {
  const { schema } = twinned.service;
  const items = await twinned.items();
  const aside = new Set(
    twinned.store.db.prepare("SELECT hash, sort FROM _sync_aside").all().map((row) => `${row.hash} ${row.sort}`),
  );
  for (const model of schema.models.values()) {
    const mine = items.filter((item) => item[schema.typeField] === model.name);
    if (model.sync === "none") {
      assert.deepEqual(mine, [], `${model.name} does not sync, and is in the table`);
      continue;
    }
    const rows = rowsOf(twinned, model);
    const table = new Map(mine.map((item) => [keyText(model, item), item]));
    // What has expired counts as absent, whether or not anything has removed it yet: each side may still have it.
    for (const [key, item] of table) {
      if (!isExpired(model, item, Date.now())) continue;
      rows.delete(key);
      table.delete(key);
    }
    for (const key of aside) {
      rows.delete(key);
      table.delete(key);
    }
    assert.deepEqual([...table.keys()].sort(), [...rows.keys()].sort(), `the keys of ${model.name}`);
    for (const [key, row] of rows) equal(model, key, row, table.get(key)!);
    for (const item of mine) computed(twinned, model, item);
  }
}

function keyText(model: Model, item: Item): string {
  return `${item[model.hashKey.attribute]} ${item[model.sortKey!.attribute]}`;
}

function equal(model: Model, key: string, row: Row, stored: Item): void {
  const item = unplaceItem(model, stored);
  for (const field of model.fields) {
    if (field.template) continue;
    const there = item[field.attribute], cell = row[field.name]!;
    const what = `${model.name} ${JSON.stringify(key)} ${field.name}`;
    if (!field.synced) assert.equal(there, undefined, `${what} must never leave the device`);
    else assert.deepEqual(itemValue(field, there), cellValue(field, cell), what);
  }
}

/** Computed attributes, keys and the typeField are what the item's own attributes give. */
function computed({ service: { schema } }: Twinned, model: Model, item: Item): void {
  const { _source, _stamp, ...shown } = item;
  assert.deepEqual(completeItem(schema, model, stripItem(schema, model, item), identity), shown);
}

/** The attributes of an item that the schema does not know. */
export function unknownOf(model: Model, item: Item, typeField: string): Item {
  const known = new Set([...model.fields.map((field) => field.attribute), typeField, "_source", "_stamp"]);
  return Object.fromEntries(
    Object.entries(unplaceItem(model, item)).filter(([attribute]) => !known.has(attribute)),
  );
}
