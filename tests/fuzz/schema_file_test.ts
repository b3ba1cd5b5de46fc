/**
 * Schema files of every shape: spoilt text, spoilt JSON, bytes that are no text, files that blend what is spoilt. A schema
 * comes out, or an error that names the file; nothing else.
 */
import fc from "fast-check";
import { loadSchema, SchemaError, SyncError } from "../../schema.ts";
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
