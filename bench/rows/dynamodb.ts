/**
 * Up with DynamoDB Local, against the conditional PutItem of the AWS SDK alone, at its best concurrency.
 *
 * @module
 */
import { Child } from "../child.ts";
import type { Bench, Row } from "../measure.ts";
import { Pair } from "../pair.ts";
import { median } from "../stats.ts";
import { emulators } from "../../tests/support/dynamo.ts";

const concurrencies = [1, 16, 64];
const count = 4_000, turns = 4;

/** See the module. */
export const dynamodb: Bench = {
  name: "dynamodb",
  title: "Up, DynamoDB Local",
  quick: false,
  repeats: 3,
  about:
    "DynamoDB Local in memory, a table with a stream. Raw: new items by conditional PutItem from one process, at 1, 16 " +
    "and 64 in flight. Ours: the same number of rows from a device's one transaction until all are acknowledged, the " +
    "table's stream being read meanwhile. Both in turns on the same table, the median of the ratios to the raw puts " +
    "just before and after.",
  async run(context): Promise<Row[]> {
    const kind = (await emulators()).find(({ name }) => name === "dynamodb-local")!;
    if (kind.missing !== undefined) throw new Error(kind.missing);
    const emulator = await kind.start();
    Deno.env.set("AWS_ACCESS_KEY_ID", "local");
    Deno.env.set("AWS_SECRET_ACCESS_KEY", "local");
    try {
      const url = `dynamodb://bench?region=local&endpoint=${encodeURIComponent(emulator.endpoint)}`;
      await using pair = await Pair.start(context, { table: url });
      await using client = new Child("dynamo_raw", context.child);
      await client.call("open", { endpoint: emulator.endpoint, table: "bench" });
      await pair.openReady();
      let from = 0;
      const put = async (count: number, inFlight: number) => {
        const rate = await client.call<number>("put", { from, count, inFlight });
        from += count;
        return rate;
      };
      const send = async (count: number) => {
        const start = performance.now();
        await pair.agent.call("insert", { from, count });
        await pair.agent.call("flush");
        from += count;
        return count * 1000 / (performance.now() - start);
      };
      // The emulator is a Java program that gets faster for a while: both warm it up.
      await put(2_000, 16);
      await send(2_000);
      const rows: Row[] = [];
      let best = 0, inFlight = 0;
      for (const each of concurrencies) {
        const value = await put(each === 1 ? count / 4 : count, each);
        if (value > best) [best, inFlight] = [value, each];
        rows.push({ name: `conditional PutItem, ${each} in flight`, unit: "items/s", value, kind: "raw" });
      }
      // Each transfer between two runs of raw puts: whatever else the machine does, it does to both.
      const raw = [await put(count, inFlight)], up: number[] = [], ratios: number[] = [];
      let cloudMicros = 0, rawMs = 0;
      for (let turn = 0; turn < turns; turn++) {
        const before = await pair.cpuMicros();
        up.push(await send(count));
        cloudMicros += (await pair.cpuMicros()).cloud - before.cloud;
        const rawBefore = await client.call<number>("cpuMs");
        raw.push(await put(count, inFlight));
        rawMs += await client.call<number>("cpuMs") - rawBefore;
        ratios.push(up.at(-1)! / ((raw.at(-2)! + raw.at(-1)!) / 2));
      }
      return [
        ...rows,
        { name: "conditional PutItem, in turns with ours", unit: "items/s", value: median(raw), kind: "raw" },
        {
          name: "processor time per conditional PutItem",
          unit: "µs",
          value: rawMs * 1000 / (turns * count),
          kind: "raw",
        },
        { name: "up", unit: "items/s", value: median(up) },
        { name: "up ÷ raw at its best", unit: "×", value: median(ratios), goal: { atLeast: 0.85 } },
        { name: "cloud's processor time per change", unit: "µs", value: cloudMicros / (turns * count) },
      ];
    } finally {
      await emulator.stop();
    }
  },
};
