/** A key attribute has one type in the whole table, and both worker and handler refuse a schema that says otherwise. */
import assert from "node:assert/strict";
import { dataShape, keyAttribute, keyProblem, toKey } from "../../../cloud/dynamodb/keys.ts";
import { compileSchema } from "../../../schema/compile.ts";

/** Two models that fill the second index's attributes, each in its own way. */
function sharing(one: Record<string, unknown>, other: Record<string, unknown>) {
  const model = (name: string, field: Record<string, unknown>) => ({
    pk: { type: String, value: "device#${deviceId}" },
    sk: { type: String, value: `${name}#\${id}` },
    deviceId: { type: String, required: true },
    id: { type: String, required: true },
    ...field,
  });
  return compileSchema({
    format: "onetable:1.1.0",
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" } },
    models: { One: model("one", one), Other: model("other", other) },
    process: { One: { sync: "both" }, Other: { sync: "both" } },
    // deno-lint-ignore no-explicit-any
  } as any);
}

for (
  const [kind, one, other] of [
    ["a number and a text", { at: { type: Number, map: "gs1sk" } }, { name: { type: String, map: "gs1sk" } }],
    ["a number and a template", { gs1sk: { type: Number } }, { gs1sk: { type: String, value: "x#${id}" } }],
    ["a date in milliseconds and an ISO date", { gs1sk: { type: Date, isoDates: false } }, {
      gs1sk: { type: Date, isoDates: true },
    }],
  ] as const
) {
  Deno.test(`key types: ${kind} in one key attribute are refused, with both fields named`, () => {
    assert.throws(() => dataShape(sharing(one, other), "fleet"), (error: Error & { code?: string }) => {
      assert.equal(error.code, "invalid");
      assert.match(
        error.message,
        /"gs1sk" is a number in One\.\w+ and a text in Other\.\w+: a DynamoDB table has one type/,
      );
      return true;
    });
    assert.throws(() => dataShape(sharing(other, one), "fleet"), { code: "invalid" });
    // The embedded table takes both: the schema compiles, and says that DynamoDB will not.
    assert.match(sharing(one, other).warnings.join("\n"), /"gs1sk" is a number in One/);
  });
}

Deno.test("key types: one type in all models is the index's; what is no number finds nothing in an index of numbers", () => {
  const shape = dataShape(sharing({ at: { type: Number, map: "gs1sk" } }, { gs1sk: { type: Number } }), "fleet");
  assert.equal(shape.keyTypes.get("gs1sk"), "N");
  assert.deepEqual(keyAttribute(shape, "gs1sk", "12345678901234567890"), { N: "12345678901234567890" });
  for (const text of ["", "twelve", "1e999", "NaN", "1".repeat(39)]) {
    assert.equal(keyAttribute(shape, "gs1sk", text), undefined, text.slice(0, 10));
  }
  assert.deepEqual(keyAttribute(shape, "gs1pk", "12"), { S: "12" });
});

Deno.test("keys: a table without a sort key has no item with a sort value", () => {
  const shape = { name: "t", primary: { name: "primary", hash: "id" }, indexes: [], keyTypes: new Map() };
  assert.equal(keyProblem(shape, ["a", ""]), undefined);
  assert.match(keyProblem(shape, ["a", "b"])!, /no sort key/);
  assert.deepEqual(toKey(shape, ["a", ""]), { id: { S: "a" } });
});
