/**
 * Values between columns and items: every value of every type comes back as it went in, through a real table, and what a
 * column can't hold exactly is refused.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Attributes, escape, type Json, tagOf, unescape } from "../../../schema/values.ts";
import { compileSchema, numberToJson, renderKey, SyncError } from "../../../schema.ts";
import { dateTextToMs } from "../../../agent/store/columns.ts";
import { compiled, identity, memoryStore } from "../store_fixture.ts";

const thing = compiled.models.get("Thing")!;

const text = fc.string({ unit: "binary" }).filter((s) => s.isWellFormed());
const digits = fc.bigInt({ min: 1n, max: 10n ** 38n - 1n });
const number: fc.Arbitrary<Json> = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e120, max: 1e120 }).filter((n) =>
    n === 0 || Math.abs(n) > 1e-120
  )
    .map((n) => n + 0),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((n) => ({ $n: String(n) })),
  digits.map((n) => ({ $n: String(n) })),
  digits.map((n) => ({ $n: `0.${String(n).padStart(38, "1")}` })),
);
// Only what a double does not hold is tagged; the rest is a plain number.
const canonicalNumber = number.map((json) =>
  typeof json === "number" ? json : numberToJson((json as { $n: string }).$n)
);
const binary = fc.uint8Array({ maxLength: 40 }).map((bytes) => ({ $b: bytes.toBase64() }));
const names = fc.oneof(
  fc.string({ maxLength: 4 }),
  fc.constantFrom("__proto__", "constructor", "$n", "$b", "$ss", "$ns", "$bs", "$m", "$ref", "$", "0", ""),
);
/** Maps of any names: those that look like a tag are escaped, as they are in an item. */
const mapOf = (member: fc.Arbitrary<Json>) =>
  fc.array(fc.tuple(names, member), { maxLength: 3 }).map((entries) => escape(Object.fromEntries(entries)));
const nested: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    text,
    fc.boolean(),
    fc.constant(null),
    canonicalNumber,
    binary,
    fc.array(tie("value"), { maxLength: 3 }),
    mapOf(tie("value")),
  ),
})).value;
const isoDate = fc.date({
  noInvalidDate: true,
  min: new Date("0001-01-01T00:00:00Z"),
  max: new Date("9999-12-31T00:00:00Z"),
});

const item: fc.Arbitrary<Attributes> = fc.record({
  kind: fc.constantFrom("a", "b", "it's"),
  n: fc.oneof(fc.integer(), fc.maxSafeInteger()),
  deviceId: fc.constantFrom("dev-1", "dev-9"),
  count: canonicalNumber,
  flag: fc.boolean(),
  at: isoDate.map((date) => date.toISOString()),
  expires: fc.integer({ min: 0, max: 4e9 }),
  meta: mapOf(nested),
  list: fc.array(nested, { maxLength: 4 }),
  tags: fc.uniqueArray(text, { minLength: 1, maxLength: 4 }).map((texts) => ({ $ss: texts })),
  sizes: fc.uniqueArray(fc.oneof(fc.integer().map(String), digits.map(String)), { minLength: 1, maxLength: 4 })
    .map((texts) => ({ $ns: texts })),
  blob: fc.uint8Array({ maxLength: 40 }).map((bytes) => bytes.toBase64()),
  text: fc.oneof(text, fc.constant(null)),
  o: text,
  token: text,
  code: text,
  created: isoDate.map((date) => date.toISOString()),
  updated: isoDate.map((date) => date.toISOString()),
}, { requiredKeys: ["kind", "n", "deviceId"] }) as fc.Arbitrary<Attributes>;

function withoutBinaries(value: Json | undefined, name: string): Attributes {
  const plain = (json: Json): Json => {
    if (typeof json !== "object" || json === null) return json;
    if (Array.isArray(json)) return json.map(plain);
    if (tagOf(json) === "$b") return (json as { $b: string }).$b;
    if (tagOf(json) === "$n") return json;
    return escape(Object.fromEntries(Object.entries(unescape(json)!).map(([key, member]) => [key, plain(member)])));
  };
  return value === undefined ? {} : { [name]: plain(value) };
}

