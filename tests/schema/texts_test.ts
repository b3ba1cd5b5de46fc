/** A NUL, or half a surrogate pair, anywhere in a schema: refused by name, for it becomes SQL on the device. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { memoryStore } from "../agent/store_fixture.ts";
import { compileSchema, type Schema, SchemaError } from "../../schema.ts";

/** As an agent makes it at its start. */
const makesTable = (schema: Schema) => memoryStore({ schema }).close();

const base = (field: object, more: object = {}) => ({
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    M: {
      pk: { type: "string", value: "d#${deviceId}" },
      sk: { type: "string", value: "m#${id}" },
      deviceId: { type: "string" },
      id: { type: "string", required: true },
      f: field,
    },
  },
  process: { M: { sync: "both" } },
  ...more,
});

Deno.test("schema: a NUL or half a surrogate pair is refused by its place, wherever it stands", () => {
  for (const bad of ["a\0b", "\0", "a\ud800", "\udc00b"]) {
    const schemas: Record<string, unknown> = {
      default: base({ type: "string", default: bad }),
      "default of an array": base({ type: "array", default: ["x", bad] }),
      "default of a map": base({ type: "object", default: { a: { b: bad } } }),
      "a name in a default": base({ type: "object", default: { [bad]: 1 } }),
      enum: base({ type: "string", enum: ["x", bad] }),
      "nested enum": base({ type: "object", schema: { a: { type: "string", enum: [bad] } } }),
      template: base({ type: "string", value: `x${bad}\${id}` }),
      padding: base({ type: "string", value: `\${id:4:${bad.slice(0, 1)}}${bad}` }),
      scope: base({ type: "string", unique: true, scope: `\${deviceId}${bad}` }),
      separator: base({ type: "string" }, { params: { separator: bad } }),
      version: base({ type: "string" }, { version: bad }),
      index: base({ type: "string" }, { indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: bad } } }),
    };
    for (const [what, schema] of Object.entries(schemas)) {
      assert.throws(
        () => compileSchema(schema),
        (error) => error instanceof SchemaError && /NUL character|surrogate/.test(error.message),
        `${what} of ${JSON.stringify(bad)}`,
      );
    }
  }
});

Deno.test("schema: any other text in a default, an enum or a template makes a table", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 8 }), (text) => {
      if (text.includes("\0") || !text.isWellFormed() || text.includes("${")) return;
      makesTable(compileSchema(base({ type: "string", default: text })));
      makesTable(compileSchema(base({ type: "string", enum: [text, "x"], default: text })));
      makesTable(compileSchema(base({ type: "string", value: `a${text}\${id}` })));
    }),
    { numRuns: 150 },
  );
});

Deno.test("schema: a back reference in validate is refused with the reason; a NUL in an expression is none of SQL's", () => {
  assert.throws(() => compileSchema(base({ type: "string", validate: "/(a)\\1/" })), /M.*back reference/s);
  makesTable(compileSchema(base({ type: "string", validate: "/^[^\0]+$/" })));
});
