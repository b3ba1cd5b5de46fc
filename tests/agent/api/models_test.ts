/**
 * The typed API: JavaScript values through the same tables as everyone's, errors told apart, queries and pages.
 */
import assert from "node:assert/strict";
import { modelApi, plainItem } from "../../../agent/api/models.ts";
import type { Store } from "../../../agent/store/store.ts";
import { compileSchema, defineSchema, SyncError } from "../../../schema.ts";
import { compiled, type exampleSchema, memoryStore, StoreFile } from "../store_fixture.ts";
import { testWith } from "../../support/tools.ts";

const withShell = testWith("sqlite3");

type Example = typeof exampleSchema;

const code = (wanted: string, message?: RegExp) => (error: unknown) =>
  error instanceof SyncError && error.code === wanted && (message === undefined || message.test(error.message));

const outbox = (store: Store) => store.db.sql("SELECT kind FROM _outbox ORDER BY seq").all().map((row) => row.kind);

Deno.test("models: create fills ids, timestamps and defaults and gives the item back with its types", () => {
  const store = memoryStore();
  let writes = 0;
  const telemetry = modelApi<Example, "Telemetry">(store, "Telemetry", () => writes++);
  const item = telemetry.create({ cpu: 0.5, expires: new Date(1700000000123) });
  assert.match(item.id, /^[0-9A-Z]{26}$/);
  assert.deepEqual([item.cpu, item.deviceId, item.mem], [0.5, "dev-1", undefined]);
  assert.deepEqual(item.expires, new Date(1700000000123));
  assert.ok(item.created instanceof Date && Math.abs(item.created.getTime() - Date.now()) < 5000);
  assert.deepEqual(telemetry.get({ id: item.id }), item);
  assert.deepEqual([outbox(store), writes], [[1], 1]);
  const thing = compiled.models.get("Telemetry")!;
  assert.deepEqual(plainItem(store, thing, ["device#dev-1", `telemetry#${item.id}`]), item);
  assert.equal(plainItem(store, thing, ["device#dev-1", "telemetry#x"]), undefined);
  store.close();
});

Deno.test("models: every type of value comes back as it was given", () => {
  const store = memoryStore();
  const things = modelApi<Example, "Thing">(store, "Thing");
  const given = {
    kind: "a" as const,
    n: 1,
    count: 12345678901234567890n as unknown as number,
    flag: false,
    at: new Date("2024-02-29T12:00:00.001Z"),
    expires: new Date("2030-01-01T00:00:00.001Z"),
    meta: {
      when: new Date(5),
      big: 9007199254740993n,
      deep: [{ $n: "tagged?" }, null, "é😀"],
    },
    list: [1, "x", ["a"], -0.5],
    tags: new Set(["b", "a"]),
    sizes: new Set([3, 1, 12345678901234567890n as unknown as number]),
    blob: new Uint8Array([0, 255]),
    text: null,
    other: "mapped",
  };
  const item = things.create(given);
  assert.deepEqual(item.meta, { ...given.meta, when: new Date(5).toISOString() });
  for (const name of ["count", "flag", "at", "expires", "list", "blob", "text", "other"] as const) {
    assert.deepEqual(item[name], given[name], name);
  }
  assert.deepEqual(new Set(item.tags), given.tags);
  assert.deepEqual(new Set(item.sizes), given.sizes);
  const { o, expires } = store.rows(compiled.models.get("Thing")!).byId(1)!.item;
  assert.deepEqual([o, expires], ["mapped", Date.parse("2030-01-01T00:00:01Z") / 1000]);
  const more = { kind: "a" as const, n: 2 };
  assert.throws(
    () => things.create({ ...more, meta: { bytes: new Uint8Array([1]) } }),
    /meta has a binary that no nested/,
  );
  assert.throws(
    () => things.create({ ...more, list: [new Set(["a"])] }),
    /list has a Set that no nested field describes/,
  );
  store.close();
});

