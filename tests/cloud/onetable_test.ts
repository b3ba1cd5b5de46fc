/**
 * OneTable fidelity on a real table: the `dynamodb-onetable` library and we write the same items, byte for byte as DynamoDB
 * holds them; it reads, changes and removes what we wrote, and its changes come by the stream. (What both sides would send
 * is compared over many more cases in `tests/schema/onetable_test.ts`, without a table.)
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type AttributeValue, DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { Table } from "dynamodb-onetable";
import fc from "fast-check";
import { type DynamoTables, openDynamo } from "../../cloud/dynamodb/tables.ts";
import type { StreamRecord } from "../../cloud/table/port.ts";
import type { Key } from "../../protocol.ts";
import {
  bytesToBase64,
  compileSchema,
  completeItem,
  fromPlain,
  type Item,
  keyOf,
  stripItem,
  versionOf,
} from "../../schema.ts";
import { type Emulator, emulators } from "../support/dynamo.ts";
import { until } from "../support/until.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const source = {
  format: "onetable:1.1.0",
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" } },
  params: { isoDates: true, timestamps: true, nulls: false },
  models: {
    Thing: {
      pk: { type: String, value: "${_type}#${deviceId}" },
      sk: { type: String, value: "thing#${name}#${n:8:0}" },
      gs1pk: { type: String, value: "things#${accountId}", hidden: true },
      gs1sk: { type: String, value: "${sk}", hidden: true },
      deviceId: { type: String, required: true },
      accountId: { type: String, required: true },
      name: { type: String, required: true },
      n: { type: Number, required: true },
      note: { type: String, map: "nt" },
      level: { type: String, enum: ["low", "high"], default: "low" },
      on: { type: Boolean },
      ratio: { type: Number },
      at: { type: Date },
      stamp: { type: Date, isoDates: false },
      expires: { type: Date, ttl: true },
      kept: { type: String, nulls: true },
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
  process: { Thing: { sync: "both" } },
};
const schema = compileSchema(source);
const model = schema.models.get("Thing")!;
const identity = { deviceId: "d1", accountId: "a1" };
const credentials = { accessKeyId: "local", secretAccessKey: "local" };

const text = fc.string({ unit: "grapheme", maxLength: 10 }).filter((s) => !s.includes("${"));
const date = fc.date({ min: new Date(0), max: new Date("9000-01-01"), noInvalidDate: true });
const optional = <T>(arb: fc.Arbitrary<T>) => fc.option(arb, { nil: undefined });
/** Names of maps are not empty in DynamoDB; the SDK's marshaller drops `__proto__`. */
const free = fc.dictionary(
  text.filter((name) => name !== "" && name !== "__proto__"),
  fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null), fc.array(fc.integer(), { maxLength: 2 })),
  { maxKeys: 3, noNullPrototype: true },
);
/** The library asks objects for their constructor. */
const plainObjects = { noNullPrototype: true };
const things = fc.record({
  name: fc.stringMatching(/^[a-z]{1,6}$/),
  n: fc.nat(),
  note: optional(text),
  level: optional(fc.constantFrom("low", "high")),
  on: optional(fc.boolean()),
  ratio: optional(
    fc.oneof(fc.integer(), fc.double({ min: -1e9, max: 1e9, noNaN: true }).map((d) => Math.fround(d) || 0)),
  ),
  at: optional(date),
  stamp: optional(date),
  expires: optional(date),
  kept: fc.option(text, { nil: null }),
  blob: optional(fc.uint8Array()),
  words: optional(fc.uniqueArray(text, { minLength: 1, maxLength: 3 })),
  sizes: optional(fc.uniqueArray(fc.integer(), { minLength: 1, maxLength: 3 })),
  free: optional(free),
  list: optional(fc.array(fc.oneof(text, fc.integer(), free), { maxLength: 3 })),
  place: optional(fc.record({ x: fc.integer(), since: date }, plainObjects)),
  rows: optional(fc.array(fc.record({ a: text, at: date }, plainObjects), { maxLength: 2 })),
});
type Thing = typeof things extends fc.Arbitrary<infer T> ? T : never;

/** The properties in JavaScript's types, for the library. */
function forLibrary(thing: Thing): Any {
  const { blob, words, sizes, ...more } = thing;
  return defined({
    ...identity,
    ...more,
    blob: blob && Buffer.from(blob),
    words: words && new Set(words),
    sizes: sizes && new Set(sizes),
  });
}

/** The same properties as our item, made at that time. */
function ours(thing: Thing, now: number): Item {
  const plain = JSON.parse(
    JSON.stringify(defined({ ...thing, blob: thing.blob && bytesToBase64(thing.blob) })),
  );
  return completeItem(schema, model, fromPlain(schema, model, plain, { now, random: Math.random, identity }), identity);
}

