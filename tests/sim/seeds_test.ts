/**
 * Each seed that finds a planted bug breaks no invariant without one. Some of the richest schedules there are, in a few
 * seconds: part of `deno task test:quick`.
 */
import assert from "node:assert/strict";
import { runShare } from "./jobs.ts";
import { noted } from "./mutants.ts";

Deno.test("sim: the seeds that find planted bugs break no invariant without them", async () => {
  const broken: string[] = [];
  for (const [name, [family, seed]] of Object.entries(noted)) {
    const share = { families: [family], from: seed, to: seed, budgetMs: 60_000, jobs: 1, failuresMax: 1 };
    const { failures } = await runShare(share);
    broken.push(...failures.map(({ message }) => `${family} ${seed} (${name}): ${message}`));
  }
  assert.deepEqual(broken, []);
});