Deno.test("models: update changes what is given, null removes, upsert does either, remove tells", () => {
  const store = memoryStore();
  const settings = modelApi<Example, "Setting">(store, "Setting");
  settings.create({ name: "a", slot: 1, note: "mine" });
  const changed = settings.update({ name: "a", value: "x", slot: null });
  assert.deepEqual([changed.value, changed.slot, changed.note], ["x", undefined, "mine"]);
  assert.throws(() => settings.update({ name: "b" }), code("not-found", /Setting \{"name":"b"\} does not exist/));
  assert.equal(settings.upsert({ name: "b", value: "1" }).value, "1");
  assert.equal(settings.upsert({ name: "b", slot: 4 }).value, "1");
  assert.deepEqual([settings.remove({ name: "b" }), settings.remove({ name: "b" })], [true, false]);
  assert.equal(settings.get({ name: "b" }), undefined);
  assert.equal(settings.get({ name: "a", deviceId: "dev-2" }), undefined);
  assert.deepEqual(settings.update(settings.get({ name: "a" })!).value, "x");
  store.close();
});

withShell("models: errors are told apart by their code", () => {
  using file = new StoreFile();
  const store = file.open();
  const settings = modelApi<Example, "Setting">(store, "Setting");
  const things = modelApi<Example, "Thing">(store, "Thing");
  settings.create({ name: "a", slot: 1 });
  assert.throws(() => settings.create({ name: "a" }), code("exists"));
  assert.throws(() => settings.create({ name: "b", slot: 1 }), code("constraint", /Setting\.slot/));
  assert.throws(() => things.create({ kind: "z" as "a", n: 1 }), code("invalid", /kind is "z"/));
  assert.throws(() => things.create({ kind: "a" } as never), code("invalid", /NOT NULL/));
  assert.throws(() => things.create({ kind: "a", n: 1, at: new Date(NaN) }), code("invalid"));
  assert.throws(() => things.create({ kind: "a", n: 1, nothing: 1 } as never), TypeError);
  assert.throws(() => things.create({ kind: "a", n: 1, flag: "yes" as never }), TypeError);
  assert.throws(() => things.get({ kind: "a" } as never), TypeError);
  assert.throws(() => modelApi<Example, "Command">(store, "Command").create({ id: "1" }), code("read-only"));
  assert.throws(() => modelApi(store, "Nothing" as never), RangeError);
  store.db.exec("PRAGMA busy_timeout = 20");
  file.shell("SELECT 1");
  const { page_count: pages } = store.db.prepare("PRAGMA page_count").get()!;
  store.db.exec(`PRAGMA max_page_count = ${Number(pages) + 1}`);
  assert.throws(() => settings.create({ name: "big", value: "x".repeat(100_000) }), code("full"));
  assert.equal(settings.find().items.length, 1);
});

Deno.test("models: a change inside a transaction that fails is not made", () => {
  const store = memoryStore();
  const settings = modelApi<Example, "Setting">(store, "Setting");
  assert.throws(() =>
    store.tx(() => {
      settings.create({ name: "a" });
      settings.create({ name: "a" });
    }), code("exists"));
  assert.deepEqual([settings.find().items, outbox(store)], [[], []]);
  store.close();
});