function defined(properties: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

/** An item as DynamoDB JSON, members of sets in one order. */
function comparable(item: Record<string, AttributeValue> | undefined): unknown {
  return JSON.parse(JSON.stringify(item, (key, value) => {
    if (value instanceof Uint8Array) return bytesToBase64(value);
    return key === "SS" || key === "NS" ? [...value].sort() : value;
  }));
}

interface World {
  readonly tables: DynamoTables;
  readonly library: Any;
  /** An item as DynamoDB holds it. */
  raw(key: Key): Promise<Record<string, AttributeValue> | undefined>;
}

for (const kind of await emulators()) {
  const ignore = kind.missing !== undefined;
  if (ignore) console.log(`skipped: ${kind.missing}`);
  let running: Emulator | undefined;
  Deno.test.beforeAll(async () => {
    if (!ignore) running = await kind.start();
  });
  Deno.test.afterAll(() => running?.stop());
  let tableNumber = 0;

  const test = (sentence: string, body: (world: World) => Promise<void>) =>
    Deno.test({
      name: `onetable on ${kind.name}: ${sentence}`,
      ignore,
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        const name = `things-${++tableNumber}`;
        const { endpoint } = running!;
        const tables = await openDynamo(`dynamodb://${name}?region=us-east-1&endpoint=${endpoint}`, {
          schema,
          credentials,
        });
        const client = new DynamoDBClient({ region: "us-east-1", endpoint, credentials });
        const table = new Table({ name, client, schema: source, partial: false, logger: () => {} } as Any);
        try {
          await tables.create();
          await body({
            tables,
            library: table.getModel("Thing" as Any),
            async raw([pk, sk]) {
              const command = new GetItemCommand({ TableName: name, Key: { pk: { S: pk }, sk: { S: sk } } });
              return (await client.send(command)).Item;
            },
          });
        } finally {
          await tables.close();
          client.destroy();
        }
      },
    });

  test("the same properties make the same item, and the library reads ours as its own", async (world) => {
    const { tables, library, raw } = world;
    await fc.assert(
      fc.asyncProperty(things, async (thing) => {
        await library.create(forLibrary(thing), { exists: null });
        const now = (await library.get(keyProperties(thing), { parse: true, hidden: true })).updated.getTime();
        const item = ours(thing, now);
        const theirs = comparable(await raw(keyOf(schema, item)));
        const read = await library.get(keyProperties(thing));
        await tables.data.write([{ op: "delete", key: keyOf(schema, item) }]);
        const [result] = await tables.data.write([{ op: "put", item }]);
        assert.equal(result?.outcome, "written");
        assert.deepEqual(comparable(await raw(keyOf(schema, item))), theirs);
        assert.deepEqual(await library.get(keyProperties(thing)), read);
      }),
      { numRuns: kind.name === "dynoxide" ? 100 : 40 },
    );
  });

  test("what the library wrote is read by us and written back unaltered", async ({ tables, library, raw }) => {
    await fc.assert(
      fc.asyncProperty(things, async (thing) => {
        await library.create(forLibrary(thing), { exists: null });
        const key = keyOf(schema, ours(thing, 0));
        const before = comparable(await raw(key));
        const [item] = await tables.data.get([key]);
        // Through the attributes that a device gets and sends, without what it doesn't see.
        const back = completeItem(schema, model, stripItem(schema, model, item!, identity), identity);
        await tables.data.write([{ op: "put", item: back }]);
        assert.deepEqual(comparable(await raw(key)), before);
      }),
      { numRuns: kind.name === "dynoxide" ? 60 : 20 },
    );
  });

  test("it updates, upserts and removes what a device wrote; the stream tells each, the version untouched", async (world) => {
    const { tables, library } = world;
    const abort = new AbortController();
    const records: StreamRecord[] = [];
    const reading = (async () => {
      for await (const batch of tables.data.stream().batches(abort.signal)) {
        if ("lost" in batch) continue;
        records.push(...batch.records);
        await batch.checkpoint();
      }
    })();
    const item = { ...ours({ name: "a", n: 1, kept: null, on: true } as Thing, 1000), _source: "d1#x", _stamp: 5 };
    await tables.data.write([{ op: "put", item }]);
    const key = { ...identity, name: "a", n: 1 };
    const updated = await library.update({ ...key, note: "changed" }, { return: "get" });
    assert.deepEqual([updated.note, updated.on], ["changed", true]);
    await library.upsert({ ...key, ratio: 2 });
    await library.upsert({ ...identity, name: "b", n: 2 });
    await library.remove(key);
    await until("all changes have come", () => records.length === 5);
    const story = records.map((record) => ({
      name: record.key[1],
      note: record.new?.nt,
      ratio: record.new?.ratio,
      version: record.new && versionOf(record.new),
      was: record.old && versionOf(record.old),
    }));
    const first = { name: "thing#a#00000001" }, version = ["d1#x", 5];
    const none = { note: undefined, ratio: undefined, version: undefined, was: undefined };
    assert.deepEqual(story, [
      { ...none, ...first, version },
      { ...none, ...first, note: "changed", version, was: version },
      { ...none, ...first, note: "changed", ratio: 2, version, was: version },
      { ...none, name: "thing#b#00000002" },
      { ...none, ...first, was: version },
    ]);
    // An update by the library moves `updated`, by which a device's older change is told from it.
    assert.ok(Date.parse(String(records[1]!.new!.updated)) > 1000);
    abort.abort();
    await reading;
  });
}

function keyProperties({ name, n }: Thing): Any {
  return { ...identity, name, n };
}
