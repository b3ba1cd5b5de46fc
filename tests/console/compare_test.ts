/** Versions side by side, groups by reason, AWS's line: without a browser. */
import assert from "node:assert/strict";
import { compare } from "../../cloud/console/compare.ts";
import { groupKey, reasonOf } from "../../cloud/console/kept.ts";
import { awsLine } from "../../cloud/console/lines.ts";
import { fromAttributeValues } from "../../cloud/dynamodb/attribute_value.ts";
import { compileSchema } from "../../schema.ts";

const schema = compileSchema({
  format: "onetable:1.1.0",
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Note: {
      pk: { type: "string", value: "d#${deviceId}" },
      sk: { type: "string", value: "note#${id}" },
      deviceId: { type: "string", required: true },
      id: { type: "string", required: true },
      at: { type: "date" },
      map: { type: "object" },
      text: { type: "string" },
      big: { type: "number" },
      tags: { type: "set" },
      bytes: { type: "binary" },
      updated: { type: "date" },
    },
  },
  params: { isoDates: true, timestamps: "update", typeField: "_type" },
});
const note = schema.models.get("Note")!;

Deno.test("compare: what differs, what says the same in other words, what is nobody's difference", () => {
  const a = {
    deviceId: "d-1",
    id: "1",
    at: "2026-01-01T00:00:00Z",
    map: { x: 1, y: [2] },
    text: "a",
    updated: "2026-01-01T00:00:00Z",
  };
  const b = {
    ...a,
    deviceId: "d-2",
    at: "2026-01-01T00:00:00.000Z",
    map: { y: [2], x: 1 },
    text: "b",
    updated: "2026-02-01T00:00:00Z",
    odd: 5,
  };
  assert.deepEqual(compare(note, [a, b]), {
    differing: ["text", "odd"],
    unmarked: ["updated"],
    equal: ["id", "at", "map"],
  });
  assert.deepEqual(compare(note, [a, undefined, a]).differing, []);
  assert.deepEqual(compare(note, [{ ...a, text: null }, { id: "1" }]).differing, ["at", "map"], "null is as absent");
  // A single version has nothing to differ from: all of it is shown.
  assert.deepEqual(compare(note, [a, null]), {
    differing: [],
    unmarked: ["id", "at", "map", "text", "updated"],
    equal: [],
  });
  assert.deepEqual(compare(undefined, [{ x: 1 }, { x: 2 }]).differing, ["x"]);
});

Deno.test("groups: by model, code and reason, whatever values the reason quotes", () => {
  const row = { model: "Note", why: "invalid", reason: 'text is "a \\" b", which is none of x, y' };
  assert.equal(reasonOf(row.reason), "text is “…”, which is none of x, y");
  assert.equal(groupKey(row), groupKey({ ...row, reason: 'text is "", which is none of x, y' }));
  for (const other of [{ model: "Other" }, { why: "too-large" }, { reason: "text must be at most 16" }]) {
    assert.notEqual(groupKey(row), groupKey({ ...row, ...other }));
  }
  assert.notEqual(groupKey({ ...row, reason: "at most 16" }), groupKey({ ...row, reason: "at most 17" }));
});

Deno.test("lines: AWS's writes the item that the API would write, in one word of a shell, whatever it holds", async () => {
  const item = {
    deviceId: "d-1",
    id: 'it\'s $(touch x) `y` "z"',
    big: "12345678901234567890123456789012345678",
    tags: ["b", "a"],
    bytes: "AAEC",
    at: "2026-01-01T00:00:00.000Z",
  };
  const place = { table: "app-table", region: "eu-west-1", endpoint: "http://127.0.0.1:8000/?a b" };
  const line = awsLine(place, { schema, now: () => 0, random: () => 0 }, note, item);
  const script = `aws() { printf '%s\\0' "$@"; }; ${line}`;
  const { stdout, code } = await new Deno.Command("sh", { args: ["-c", script] }).output();
  assert.equal(code, 0);
  const words = new TextDecoder().decode(stdout).split("\0");
  assert.deepEqual(words.slice(0, -2), [
    "dynamodb",
    "put-item",
    "--table-name",
    "app-table",
    "--region",
    "eu-west-1",
    "--endpoint-url",
    place.endpoint,
    "--item",
  ]);
  const values = JSON.parse(words.at(-2)!);
  assert.deepEqual(fromAttributeValues(values), {
    _type: "Note",
    pk: "d#d-1",
    sk: `note#${item.id}`,
    deviceId: "d-1",
    id: item.id,
    at: item.at,
    big: { $n: item.big },
    tags: { $ss: ["a", "b"] },
    bytes: "AAEC",
    updated: "1970-01-01T00:00:00.000Z",
  });
  // What makes no item yet is said in the line's place, and runs nothing.
  assert.match(
    awsLine(place, { schema, now: () => 0, random: () => 0 }, note, { id: 5 }),
    /^# the Note item is refused/,
  );
});