Deno.test("models: find takes conditions and an index's order and pages through what changes meanwhile", () => {
  const store = memoryStore();
  const things = modelApi<Example, "Thing">(store, "Thing");
  store.tx(() => {
    for (let n = 0; n < 25; n++) {
      const at = new Date(Date.UTC(2024, 0, 1 + n));
      things.create({ kind: n % 2 ? "a" : "b", n, at, other: `x${n}`, count: n < 5 ? undefined : 30 - n });
    }
  });
  const numbers = (where: Parameters<typeof things.find>[0], options?: Parameters<typeof things.find>[1]) =>
    things.find(where, options).items.map((item) => item.n);
  assert.deepEqual(numbers({ kind: "a", n: { lt: 6 } }), [1, 3, 5]);
  assert.deepEqual(numbers({ n: { between: [3, 5] } }), [3, 5, 4]);
  assert.deepEqual(numbers({ n: { in: [3, 4] }, kind: { not: "a" } }), [4]);
  assert.deepEqual(numbers({ at: { gte: new Date(Date.UTC(2024, 0, 24)) } }), [23, 24]);
  assert.deepEqual(numbers({ at: new Date(Date.UTC(2024, 0, 1)) }), [0]);
  assert.deepEqual(numbers({ other: { begins: "x2" }, n: { gt: 2 } }, { reverse: true }), [24, 22, 20, 23, 21]);
  assert.deepEqual(numbers({ count: null }), [1, 3, 0, 2, 4]);
  assert.deepEqual(numbers({ flag: { not: null } }), []);
  assert.deepEqual(numbers({ gs1sk: { begins: "n#1" }, kind: "a" }, { index: "gs1" }), [19, 17, 15, 13, 11]);

  const ties: number[] = [];
  store.db.exec("UPDATE Thing SET count = 7");
  for (let next: string | undefined, more = true; more; more = next !== undefined) {
    const page = things.find({}, { index: "gs1", limit: 3, next });
    ties.push(...page.items.map((item) => item.n));
    next = page.next;
  }
  assert.deepEqual(ties.toSorted((a, b) => a - b), Array.from({ length: 25 }, (_, n) => n));

  const seen: number[] = [];
  let next: string | undefined;
  do {
    const page = things.find({}, { limit: 4, next });
    for (const item of page.items) {
      seen.push(item.n);
      things.remove({ kind: item.kind, n: item.n });
    }
    next = page.next;
  } while (next !== undefined);
  assert.equal(new Set(seen).size, 25);
  assert.equal(seen.length, 25);
  assert.throws(() => things.find({}, { limit: 0 }), RangeError);
  assert.throws(() => things.find({}, { index: "none" }), RangeError);
  assert.throws(() => things.find({}, { next: "x" }), RangeError);
  assert.throws(() => things.find({ tags: new Set(["a"]) }), TypeError);
  assert.throws(() => things.find({ nothing: 1 } as never), TypeError);
  store.close();
});

Deno.test("models: find takes alternatives, members and parts, and compares decimals of any length by their value", () => {
  const store = memoryStore();
  const things = modelApi<Example, "Thing">(store, "Thing");
  const decimal = (text: string) => text as unknown as number;
  things.createAll([
    {
      kind: "a",
      n: 1,
      tags: new Set(["red", "x"]),
      sizes: new Set([1, 2.5]),
      list: [true, "yes", 3],
      other: "50% off",
    },
    { kind: "a", n: 2, tags: new Set(["redder"]), sizes: new Set([10]), list: [1, { x: "yes" }], other: "500" },
    { kind: "b", n: 3, count: decimal("0.1234567890123456789"), list: [] },
    { kind: "b", n: 4, count: decimal("-123456789012345678901234567890") },
    { kind: "b", n: 5, count: 7 },
  ]);
  const numbers = (where: Parameters<typeof things.find>[0]) => things.find(where).items.map((item) => item.n);
  assert.deepEqual(numbers([{ n: 1 }, { kind: "b", n: { gt: 4 } }]), [1, 5]);
  assert.deepEqual(numbers([]), [], "one of none");
  assert.deepEqual(numbers([{}]), [1, 2, 3, 4, 5]);
  assert.equal(things.count([{ kind: "a" }, { n: { lte: 3 } }]), 3);
  assert.deepEqual(numbers({ tags: { contains: "red" } }), [1], "a whole member");
  assert.deepEqual(numbers({ sizes: { contains: 2.5 } }), [1]);
  assert.deepEqual(numbers({ sizes: { contains: 10n as unknown as number } }), [2]);
  assert.deepEqual(numbers({ list: { contains: 1 } as never }), [2], "true is not 1");
  assert.deepEqual(numbers({ list: { contains: "yes" } as never }), [1], "not what lies deeper");
  assert.deepEqual(numbers({ other: { contains: "0% " } }), [1], "no wildcards");
  assert.deepEqual(numbers({ count: { gt: 0.1 } }), [3, 5]);
  assert.deepEqual(numbers({ count: { lt: 1 } }), [3, 4]);
  assert.deepEqual(numbers({ count: { between: [decimal("-1000000000000000000000000000000"), 0.2] } }), [3, 4]);
  assert.deepEqual(numbers({ count: { gt: decimal("-1000000000000000000000000000000"), lt: 0 } }), [4]);
  assert.throws(() => things.find({ n: { contains: 1 } as never }), TypeError);
  assert.throws(() => things.find({ tags: { contains: { a: 1 } } as never }), TypeError);
  store.close();
});

