import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { loadSchema, parseSchema, SchemaError, SyncError } from "../../schema.ts";
import { blend } from "../../schema/blend.ts";
import { schemaOf } from "./fixture.ts";

async function inFolder(files: Record<string, string>, fn: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "twintable-schema-"));
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    await fn(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const modelText = `{pk: {type: 'string', value: 'x#'}, sk: {type: 'string', value: '\${id}'}, id: {type: 'string'}}`;
const baseText = `{ // JSON5
  version: '0.0.1', indexes: {primary: {hash: 'pk', sort: 'sk'}},
  models: {A: ${modelText}}, process: {A: {sync: 'up', show: true}},
}`;

Deno.test("parse: JSON5 is read, and other text is one clear line", () => {
  assert.deepEqual(parseSchema("{a: 1, /* x */ b: ['c',],}"), { a: 1, b: ["c"] });
  assert.throws(() => parseSchema("{"), (error) => {
    assert.ok(error instanceof SchemaError);
    assert.match(error.message, /it is not JSON5/);
    return true;
  });
});

Deno.test("parse: blended files are laid over the naming file in order, and what they say wins", async () => {
  await inFolder({
    "base.json5": baseText,
    "more.json5":
      `{blend: ['deeper.json5'], version: '0.0.3', models: {B: ${modelText}}, process: {A: {sync: 'down'}}}`,
    "app.json5":
      `{blend: ['base.json5', './more.json5'], version: '0.0.2', process: {B: {sync: 'up'}, A: {show: false}}}`,
  }, async (folder) => {
    const schema = await loadSchema(pathToFileURL(join(folder, "app.json5")));
    assert.equal(schema.version, "0.0.3");
    assert.deepEqual([...schema.models].map(([name, m]) => [name, m.sync]), [["A", "down"], ["B", "up"]]);
    assert.deepEqual(schema.source.process, { B: { sync: "up" }, A: { show: true, sync: "down" } });
    assert.equal(schema.source.blend, undefined);
    assert.match(schema.warnings[0]!, /the "blend" in ".\/more.json5" is not followed/);
  });
});

Deno.test("parse: + appends, - removes, ? sets what is absent, = overwrites", () => {
  const base = { list: [1, 2], text: "a b", map: { x: 1, y: 2 }, kept: 1, gone: 1 };
  const over = {
    "+list": [3],
    "+text": "c",
    "-map": { x: true },
    "?kept": 2,
    "?fresh": { "=z": 3 },
    "-gone": true,
    "-absent": true,
    "=set": [4],
  };
  assert.deepEqual(blend(base, over), {
    list: [1, 2, 3],
    text: "a b c",
    map: { y: 2 },
    kept: 1,
    fresh: { z: 3 },
    set: [4],
  });
  assert.deepEqual(blend({ list: [1, 2], text: "a b" }, { "-list": [1], "-text": "a" }), { list: [2], text: "b" });
  assert.deepEqual(base.map, { x: 1, y: 2 }, "nothing handed in is altered");
});

Deno.test("parse: a blend that is not a list of files, or names one that holds no object, is refused", async () => {
  await inFolder(
    { "a.json5": "{blend: ['b.json5']}", "b.json5": "7", "c.json5": "{blend: 'b.json5'}" },
    async (folder) => {
      await assert.rejects(loadSchema(join(folder, "a.json5")), /"blend" names "b.json5", which holds no object/);
      await assert.rejects(loadSchema(join(folder, "c.json5")), /"blend" must be a list/);
    },
  );
});

Deno.test("parse: a module gives its default or its schema, constructors included", async () => {
  const text = (how: string) => `${how} ${baseText.replaceAll("'string'", "String")}`;
  await inFolder({
    "default.ts": text("export default"),
    "named.ts": text("export const schema ="),
    "none.ts": "export const other = 1;",
    "broken.ts": "export default {",
  }, async (folder) => {
    assert.equal((await loadSchema(join(folder, "default.ts"))).models.get("A")?.sync, "up");
    assert.equal((await loadSchema(join(folder, "named.ts"))).models.get("A")?.sync, "up");
    await assert.rejects(loadSchema(join(folder, "none.ts")), /exports neither a default nor "schema"/);
    await assert.rejects(loadSchema(join(folder, "broken.ts")), (error) => {
      assert.ok(error instanceof SyncError && !error.message.includes("\n"));
      return true;
    });
  });
});

Deno.test("parse: a file that is missing or wrong is named in one line", async () => {
  await inFolder({ "wrong.json5": "{version: 1}", "text.json5": "hello" }, async (folder) => {
    await assert.rejects(loadSchema(join(folder, "absent.json5")), (error) => {
      assert.ok(error instanceof SyncError && error.code === "schema-file");
      assert.match(error.message, /can't read the schema ".*absent\.json5"/);
      return true;
    });
    for (const name of ["wrong.json5", "text.json5"]) {
      await assert.rejects(loadSchema(join(folder, name)), (error) => {
        assert.ok(error instanceof SchemaError && error.message.includes(name) && !error.message.includes("\n"));
        return true;
      });
    }
  });
});

Deno.test("parse: a schema with constructors and one with names are the same schema", async () => {
  const json = JSON.stringify(schemaOf(), (_key, value) => typeof value === "function" ? value.name : value);
  await inFolder({ "a.json": json }, async (folder) => {
    const { compileSchema } = await import("../../schema.ts");
    assert.equal((await loadSchema(join(folder, "a.json"))).fingerprint, compileSchema(schemaOf()).fingerprint);
  });
});
