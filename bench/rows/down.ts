/**
 * Down: items that a cloud application wrote, until the device has applied them with its cursor; live and by catch-up.
 *
 * @module
 */
import type { Bench, Context, Row } from "../measure.ts";
import { Pair } from "../pair.ts";

async function live(context: Context, count: number): Promise<Row> {
  await using pair = await Pair.start(context);
  await pair.openReady();
  await pair.cloud.call("put", { model: "Command", from: 1_000_000, count: 1_000, ...pair.identity });
  await pair.agent.call("applied", { count: 1_000 });
  const start = performance.now();
  await pair.cloud.call("put", { model: "Command", count, ...pair.identity });
  await pair.agent.call("applied", { count: 1_000 + count });
  const seconds = (performance.now() - start) / 1000;
  return { name: "down, live", unit: "items/s", value: count / seconds, goal: { atLeast: 25_000 } };
}

async function later(context: Context, count: number): Promise<Row[]> {
  await using pair = await Pair.start({ ...context, dir: `${context.dir}/later` });
  await pair.openReady();
  await pair.agent.call("close");
  await pair.cloud.call("put", { model: "Command", count, ...pair.identity });
  await pair.cloud.call("streamed");
  const before = await pair.cpuMicros();
  const start = performance.now();
  await pair.open();
  await pair.agent.call("applied", { count });
  const seconds = (performance.now() - start) / 1000;
  const after = await pair.cpuMicros();
  const cost = (side: "cloud" | "agent") => (after[side] - before[side]) / count;
  const plain = await pair.agent.call<number>("plainCost", { count: 50_000 });
  return [
    { name: "down, catch-up", unit: "items/s", value: count / seconds, goal: { atLeast: 25_000 } },
    {
      name: "catch-up, processor time per change: cloud",
      unit: "µs",
      value: cost("cloud"),
      goal: { atMost: 60 },
    },
    {
      name: "catch-up, processor time, both sides ÷ a plain insert",
      unit: "×",
      value: (cost("cloud") + cost("agent")) / plain,
      gate: { atMost: 120 },
    },
    { name: "catch-up, processor time per change: device", unit: "µs", value: cost("agent") },
  ];
}

/** See the module. */
export const down: Bench = {
  name: "down",
  title: "Down, embedded cloud",
  quick: true,
  about:
    "A cloud application writes items of one device, 500 at a time. Live: the clock runs from its first write until " +
    "the connected device has committed the last item and its cursor; the cloud writes, logs, reads and publishes " +
    "meanwhile. Catch-up: everything was written and logged while the device was away; the clock runs from opening its " +
    "agent. Two processes, both with synchronous=FULL.",
  async run(context) {
    const count = context.quick ? 10_000 : 50_000;
    Deno.mkdirSync(`${context.dir}/later`);
    return [await live(context, count), ...await later(context, count)];
  },
};
