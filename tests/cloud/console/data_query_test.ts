import assert from "node:assert/strict";
import { dataHref, dataViewOf, fitting, type Operator } from "../../../cloud/console/pages/data_query.ts";
import { schema as exampleSchema } from "../../../examples/schema.ts";
import { compileSchema } from "../../../schema.ts";

const model = compileSchema(exampleSchema).models.get("Setting")!;
const big = "12345678901234567890123456789012345678", bigger = "12345678901234567890123456789012345679";
const items = [{ name: "a", value: 1 }, { name: "b", value: 15.5 }, { name: "c", value: big }, { name: "d" }, {
  name: "e",
  value: null,
}];

/** The names of the items that fit. */
const found = (field: string, op: Operator, text: string) =>
  items.filter(fitting(model, [{ field, op, text }]) as (item: object) => boolean).map(({ name }) => name).join("");

Deno.test("data: a filter compares all digits of a number, and never takes null or absent for one", () => {
  assert.equal(found("value", "eq", big), "c");
  assert.equal(found("value", "eq", bigger), "", "a double would not tell them apart");
  assert.equal(found("value", "gt", big), "");
  assert.equal(found("value", "lt", bigger), "abc");
  assert.equal(found("value", "lt", "2"), "a");
  assert.equal(found("value", "null", ""), "e");
  assert.equal(found("value", "absent", ""), "d");
});

Deno.test("data: between includes both ends; it wants two values, and says so", () => {
  assert.equal(found("value", "between", "1..15.5"), "ab");
  assert.equal(found("value", "between", `15.6..${big}`), "c");
  assert.equal(found("name", "between", "b..d"), "bcd");
  for (const text of ["", "1", "1..", "..2", "1..2..3"]) {
    assert.throws(() => found("value", "between", text), /between wants two values: 10\.\.20/, text);
  }
  assert.throws(() => found("value", "between", "1..x"), /"x" is not a number/);
  const view = dataViewOf(new URLSearchParams("field=value&op=between&text=1..15.5"));
  assert.equal(dataHref("Setting", view), "/data/Setting?f=value%3Abetween%3A1..15.5");
});
