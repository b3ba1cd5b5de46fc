/**
 * The item that a device's row becomes is the one that `dynamodb-onetable` writes for the same properties, attribute by
 * attribute as DynamoDB JSON; and the library's item, put into a row and taken out again, is unchanged. The schema has every
 * type, every property of a field and every param that is supported (`unique`, which makes the library write items of its
 * own, is in `tests/e2e/onetable_test.ts`, on tables).
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { Table } from "dynamodb-onetable";
import fc from "fast-check";
import { modelApi } from "../../agent/api/models.ts";
import { openStore } from "../../agent/store/store.ts";
import { fromAttributeValues, toAttributeValues } from "../../cloud/dynamodb/attribute_value.ts";
import { canonicalDecimal, compileSchema, completeItem, keyOf, type Schema, stripItem } from "../../schema.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

/** A field of each type, and of each supported property. */
const fields = {
  deviceId: { type: String, required: true },
  accountId: { type: String, required: true },
  // Texts, numbers, booleans and dates stand in keys.
  name: { type: String, required: true, validate: /^[a-z]{1,6}$/ },
  n: { type: Number, required: true },
  flag: { type: Boolean, required: true },
  day: { type: Date, required: true },
  code: { type: String, generate: "ulid" },
  serial: { type: String, generate: "uuid" },
  short: { type: String, generate: "uid(8)" },
  note: { type: String, map: "nt", description: "carried without effect" },
  secret: { type: String, hidden: true },
  level: { type: String, enum: ["low", "high"], default: "low" },
  on: { type: Boolean, default: true },
  rate: { type: Number, default: 1.5 },
  ratio: { type: Number },
  at: { type: Date },
  stamp: { type: Date, isoDates: false },
  iso: { type: Date, isoDates: true },
  expires: { type: Date, ttl: true },
  kept: { type: String, nulls: true },
  blob: { type: "binary" },
  bytes: { type: "buffer" },
  raw: { type: ArrayBuffer },
  words: { type: Set },
  sizes: { type: Set, items: { type: "number" } },
  parts: { type: "set", items: { type: "binary" } },
  free: { type: Object },
  list: { type: Array },
  place: {
    type: Object,
    schema: { x: { type: Number }, unit: { type: String, default: "m" }, since: { type: Date }, in: { type: Object } },
  },
  rows: { type: Array, items: { type: Object, schema: { a: { type: String }, at: { type: Date } } } },
  days: { type: Array, items: { type: Date } },
  label: { type: String, value: "${name}/${n:4:0}/${note}" },
};

/** The attribute that stays on the device: its rows have it, and no item. */
const local = { memo: { type: String, sync: "none" } };

function source(params: Record<string, unknown>, own: object): Any {
  const type = params.typeField ?? "_type";
  return {
    format: "onetable:1.1.0",
    version: "0.0.1",
    indexes: {
      primary: { hash: "pk", sort: "sk" },
      gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" },
      ls1: { sort: "level", type: "local" },
    },
    params,
    models: {
      Thing: {
        pk: { type: String, value: "${" + type + "}#${deviceId}" },
        sk: { type: String, value: "thing#${name}#${n:8:0}#${flag}#${day}" },
        gs1pk: { type: String, value: "things#${accountId}", hidden: true },
        gs1sk: { type: String, value: "${sk}", hidden: true },
        ...fields,
        ...own,
      },
    },
    process: { Thing: { sync: "both" } },
  };
}

const text = fc.string({ unit: "grapheme", maxLength: 10 }).filter((s) => !s.includes("${") && !s.includes("\0"));
const date = fc.date({ min: new Date(0), max: new Date("9000-01-01"), noInvalidDate: true });
const number = fc.oneof(
  fc.integer(),
  // Within what DynamoDB holds: a device refuses the rest.
  fc.double({ min: -1e9, max: 1e9, noNaN: true }).map((d) => Math.fround(d) || 0),
);
const bytes = fc.uint8Array({ minLength: 1, maxLength: 8 }).map((array) => Buffer.from(array));
const setOf = <T>(members: fc.Arbitrary<T>, key = (member: T): unknown => member) =>
  fc.uniqueArray(members, { minLength: 1, maxLength: 3, selector: key }).map((list) => new Set(list));
