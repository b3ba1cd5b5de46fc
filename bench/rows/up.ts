/**
 * Up: rows that an application wrote in one transaction, until all are acknowledged.
 *
 * @module
 */
import type { Bench, Row } from "../measure.ts";
import { Pair } from "../pair.ts";

/** See the module. */
export const up: Bench = {
  name: "up",
  title: "Up, embedded cloud",
  quick: true,
  about:
    "A device that is connected; an application inserts measurements in one transaction of its own connection. The " +
    "clock runs from before that transaction until the last one is acknowledged. Device and cloud are processes of their " +
    "own, both with synchronous=FULL.",
  async run(context): Promise<Row[]> {
    const count = context.quick ? 10_000 : 50_000;
    await using pair = await Pair.start(context);
    await pair.openReady();
    await pair.agent.call("insert", { from: 1_000_000, count: 2_000 });
    await pair.agent.call("flush");
    const before = await pair.cpuMicros();
    const start = performance.now();
    await pair.agent.call("insert", { count });
    await pair.agent.call("flush");
    const seconds = (performance.now() - start) / 1000;
    const after = await pair.cpuMicros();
    const cost = (side: "cloud" | "agent") => (after[side] - before[side]) / count;
    const plain = await pair.agent.call<number>("plainCost", { count: 50_000 });
    return [
      {
        name: "up, embedded cloud, durable on both sides",
        unit: "items/s",
        value: count / seconds,
        goal: { atLeast: 20_000 },
      },
      {
        name: "processor time per change: cloud",
        unit: "µs",
        value: cost("cloud"),
        goal: { atMost: 60 },
      },
      { name: "processor time of a plain insert", unit: "µs", value: plain, kind: "raw" },
      {
        name: "processor time per change, both sides ÷ a plain insert",
        unit: "×",
        value: (cost("cloud") + cost("agent")) / plain,
        gate: { atMost: 250 },
      },
      { name: "processor time per change: device", unit: "µs", value: cost("agent") },
    ];
  },
};
