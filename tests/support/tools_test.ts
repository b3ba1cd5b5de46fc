import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { skipLines } from "../main.ts";

const report = `<?xml version="1.0"?><testsuites>
    <testsuite name="./tests/e2e/sql_test.ts" tests="3">
        <testcase name="one" classname="./tests/e2e/sql_test.ts" time="0.0">
            <skipped/>
        </testcase>
        <testcase name="two" classname="./tests/e2e/sql_test.ts" time="0.0">
        </testcase>
        <testcase name="three" classname="./tests/e2e/sql_test.ts" time="0.0"><skipped/></testcase>
    </testsuite>
    <testsuite name="./tests/docs_test.ts" tests="1">
        <testcase name="a &lt;b&gt; &amp; c" classname="./tests/docs_test.ts" time="0.0"><skipped/></testcase>
    </testsuite>
    <testsuite name="./tests/other_test.ts" tests="1"><testcase name="x" classname="y" time="0.0"></testcase></testsuite>
</testsuites>`;

Deno.test("tests: what was skipped is listed at the end with its reason", () => {
  const notes = [
    "e2e/sql_test.ts: this machine has no sqlite3",
    "e2e/sql_test.ts: this machine has no sqlite3",
    "e2e/sql_test.ts: this machine has no python3",
    "other_test.ts: this machine has no mosquitto",
    "",
  ].join("\n");
  assert.deepEqual(skipLines(report, notes), [
    "skipped: tests/e2e/sql_test.ts, 2 tests: this machine has no sqlite3; this machine has no python3",
    "skipped: tests/docs_test.ts: a <b> & c",
  ]);
  assert.deepEqual(skipLines("", ""), []);
});

/** What starts a program that a machine with only Node lacks, and what says so. */
const starts =
  /\b(shell|python)\(|\bnew (SecondProcess|FakeTime)\(|\b(spoilDisk|startMosquitto|emulators)\(|Command\("(?!sh")/;
const declares = /toolsMissing\(|testWith\(|mosquittoMissing|missing !== undefined|ignore: !binary/;

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
