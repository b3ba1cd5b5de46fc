/**
 * The typed API's OneTable-like parts: creating over, changes of parts, counting and walking, and what they refuse.
 */
import assert from "node:assert/strict";
import { modelApi } from "../../../agent/api/models.ts";
import { SyncError } from "../../../schema.ts";
import { type exampleSchema, memoryStore } from "../store_fixture.ts";

type Example = typeof exampleSchema;

const code = (wanted: string, message?: RegExp) => (error: unknown) =>
  error instanceof SyncError && error.code === wanted && (message === undefined || message.test(error.message));

function opened() {
  const store = memoryStore();
  return {
    store,
    settings: modelApi<Example, "Setting">(store, "Setting"),
    things: modelApi<Example, "Thing">(store, "Thing"),
    [Symbol.dispose]: () => store.close(),
  };
}

Deno.test("api: create with exists: null writes over an item whole, its row keeps its _id", () => {
  using api = opened();
  api.settings.create({ name: "a", slot: 1, value: "x", note: "mine" });
  api.settings.create({ name: "b" });
  assert.throws(() => api.settings.create({ name: "a" }), code("exists"));
  const item = api.settings.create({ name: "a", slot: 2 }, { exists: null });
  assert.deepEqual([item.slot, item.value, item.note], [2, "it's on", undefined]);
  assert.deepEqual(api.store.db.sql("SELECT _id FROM Setting WHERE name = 'a'").get()!._id, 1);
  assert.equal(api.settings.create({ name: "c" }, { exists: null }).name, "c");
  assert.equal(api.settings.count(), 3);
});

Deno.test("api: createAll makes all items or none", () => {
  using api = opened();
  assert.equal(api.settings.createAll([{ name: "a" }, { name: "b" }]).length, 2);
  assert.throws(() => api.settings.createAll([{ name: "c" }, { name: "a" }]), code("exists"));
  assert.equal(api.settings.count(), 2);
  assert.equal(api.settings.createAll([{ name: "c" }, { name: "a", slot: 5 }], { exists: null })[1]!.slot, 5);
});

Deno.test("api: update changes parts: add, push, delete, set by path, remove", () => {
  using api = opened();
  const key = { kind: "a" as const, n: 1 };
  api.things.create({
    ...key,
    count: 5,
    list: [1],
    tags: new Set(["x", "y"]),
    sizes: new Set([1]),
    meta: { address: { zip: "1", street: "s" }, stops: [{ name: "p" }] },
    other: "gone",
  });
  const item = api.things.update({ ...key, flag: true }, {
    add: { count: 2 },
    push: { list: [2, 3] },
    delete: { tags: ["y", "z"], sizes: [1] },
    set: {
      "meta.address.zip": "2",
      "meta.stops[0].name": "q",
      "meta.stops[1]": { name: "r" },
      "meta.address.street": null,
    },
    remove: ["other"],
  });
  assert.deepEqual([item.count, item.list, item.flag, item.other], [7, [1, 2, 3], true, undefined]);
  assert.deepEqual([item.tags, item.sizes], [new Set(["x"]), undefined]);
  assert.deepEqual(item.meta, { address: { zip: "2" }, stops: [{ name: "q" }, { name: "r" }] });
  assert.equal(api.things.update(key, { add: { count: -0.5 }, set: { other: "back" } }).count, 6.5);
  assert.equal(api.things.get(key)!.other, "back");
});

Deno.test("api: a counter starts at 0, is exact for any length, and the item is made with exists: null", () => {
  using api = opened();
  const key = { kind: "a" as const, n: 2 };
  assert.throws(() => api.things.update(key, { add: { count: 1 } }), code("not-found"));
  assert.equal(api.things.update(key, { exists: null, add: { count: 1 }, push: { list: ["x"] } }).count, 1);
  assert.deepEqual(api.things.get(key)!.list, ["x"]);
  assert.equal(api.things.update(key, { add: { count: 2 ** 53 } }).count as unknown, 9007199254740993n);
  assert.equal(api.things.update(key, { add: { count: 10n ** 30n } }).count as unknown, 10n ** 30n + 9007199254740993n);
  assert.throws(() => api.things.update(key, { add: { count: 0.5 } }), code("invalid", /without loss/));
});

Deno.test("api: a path that leads nowhere, and a property of another type, change nothing", () => {
  using api = opened();
  const key = { kind: "a" as const, n: 3 };
  api.things.create({ ...key, meta: { a: 1 }, list: [1] });
  for (const path of ["meta.b.c", "meta.a.b", "list[3]", "other.x", "meta[0]", "meta.__proto__.x"]) {
    assert.throws(() => api.things.update({ ...key, flag: true }, { set: { [path]: 1 } }), code("invalid"), path);
  }
  assert.throws(() => api.things.update(key, { set: { "meta..a": 1 } }), TypeError);
  assert.throws(() => api.things.update(key, { set: { nothing: 1 } }), TypeError);
  assert.throws(() => api.things.update(key, { add: { other: 1 } as never }), TypeError);
  assert.throws(() => api.things.update(key, { push: { tags: ["a"] } as never }), TypeError);
  const { meta, list, flag } = api.things.get(key)!;
  assert.deepEqual([meta, list, flag], [{ a: 1 }, [1], undefined]);
});

Deno.test("api: each walks all pages, count counts, remove with exists: true tells", () => {
  using api = opened();
  api.things.createAll(Array.from({ length: 25 }, (_, n) => ({ kind: n % 2 ? "a" as const : "b" as const, n })));
  const seen = [...api.things.each({ kind: "a" }, { limit: 5 })].map((item) => item.n);
  assert.deepEqual(seen, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23]);
  assert.equal(api.things.count({ n: { gte: 20 } }), 5);
  for (const item of api.things.each({}, { limit: 2 })) {
    api.things.remove({ kind: item.kind, n: item.n }, { exists: true });
  }
  assert.equal(api.things.count(), 0);
  assert.equal(api.things.remove({ kind: "a", n: 1 }), false);
  assert.throws(() => api.things.remove({ kind: "a", n: 1 }, { exists: true }), code("not-found"));
});