/** The library asks objects for their constructor. */
const plain = { noNullPrototype: true };
const free = fc.dictionary(
  text.filter((name) => name !== "" && name !== "__proto__"),
  fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null), fc.array(fc.integer(), { maxLength: 2 })),
  { maxKeys: 3, ...plain },
);
const optional = {
  code: fc.ulid(),
  serial: fc.uuid(),
  short: fc.stringMatching(/^[A-Z0-9]{8}$/),
  note: text,
  secret: text,
  level: fc.constantFrom("low", "high"),
  on: fc.boolean(),
  rate: number,
  ratio: number,
  at: date,
  stamp: date,
  iso: date,
  // The item's seconds are what both sides keep of it.
  expires: date.map((d) => new Date(Math.floor(d.getTime() / 1000) * 1000)),
  blob: bytes,
  bytes,
  raw: bytes,
  words: setOf(text.filter((s) => s !== "")),
  sizes: setOf(fc.integer()),
  parts: setOf(bytes, (member) => member.toString("hex")),
  free,
  list: fc.array(fc.oneof(text, fc.integer(), free), { maxLength: 3 }),
  place: fc.record({ x: fc.integer(), unit: fc.constant("m"), since: date, in: free }, plain),
  rows: fc.array(fc.record({ a: text, at: date }, plain), { maxLength: 2 }),
  days: fc.array(date, { maxLength: 2 }),
};
const things: fc.Arbitrary<Any> = fc.tuple(
  fc.record({
    name: fc.stringMatching(/^[a-z]{1,6}$/),
    n: fc.nat(),
    flag: fc.boolean(),
    day: date,
    kept: fc.option(text, { nil: null }),
  }, plain),
  fc.record(optional, { ...plain, requiredKeys: [] }),
).map(([needed, more]) => ({ ...needed, ...more }));

/** A copy: the library writes into nested objects that it is given. */
function copied(value: Any): Any {
  if (Array.isArray(value)) return value.map(copied);
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, copied(member)]));
}

/** An item as DynamoDB JSON, members of sets in one order. */
function comparable(item: Record<string, unknown>): Any {
  return JSON.parse(JSON.stringify(item, (key, value) => {
    if (value?.type === "Buffer") return Buffer.from(value.data).toString("base64");
    if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
    if (key === "BS") return value.map((member: Uint8Array) => Buffer.from(member).toString("base64")).sort();
    // DynamoDB gives each number one spelling, whatever it was written as: 1e-7 and 0.0000001 are one value to it.
    if (key === "N") return canonicalDecimal(value);
    if (key === "NS") return value.map(canonicalDecimal).sort();
    return key === "SS" ? [...value].sort() : value;
  }));
}

const identity = { deviceId: "d1", accountId: "a1" };
const client = new DynamoDBClient({ region: "local", credentials: { accessKeyId: "x", secretAccessKey: "x" } });
const generated = { code: /^[0-9A-HJKMNP-TV-Z]{26}$/, serial: /^[0-9a-f-]{36}$/, short: /^[0-9A-Z]{8}$/ };

/** What the library and a device's database are told the same of. */
class Twins {
  readonly schema: Schema;
  readonly store;
  readonly #library;
  readonly #api: Any;

  constructor(readonly params: Record<string, unknown>) {
    this.schema = compileSchema(source(params, local));
    this.store = openStore({ path: ":memory:", schema: this.schema, identity, now: Date.now });
    this.#api = modelApi<Any, Any>(this.store, "Thing");
    const table = new Table({ name: "t", client, schema: source(params, {}), partial: false, logger: () => {} } as Any);
    this.#library = table.getModel("Thing" as Any);
  }

