/**
 * The real `dynamodb-onetable` library builds an item without sending it; ours must be the same, attribute by attribute.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type AttributeValue, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import fc from "fast-check";
import { Table } from "dynamodb-onetable";
import {
  bytesToBase64,
  compileSchema,
  completeItem,
  escape,
  fromPlain,
  type Json,
  numberToJson,
  type OneTableSchema,
  SyncError,
} from "../../schema.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

function source(params: OneTableSchema["params"]): OneTableSchema {
  return {
    format: "onetable:1.1.0",
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk" } },
    params,
    models: {
      M: {
        pk: { type: String, value: "${_type}#${deviceId}" },
        sk: { type: String, value: "m#${name}#${n:8:0}#${flag}#${day}" },
        gs1pk: { type: String, value: "g#${note}" },
        gs1sk: { type: String, value: "${sk}#${tag:6:_}" },
        deviceId: { type: String, required: true },
        name: { type: String, required: true },
        n: { type: Number, required: true },
        flag: { type: Boolean, required: true },
        day: { type: Date, required: true },
        note: { type: String, map: "nt" },
        tag: { type: String },
        ratio: { type: Number },
        iso: { type: Date, isoDates: true },
        expires: { type: Date, ttl: true },
        kept: { type: String, nulls: true },
        lost: { type: Date, nulls: false },
        preset: { type: String, default: "usual" },
        blob: { type: "binary" },
        words: { type: Set },
        sizes: { type: Set },
        free: { type: Object },
        list: { type: Array },
        place: {
          type: Object,
          schema: { x: { type: Number }, unit: { type: String, default: "m" }, since: { type: Date } },
        },
        rows: { type: Array, items: { type: Object, schema: { a: { type: String }, at: { type: Date } } } },
      },
    },
    process: { M: { sync: "both" } },
  };
}

/** An attribute value as tagged JSON. */
function toJson(value: AttributeValue): Json {
  if (value.S !== undefined) return value.S;
  if (value.N !== undefined) return numberToJson(value.N);
  if (value.BOOL !== undefined) return value.BOOL;
  if (value.NULL) return null;
  if (value.L) return value.L.map(toJson);
  if (value.M) return escape(Object.fromEntries(Object.entries(value.M).map(([k, v]) => [k, toJson(v)])));
  if (value.SS) return { $ss: value.SS };
  if (value.NS) return { $ns: value.NS };
  if (value.B) return { $b: bytesToBase64(value.B) };
  throw new Error(`an unexpected attribute value: ${JSON.stringify(value)}`);
}

const text = fc.string({ unit: "grapheme", maxLength: 12 }).filter((s) => !s.includes("${"));
const ascii = fc.string({ unit: "grapheme-ascii", maxLength: 8 }).filter((s) => !s.includes("${"));
const date = fc.date({ min: new Date(0), max: new Date("9999-01-01"), noInvalidDate: true });
const optional = <T>(arb: fc.Arbitrary<T>) => fc.option(arb, { nil: undefined });
const free = fc.jsonValue({ maxDepth: 2, noUnicodeString: false } as Any).filter((v) => !hasOddKeys(v));

/** The SDK's marshaller refuses numbers beyond 2^53, DynamoDB those below 1E-130; negative zero is no decimal. */
function isOddNumber(value: number): boolean {
  return Object.is(value, -0) || Math.abs(value) >= 2 ** 53 || (value !== 0 && Math.abs(value) < 1e-100);
}

function hasOddKeys(value: unknown): boolean {
  if (typeof value === "number") return isOddNumber(value);
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(([key, member]) => key === "__proto__" || hasOddKeys(member));
}

