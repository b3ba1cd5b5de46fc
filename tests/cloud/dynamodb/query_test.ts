/** The parts of a query: its sort condition, its page tokens. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { dataShape } from "../../../cloud/dynamodb/keys.ts";
import { decodeToken, encodeToken } from "../../../cloud/dynamodb/page_token.ts";
import { sortCondition } from "../../../cloud/dynamodb/sort_condition.ts";
import { schema, thing } from "./fixture.ts";

const shape = dataShape(schema, "fleet");
const condition = (sortPrefix?: string, sortAfter?: string) =>
  sortCondition(shape, schema.primary, { index: "primary", hash: "h", sortPrefix, sortAfter, limit: 1 });

Deno.test("query: a prefix together with a lower bound is a range without the bound itself", () => {
  const both = condition("thing#", "thing#b");
  assert.ok(both !== undefined && both !== "nothing");
  assert.equal(both.expression, "#s BETWEEN :s AND :e");
  assert.equal(both.excludes(thing("b")), true, "BETWEEN includes its ends");
  assert.equal(both.excludes(thing("c")), false);
  assert.ok(both.values[":e"]!.S! > "thing#\u{10FFFE}");
});

Deno.test("query: a bound that no value with the prefix is behind finds nothing, one before them all says nothing", () => {
  assert.equal(condition("thing#", "u"), "nothing");
  const { expression, values } = condition("thing#", "a") as { expression: string; values: unknown };
  assert.deepEqual([expression, values], ["begins_with(#s,:s)", { ":s": { S: "thing#" } }]);
  assert.equal(condition(), undefined);
});

Deno.test("query: a page token comes back as the key that it was made of, and anything else is refused", () => {
  const key = { pk: { S: "device#d1" }, sk: { S: "thing#ü" }, n: { N: "12345678901234567890" } };
  assert.deepEqual(decodeToken(encodeToken(key)), key);
  const made = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const foreign = [
    "",
    "x",
    "%",
    made({}),
    made([]),
    made(null),
    made("text"),
    made({ pk: { $n: "x" } }),
    "A".repeat(30_000),
  ];
  for (const token of foreign) {
    assert.throws(() => decodeToken(token), { code: "invalid" }, token.slice(0, 20));
  }
});
