/** Conditions as expressions: their text and their limits. Their meaning is compared on real tables (`tables_test.ts`). */
import assert from "node:assert/strict";
import { absent, all, any, atMost, beginsWith, equals, exists, less, not } from "../../../cloud/table/condition.ts";
import { compileCondition } from "../../../cloud/dynamodb/expression.ts";
import type { Condition } from "../../../cloud/table/port.ts";

Deno.test("expression: names and values are placeholders, each name once", () => {
  const condition = any(absent, all(less("_stamp", 5), not(equals("a b", "x")), atMost("_stamp", 9)));
  assert.deepEqual(compileCondition(condition, "pk"), {
    ConditionExpression: "(attribute_not_exists(#0) OR (#1<:0 AND (NOT #2=:1) AND #1<=:2))",
    ExpressionAttributeNames: { "#0": "pk", "#1": "_stamp", "#2": "a b" },
    ExpressionAttributeValues: { ":0": { N: "5" }, ":1": { S: "x" }, ":2": { N: "9" } },
  });
});

Deno.test("expression: a condition without values has none, as DynamoDB refuses an empty map", () => {
  assert.deepEqual(Object.keys(compileCondition(exists, "pk")!), ["ConditionExpression", "ExpressionAttributeNames"]);
});

Deno.test("expression: an empty prefix asks for a text", () => {
  assert.equal(compileCondition(beginsWith("a", ""), "pk")!.ConditionExpression, "attribute_type(#0,:0)");
});

Deno.test("expression: a value that no item can hold compares with nothing, and leaves no placeholder behind", () => {
  const { ExpressionAttributeNames: names, ExpressionAttributeValues: values } = compileCondition(
    equals("a", { $ss: [] }),
    "pk",
  )!;
  assert.deepEqual(names, { "#0": "pk" });
  assert.equal(values, undefined);
});

Deno.test("expression: 150 comparisons fit, 151 are beyond 300 operators, and long ones beyond 4 KB", () => {
  const wide = (n: number): Condition => all(...Array.from({ length: n }, (_, i) => equals(`a${i}`, i)));
  assert.ok(compileCondition(wide(150), "pk"));
  assert.equal(compileCondition(wide(151), "pk"), undefined);
  const functions = (n: number): Condition =>
    all(...Array.from({ length: n }, (_, i): Condition => ({ kind: "lacks", attribute: `a${i}` })));
  // Each takes `attribute_not_exists(#xx) AND `: 30 characters.
  assert.ok(compileCondition(functions(130), "pk"));
  assert.equal(compileCondition(functions(145), "pk"), undefined);
});