const items = fc.record({
  deviceId: fc.constant("d1"),
  name: text,
  n: fc.maxSafeInteger(),
  flag: fc.boolean(),
  day: date,
  note: optional(text),
  tag: optional(ascii),
  ratio: optional(fc.double({ noNaN: true }).filter((d) => !isOddNumber(d))),
  iso: optional(date),
  expires: optional(date),
  kept: fc.option(text, { nil: null }),
  lost: fc.option(date, { nil: null }),
  blob: optional(fc.uint8Array()),
  words: optional(fc.uniqueArray(text, { minLength: 1, maxLength: 4 })),
  sizes: optional(fc.uniqueArray(fc.integer(), { minLength: 1, maxLength: 4 })),
  free: optional(fc.dictionary(fc.string(), free, { maxKeys: 3 }).filter((v) => !hasOddKeys(v))),
  list: optional(fc.array(free, { maxLength: 3 })),
  place: optional(fc.record({ x: optional(fc.integer()), since: optional(date) })),
  rows: optional(fc.array(fc.record({ a: text, at: date }), { maxLength: 3 })),
});

/** Leaves undefined ones out, and has the same values in JavaScript's types for OneTable and in plain JSON's for us. */
function properties(item: Record<string, unknown>, convert: (value: unknown, name: string) => unknown): Any {
  const convertAll = (value: unknown, name: string): unknown => {
    const converted = convert(value, name);
    if (converted !== value || typeof value !== "object" || value === null || value instanceof Date) return converted;
    if (Array.isArray(value)) return value.map((member) => convertAll(member, ""));
    return properties(value as Record<string, unknown>, convert);
  };
  return Object.fromEntries(
    Object.entries(item).filter(([, value]) => value !== undefined).map((
      [key, value],
    ) => [key, convertAll(value, key)]),
  );
}

const client = new DynamoDBClient({ region: "local", credentials: { accessKeyId: "x", secretAccessKey: "x" } });
const silent = { logger: () => {} };

function tableOf(schema: OneTableSchema): Table {
  return new Table({ name: "t", client: client as Any, schema: schema as Any, partial: false, ...silent } as Any);
}

async function oneTableItem(table: Table, item: Record<string, unknown>): Promise<Record<string, Json>> {
  const js = properties(item, (value, name) => {
    if (name === "words" || name === "sizes") return new Set(value as unknown[]);
    return value instanceof Uint8Array ? Buffer.from(value) : value;
  });
  const command = await table.getModel("M" as Any).create(js, { execute: false, log: false }) as Any;
  return Object.fromEntries(Object.entries(command.Item).map(([k, v]) => [k, toJson(v as AttributeValue)]));
}

for (const params of [{ isoDates: true }, { isoDates: false }, { nulls: true, typeField: "kind" }]) {
  const schema = source(params);
  const fixed = params.typeField === "kind"
    ? JSON.parse(
      JSON.stringify(schema, (_k, v) => typeof v === "function" ? v.name : v).replaceAll("${_type}", "${kind}"),
    )
    : schema;

  Deno.test(`onetable: our items are the library's, attribute by attribute, with ${JSON.stringify(params)}`, async () => {
    const compiled = compileSchema(fixed);
    const model = compiled.models.get("M")!;
    const table = tableOf(fixed);
    await fc.assert(
      fc.asyncProperty(items, async (item) => {
        const theirs = await oneTableItem(table, item);
        const plain = properties(item, (value) => {
          if (value instanceof Date) return value.toISOString();
          return value instanceof Uint8Array ? bytesToBase64(value) : value;
        });
        const attributes = fromPlain(compiled, model, plain, { now: 0, random: Math.random });
        const ours = completeItem(compiled, model, attributes);
        assert.deepEqual(sorted(ours), sorted(theirs));
      }),
      { numRuns: 200 },
    );
  });
}

/** Members of a set have no order. */
function sorted(item: Record<string, Json>): unknown {
  return JSON.parse(JSON.stringify(item, (key, value) => key === "$ss" || key === "$ns" ? [...value].sort() : value));
}

Deno.test("onetable: an item whose key lacks a value is refused by both", async () => {
  const compiled = compileSchema(source({}));
  const item = { deviceId: "d1", name: "x", n: 1, flag: true };
  assert.throws(() => completeItem(compiled, compiled.models.get("M")!, item), SyncError);
  await assert.rejects(oneTableItem(tableOf(source({})), item));
});
