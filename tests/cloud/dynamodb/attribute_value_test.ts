/** Tagged JSON to attribute values and back. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fromAttributeValue, toAttributeValue, toAttributeValues } from "../../../cloud/dynamodb/attribute_value.ts";
import { canonicalJson, escape, type Json } from "../../../schema.ts";
import { bytesToBase64 } from "../../../schema/values.ts";

/** Decimal texts of up to 38 digits with a point somewhere, as DynamoDB holds them. */
const decimal = fc.tuple(fc.boolean(), fc.bigInt(0n, 10n ** 38n - 1n), fc.integer({ min: -80, max: 80 })).map(
  ([negative, digits, exponent]) => `${negative && digits > 0n ? "-" : ""}${digits}E${exponent}`,
);
const text = fc.string({ unit: "binary", maxLength: 8 }).filter((one) => one.isWellFormed());
const base64 = fc.uint8Array({ maxLength: 6 }).map(bytesToBase64);
const members = <T>(one: fc.Arbitrary<T>) => fc.uniqueArray(one, { minLength: 1, maxLength: 4 });

/** Any value that a table can hold, as attribute value and thus of every kind. */
const { json } = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small" },
    fc.constant(null),
    fc.boolean(),
    text,
    fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e120, max: 1e120 }).filter((n) =>
      n === 0 || Math.abs(n) > 1e-120
    ).map((n) => n === 0 ? 0 : n),
    decimal.map((one) => fromAttributeValue({ N: one })),
    base64.map(($b): Json => ({ $b })),
    members(text).map(($ss): Json => ({ $ss })),
    members(fc.integer()).map((list): Json => ({ $ns: list.map(String) })),
    members(base64).map(($bs): Json => ({ $bs })),
    fc.array(tie("json"), { maxLength: 3 }),
    fc.dictionary(
      fc.oneof(text.filter((name) => name !== ""), fc.constantFrom("$n", "$m", "$b", "__proto__")),
      tie("json"),
      {
        maxKeys: 3,
        noNullPrototype: true,
      },
    ).map(escape),
  ),
}));

Deno.test("attribute values: every value comes back as it was", () => {
  fc.assert(fc.property(json, (value) => {
    const back = fromAttributeValue(toAttributeValue(value));
    assert.equal(canonicalJson(back), canonicalJson(value));
  }));
});

Deno.test("attribute values: the JSON form of stream events, with binaries in base64, reads the same", () => {
  fc.assert(fc.property(json, (value) => {
    const attributeValue = toAttributeValue(value);
    const event = JSON.parse(
      JSON.stringify(attributeValue, (_, part) => part instanceof Uint8Array ? bytesToBase64(part) : part),
    );
    assert.deepEqual(fromAttributeValue(event), fromAttributeValue(attributeValue));
  }));
});

Deno.test("attribute values: numbers keep their 38 digits", () => {
  const digits = "12345678901234567890123456789012345678";
  assert.deepEqual(toAttributeValue({ $n: digits }), { N: digits });
  assert.deepEqual(fromAttributeValue({ N: digits }), { $n: digits });
  assert.deepEqual(fromAttributeValue({ N: "1.50" }), 1.5);
  assert.deepEqual(fromAttributeValue({ N: "0.1" }), 0.1);
  assert.deepEqual(fromAttributeValue({ N: "9007199254740993" }), { $n: "9007199254740993" });
});

Deno.test("attribute values: a map with a single $ key is a map", () => {
  assert.deepEqual(toAttributeValue({ $m: { $n: "x" } }), { M: { $n: { S: "x" } } });
  assert.deepEqual(fromAttributeValue({ M: { $n: { S: "x" } } }), { $m: { $n: "x" } });
  assert.deepEqual(fromAttributeValue({ M: { $n: { S: "x" }, y: { NULL: true } } }), { $n: "x", y: null });
});

Deno.test("attribute values: what DynamoDB can't hold is refused with the reason and the attribute's name", () => {
  let deep: Json = 1;
  for (let i = 0; i < 33; i++) deep = [deep];
  const refused: [Json, RegExp][] = [
    [{ $n: "123456789012345678901234567890123456789" }, /more than 38 digits/],
    [{ $n: "1e126" }, /beyond what DynamoDB holds/],
    [{ $n: "x" }, /not a number/],
    [Infinity, /not a number/],
    [{ $ss: [] }, /set is empty/],
    [{ $ns: ["x"] }, /not a number/],
    [{ $bs: ["!"] }, /not base64/],
    [{ $b: "x" }, /not base64/],
    [{ $m: 1 }, /holds no map/],
    [[{ "": 1 }], /empty name/],
    [deep, /deeper than 32 levels/],
  ];
  for (const [value, message] of refused) {
    assert.throws(() => toAttributeValues({ a: value }), (error: Error) => {
      assert.ok(error instanceof RangeError);
      assert.match(error.message, /^the attribute "a" can't be stored: /);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.throws(() => fromAttributeValue({ X: 1 } as never), /unknown kind/);
});

Deno.test("attribute values: a set reads the same in whatever order DynamoDB gives its members", () => {
  assert.deepEqual(fromAttributeValue({ SS: ["b", "ü", "a"] }), { $ss: ["a", "b", "ü"] });
  assert.deepEqual(fromAttributeValue({ NS: ["10", "9", "1.0"] }), { $ns: ["1", "10", "9"] });
  const [one, two] = [new Uint8Array([2]), new Uint8Array([1])];
  assert.deepEqual(fromAttributeValue({ BS: [one, two] }), { $bs: ["AQ==", "Ag=="] });
});
