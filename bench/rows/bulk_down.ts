/**
 * Coming back after a long absence: 100,000 changes by catch-up, a million items by snapshot.
 *
 * @module
 */
import type { Bench, Context, Row } from "../measure.ts";
import { Pair } from "../pair.ts";
import { resetPeak } from "../usage.ts";

async function comeBack(pair: Pair, count: number): Promise<{ seconds: number; growthMb: number }> {
  await pair.open();
  const before = pair.agent.usage().residentMb;
  resetPeak(pair.agent.pid);
  const start = performance.now();
  await pair.agent.call("applied", { count });
  await pair.agent.call("ready");
  return { seconds: (performance.now() - start) / 1000, growthMb: pair.agent.usage().peakMb - before };
}

async function catchUp(context: Context, count: number): Promise<Row[]> {
  await using pair = await Pair.start(context);
  await pair.openReady();
  await pair.agent.call("close");
  await pair.cloud.call("put", { model: "Command", count, ...pair.identity });
  await pair.cloud.call("streamed");
  const { seconds, growthMb } = await comeBack(pair, count);
  return [
    { name: "catch-up of 100,000 changes", unit: "s", value: seconds * 100_000 / count, goal: { atMost: 6 } },
    { name: "device's memory growth, catch-up", unit: "MB", value: growthMb, goal: { atMost: 40 } },
  ];
}

async function snapshot(context: Context, count: number): Promise<Row[]> {
  await using pair = await Pair.start(context);
  await pair.cloud.call("put", { model: "Command", count, batch: 1_000, ...pair.identity });
  await pair.cloud.call("streamed");
  const { seconds, growthMb } = await comeBack(pair, count);
  return [
    { name: "snapshot of 1,000,000 items", unit: "s", value: seconds * 1_000_000 / count, goal: { atMost: 60 } },
    { name: "device's memory growth, snapshot", unit: "MB", value: growthMb, goal: { atMost: 40 } },
  ];
}

/** See the module. */
export const bulkDown: Bench = {
  name: "comeback",
  title: "Coming back after long",
  quick: false,
  repeats: 2,
  about:
    "The changes were written and logged while the device's agent was closed; a device that has no cursor takes a " +
    "snapshot. The clock runs from opening the agent until everything is applied and every channel caught up. Memory: the " +
    "device process's highest resident memory against what it had when the agent was open. synchronous=FULL.",
  async run(context) {
    const dirs = ["catch-up", "snapshot"].map((name) => `${context.dir}/${name}`);
    for (const dir of dirs) Deno.mkdirSync(dir);
    const catchUpRows = await catchUp({ ...context, dir: dirs[0]! }, 100_000);
    return [...catchUpRows, ...await snapshot({ ...context, dir: dirs[1]! }, context.quick ? 100_000 : 1_000_000)];
  },
};