Deno.test("columns: a nested set or binary keeps its kind while the application changes what stands beside it", () => {
  const store = memoryStore();
  const rows = store.rows(thing);
  const meta = { tags: { $ss: ["a", "b"] }, raw: { $b: "AAEC" }, deep: [{ sizes: { $ns: ["1", "2"] } }], name: "x" };
  const base: Attributes = { kind: "a", n: 1, deviceId: "d", meta };
  const key = renderKey(thing, base, identity)!;
  store.tx(() => store.applying(() => rows.put(key, base)));
  const column = store.db.sql("SELECT meta FROM Thing").get()!.meta;
  assert.equal(column, '{"tags":["a","b"],"raw":"AAEC","deep":[{"sizes":[1,2]}],"name":"x"}');
  const sent = (sql: string) => {
    store.db.exec(`UPDATE Thing SET meta = ${sql}`);
    return rows.merged(rows.byKey(key)!, base).meta;
  };
  assert.deepEqual(sent("json_set(meta, '$.name', 'y')"), { ...meta, name: "y" });
  assert.deepEqual(sent("json_set(meta, '$.tags[2]', 'c')"), { ...meta, name: "y", tags: { $ss: ["a", "b", "c"] } });
  assert.deepEqual(sent("json_set(meta, '$.tags', 5, '$.raw', 'no base64')"), {
    ...meta,
    ...{ name: "y", tags: 5, raw: "no base64" },
  });
  store.close();
});

Deno.test("columns: a map that looks like a tag is a map, in a column as in an item", () => {
  const store = memoryStore();
  const rows = store.rows(thing);
  const maps = [
    '{"$ref":"#/x"}',
    '{"$n":"5"}',
    '{"$b":"AAEC"}',
    '{"$ss":["a"]}',
    '{"$m":{"$n":"1"}}',
    '{"\\u0024n":"5"}',
  ];
  for (const text of maps) {
    store.db.sql("INSERT OR REPLACE INTO Thing(kind, n, meta, list) VALUES ('a', 1, ?, ?)").run(
      text,
      `[${text},{"in":${text}}]`,
    );
    const { key, item } = rows.byId(Number(store.db.sql("SELECT _id FROM Thing").get()!._id))!;
    const map = JSON.parse(text);
    assert.deepEqual(item.meta, { $m: map.$m ? { $m: { $m: map.$m } } : map });
    assert.deepEqual(item.list, [item.meta, { in: item.meta }]);
    store.tx(() => store.applying(() => rows.put(key, item)));
    assert.equal(store.db.sql("SELECT meta FROM Thing").get()!.meta, JSON.stringify(map));
  }
  store.close();
});

Deno.test("columns: what is put comes back, equal, for every type and any value", () => {
  const store = memoryStore();
  const rows = store.rows(thing);
  fc.assert(
    fc.property(item, item, (...generated) => {
      // Arbitrary objects without a prototype become plain ones, as messages from the wire are.
      const [first, second] = JSON.parse(JSON.stringify(generated)) as [Attributes, Attributes];
      for (const value of [first, { ...second, kind: first.kind!, n: first.n! }]) {
        const key = renderKey(thing, value, identity)!;
        store.tx(() => store.applying(() => rows.put(key, value)));
        const row = rows.byKey(key)!;
        assert.ok(rows.equals(row, value));
        assert.ok(rows.equals(row, row.item));
        assert.deepEqual(rows.merged(row, value), value);
        const { tags: _tags, sizes: _sizes, text, ...plain } = row.item;
        const { tags: _1, sizes: _2, text: given, ...wanted } = value;
        // What a column of JSON can't tell apart the base does: see `merged`.
        const columns = { ...wanted, ...withoutBinaries(wanted.meta, "meta"), ...withoutBinaries(wanted.list, "list") };
        assert.deepEqual(plain, columns);
        assert.equal(text, given ?? null);
      }
    }),
    { numRuns: 300 },
  );
  store.close();
});

