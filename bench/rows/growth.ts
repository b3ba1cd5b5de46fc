/**
 * Growth: what one change costs both sides, in processor time, as rows, backlog and models grow a hundredfold.
 *
 * @module
 */
import type { Bench, Context, Row } from "../measure.ts";
import { Pair } from "../pair.ts";
import { median } from "../stats.ts";

const changes = 2_000;
const runs = 8;

/** Processor time of both sides for each of {@link changes} settings that are given a value, µs. */
async function cost(pair: Pair, from: number, value: number): Promise<number> {
  const before = await pair.cpuMicros();
  await pair.agent.call("settings", { from, count: changes, value });
  await pair.agent.call("flush");
  await pair.cloud.call("streamed");
  return ((await pair.cpuMicros()).both - before.both) / changes;
}

function startPair(context: Context, name: string, modelsMore = 0): Promise<Pair> {
  const dir = `${context.dir}/${name}`;
  Deno.mkdirSync(dir);
  return Pair.start({ ...context, dir }, { synchronous: "normal", modelsMore });
}

/** Fills a table of settings, which go both ways: each has a row, a base and an item. */
async function fill(pair: Pair, rows: number): Promise<void> {
  for (let from = 0; from < rows; from += 10_000) {
    await pair.agent.call("settings", { from, count: Math.min(10_000, rows - from), value: 0 });
    await pair.agent.call("flush");
  }
}

/** The large one's cost ÷ the small one's, in turns: a machine gets slower and faster by half within minutes. */
async function inTurns(name: string, small: () => Promise<number>, large: () => Promise<number>): Promise<Row[]> {
  const ratios: number[] = [], costs: number[] = [];
  // The first two warm the code.
  for (let run = -2; run < runs; run++) {
    const few = await small(), many = await large();
    if (run < 0) continue;
    costs.push(few);
    ratios.push(many / few);
  }
  return rowsOf(name, median(ratios), median(costs));
}

function rowsOf(name: string, ratio: number, small: number): Row[] {
  return [
    { name, unit: "×", value: ratio, goal: { atMost: 1.2 }, gate: { atMost: 2 } },
    { name: `${name}: small`, unit: "µs", value: small },
  ];
}

async function byRows(context: Context): Promise<Row[]> {
  const rows = 200_000;
  await using small = await startPair(context, "rows-few");
  await using large = await startPair(context, "rows-many");
  for (const pair of [small, large]) await pair.openReady();
  await fill(small, changes);
  await fill(large, rows);
  let value = 0;
  return await inTurns(
    "rows × 100",
    () => cost(small, 0, ++value),
    () => cost(large, value * changes % rows, value),
  );
}

async function byModels(context: Context): Promise<Row[]> {
  await using small = await startPair(context, "models-few");
  await using large = await startPair(context, "models-many", 396);
  for (const pair of [small, large]) await pair.openReady();
  let value = 0;
  return await inTurns(
    "models × 100",
    () => cost(small, ++value * changes, value),
    () => cost(large, value * changes, value),
  );
}

async function byBacklog(context: Context): Promise<Row[]> {
  const drain = async (backlog: number) => {
    await using pair = await startPair(context, `backlog-${backlog}`);
    await pair.openReady();
    const before = await pair.cpuMicros();
    for (let from = 0; from < backlog; from += 100_000) {
      await pair.agent.call("insert", { from, count: Math.min(100_000, backlog - from) });
    }
    await pair.agent.call("flush");
    await pair.cloud.call("streamed");
    return ((await pair.cpuMicros()).both - before.both) / backlog;
  };
  const small = await drain(5_000);
  return rowsOf("backlog × 100", await drain(500_000) / small, small);
}

/** See the module. */
export const growth: Bench = {
  name: "growth",
  title: "Growth: cost per change, large ÷ small",
  quick: false,
  repeats: 2,
  about:
    "Processor time of device and cloud together for each change. Rows: settings that go both ways are changed, 2,000 " +
    "at a time, in a table of 2,000 and of 200,000. Models: 4 and 400. Both in turns, the median of the ratios. Backlog: " +
    "5,000 and 500,000 measurements at once. Devices are in `fleet`.",
  async run(context): Promise<Row[]> {
    return [...await byRows(context), ...await byBacklog(context), ...await byModels(context)];
  },
};