  get model() {
    return this.schema.models.get("Thing")!;
  }

  /** The library's item, which it does not send. */
  async theirs(thing: Any): Promise<Record<string, Any>> {
    const given = this.params.nulls ? { ...nothing(thing), ...thing } : thing;
    const options = { execute: false, log: false } as Any;
    return (await this.#library.create(copied({ ...identity, ...given }), options) as Any).Item;
  }

  /** The item of a row that is made of the same properties; what the library makes up itself is given. */
  ours(thing: Any, made: Record<string, Any>): Record<string, Any> {
    this.store.db.exec('DELETE FROM "Thing"');
    this.#api.create({ ...thing, memo: "not for the cloud", ...made });
    const [row] = this.store.rows(this.model).after(0, 1);
    return toAttributeValues(completeItem(this.schema, this.model, row!.row!.item, identity));
  }

  /** An item after a stay in a row. */
  through(item: Record<string, Any>): Record<string, Any> {
    const { schema, model, store } = this;
    const theirs = fromAttributeValues(item), key = keyOf(schema, theirs);
    const attributes = stripItem(schema, model, theirs, identity);
    store.tx(() => store.applying(() => store.rows(model).put(key, attributes)));
    const back = store.rows(model).merged(store.rows(model).byKey(key)!, attributes);
    return toAttributeValues(completeItem(schema, model, back, identity));
  }
}

/** A row's NULL is null under `nulls`; the library is told so of what it would make up or leave out. */
function nothing(thing: Any): Any {
  const made = ["code", "serial", "short", "level", "on", "rate"];
  return Object.fromEntries(
    Object.keys(optional).filter((name) => !made.includes(name) && !(name in thing)).map((name) => [name, null]),
  );
}

/** What the library made up: generated ids, and timestamps. */
function madeUp(item: Record<string, Any>, thing: Any, { created, updated }: Record<string, string>): Any {
  const made: Record<string, Any> = {};
  for (const [name, form] of Object.entries(generated)) {
    if (name in thing) continue;
    assert.match(item[name].S, form);
    made[name] = item[name].S;
  }
  for (const name of [created!, updated!]) {
    const value = item[name];
    if (value) made[name] = new Date(value.S ?? Number(value.N));
  }
  return made;
}

const variants: Record<string, unknown>[] = [
  { isoDates: true, timestamps: true },
  { isoDates: false, timestamps: "create", createdField: "born" },
  { nulls: true, typeField: "kind", timestamps: "update", updatedField: "changed", separator: "|" },
];

for (const params of variants) {
  Deno.test(
    `row fidelity: a device's row becomes the item that OneTable writes, and its item survives a row, with ${
      JSON.stringify(params)
    }`,
    async () => {
      const twins = new Twins(params);
      const timestamps = { created: "created", updated: "updated", ...named(params) };
      await fc.assert(
        fc.asyncProperty(things, async (thing) => {
          const item = await twins.theirs(thing), wanted = comparable(item);
          assert.deepEqual(comparable(twins.ours(thing, madeUp(item, thing, timestamps))), wanted);
          assert.deepEqual(comparable(twins.through(item)), wanted);
        }),
        { numRuns: 100 },
      );
      twins.store.close();
    },
  );
}

function named({ createdField, updatedField }: Record<string, unknown>): Record<string, string> {
  return {
    ...(createdField ? { created: String(createdField) } : {}),
    ...(updatedField ? { updated: String(updatedField) } : {}),
  };
}

Deno.test("row fidelity: what a row generates has the form of what the library generates", () => {
  const { store, model } = new Twins({ isoDates: true });
  store.db.exec("INSERT INTO Thing(name, n, flag, day) VALUES ('a', 1, 1, '2026-01-02T03:04:05.678Z')");
  const [row] = store.rows(model).after(0, 1);
  for (const [name, form] of Object.entries(generated)) assert.match(String(row!.row!.item[name]), form);
  store.close();
});