Deno.test("models: getAll reads many keys at one moment, removeAll removes all or none", () => {
  using file = new StoreFile();
  const store = file.open();
  const settings = modelApi<Example, "Setting">(store, "Setting");
  settings.createAll([{ name: "a", value: "1" }, { name: "b", value: "2" }]);
  const values = () => settings.getAll([{ name: "b" }, { name: "none" }, { name: "a" }]).map((item) => item?.value);
  assert.deepEqual(values(), ["2", undefined, "1"]);
  const other = file.open();
  other.db.exec("BEGIN IMMEDIATE");
  assert.deepEqual(values(), ["2", undefined, "1"], "a writer is not waited for");
  other.db.exec("ROLLBACK");
  assert.deepEqual(store.tx(values), ["2", undefined, "1"]);
  assert.throws(() => settings.removeAll([{ name: "a" }, { name: "none" }], { exists: true }), code("not-found"));
  assert.throws(() => settings.getAll([{} as never]), TypeError);
  assert.equal(store.db.inTransaction, false);
  assert.equal(settings.count(), 2);
  assert.equal(settings.removeAll([{ name: "a" }, { name: "none" }, { name: "b" }]), 2);
  assert.equal(settings.count(), 0);
});

Deno.test("models: hidden attributes stay hidden, nested fields have their own types and names", () => {
  const schema = defineSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      M: {
        pk: { type: String, value: "m" },
        sk: { type: String, value: "m#${id}", hidden: false },
        id: { type: String, required: true },
        secret: { type: String, hidden: true },
        place: { type: Object, schema: { at: { type: Date }, lat: { type: Number, required: true } } },
        stops: { type: Array, items: { type: Object, schema: { name: { type: String } } } },
      },
    },
    params: { isoDates: true },
    process: { M: { sync: "both" } },
  });
  const store = memoryStore({ schema: compileSchema(schema) });
  const api = modelApi<typeof schema, "M">(store, "M");
  const at = new Date("2024-01-01T00:00:00.000Z");
  const item = api.create({ id: "1", secret: "s", place: { at, lat: 1.5 }, stops: [{ name: "x" }] });
  assert.deepEqual(item, { sk: "m#1", id: "1", place: { at, lat: 1.5 }, stops: [{ name: "x" }] });
  assert.equal(store.db.sql("SELECT place FROM M").get()!.place, '{"at":"2024-01-01T00:00:00.000Z","lat":1.5}');
  assert.equal(store.db.sql("SELECT secret FROM M").get()!.secret, "s");
  assert.throws(() => api.update({ id: "1", place: { at } as never }), code("invalid", /place \.lat is required/));
  store.close();
});

Deno.test("models: a text that is no UTF-8 is never read as another one: the row is named, the others are read", () => {
  const store = memoryStore();
  const things = modelApi<Example, "Thing">(store, "Thing");
  for (const n of [1, 2, 3]) things.create({ kind: "a", n, text: `text ${n}`, other: "\ufffd itself" });
  store.db.exec("UPDATE Thing SET text = CAST(x'42fc726f' AS TEXT) WHERE n = 2");
  const named = code("invalid", /row 2 of Thing: text is not UTF-8 \(its bytes: x'42fc726f'\)/);
  assert.throws(() => things.get({ kind: "a", n: 2 }), named);
  assert.throws(() => things.find(), named);
  assert.throws(() => [...things.each()], named);
  assert.throws(() => things.update({ kind: "a", n: 2, flag: true }), named);
  assert.equal(things.get({ kind: "a", n: 1 })!.other, "\ufffd itself");
  assert.equal(things.find({ n: { in: [1, 3] } }).items.length, 2);
  assert.equal(things.count(), 3);
  const bytes = store.db.sql("SELECT hex(text) AS bytes FROM Thing WHERE n = 2").get()!.bytes;
  assert.equal(bytes, "42FC726F", "what stands there is as it was");
  assert.equal(things.update({ kind: "a", n: 1, flag: true }).flag, true);
  store.db.exec("UPDATE Thing SET text = 'mended' WHERE n = 2");
  assert.equal(things.find().items.length, 3);
  store.close();
});
