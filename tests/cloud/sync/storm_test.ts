/**
 * Storms, in virtual time: thousands of devices that ask at once, over tables of limited speed. What is counted and what is
 * waited for depends on no machine.
 */
import assert from "node:assert/strict";
import { percentile, VirtualCloud, Writer } from "../../support/virtual_cloud.ts";
import { schema } from "../fixture.ts";

const slow = { requestsPerSecond: 500, latencyMs: 5 };

async function writersOf(cloud: VirtualCloud, count: number): Promise<Writer[]> {
  const writers = Array.from(
    { length: count },
    (_, i) => Writer.register(cloud, `writer-${i}`, "Plain", 900 + 20 * i),
  );
  const waits = (one: Promise<Writer>) => one;
  const all = Promise.all(writers.map(waits));
  await cloud.time.pass(5_000);
  return await all;
}

function take(writers: readonly Writer[]): number {
  const p99 = percentile(writers.flatMap(({ waitsMs }) => waitsMs), 0.99);
  for (const { waitsMs } of writers) waitsMs.length = 0;
  return p99;
}

Deno.test("storm: 3,000 devices at 500 requests a second are caught up soon, their answers are used, and who writes notices little", async () => {
  await using cloud = new VirtualCloud(schema, slow);
  const devices = await cloud.devices(3_000 + 20, ["device", "account"]), writers = await writersOf(cloud, 10);
  cloud.tail();
  // What one device costs, alone.
  const alone = devices.splice(0, 20), before = cloud.count();
  for (const device of alone) {
    device.connected();
    await cloud.time.until("it is caught up", () => device.caughtUp, 10_000);
  }
  const each = (cloud.count() - before) / alone.length, workMs = devices.length * each / slow.requestsPerSecond * 1000;
  for (const writer of writers) writer.start();
  await cloud.time.pass(10_000);
  take(writers);
  await cloud.time.pass(20_000);
  const quiet = take(writers);

  const began = cloud.time.sinceMs, counted = cloud.count("get floor#account");
  for (const device of devices) cloud.time.after(1_000 * cloud.random(), () => device.connected());
  await cloud.time.pass(1_000);
  await cloud.time.until("all are caught up", () => devices.every(({ caughtUp }) => caughtUp), 5 * workMs);
  const tookMs = cloud.time.sinceMs - began, busy = take(writers);
  const used = devices.reduce((sum, { answers }) => sum + answers.used, 0);
  const wasted = devices.reduce((sum, { answers }) => sum + answers.wasted, 0);
  const floors = cloud.count("get floor#account") - counted;
  console.log(
    `${each} requests a device; ${(tookMs / workMs).toFixed(2)} of the work's length, ${wasted} answers wasted, ` +
      `live p99 ${busy.toFixed(0)} ms, quiet ${
        quiet.toFixed(0)
      } ms; ${floors} reads of the account's floor in ${tookMs} ms`,
  );
  assert.ok(tookMs <= 1.5 * workMs, `${tookMs} ms, work of ${workMs} ms`);
  assert.ok(wasted <= 0.1 * (used + wasted), `${wasted} of ${used + wasted} answers`);
  assert.ok(busy <= 3 * quiet, `p99 ${busy} ms, quiet ${quiet} ms`);
  assert.ok(floors <= 5 + tookMs / 1000, `${floors} reads of the account's floor`);
});
