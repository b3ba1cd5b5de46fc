/**
 * A device that the broker keeps out, or that another agent of the same id throws out: both sides say which device, which
 * account, and what to do.
 */
import assert from "node:assert/strict";
import { configure, reset } from "@logtape/logtape";
import { openDevice } from "../support/device.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { until } from "../support/until.ts";

Deno.test("refused: a device that was moved to another account is told the account, not three topics", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const token = await cloud.token("dev-1", "acme");
  const known = { mqttUrl: cloud.mqttUrl, token: () => Promise.resolve(token) };
  await using device = await openDevice(dir, known, { account: "other" });
  await until("it is told", () => device.agent.status().problem !== undefined);
  assert.match(
    device.agent.status().problem!,
    /^the broker does not let the device "dev-1" into the account "other": it belongs to another one/,
  );
  assert.equal(device.agent.status().problems[0]!.name, "credentials");
});

Deno.test("refused: a token that is not this device's stands in problem, and goes when it is let in", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await cloud.token("dev-1", "acme");
  const known = { mqttUrl: cloud.mqttUrl, token: () => Promise.resolve("wrong") };
  await using device = await openDevice(dir, known);
  await until("it is told", () => device.agent.status().problem !== undefined);
  assert.match(device.agent.status().problem!, /refused dev-1/);
  assert.equal(device.agent.status().problems[0]!.name, "credentials");
});

Deno.test("refused: two agents of one id are told on both sides", async () => {
  const lines: string[] = [];
  await configure({
    reset: true,
    sinks: { lines: (record) => void lines.push(record.message.join("")) },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: [] },
      { category: ["twintable"], lowestLevel: "warning", sinks: ["lines"] },
    ],
  });
  try {
    using dir = new TempDir(), other = new TempDir();
    await using cloud = await openTestCloud();
    await using one = await openDevice(dir, cloud);
    await until("the first is connected", () => one.agent.status().connected);
    await using two = await openDevice(other, cloud);
    const told = () => [one, two].some(({ agent }) => agent.status().problems.some(({ name }) => name === "duplicate"));
    await until("one of them says so", told, 30_000);
    await until(
      "the cloud says so",
      () => lines.some((line) => /dev-1 is connected again and again .*two agents use this id/.test(line)),
      60_000,
    );
    // Only one is left: the problem goes when its connection has held for a while.
    await one.agent.close();
    await until("the other goes on", () => two.agent.status().connected);
  } finally {
    await reset();
  }
});
