/**
 * The whole system under faults, in every family of schedules: `deno task sim` runs more. `SIM_SEEDS` sets how many seeds
 * there are here.
 */
import assert from "node:assert/strict";
import { runShare } from "./jobs.ts";
import { long } from "../support/long.ts";

const seeds = Number(Deno.env.get("SIM_SEEDS") ?? (long ? 10_000 : 400));

Deno.test(`sim: ${seeds} seeds break no invariant`, async () => {
  const { tally, failures } = await runShare({
    from: 1,
    to: seeds,
    budgetMs: 15 * 60_000,
    jobs: 2,
    failuresMax: 5,
  });
  const lines = failures.map(({ family, seed, message }) => `${family} ${seed}: ${message}`);
  assert.deepEqual(lines, []);
  assert.equal(tally.runs, seeds);
  console.log(`${tally.runs} runs, ${tally.commits} local commits accounted for`);
});

// Each found a bug once; the fault schedules of later generators differ, the seeds stay.
const found = [
  ["any", 1152],
  ["any", 1165],
  ["up", 1035],
  ["up", 1363],
  ["reread", 7128],
  ["reread", 20073],
  ["future", 30082],
  ["late", 1000178],
  ["clock2", 4002046],
  ["versions", 4020804],
  ["late", 4043952],
  ["devpol", 4060329],
  ["long", 5105532],
  ["refuse", 5200046],
  ["refuse", 5301639],
  ["setback", 1104],
  ["all", 9000001],
  ["versions", 7201556],
  ["silence", 7700426],
  ["calm", 36],
  ["restoredother", 473],
  ["restoredother", 1770],
  ["restoredother", 8386],
  ["restoredother", 8620],
  ["restoredskew", 1502],
  ["restoredall", 619],
] as const;
for (const [family, seed] of found) {
  Deno.test(`sim: the seed ${family} ${seed}, which found a bug, breaks no invariant`, async () => {
    const share = { families: [family], from: seed, to: seed, budgetMs: 60_000, jobs: 1, failuresMax: 1 };
    assert.deepEqual((await runShare(share)).failures, []);
  });
}