Deno.test("columns: a template's SQL gives byte for byte the key that renderTemplate gives", () => {
  const schema = compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      M: {
        pk: { type: "string", value: "${accountId}|${accountId:6:.}-${flag}" },
        sk: { type: "string", value: "${s}|${n}|${n:8:0}|${s:5:x}|${d}|${ms:15}#'" },
        accountId: { type: "string" },
        s: { type: "string" },
        n: { type: "number" },
        flag: { type: "boolean" },
        d: { type: "date", isoDates: true },
        ms: { type: "number" },
      },
    },
    params: { isoDates: true },
    process: { M: { sync: "up" } },
  });
  const model = schema.models.get("M")!;
  const store = memoryStore({ schema });
  const rows = store.rows(model);
  fc.assert(
    fc.property(
      fc.record({
        s: fc.oneof(text, fc.string({ unit: fc.constantFrom("a", "é", "語", "0", "'") })).filter((s) =>
          !/[\0\u{10000}-\u{10ffff}]/u.test(s)
        ),
        n: fc.oneof(
          fc.integer(),
          fc.maxSafeInteger(),
          fc.bigInt({ min: 2n ** 53n + 1n, max: 2n ** 63n - 1n }).filter((n) => n % 10n !== 0n).map((n) => ({
            $n: String(n),
          })),
        ),
        flag: fc.boolean(),
        d: isoDate.map((date) => date.toISOString()),
        ms: fc.integer(),
      }),
      (value) => {
        const key = renderKey(model, value as Attributes, identity)!;
        store.tx(() => store.applying(() => rows.put(key, value as Attributes)));
        assert.deepEqual(rows.byKey(key)?.key, key);
        const gone = store.tx(() => {
          store.db.exec("DELETE FROM _outbox; DELETE FROM M");
          return store.db.sql("SELECT hash, sort, key FROM _outbox").get()!;
        });
        assert.deepEqual([gone.hash, gone.sort], key);
      },
    ),
    { numRuns: 300 },
  );
  store.close();
});

Deno.test("columns: without isoDates a date is ms since 1970 in the column and in the item, seconds in an item's ttl", () => {
  const schema = compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      M: {
        pk: { type: "string", value: "m" },
        sk: { type: "string", value: "${at}" },
        at: { type: "date" },
        expires: { type: "date", ttl: true },
      },
    },
    params: { timestamps: true },
    process: { M: { sync: "both" } },
  });
  const model = schema.models.get("M")!;
  const store = memoryStore({ schema });
  const before = Date.now();
  store.db.exec("INSERT INTO M(at, expires) VALUES (1700000000123, 1800000000001)");
  const { key, item } = store.rows(model).byId(1)!;
  assert.deepEqual(key, ["m", "1700000000123"]);
  assert.equal(item.at, 1700000000123);
  assert.equal(item.expires, 1800000001);
  assert.ok(Number(item.created) >= before - 1 && Number(item.created) <= Date.now() + 1);
  assert.ok(store.rows(model).equals(store.rows(model).byId(1)!, item));
  assert.throws(() => store.db.exec("INSERT INTO M(at) VALUES ('2024-01-01')"));
  store.close();
});

Deno.test("columns: a JS number that is whole is an INTEGER, in a key too, however it was written", () => {
  const store = memoryStore();
  store.db.exec("INSERT INTO Thing(kind, n) VALUES ('a', 7.0), ('b', '7')");
  store.db.sql("INSERT INTO Thing(kind, n, count) VALUES ('it''s', ?, ?)").run(7, 7);
  const keys = store.db.sql("SELECT sk FROM Thing ORDER BY _id").all().map((row) => row.sk);
  assert.deepEqual(keys, ["thing#a#00000007", "thing#b#00000007", "thing#it's#00000007"]);
  assert.equal(store.db.sql("SELECT typeof(count) AS t FROM Thing WHERE kind = 'it''s'").get()!.t, "integer");
  assert.equal(store.rows(thing).byId(1)!.item.n, 7);
  store.close();
});

Deno.test("columns: values in another writer's form keep that form when they go up again unchanged", () => {
  const store = memoryStore();
  const rows = store.rows(thing);
  const base: Attributes = {
    kind: "a",
    n: 1,
    deviceId: "d",
    at: "2024-05-06T07:08:09Z",
    blob: { $b: "AAEC" },
    tags: { $ss: ["b", "a"] },
    count: { $n: "1.50" },
    future: { deep: [1, { $n: "12345678901234567890" }] },
  };
  const key = renderKey(thing, base, identity)!;
  store.tx(() => store.applying(() => rows.put(key, base)));
  assert.ok(rows.equals(rows.byKey(key)!, base));
  assert.deepEqual(rows.merged(rows.byKey(key)!, base), base);
  store.db.exec("UPDATE Thing SET at = NULL, flag = 1");
  const { at: _, ...rest } = base;
  const { updated: _u, ...sent } = rows.merged(rows.byKey(key)!, base);
  assert.deepEqual(sent, { ...rest, flag: true });
  store.close();
});

