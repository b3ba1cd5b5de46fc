/**
 * Growth: what one change costs both sides, in processor time, as rows, backlog and models grow a hundredfold.
 *
 * @module
 */
import type { Bench, Context, Row } from "../measure.ts";
import { Pair } from "../pair.ts";
import { median } from "../stats.ts";

/** Processor time of both sides for each of so many changes, µs; the median of several runs. */
async function cost(
  pair: Pair,
  changes: number,
  runs: number,
  write: (run: number) => Promise<unknown>,
): Promise<number> {
  const costs: number[] = [];
  for (let run = 0; run <= runs; run++) {
    const before = await pair.cpuMicros();
    await write(run);
    await pair.agent.call("flush");
    await pair.cloud.call("streamed");
    // The first run warms the code.
    if (run > 0) costs.push(((await pair.cpuMicros()).both - before.both) / changes);
  }
  return median(costs);
}

async function inPair<T>(
  context: Context,
  name: string,
  modelsMore: number,
  use: (pair: Pair) => Promise<T>,
): Promise<T> {
  const dir = `${context.dir}/${name}`;
  Deno.mkdirSync(dir);
  await using pair = await Pair.start({ ...context, dir }, { synchronous: "normal", modelsMore });
  await pair.openReady();
  return await use(pair);
}

const changes = 2_000;

/** Rows of a model that goes both ways: each has a row, a base and an item. */
function byRows(context: Context, rows: number, runs: number): Promise<number> {
  return inPair(context, `rows-${rows}`, 0, async (pair) => {
    for (let from = 0; from < rows; from += 10_000) {
      await pair.agent.call("settings", { from, count: Math.min(10_000, rows - from), value: 0 });
      await pair.agent.call("flush");
    }
    const spread = Math.floor(rows / changes);
    return await cost(
      pair,
      changes,
      runs,
      (run) =>
        pair.agent.call("settings", {
          from: run * changes % Math.max(1, spread * changes),
          count: changes,
          value: run + 1,
        }),
    );
  });
}

function byBacklog(context: Context, backlog: number): Promise<number> {
  return inPair(context, `backlog-${backlog}`, 0, async (pair) => {
    const before = await pair.cpuMicros();
    for (let from = 0; from < backlog; from += 100_000) {
      await pair.agent.call("insert", { from, count: Math.min(100_000, backlog - from) });
    }
    await pair.agent.call("flush");
    await pair.cloud.call("streamed");
    return ((await pair.cpuMicros()).both - before.both) / backlog;
  });
}

function byModels(context: Context, modelsMore: number, runs: number): Promise<number> {
  return inPair(
    context,
    `models-${modelsMore}`,
    modelsMore,
    (pair) =>
      cost(
        pair,
        changes,
        runs,
        (run) => pair.agent.call("settings", { from: run * changes, count: changes, value: run + 1 }),
      ),
  );
}

/** See the module. */
export const growth: Bench = {
  name: "growth",
  title: "Growth: cost per change, large ÷ small",
  quick: false,
  repeats: 2,
  about:
    "Processor time of device and cloud together for each change. Rows: settings that go both ways are changed, 2,000 " +
    "at a time, in a table of 2,000 and of 200,000. Backlog: 5,000 and 500,000 measurements at once. Models: 4 and 400. " +
    "Devices are in `fleet`.",
  async run(context): Promise<Row[]> {
    const runs = 5;
    const row = async (name: string, small: () => Promise<number>, large: () => Promise<number>): Promise<Row[]> => {
      const few = await small(), many = await large();
      return [
        { name, unit: "×", value: many / few, goal: { atMost: 1.2 }, gate: { atMost: 2 } },
        { name: `${name}: small`, unit: "µs", value: few },
      ];
    };
    return [
      ...await row("rows × 100", () => byRows(context, 2_000, runs), () => byRows(context, 200_000, runs)),
      ...await row("backlog × 100", () => byBacklog(context, 5_000), () => byBacklog(context, 500_000)),
      ...await row("models × 100", () => byModels(context, 0, runs), () => byModels(context, 396, runs)),
    ];
  },
};
