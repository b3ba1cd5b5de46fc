/**
 * Rows by their item's key: where one field tells a model's items apart, it is found by that field, and must be found as if
 * by the rendered key.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import * as fc from "fast-check";
import { loneKeyField, uniqueIndexes } from "../../../agent/store/ddl.ts";
import { openStore } from "../../../agent/store/store.ts";
import { compileSchema, keyOf } from "../../../schema.ts";
import { compiled, identity, memoryStore, StoreFile } from "../store_fixture.ts";

const text = { type: "string", required: true } as const;
const device = { type: "string", value: "d#${deviceId}" } as const;

const schema = compileSchema({
  format: "onetable:1.1.0",
  version: "1.0.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Lone: { pk: device, sk: { type: "string", value: "lone#${name}" }, deviceId: text, name: text },
    Own: {
      pk: { type: "string", value: "all" },
      sk: { type: "string", value: "${accountId}/${name}" },
      accountId: text,
      name: text,
    },
    Behind: { pk: device, sk: { type: "string", value: "behind#${name}#" }, deviceId: text, name: text },
    Two: { pk: device, sk: { type: "string", value: "two#${a}#${b}" }, deviceId: text, a: text, b: text },
    Padded: { pk: device, sk: { type: "string", value: "padded#${name:6}" }, deviceId: text, name: text },
    Counted: {
      pk: device,
      sk: { type: "string", value: "counted#${n}" },
      deviceId: text,
      n: { type: "number", required: true },
    },
    Spread: {
      pk: { type: "string", value: "s#${kind}" },
      sk: { type: "string", value: "s#${name}" },
      kind: text,
      name: text,
    },
  },
  process: Object.fromEntries(
    ["Lone", "Own", "Behind", "Two", "Padded", "Counted", "Spread"].map((name) => [name, { sync: "none" }]),
  ),
});

Deno.test("key lookup: one text field behind a fixed text is enough, nothing else is", () => {
  const lone = [...schema.models.values()].map((model) => [model.name, loneKeyField(model)?.name]);
  assert.deepEqual(lone.filter(([, field]) => field !== undefined), [["Lone", "name"], ["Own", "name"]]);
  for (const model of schema.models.values()) {
    const isOver = uniqueIndexes(model).some(({ name }) => name.endsWith(".item"));
    assert.equal(isOver, loneKeyField(model) === undefined, model.name);
  }
});

Deno.test("key lookup: a row is found by its key and by no other, a range is that of the sort values' bytes", () => {
  const name = fc.string({ unit: "grapheme", maxLength: 3 }).map((name) => name.replaceAll("\0", "") || "x");
  const bound = fc.oneof(
    fc.constantFrom("", "lone#", "lone", "lone$", "k", "m", "acme/", "acme0", "\u{10ffff}", "\uffff", "é"),
    name.map((rest) => `lone#${rest}`),
    name.map((rest) => `acme/${rest}`),
    name,
  );
  fc.assert(fc.property(
    fc.constantFrom("Lone", "Own"),
    fc.uniqueArray(name, { maxLength: 12 }),
    bound,
    fc.option(bound, { nil: undefined }),
    fc.integer({ min: 1, max: 20 }),
    (of, names, after, to, limit) => {
      const store = openStore({ path: ":memory:", schema, identity, now: Date.now });
      const model = schema.models.get(of)!, rows = store.rows(model);
      const keys = names.map((name) => {
        store.db.sql(`INSERT INTO ${of}(name) VALUES (?)`).run(name);
        return keyOf(schema, store.db.sql(`SELECT pk, sk FROM ${of} WHERE name = ?`).get(name)! as never);
      });
      for (const [i, key] of keys.entries()) {
        assert.equal(rows.byKey(key)!.item.name, names[i]);
        assert.deepEqual(rows.keyById(rows.idByKey(key)!), key);
        assert.equal(rows.byKey(["other", key[1]]), undefined);
        assert.equal(rows.byKey([key[0], `x${key[1]}`]), undefined);
        assert.equal(rows.byKey([key[0], names[i]!]), undefined);
      }
      const bytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
      const [hash, ...sorts] = [keys[0]?.[0] ?? "none", ...keys.map((key) => key[1])];
      const wanted = sorts.sort(bytes).filter((sort) =>
        bytes(sort, after) > 0 && (to === undefined || bytes(sort, to) <= 0)
      );
      assert.deepEqual(rows.range(hash, after, to, limit).map(({ key }) => key[1]), wanted.slice(0, limit));
      assert.deepEqual(rows.range("other", after, to, limit), []);
      store.close();
    },
  ));
});

Deno.test("key lookup: a key of two fields is one for ON CONFLICT, and captured", () => {
  const store = memoryStore();
  store.db.exec("INSERT INTO Thing(kind, n, count) VALUES ('a', 1, 5); DELETE FROM _outbox");
  store.db.exec(
    "INSERT INTO Thing(kind, n, count) VALUES ('a', 1, 6) ON CONFLICT(pk, sk) DO UPDATE SET count = excluded.count",
  );
  assert.deepEqual(store.db.sql("SELECT count FROM Thing").all(), [{ count: 6 }]);
  const updates = store.db.sql("SELECT row FROM _outbox WHERE kind = 2").all();
  assert.deepEqual(updates, store.db.sql("SELECT _id AS row FROM Thing").all());
  store.close();
});

Deno.test("key lookup: an index of an earlier version goes, and the table is not made anew for it", () => {
  using file = new StoreFile();
  const setting = compiled.models.get("Setting")!;
  let store = file.open();
  store.db.exec("INSERT INTO Setting(_id, name) VALUES (7, 'a')");
  const table = store.getMeta("table:Setting") as string;
  const [own, ...indexes] = table.split(";\n");
  const item = 'CREATE UNIQUE INDEX "_sync_Setting.item" ON "Setting"("pk", "sk")';
  store.db.exec(item);
  store.setMeta("table:Setting", [own, item, ...indexes].join(";\n"));
  store.setMeta("ddl", "of an earlier version");
  store.setMeta("resnapshot", undefined);
  store.close();
  store = file.open();
  assert.deepEqual(store.migration?.rebuilt, []);
  assert.equal(store.getMeta("resnapshot"), undefined);
  assert.equal(store.getMeta("table:Setting"), table);
  const has = store.db.sql("SELECT name FROM sqlite_master WHERE tbl_name = 'Setting' AND type = 'index'").all();
  assert.deepEqual(has.map(({ name }) => name).sort(), uniqueIndexes(setting).map(({ name }) => name).sort());
  assert.equal(store.rows(setting).byKey(["device#dev-1", "setting#a"])!.id, 7);
});
