/**
 * Up with DynamoDB Local, against the conditional PutItem of the AWS SDK alone, at its best concurrency.
 *
 * @module
 */
import { Child } from "../child.ts";
import type { Bench, Row } from "../measure.ts";
import { Pair } from "../pair.ts";
import { emulators } from "../../tests/support/dynamo.ts";

const concurrencies = [1, 16, 64];

/** See the module. */
export const dynamodb: Bench = {
  name: "dynamodb",
  title: "Up, DynamoDB Local",
  quick: false,
  repeats: 3,
  about:
    "DynamoDB Local in memory, a table with a stream. Raw: new items by conditional PutItem from one process, at 1, 16 " +
    "and 64 in flight. Ours: the same number of rows from a device's one transaction until all are acknowledged, the " +
    "table's stream being tailed meanwhile. Both in turns on the same table.",
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
      const count = 4_000;
      const rows: Row[] = [];
      let best = 0;
      for (const inFlight of concurrencies) {
        const rate = await put(inFlight === 1 ? count / 4 : count, inFlight);
        best = Math.max(best, rate);
        rows.push({ name: `conditional PutItem, ${inFlight} in flight`, unit: "items/s", value: rate, kind: "raw" });
      }
      const before = await pair.cpuMicros(), rawBefore = await client.call<number>("cpuMs");
      const rates = [await send(count)];
      const after = await pair.cpuMicros();
      best = Math.max(best, await put(count, 16), await put(count, 64));
      const rawCost = (await client.call<number>("cpuMs") - rawBefore) * 1000 / (2 * count);
      rates.push(await send(count));
      const up = Math.max(...rates);
      return [
        ...rows,
        { name: "processor time per conditional PutItem", unit: "µs", value: rawCost, kind: "raw" },
        { name: "up", unit: "items/s", value: up },
        { name: "up ÷ raw at its best", unit: "×", value: up / best, goal: { atLeast: 0.85 } },
        { name: "cloud's processor time per change", unit: "µs", value: (after.cloud - before.cloud) / count },
      ];
    } finally {
      await emulator.stop();
    }
  },
};
