/** Values of a former type: what means one of the new type becomes it exactly, and nothing else does. */
import assert from "node:assert/strict";
import { recast } from "../../../agent/migration/recast.ts";
import type { SqlValue } from "../../../agent/sqlite/driver.ts";
import { compiled } from "../store_fixture.ts";

const fields = new Map(compiled.models.get("Thing")!.fields.map((field) => [field.name, field]));
const as = (name: string, value: SqlValue) => recast(fields.get(name)!, value);

Deno.test("recast: a decimal text becomes a number, all of its digits kept", () => {
  assert.equal(as("count", "12.50"), 12.5);
  assert.equal(as("count", "-3"), -3);
  const long = "12345678901234567890.123";
  assert.equal(String(as("count", long)), long, "a double would round it");
  assert.throws(() => as("count", "twelve"), RangeError);
});

Deno.test("recast: numbers, booleans and bytes become the text that they are", () => {
  assert.equal(as("text", 9007199254740993n), "9007199254740993");
  assert.equal(as("text", 0.1), "0.1");
  assert.equal(as("text", new Uint8Array([0, 255])), "AP8=");
  assert.equal(as("flag", "true"), 1);
  assert.throws(() => as("flag", "yes"), RangeError);
});
