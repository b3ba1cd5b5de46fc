/**
 * Absence is never inferred from an unfinished read. The runtime's `StatementSync.iterate` takes an error for the end of the
 * rows, so nothing that ships, and no test that counts, may use it: lists are read with `all`, which throws.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

function* sources(folder: string): Iterable<string> {
  for (const { name, isDirectory } of Deno.readDirSync(`${root}/${folder}`)) {
    const path = folder === "" ? name : `${folder}/${name}`;
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) yield* sources(path);
    else if (name.endsWith(".ts")) yield path;
  }
}

Deno.test("reads: no statement is iterated over", () => {
  const files = [...sources("")].filter((path) => path !== "tests/reads_test.ts");
  assert.ok(files.length > 300, `${files.length} files`);
  const iterating = files.filter((path) => /\.(?:iterate|iter)\(/.test(Deno.readTextFileSync(`${root}/${path}`)));
  assert.deepEqual(iterating, []);
});
