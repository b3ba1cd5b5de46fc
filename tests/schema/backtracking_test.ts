import assert from "node:assert/strict";
import { mayBacktrack } from "../../schema/backtracking.ts";

Deno.test("backtracking: patterns that may take for ever are suspected", () => {
  for (
    const source of [
      "^(a+)+$",
      "(a*)*",
      "^(?:\\w+)*$",
      "([a-z]+)+",
      "(x+x+)+y",
      "^(\\w+\\s?)*$",
      "((a+))+",
      "(?<name>[^@]+)+@",
      "(.*)*",
      "(a{2,})+",
      "(a|b*)+",
    ]
  ) assert.equal(mayBacktrack(source), true, source);
});

Deno.test("backtracking: ordinary ones are not", () => {
  for (
    const source of [
      "^[a-z]+$",
      "^\\d{4}-\\d{2}$",
      "^(\\w+-)*\\w+$",
      "^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}$",
      "^(red|green|blue)$",
      "(ab)+",
      "(a+){1,3}",
      "[(a+)+]",
      "\\(a+\\)+",
      "",
      "(",
      "[",
      "\\",
    ]
  ) assert.equal(mayBacktrack(source), false, source);
});

Deno.test("backtracking: a long pattern is looked through in time that grows with it", () => {
  const begun = performance.now();
  mayBacktrack("(".repeat(50_000) + "a+".repeat(50_000));
  mayBacktrack("[".repeat(100_000));
  assert.ok(performance.now() - begun < 3_000);
});
