/** The lints of `deno task check` find what they are for. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { circles, importsOf, longRows, missingFiles } from "./lint.ts";
import { citations } from "./support/citations.ts";
import plugin, { fileLinesMax, functionLinesMax } from "./support/lint_plugin.ts";

Deno.test("lint: modules that import each other are found, whatever the way round", () => {
  const graph = new Map([["a", ["b"]], ["b", ["c"]], ["c", ["b", "d"]], ["d", []], ["e", ["a"]]]);
  assert.deepEqual(circles(graph), [["b", "c", "b"]]);
  assert.deepEqual(circles(new Map([["a", ["b", "c"]], ["b", ["c"]], ["c", []]])), []);
});

Deno.test("lint: imports are read from code, not from comments or examples, and types alone are none", () => {
  const text = `/**
 * import { x } from "./example.ts";
 */
import { type A, b } from "../b.ts";
import type { C } from "./c.ts";
import "./d.ts";
import {
  e,
} from "./e.ts";
export * from "./f.ts";
export type { G } from "./g.ts";
import process from "node:process";
`;
  assert.deepEqual(importsOf("agent/sync/a.ts", text), [
    "agent/b.ts",
    "agent/sync/d.ts",
    "agent/sync/e.ts",
    "agent/sync/f.ts",
  ]);
});

Deno.test("lint: rows of tables are measured, code is not", () => {
  const row = `| ${"x".repeat(120)} |`;
  assert.deepEqual(longRows(["| short |", row, "```", row, "```", row].join("\n")).map(({ line }) => line), [2, 6]);
});

Deno.test("lint: what a document links to or names is looked for, from where it stands", () => {
  const text = "See [x](../a.md#part), [y](https://example.org/z.md), `tests/no_test.ts` and `agent/twin.ts`.";
  assert.deepEqual(missingFiles("docs/b.md", text, (path) => path === "agent/twin.ts"), ["a.md", "tests/no_test.ts"]);
});

Deno.test("lint: citations are read one by one", () => {
  const text = ["rules 3.4 and A2, rules §6; the design", "§9.\nnothing"].join(" ");
  assert.deepEqual(citations(text).map(({ line, what, cited }) => [line, what, cited]), [
    [1, "rules", "3.4"],
    [1, "rules", "A2"],
    [1, "rules", "§6"],
    [1, "design", ["design", "§9"].join(" ")],
  ]);
});

/** What the rules of size say of a file of the tree. */
function sizes(path: string, source: string): string[] {
  const file = fileURLToPath(new URL(`../${path}`, import.meta.url));
  return Deno.lint.runPlugin(plugin, file, source).map(({ id, message }) => `${id} ${message.match(/\d+/)}`);
}

Deno.test("lint: long functions and files are found where they are shipped, and nowhere else", () => {
  const body = (lines: number) => "  step();\n".repeat(lines - 2);
  const declared = (lines: number) => `function main() {\n${body(lines)}}\n`;
  assert.deepEqual(sizes("agent/a.ts", declared(functionLinesMax)), []);
  assert.deepEqual(sizes("agent/a.ts", declared(functionLinesMax + 1)), ["twintable/function-length 71"]);
  assert.deepEqual(sizes("mod.ts", `const f = () => {\n${body(80)}};\n`), ["twintable/function-length 80"]);
  assert.deepEqual(sizes("cloud/a.tsx", `class A {\n  #m() {\n${body(90)}}\n}\n`), ["twintable/function-length 90"]);
  assert.deepEqual(sizes("tests/agent/a_test.ts", declared(200)), []);
  assert.deepEqual(sizes("cloud/a.ts", "step();\n".repeat(fileLinesMax)), []);
  assert.deepEqual(sizes("cloud/a.ts", "step();\n".repeat(fileLinesMax + 1)), ["twintable/file-length 501"]);
  assert.deepEqual(sizes("bench/a.ts", "step();\n".repeat(900)), []);
});

Deno.test("lint: what Node 22 can't read is found in what is bundled for it", () => {
  const using = "function f() {\n  using a = b();\n  return a;\n}\nasync function g() {\n  await using a = b();\n}\n";
  const found = ["twintable/no-using-on-node 22", "twintable/no-using-on-node 22"];
  for (const folder of ["agent", "cloud/console", "mqtt", "protocol", "schema"]) {
    assert.deepEqual(sizes(`${folder}/a.ts`, using), found, folder);
  }
  assert.deepEqual(sizes("cli/a.ts", using), []);
});
