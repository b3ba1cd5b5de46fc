/**
 * The examples of docs/schema.md: each compiles, and those that are shown as refused are, with the sentence beside them.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import JSON5 from "json5";
import { compileSchema, SchemaError } from "../../schema.ts";

const page = readFileSync(new URL("../../docs/schema.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/^```(json5|refused)\n([\s\S]*?)\n```$/gm)].map(([whole, kind, text]) => ({
  kind,
  text: text!,
  line: page.slice(0, page.indexOf(whole)).split("\n").length,
}));

/** A part of a schema, with the head and the key fields that the page's first example has. */
function complete(part: Record<string, unknown>): Record<string, unknown> {
  const models = part.models as Record<string, Record<string, unknown>>;
  const whole = Object.fromEntries(
    Object.entries(models).map(([name, fields]) => {
      if (fields.pk) return [name, fields];
      const id = fields.id ? "id" : "name";
      return [name, {
        pk: { type: "string", value: "device#${deviceId}" },
        sk: { type: "string", value: `${name.toLowerCase()}#\${${id}}` },
        deviceId: { type: "string", required: true },
        ...fields,
      }];
    }),
  );
  return { version: "1.0.0", indexes: { primary: { hash: "pk", sort: "sk" } }, ...part, models: whole };
}

Deno.test("schema.md: each example compiles, without a warning", () => {
  const compiled = blocks.filter(({ kind }) => kind === "json5");
  assert.ok(compiled.length >= 6);
  for (const { text, line } of compiled) {
    const schema = compileSchema(complete(JSON5.parse(text)));
    assert.deepEqual(schema.warnings, [], `line ${line}`);
  }
});

Deno.test("schema.md: each refused example is, for the reason that is given", () => {
  const refused = blocks.filter(({ kind }) => kind === "refused");
  assert.ok(refused.length >= 5);
  for (const { text, line } of refused) {
    const reason = text.split("\n").at(-1)!.replace(/^\/\/ /, "");
    assert.throws(() => compileSchema(complete(JSON5.parse(text))), (error) => {
      assert.ok(
        error instanceof SchemaError && error.message.includes(reason),
        `line ${line}: ${(error as Error).message}`,
      );
      return true;
    });
  }
});

Deno.test("schema.md: what a field, the params and process can have is all told", () => {
  const source = (file: string) => readFileSync(new URL(`../../schema/${file}`, import.meta.url), "utf8");
  const listed = (text: string, name: string) =>
    [...new RegExp(`const ${name} = \\[([^\\]]*)\\]`).exec(text)![1]!.matchAll(/"(\w+)"/g)].map(([, word]) => word!);
  const words = [...listed(source("fields.ts"), "supported"), ...listed(source("settings.ts"), "paramNames")];
  const left = words.filter((word) => !page.includes(`\`${word}`) && !page.includes(`${word}:`));
  // OneTable's older spelling of `generate`, and a param that is refused unless it is off.
  assert.deepEqual(left.filter((word) => !["uuid", "legacyEmpties"].includes(word)), []);
});
