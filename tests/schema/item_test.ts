import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Attributes,
  canonicalJson,
  channelOf,
  channelsOf,
  checkAttributes,
  checkId,
  compileSchema,
  completeItem,
  type Json,
  keyOf,
  modelOf,
  renderKey,
  stripItem,
  SyncError,
  versionOf,
} from "../../schema.ts";
import { schemaOf } from "./fixture.ts";

const identity = { deviceId: "d1", accountId: "a1" };
const schema = compileSchema(schemaOf({
  name: { type: String, required: true, map: "nm" },
  sk: { type: String, value: "m#${name}#${n:4:0}" },
  n: { type: Number },
  label: { type: String, value: "${name}/${note}" },
  gs1pk: { type: String, value: "g#${note}" },
  note: { type: String },
  kept: { type: String, nulls: true },
  secret: { type: String, sync: "none" },
}));
const m = schema.models.get("M")!;

Deno.test("item: attributes become a whole item and come back", () => {
  const attributes = { nm: "cpu", n: 7, id: "1", note: "x", kept: null, unknown: { a: 1 } };
  const item = completeItem(schema, m, attributes, identity);
  assert.deepEqual(item, {
    ...attributes,
    pk: "m#d1",
    sk: "m#cpu#0007",
    gs1pk: "g#x",
    label: "cpu/x",
    deviceId: "d1",
    _type: "M",
  });
  assert.equal(modelOf(schema, item), m);
  assert.deepEqual(keyOf(schema, item), ["m#d1", "m#cpu#0007"]);
  assert.deepEqual(renderKey(m, attributes, identity), ["m#d1", "m#cpu#0007"]);
  assert.deepEqual(stripItem(schema, m, { ...item, _source: "d1#x", _stamp: 1 }, identity), attributes);
  assert.deepEqual(stripItem(schema, m, item), { ...attributes, deviceId: "d1" });
});

Deno.test("item: any attributes survive completion and stripping, unknown and hostile names among them", () => {
  const name = fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "toString", "a"));
  fc.assert(fc.property(fc.dictionary(name, fc.jsonValue()), fc.stringMatching(/^\w+$/), (unknown, nm) => {
    const attributes = { ...unknown as Attributes, nm, n: 1 };
    const known = Object.keys(attributes).some((k) => ["_type", "_source", "_stamp"].includes(k));
    fc.pre(
      !known &&
        !m.fields.some((f) => f.attribute !== "nm" && f.attribute !== "n" && Object.hasOwn(attributes, f.attribute)),
    );
    const back = stripItem(schema, m, completeItem(schema, m, attributes, identity), identity);
    assert.equal(canonicalJson(back), canonicalJson(attributes));
  }));
});

Deno.test("item: the identity is forced, whatever the payload says", () => {
  const forged = { nm: "cpu", n: 1, deviceId: "d2", pk: "m#d2", sk: "x", _type: "Other", _source: "d2#1", _stamp: 9 };
  const item = completeItem(schema, m, forged, identity);
  assert.deepEqual([item.deviceId, item.pk, item.sk, item._type], ["d1", "m#d1", "m#cpu#0001", "M"]);
  assert.deepEqual([item._source, item._stamp], [undefined, undefined]);
  assert.deepEqual(renderKey(m, forged, identity)?.[0], "m#d1");
  assert.deepEqual(renderKey(m, forged)?.[0], "m#d2");
});

