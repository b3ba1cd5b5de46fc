/**
 * 5,000 connections that misbehave (say nothing, halves of packets, nonsense, a byte now and then), made anew as soon as they are
 * cut: a good device is answered, another one gets in, and memory is bounded.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { dynsecMissing } from "../support/mosquitto_dynsec.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { openRig } from "./rig.ts";

const flooder = fileURLToPath(new URL("flooder.ts", import.meta.url));
/** As in `floods_test.ts`: 250 MB are the goal on a machine of its own. */
const memoryMaxMb = Deno.env.get("FLOOD_STRICT") === "1" ? 250 : 400;
const answerMaxMs = 5_000;

for (const [broker, missing] of [["embedded", undefined], ["mosquitto", dynsecMissing]] as const) {
  Deno.test({
    name: `connections: 5,000 that misbehave keep nobody out (${broker} broker)`,
    ignore: skipped(missing),
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using rig = await openRig(broker);
      const good = await rig.peer("good");
      let n = 0, said = { opened: 0, most: 0 };
      const ask = () => good.ask({ type: "sync", request: `good/${++n}`, channels: [] });
      await ask();
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", flooder, "connections", String(rig.devicePort), "spy", "none"],
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const reading = child.stdout.pipeThrough(new TextDecoderStream()).pipeTo(
        new WritableStream({ write: (text) => void (said = JSON.parse(text.trim().split("\n").at(-1)!)) }),
      );
      const times: number[] = [];
      try {
        await until("5,000 were made", () => said.opened >= 5_000, 120_000);
        for (let at = 0; at < 50; at++) times.push(await ask());
        const begun = performance.now();
        const late = await rig.peer("victim");
        assert.ok(performance.now() - begun < 30_000, "another device gets in");
        await late.connection.close();
      } finally {
        child.kill("SIGKILL");
        await child.status;
        await reading.catch(() => {});
      }
      times.sort((a, b) => a - b);
      const { now, most } = await rig.memory();
      console.log(
        `    ${said.opened} connections, ${said.most} at once; answers p50 ${times[25]!.toFixed(1)}, at most ${
          times.at(-1)!.toFixed(1)
        } ms; the worker's memory ${now.toFixed(0)} MB, at most ${most.toFixed(0)} MB`,
      );
      assert.ok(times.at(-1)! < answerMaxMs, `an answer took ${times.at(-1)} ms`);
      assert.ok(most < memoryMaxMb, `the worker had ${most} MB`);
      assert.ok(await ask() < answerMaxMs);
      await good.connection.close();
    },
  });
}
