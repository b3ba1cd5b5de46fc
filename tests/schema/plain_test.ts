import assert from "node:assert/strict";
import { isSlipOf } from "../../schema/slips.ts";
import { compileSchema, completeItem, fromPlain, generateValue, SyncError, toPlain, ulid } from "../../schema.ts";
import { schemaOf } from "./fixture.ts";

const schema = compileSchema(schemaOf(
  {
    name: { type: String, map: "nm", default: "none" },
    n: { type: Number },
    on: { type: Boolean, default: true },
    at: { type: Date, isoDates: true },
    ttl: { type: Date, ttl: true },
    bin: { type: "binary" },
    tags: { type: Set },
    sizes: { type: Set, items: { type: Number } },
    o: { type: Object, required: true, schema: { x: { type: Number, default: 3 }, when: { type: Date } } },
    free: { type: Object },
    token: { type: String, generate: "uid(6)", hidden: true },
    shown: { type: String, value: "<${name}>", hidden: false },
    kept: { type: String, nulls: true },
    local: { type: String, sync: "none" },
  },
  undefined,
  { params: { timestamps: true } },
));
const m = schema.models.get("M")!;
const now = Date.parse("2026-01-02T03:04:05.678Z");
const context = { now, random: () => 0.5, identity: { deviceId: "d1" } };

Deno.test("plain: a mistyped property is refused with what is meant; a name that only looks alike is kept", () => {
  const slips = [["severty", "severity"], ["Severity", "severity"], ["sevreity", "severity"], ["naem", "name"], [
    "notes",
    "note",
  ]];
  const others = [["v", "x"], ["line1", "line2"], ["severity", "severity"], ["code", "mode2"], ["unknown", "note"], [
    "tag",
    "tags",
  ]];
  for (const [a, b] of slips) assert.equal(isSlipOf(a!, b!), true, `${a} ${b}`);
  for (const [a, b] of others) assert.equal(isSlipOf(a!, b!), false, `${a} ${b}`);
  assert.equal(isSlipOf("x".repeat(1_000_000), "severity"), false);
});

Deno.test("plain: an item is made complete: defaults, ids, timestamps, identity", () => {
  const attributes = fromPlain(schema, m, {}, context);
  assert.deepEqual(attributes, {
    deviceId: "d1",
    id: ulid(now, () => 0.5),
    nm: "none",
    on: true,
    o: { x: 3 },
    token: "GGGGGG",
    created: now,
    updated: now,
  });
});

Deno.test("plain: values take their form in the item by the schema, and come back", () => {
  const plain = {
    id: "1",
    name: "cpu",
    n: "12345678901234567890",
    on: false,
    at: "2026-01-01T00:00:00Z",
    ttl: "2026-01-01T00:00:00.001Z",
    bin: "AQI=",
    tags: ["a", "b", "a"],
    sizes: [1, "2.50"],
    o: { x: 1, when: "1970-01-01T00:00:00.005Z", more: { $n: "no tag" } },
    free: { $b: 1 },
    kept: null,
    created: "2020-01-01T00:00:00.000Z",
    unknown: [1, { a: null }],
  };
  const attributes = fromPlain(schema, m, plain, context);
  assert.deepEqual(attributes, {
    deviceId: "d1",
    id: "1",
    nm: "cpu",
    n: { $n: "12345678901234567890" },
    on: false,
    at: "2026-01-01T00:00:00.000Z",
    ttl: Date.parse("2026-01-01") / 1000 + 1,
    bin: "AQI=",
    tags: { $ss: ["a", "b"] },
    sizes: { $ns: ["1", "2.5"] },
    o: { x: 1, when: 5, more: { $m: { $n: "no tag" } } },
    free: { $m: { $b: 1 } },
    token: "GGGGGG",
    kept: null,
    created: Date.parse("2020-01-01"),
    updated: now,
    unknown: [1, { a: null }],
  });
  const item = { ...completeItem(schema, m, attributes), _source: "d1#1", _stamp: 1 };
  const back = toPlain(schema, m, item);
  assert.deepEqual(back, {
    ...plain,
    deviceId: "d1",
    at: "2026-01-01T00:00:00.000Z",
    ttl: "2026-01-01T00:00:01.000Z",
    tags: ["a", "b"],
    sizes: [1, 2.5],
    shown: "<cpu>",
    updated: "2026-01-02T03:04:05.678Z",
  });
  const again = fromPlain(schema, m, { ...back, token: "GGGGGG" }, context);
  assert.deepEqual(again, attributes);
});

Deno.test("plain: what is wrong is refused as invalid, with the reason", () => {
  const invalid = (plain: unknown, says: RegExp) =>
    assert.throws(() => fromPlain(schema, m, plain, context), (error) => {
      assert.ok(error instanceof SyncError && error.code === "invalid");
      assert.match(error.message, says);
      return true;
    });
  invalid([], /it must be an object/);
  invalid({ n: "x" }, /n is not a number/);
  invalid({ at: "soon" }, /at must be a date, and is "soon"/);
  invalid({ tags: ["a", 1] }, /tags has the member "1"/);
  invalid({ sizes: ["a"] }, /sizes has the member "a", which is not a number/);
  invalid({ nm: "x" }, /nm is the attribute of name/);
  invalid({ local: "x" }, /local never leaves a device/);
  invalid({ deviceId: "a b" }, /not an id/);
  invalid({ id: undefined, on: "yes" }, /on must be true or false/);
});

Deno.test("plain: generated ids have OneTable's spellings and follow time and randomness alone", () => {
  const field = (kind: "ulid" | "uuid" | "uid", length: number) => ({ ...m.fields[0]!, generate: { kind, length } });
  assert.match(generateValue(field("ulid", 26), now, Math.random), /^[0-9A-HJKMNP-TV-Z]{26}$/);
  assert.match(
    generateValue(field("uuid", 36), now, Math.random),
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  assert.match(generateValue(field("uid", 7), now, Math.random), /^[0-9A-HJKMNP-TV-Z]{7}$/);
  // The example of the ULID specification.
  assert.equal(ulid(1469918176385, () => 0), "01ARYZ6S410000000000000000");
  assert.ok(ulid(1, () => 0.99) < ulid(2, () => 0));
  assert.throws(() => generateValue(m.fields.find((f) => f.name === "n")!, now, Math.random), TypeError);
});
