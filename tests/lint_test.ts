/** The lints of `deno task check` find what they are for. */
import assert from "node:assert/strict";
import { circles, importsOf, longRows, missingFiles } from "./lint.ts";
import { citations } from "./support/citations.ts";

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
