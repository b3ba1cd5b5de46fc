/**
 * Other products at the same work, in the same run.
 *
 * @module
 */
import { Child } from "../child.ts";
import type { Bench, Context, Row } from "../measure.ts";
import { Pair } from "../pair.ts";

const peers = [
  ["PouchDB ↔ express-pouchdb (LevelDB)", "pouchdb"],
  ["RxDB (memory, not durable)", "rxdb"],
  ["TinyBase (file)", "tinybase"],
] as const;

async function peer(context: Context, name: string, script: string, count: number): Promise<Row[]> {
  const url = new URL(`../peers/${script}.ts`, import.meta.url).href;
  await using cloud = new Child(url, context.child);
  await using device = new Child(url, context.child);
  for (const side of ["cloud", "device"]) Deno.mkdirSync(`${context.dir}/${script}-${side}`);
  const at = await cloud.call<string>("serve", { dir: `${context.dir}/${script}-cloud` });
  await device.call("connect", { dir: `${context.dir}/${script}-device`, url: at });
  const pass = async (from: Child, to: Child, first: number, many: number, all: number) => {
    const start = performance.now();
    await Promise.all([from.call("insert", { from: first, count: many }), to.call("has", { count: all })]);
    return many * 1000 / (performance.now() - start);
  };
  await pass(device, cloud, 0, 500, 500);
  const up = await pass(device, cloud, 1_000_000, count, count + 500);
  const down = await pass(cloud, device, 2_000_000, count, 2 * count + 500);
  const row = (what: string, unit: string, value: number): Row => ({
    name: `${name}: ${what}`,
    unit,
    value,
    kind: "peer",
  });
  return [
    row("up", "items/s", up),
    row("down", "items/s", down),
    row("peak memory", "MB", device.usage().peakMb),
  ];
}

async function ours(context: Context, count: number): Promise<Row[]> {
  await using pair = await Pair.start(context);
  await pair.openReady();
  await pair.agent.call("insert", { from: 1_000_000, count: 500 });
  await pair.agent.call("flush");
  let start = performance.now();
  await pair.agent.call("insert", { count });
  await pair.agent.call("flush");
  const up = count * 1000 / (performance.now() - start);
  start = performance.now();
  await pair.cloud.call("put", { model: "Command", count, ...pair.identity });
  await pair.agent.call("applied", { count });
  const down = count * 1000 / (performance.now() - start);
  return [
    { name: "Twintable (SQLite, FULL): up", unit: "items/s", value: up },
    { name: "Twintable (SQLite, FULL): down", unit: "items/s", value: down },
    { name: "Twintable (SQLite, FULL): peak memory", unit: "MB", value: pair.agent.usage().peakMb },
  ];
}

/** See the module. */
export const peersBench: Bench = {
  name: "peers",
  title: "Beside other products",
  quick: false,
  repeats: 3,
  about:
    "10,000 small items each way between two processes, after 500 to warm up: from the first insert until the other " +
    "side has them all. Each product with its own replication and its usual storage; RxDB's memory storage keeps nothing, " +
    "LevelDB and TinyBase's file do not sync the disk at each commit, Twintable does on both sides.",
  async run(context) {
    const count = 10_000;
    const rows = await ours(context, count);
    for (const [name, script] of peers) rows.push(...await peer(context, name, script, count));
    const best = (what: string) =>
      Math.max(...rows.filter((row) => row.kind === "peer" && row.name.endsWith(`: ${what}`)).map((row) => row.value));
    for (const what of ["up", "down"]) {
      const own = rows.find((row) => row.kind !== "peer" && row.name.endsWith(`: ${what}`))!;
      rows.push({ name: `${what} ÷ the fastest peer`, unit: "×", value: own.value / best(what), goal: { atLeast: 1 } });
    }
    return rows;
  },
};
