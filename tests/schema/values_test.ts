import assert from "node:assert/strict";
import fc from "fast-check";
import {
  base64ToBytes,
  binaryToJson,
  canonicalDecimal,
  canonicalJson,
  digest,
  escape,
  isTagged,
  type Json,
  jsonEquals,
  jsonToBinary,
  jsonToNumberText,
  keyNumberText,
  numberToJson,
  parseJson,
  parsePlain,
  unescape,
} from "../../schema.ts";

Deno.test("values: a decimal text becomes a JSON number only if it comes back as the same decimal", () => {
  assert.equal(numberToJson("0.10"), 0.1);
  assert.equal(numberToJson("-12e3"), -12000);
  assert.equal(numberToJson("-0"), 0);
  assert.equal(numberToJson("9007199254740992"), 9007199254740992);
  assert.deepEqual(numberToJson("9007199254740993"), { $n: "9007199254740993" });
  // 2^60 fits a double bit by bit, but prints as another decimal.
  assert.deepEqual(numberToJson("1152921504606846976"), { $n: "1152921504606846976" });
  assert.deepEqual(numberToJson("1.50000000000000000000000000000000000010"), {
    $n: "1.5000000000000000000000000000000000001",
  });
  assert.equal(numberToJson("1e999999") instanceof Object, true);
  for (const wrong of ["", ".", "-", "1e", "0x1", "1 ", "Infinity", "1,5"]) {
    assert.throws(() => numberToJson(wrong), RangeError, wrong);
  }
});

Deno.test("values: canonical decimals are one spelling for one number", () => {
  const same = [["1", "01", "+1", "1.0", "10e-1", "0.1e1"], ["0", "-0", "0e9", ".0", "0."], ["1e-9", "0.000000001"]];
  for (const spellings of same) {
    assert.deepEqual(new Set(spellings.map(canonicalDecimal)).size, 1, spellings.join());
  }
  assert.equal(canonicalDecimal("123e30"), "123" + "0".repeat(30));
  assert.equal(canonicalDecimal("1e100"), "1e100");
  assert.equal(canonicalDecimal("-0.00012"), "-0.00012");
});

Deno.test("values: any decimal survives the way to JSON and back", () => {
  const digits = fc.stringMatching(/^[0-9]{1,38}$/);
  fc.assert(fc.property(digits, fc.stringMatching(/^[0-9]{0,20}$/), fc.integer({ min: -40, max: 40 }), (a, b, e) => {
    const text = `-${a}${b && "." + b}e${e}`;
    const json = parseJson(JSON.stringify(numberToJson(text)));
    assert.equal(jsonToNumberText(json), canonicalDecimal(text));
    // As a bare number in a JSON text, too.
    assert.equal(jsonToNumberText(parseJson(text.replace(/^-0+(?=\d)/, "-"))), canonicalDecimal(text));
  }));
});

Deno.test("values: reading JSON keeps the digits that a double would lose", () => {
  assert.deepEqual(
    parseJson('{"a": 12345678901234567890, "b": [1.0, 12345678.1234567], "c": "12345678901234567890"}'),
    {
      a: { $n: "12345678901234567890" },
      b: [1, 12345678.1234567],
      c: "12345678901234567890",
    },
  );
  assert.deepEqual(parseJson("1e400"), { $n: "1e400" });
  assert.deepEqual(parseJson("123456789.1234567891"), { $n: "123456789.1234567891" });
  assert.equal(parsePlain("12345678901234567890"), "12345678901234567890");
  assert.equal(parsePlain("1234567890123456"), 1234567890123456);
  assert.throws(() => parseJson("{"), SyntaxError);
});

Deno.test("values: only 64-bit whole numbers stand in a key", () => {
  assert.equal(keyNumberText(7), "7");
  assert.equal(keyNumberText(-0), "0");
  assert.equal(keyNumberText({ $n: "9223372036854775807" }), "9223372036854775807");
  for (const wrong of [7.5, { $n: "9223372036854775808" }, 1e21, NaN, { $n: "1.5" }, true, [1]] as Json[]) {
    assert.equal(keyNumberText(wrong), undefined, JSON.stringify(wrong));
  }
});

const json = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.jsonValue({ maxDepth: 0 }) as fc.Arbitrary<Json>,
    fc.array(tie("json"), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.constantFrom("$n", "$m", "$ss", "__proto__", "a"), fc.string()), tie("json"), {
      maxKeys: 4,
    }),
  ),
})).json;

Deno.test("values: equal values have equal canonical texts and digests, others have not", () => {
  fc.assert(fc.property(json, json, (a, b) => {
    const copy = JSON.parse(JSON.stringify(a));
    assert.ok(jsonEquals(a, copy) && canonicalJson(a) === canonicalJson(copy));
    assert.equal(jsonEquals(a, b), canonicalJson(a) === canonicalJson(b));
  }));
  assert.equal(digest({ a: 1, b: { $ss: ["x", "y"] } }), digest({ b: { $ss: ["y", "x"] }, a: 1 }));
  assert.notEqual(digest({ a: ["x", "y"] }), digest({ a: ["y", "x"] }));
  assert.match(digest({}), /^[0-9a-f]{16}$/);
});

Deno.test("values: a map that looks like a tag is wrapped and comes back", () => {
  const maps: { [key: string]: Json }[] = [{ $n: "1" }, { $b: "" }, { $x: 1 }, { $m: { $m: 1 } }];
  for (const map of maps) {
    const escaped = escape(map);
    assert.ok(isTagged(escaped, "$m"));
    assert.deepEqual(unescape(escaped), map);
  }
  assert.deepEqual(escape({ a: 1 }), { a: 1 });
  assert.deepEqual(escape({ $a: 1, $b: 2 }), { $a: 1, $b: 2 });
  assert.equal(unescape({ $n: "1" }), undefined);
  assert.equal(unescape([]), undefined);
});

Deno.test("values: bytes survive base64, and only its one spelling is taken", () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => {
    assert.deepEqual(jsonToBinary(binaryToJson(bytes)), new Uint8Array(bytes));
  }));
  assert.equal(base64ToBytes("AQ"), undefined);
  assert.equal(base64ToBytes("no base64!"), undefined);
});
