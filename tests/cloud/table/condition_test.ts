import assert from "node:assert/strict";
import fc from "fast-check";
import { compareDecimals } from "../../../schema/numbers.ts";
import { all, any, compareText, evaluate, exists, greater, less } from "../../../cloud/table/condition.ts";

Deno.test("condition: texts compare as their UTF-8 bytes do", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (a, b) => {
    const bytes = Buffer.compare(Buffer.from(a), Buffer.from(b));
    assert.equal(Math.sign(compareText(a, b)), bytes);
  }));
  assert.ok(compareText("\ufffd", "\u{1f600}") < 0, "UTF-16 order would be the other way");
});

Deno.test("condition: decimals compare exactly, whatever a double makes of them", () => {
  fc.assert(fc.property(fc.bigInt(), fc.bigInt(), fc.nat(40), (a, b, places) => {
    const expected = a < b ? -1 : a > b ? 1 : 0;
    assert.equal(Math.sign(compareDecimals(`${a}e-${places}`, `${b}e-${places}`)!), expected);
  }));
  const equal = [["1", "1.0"], ["0.001", "1e-3"], ["-0", "0"], ["100", "1E+2"], [".5", "0.50"]];
  for (const [a, b] of equal) assert.equal(compareDecimals(a!, b!), 0, `${a} = ${b}`);
  assert.ok(compareDecimals("12345678901234567890", "12345678901234567891")! < 0);
  assert.equal(compareDecimals("1x", "1"), undefined);
});

Deno.test("condition: a name that every object has is no attribute", () => {
  assert.equal(evaluate({ kind: "has", attribute: "constructor" }, {}), false);
  assert.equal(evaluate(greater("__proto__", ""), {}), false);
});

Deno.test("condition: all and any want parts, and one part is itself", () => {
  assert.throws(() => all(), RangeError);
  assert.throws(() => any(), RangeError);
  assert.equal(all(exists), exists);
  assert.equal(evaluate(any(less("n", 1), greater("n", 3)), { n: 2 }), false);
});
