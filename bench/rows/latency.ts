/**
 * Latency: one change on an idle system.
 *
 * @module
 */
import { Child } from "../child.ts";
import type { Bench, Row } from "../measure.ts";
import { Pair } from "../pair.ts";
import { percentile } from "../stats.ts";

type Times = [n: number, atMs: number][];

function delays(from: Times, to: Times): number[] {
  const arrived = new Map(to);
  return from.map(([n, atMs]) => {
    const at = arrived.get(n);
    if (at === undefined) throw new Error(`the change ${n} did not arrive`);
    return at - atMs;
  });
}

/** See the module. */
export const latency: Bench = {
  name: "latency",
  title: "Latency of one change, idle system",
  quick: true,
  about: "One change every 30 ms, synchronous=NORMAL on both sides, each side a process. Up: from the return of the " +
    "device's commit to the return of the table's. Down: from the return of the table's commit to the device's callback " +
    "after its commit. By another process: from the return of its commit in plain SQL to the table's.",
  async run(context): Promise<Row[]> {
    const count = context.quick ? 100 : 300, gapMs = 30;
    await using pair = await Pair.start(context, { synchronous: "normal" });
    await using writer = new Child("writer", context.child);
    await pair.openReady();
    await pair.cloud.call("watch");
    await pair.agent.call("watch", { model: "Command" });
    const settle = () => new Promise((resolve) => setTimeout(resolve, 500));
    await pair.agent.call("insertApart", { from: 900_000, count: 50, gapMs: 5 });
    await pair.cloud.call("putApart", { model: "Command", from: 950_000, count: 50, gapMs: 5, ...pair.identity });
    await settle();
    const sent = await pair.agent.call<Times>("insertApart", { from: 0, count, gapMs });
    await settle();
    const other = await writer.call<Times>("insertApart", { path: pair.path, from: 100_000, count, gapMs });
    await settle();
    const put = await pair.cloud.call<Times>("putApart", {
      model: "Command",
      from: 200_000,
      count,
      gapMs,
      ...pair.identity,
    });
    await settle();
    const atCloud = await pair.cloud.call<Times>("times"), atDevice = await pair.agent.call<Times>("times");
    const row = (name: string, values: readonly number[], p50: number, p99: number | undefined): Row[] => [
      { name: `${name}, p50`, unit: "ms", value: percentile(values, 0.5), goal: { atMost: p50 } },
      { name: `${name}, p99`, unit: "ms", value: percentile(values, 0.99), ...(p99 ? { goal: { atMost: p99 } } : {}) },
    ];
    return [
      ...row("device commit → table commit", delays(sent, atCloud), 3, 10),
      ...row("table commit → device commit", delays(put, atDevice), 5, 15),
      ...row("another process's commit → table commit", delays(other, atCloud), 15, undefined),
    ];
  },
};