Deno.test("item: what has no key is refused with the reason", () => {
  const invalid = (attributes: Attributes, says: RegExp) =>
    assert.throws(() => completeItem(schema, m, attributes, identity), (error) => {
      assert.ok(error instanceof SyncError && error.code === "invalid" && !error.retryable);
      assert.match(error.message, says);
      return true;
    });
  invalid({ n: 1 }, /needs name, which is missing/);
  invalid({ nm: "a", n: 1.5 }, /can't hold n = "1\.5"/);
  invalid({ nm: "a".repeat(1100), n: 1 }, /above 2048 \(hash\) or 1024 \(sort\)/);
  invalid({ nm: "é".repeat(600), n: 1 }, /above/);
  assert.ok(completeItem(schema, m, { nm: "é".repeat(500), n: 1 }, identity));
  assert.equal(renderKey(m, { nm: "a", n: 1, deviceId: "d/1" }), undefined, "an id with a slash is none");
});

Deno.test("item: an empty value in an index is refused, for DynamoDB would refuse the item", () => {
  const indexed = compileSchema(schemaOf({ gs1pk: { type: String, value: "${note}" }, note: { type: String } }));
  const write = (note: Json) => completeItem(indexed, indexed.models.get("M")!, { id: "1", note }, identity);
  assert.throws(() => write(""), /gs1pk of M is empty, which its index "gs1"/);
  assert.equal(write("x").gs1pk, "x");
  assert.equal(write(null).gs1pk, undefined);
});

Deno.test("item: nulls of fields that don't keep them and device-only attributes stay out of the table", () => {
  const item = completeItem(schema, m, { nm: "a", n: 1, note: null, kept: null, secret: "s" }, identity);
  assert.deepEqual([Object.hasOwn(item, "note"), item.kept, Object.hasOwn(item, "secret")], [false, null, false]);
  assert.equal(stripItem(schema, m, { ...item, secret: "raw" }).secret, undefined);
});

Deno.test("item: a version needs a source and a sane stamp", () => {
  assert.deepEqual(versionOf({ _source: "d#1", _stamp: 5 }), ["d#1", 5]);
  for (
    const item of [{}, { _source: "d#1" }, { _source: "", _stamp: 1 }, { _source: "d", _stamp: "1" }, {
      _source: "d",
      _stamp: 1.5,
    }]
  ) {
    assert.equal(versionOf(item as Attributes), undefined);
  }
});

Deno.test("item: channels follow from scope and direction", () => {
  const item = completeItem(schema, m, { nm: "a", n: 1 }, identity);
  assert.equal(channelOf(m, item), "device:d1");
  assert.equal(channelOf(m, { ...item, deviceId: "no id" }), undefined);
  assert.deepEqual(channelsOf(schema, identity), ["device:d1"]);
  assert.deepEqual(channelsOf(compileSchema(schemaOf({}, { sync: "up" })), identity), []);
  const mapped = compileSchema(schemaOf({
    accountId: { type: String, map: "acct" },
    pk: { type: String, value: "m#${accountId}" },
    deviceId: { type: String },
  }));
  assert.equal(channelOf(mapped.models.get("M")!, { acct: "a1" }), "account:a1");
  assert.deepEqual(channelsOf(mapped, identity), ["account:a1"]);
});

Deno.test("item: ids are 1 to 128 of the letters that topics and keys allow", () => {
  for (const ok of ["a", "A-1_b.c:d", "x".repeat(128)]) checkId("device", ok);
  for (const wrong of ["", "a b", "a/b", "a#", "+", "é", "x".repeat(129)]) {
    assert.throws(() => checkId("device", wrong), RangeError);
  }
});

Deno.test("item: checkAttributes names the first thing that is wrong", () => {
  const typed = compileSchema(schemaOf({
    s: { type: String, enum: ["a", "b"] },
    v: { type: String, validate: "/^[a-z]+$/i" },
    n: { type: Number },
    b: { type: Boolean },
    iso: { type: Date, isoDates: true },
    ms: { type: Date },
    ttl: { type: Date, ttl: true },
    o: { type: Object, schema: { x: { type: Number, required: true }, y: { type: "date", isoDates: true } } },
    l: { type: Array, items: { type: String } },
    set: { type: Set, items: { type: Number } },
    bin: { type: "binary" },
    req: { type: String, required: true },
  }));
  const model = typed.models.get("M")!;
  const base = { id: "1", req: "r" };
  const check = (attributes: Attributes) => checkAttributes(model, { ...base, ...attributes });
  assert.equal(check({}), undefined);
  const good: Attributes = {
    s: "a",
    v: "Abc",
    n: { $n: "12345678901234567890" },
    b: true,
    iso: "2026-01-01T00:00:00.000Z",
    ms: 1,
    ttl: 2,
    o: { x: 1, y: "2026-01-01T00:00:00.000Z", z: "unknown" },
    l: ["a", null],
    set: { $ns: ["1", "2.5"] },
    bin: "AQI=",
    unknown: [{ anything: null }],
    n2: null,
  };
  assert.equal(check(good), undefined);
  assert.equal(check({ bin: { $b: "AQI=" } }), undefined);
  const wrong: [Attributes, RegExp][] = [
    [{ req: null }, /^req is required and missing$/],
    [{ id: null }, /^id is required/],
    [{ deviceId: "d 1" }, /^deviceId "d 1" is not an id/],
    [{ s: "c" }, /^s is "c", which is none of a, b$/],
    [{ s: 1 }, /^s must be a string/],
    [{ s: "\ud800" }, /^s is not valid Unicode/],
    [{ v: "1" }, /does not match \/\^\[a-z\]\+\$\/i/],
    [{ n: "1" }, /^n is not a number/],
    [{ n: { $n: "1".repeat(39) } }, /^n has more than 38 digits/],
    [{ n: 1e200 }, /^n is beyond what DynamoDB holds/],
    [{ b: 1 }, /^b must be true or false/],
    [{ iso: 1 }, /^iso must be an ISO date/],
    [{ ms: "2026-01-01" }, /^ms must be a time in milliseconds/],
    [{ ttl: 1.5 }, /^ttl must be a time in seconds/],
    [{ o: {} }, /^o \.x is required/],
    [{ o: { x: 1, y: 5 } }, /^o \.y must be an ISO date/],
    [{ o: [1] }, /^o must be a map/],
    [{ o: { $n: "1" } }, /^o must be a map/],
    [{ l: ["a", 1] }, /^l \[1\] must be a string/],
    [{ l: {} }, /^l must be a list/],
    [{ set: { $ss: ["1"] } }, /^set must be a set of type number/],
    [{ set: { $ns: [] } }, /^set must be a set that is not empty/],
    [{ bin: "?" }, /^bin must be binary/],
    [{ unknown: JSON.parse("[".repeat(40) + "]".repeat(40)) }, /^unknown is nested deeper than 32/],
  ];
  for (const [attributes, says] of wrong) assert.match(check(attributes) ?? "accepted", says);
});
