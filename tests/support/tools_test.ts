import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { skipLines } from "../main.ts";
import { unreachableIn } from "./tools.ts";

Deno.test("tests: what was skipped is listed at the end with its reason", () => {
  const notes = [
    "e2e/sql_test.ts: this machine has no sqlite3",
    "e2e/sql_test.ts: this machine has no sqlite3",
    "e2e/other_test.ts: this machine has no sqlite3",
    "e2e/sql_test.ts: this machine has no python3",
    "other_test.ts: this machine has no mosquitto",
    "",
  ].join("\n");
  assert.deepEqual(skipLines(notes), [
    "  this machine has no mosquitto: other_test.ts",
    "  this machine has no python3: e2e/sql_test.ts",
    "  this machine has no sqlite3: e2e/other_test.ts, e2e/sql_test.ts",
  ]);
  assert.deepEqual(skipLines(""), []);
});

Deno.test("tests: that a registry can't be reached is told in one line, whatever else a program said", () => {
  const said =
    "Download x\nerror: Failed caching npm package 'x'\n    0: error sending request for url (x)\n    1: dns error\n";
  assert.equal(unreachableIn(said), "0: error sending request for url (x)");
  assert.equal(unreachableIn("Download x\nerror: no such package\n"), undefined);
});

/** What starts a program that a machine with only Node lacks, and what says so. */
const starts =
  /\b(shell|python)\(|\bnew (SecondProcess|FakeTime)\(|\b(spoilDisk|startMosquitto|emulators)\(|Command\("(?!sh")/;
const declares = /toolsMissing\(|testWith\(|skipped\(|noted\(|missing !== undefined/;

Deno.test("tests: each file that starts another program says which one it needs", async () => {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const files = (await Array.fromAsync(walk(root))).filter((file) => file.endsWith("_test.ts"));
  assert.ok(files.length > 100);
  for (const file of files) {
    const text = await Deno.readTextFile(file);
    assert.ok(!starts.test(text) || declares.test(text), `${file} starts a program, and no test is skipped without it`);
  }
});

async function* walk(dir: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    const path = join(dir, name);
    if (isDirectory) yield* walk(path);
    else yield path;
  }
}
