/**
 * Schema files of every shape: spoilt text, spoilt JSON, bytes that are no text, files that blend what is spoilt. A schema
 * comes out, or an error that names the file; nothing else. And schemas with names and texts of every kind.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { openStore } from "../../agent/store/store.ts";
import { compileSchema, loadSchema, type Schema, SchemaError, SyncError } from "../../schema.ts";
import { e2eSchema } from "../support/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { fuzzSeed, runs, type Spoil, spoil, spoiled } from "./mutate.ts";

/** Loads a file; fails where anything but a schema or a typed error comes out. */
async function loaded(path: string, content: string | Uint8Array): Promise<void> {
  if (typeof content === "string") Deno.writeTextFileSync(path, content);
  else Deno.writeFileSync(path, content);
  try {
    await loadSchema(path);
  } catch (error) {
    if (error instanceof SchemaError || (error instanceof SyncError && error.code === "schema-file")) return;
    throw new Error(`${error} came out of (FUZZ_SEED=${fuzzSeed}) ${String(content).slice(0, 2000)}`, { cause: error });
  }
}

const spoils = fc.array(spoil, { minLength: 1, maxLength: 5 });
/** A place in a text, and what stands there instead of some characters. */
const edit = fc.record({
  at: fc.nat(),
  cut: fc.nat({ max: 20 }),
  put: fc.oneof(
    fc.string({ unit: "binary", maxLength: 6 }),
    fc.constantFrom("{", "}", '"', "\\", "//", "/*", "NaN"),
  ),
});

Deno.test("fuzz: a schema file of any shape gives a schema or a typed error", async () => {
  using dir = new TempDir();
  const path = dir.file("schema.json5"), other = dir.file("other.json5"), text = JSON.stringify(e2eSchema, null, 1);
  await fc.assert(
    fc.asyncProperty(spoils, (list: Spoil[]) => loaded(path, JSON.stringify(spoiled(e2eSchema, list)) ?? "")),
    runs(300),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
      let whole = text;
      for (const { at, cut, put } of edits) {
        const from = at % whole.length;
        whole = whole.slice(0, from) + put + whole.slice(from + cut);
      }
      await loaded(path, whole);
    }),
    runs(300),
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), (bytes) => loaded(path, bytes)),
    runs(100),
  );
  await fc.assert(
    fc.asyncProperty(spoils, spoils, async (mine, theirs) => {
      Deno.writeTextFileSync(other, JSON.stringify(spoiled(e2eSchema, theirs)) ?? "");
      await loaded(path, JSON.stringify(spoiled({ blend: ["other.json5"], models: e2eSchema.models }, mine)) ?? "");
    }),
    runs(150),
  );
});

Deno.test("fuzz: a schema file that is nested without end is refused, not followed", async () => {
  using dir = new TempDir();
  for (const [open, close] of [["[", "]"], ['{"a":', "}"]] as const) {
    const deep = open.repeat(200_000) + "1" + close.repeat(200_000);
    await loaded(dir.file("schema.json"), deep);
    await loaded(dir.file("schema.json"), JSON.stringify(e2eSchema).replace('"Sample":', `"x":${deep},"Sample":`));
  }
});

/** Texts that a terminal, a page, SQL, a template or a table could stumble over. */
const oddTexts = [
  ...[
    "a\u0000b",
    "\u202eevil",
    "\u2066x",
    "x".repeat(200),
    "x".repeat(70_000),
    "a\nb",
    "a\rb",
    "`x`",
    '"x"',
    "'x'",
    "[x]",
  ],
  ...[
    "a;b",
    "a--b",
    "/*x*/",
    "$n",
    "${id}",
    "__proto__",
    "constructor",
    "toString",
    "sqlite_x",
    "_status",
    "rowid",
    "old",
  ],
  ...[
    "\ud800",
    "a\udc00",
    "é",
    "e\u0301",
    "İ",
    "ß",
    "ſ",
    "%s",
    "\\",
    "\u0007",
    "\u001b[31m",
    "a b",
    "1a",
    "",
    "-",
    "a#b",
  ],
  ...["a:b", "a.b", "\ufeff", "🦉", "_type", "_source", "NEW"],
];
const perhapsOdd = fc.oneof({ weight: 1, arbitrary: fc.constantFrom(...oddTexts) }, {
  weight: 4,
  arbitrary: fc.constantFrom("ok", "x"),
});
const texts = fc.record(
  Object.fromEntries(
    ["model", "field", "map", "one", "initial", "pattern", "sort", "index", "hash", "description"].map((
      name,
    ) => [name, perhapsOdd]),
  ),
  { requiredKeys: [] },
);

/** `__proto__` as a name like any other. */
function named(...entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  return Object.fromEntries(entries);
}

Deno.test("fuzz: a schema with any names and texts is refused in few words, or its tables are made on the device", () => {
  let made = 0;
  fc.assert(
    fc.property(texts, ({ model = "Model", field = "v", index = "gs1", hash = "pk", ...text }) => {
      const value: Record<string, unknown> = { type: "string" };
      if (text.map !== undefined) value.map = text.map;
      if (text.one !== undefined) value.enum = [text.one, "z"];
      if (text.initial !== undefined) value.default = text.initial;
      if (text.pattern !== undefined) value.validate = `/${text.pattern}/`;
      if (text.description !== undefined) value.description = text.description;
      const fields = named(
        ["pk", { type: "string", value: "d#${deviceId}" }],
        ["sk", { type: "string", value: `${text.sort ?? "k"}#\${id}` }],
        ["deviceId", { type: "string", required: true }],
        ["id", { type: "string", required: true }],
        [field, value],
      );
      const raw = {
        version: "1",
        indexes: named(["primary", { hash, sort: "sk" }], [index, { hash: "gs1pk", sort: "gs1sk" }]),
        models: named([model, fields]),
        process: named([model, { sync: "both" }]),
      };
      let schema: Schema;
      try {
        schema = compileSchema(raw as Parameters<typeof compileSchema>[0]);
      } catch (error) {
        if (!(error instanceof SchemaError)) throw error;
        assert.ok(error.message.length < 5_000, `${error.message.length} characters`);
        return;
      }
      made++;
      openStore({ path: ":memory:", schema, identity: { deviceId: "d1", accountId: "a1" }, now: Date.now }).close();
    }),
    runs(1_500),
  );
  assert.ok(made > 20, `${made} made`);
});
