/**
 * Bytes on the wire: MQTT payloads of what goes up, and of what a device that was away catches up on.
 *
 * @module
 */
import type { Bench, Row } from "../measure.ts";
import { Pair } from "../pair.ts";

/** See the module. */
export const wire: Bench = {
  name: "wire",
  title: "Bytes on the wire",
  quick: true,
  repeats: 3,
  about:
    "Bytes of MQTT payload per change. Up: measurements of four values and a generated id, in transactions of 50 and one " +
    "by one. Down: items of four values, in the catch-up pages of a device that was away.",
  async run(context): Promise<Row[]> {
    await using pair = await Pair.start(context, { synchronous: "normal" });
    await pair.openReady();
    await pair.agent.call("insertApart", { from: 900_000, count: 10, gapMs: 10 });
    await pair.agent.call("flush");
    const sent = async () => (await pair.agent.call<{ sentBytes: number }>("link")).sentBytes;
    const perChange = async (transactions: number, batch: number) => {
      const before = await sent();
      for (let n = 0; n < transactions; n++) {
        await pair.agent.call("insert", { from: n * batch, count: batch });
        await pair.agent.call("flush");
      }
      return (await sent() - before) / (transactions * batch);
    };
    const down = async (count: number) => {
      await pair.agent.call("close");
      await pair.cloud.call("put", { model: "Command", count, ...pair.identity });
      await pair.cloud.call("streamed");
      await pair.openReady();
      await pair.agent.call("applied", { count });
      return (await pair.agent.call<{ receivedBytes: number }>("link")).receivedBytes / count;
    };
    const rows: Row[] = [
      {
        name: "per change, batches of 50",
        unit: "bytes",
        value: await perChange(20, 50),
        goal: { atMost: 60 },
        gate: { atMost: 80 },
      },
      {
        name: "single change",
        unit: "bytes",
        value: await perChange(20, 1),
        goal: { atMost: 250 },
        gate: { atMost: 275 },
      },
    ];
    return [...rows, { name: "per change of a catch-up", unit: "bytes", value: await down(10_000) }];
  },
};