Deno.test("columns: a put keeps the row's _id and what never leaves the device, and makes absent attributes NULL", () => {
  const store = memoryStore();
  const setting = compiled.models.get("Setting")!;
  store.db.exec("INSERT INTO Setting(_id, name, note, slot) VALUES (41, 'a', 'mine', 3)");
  const key = ["device#dev-1", "setting#a"] as const;
  store.tx(() => store.applying(() => store.rows(setting).put(key, { name: "a" })));
  const row = store.db.sql("SELECT _id, note, slot, value, created FROM Setting").get();
  assert.deepEqual({ ...row }, { _id: 41, note: "mine", slot: null, value: null, created: null });
  assert.deepEqual(store.rows(setting).byKey(key)!.item, { name: "a" });
  store.close();
});

Deno.test("columns: an item that the table can't hold is refused with the reason, and changes nothing", () => {
  const store = memoryStore();
  const rows = store.rows(thing);
  const valid: Attributes = { kind: "a", n: 1 };
  const key = renderKey(thing, valid, identity)!;
  const wrong: [Attributes, RegExp][] = [
    [{ ...valid, at: "yesterday" }, /at is not a date/],
    [{ ...valid, count: "x" }, /count is not a number/],
    [{ ...valid, flag: "perhaps" }, /flag is not a boolean/],
    [{ ...valid, token: ["5"] }, /token is not a string/],
    [{ ...valid, meta: { $n: "5" } }, /meta is not an object/],
    [{ ...valid, list: {} }, /list is not an array/],
    [{ ...valid, sizes: { $ss: ["1"] } }, /sizes is not a set/],
    [{ ...valid, blob: { $b: "?" } }, /blob is not binary data/],
    [{ ...valid, kind: "z", n: 1 }, /don't give its key/],
    [{ ...valid, n: 2 }, /don't give its key/],
    [{ ...valid, count: 1e127 }, /count must be a number/],
  ];
  for (const [item, reason] of wrong) {
    assert.throws(
      () => store.tx(() => store.applying(() => rows.put(key, item))),
      (error) => error instanceof SyncError && error.code === "constraint" && reason.test(error.message),
      JSON.stringify(item),
    );
  }
  const z: Attributes = { kind: "z", n: 1 };
  assert.throws(
    () => store.tx(() => store.applying(() => rows.put(renderKey(thing, z, identity)!, z))),
    (error) => error instanceof SyncError && error.code === "constraint" && /kind must be one of/.test(error.message),
  );
  assert.equal(store.db.sql("SELECT count(*) AS n FROM Thing").get()!.n, 0);
  store.close();
});

Deno.test("columns: a value that was altered behind the schema is an error that names model, key and column", () => {
  const store = memoryStore();
  store.db.exec("INSERT INTO Thing(kind, n, tags) VALUES ('a', 1, '[\"x\"]')");
  store.db.exec("PRAGMA ignore_check_constraints = ON; UPDATE Thing SET tags = '[1, {}]', count = x'00'");
  assert.throws(
    () => store.rows(thing).byId(1),
    (error) =>
      error instanceof SyncError && error.code === "invalid" &&
      /Thing \["account#acme".*count is not a number/.test(error.message),
  );
  store.close();
});

Deno.test("columns: SQLite's own ISO spellings of a date are understood as SQLite does", () => {
  const store = memoryStore();
  const spellings = [
    "2024-02-29",
    "2024-02-29 12:30",
    "2024-02-29T12:30:15",
    "2024-02-29 12:30:15.250+02:00",
    "2024-02-29T12:30:15.1234567Z",
  ];
  for (const spelling of spellings) {
    const sql =
      store.db.sql("SELECT CAST((julianday(?) - 2440587.5) * 86400000 + 0.5 AS INTEGER) AS ms").get(spelling)!.ms;
    assert.equal(dateTextToMs(spelling), sql, spelling);
  }
  for (const wrong of ["", "now", "2024", "24-01-01", "2024-01-01T25:00", "12:00"]) {
    assert.equal(dateTextToMs(wrong), undefined);
  }
  store.close();
});
