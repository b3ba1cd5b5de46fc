/** What a device says of itself, over the real broker; a link that is cut and restored; old agents beside new workers. */
import assert from "node:assert/strict";
import { openAgent } from "../../agent/open.ts";
import { startCloud } from "../../cloud/mod.ts";
import { compileSchema } from "../../schema.ts";
import { schemaSource } from "../support/report_schema.ts";
import { until } from "../support/until.ts";

Deno.test("report: a device tells its versions, what waits and what is wrong; the API finds it by that", async () => {
  await using cloud = await startCloud({
    schema: compileSchema(schemaSource),
    table: "embedded::memory:",
    broker: { host: "127.0.0.1", port: 0 },
    http: { host: "127.0.0.1", port: 0 },
  });
  const password = await cloud.registry.add("d-1", "acme");
  await cloud.registry.add("d-2", "acme");
  const get = async (path: string) => await (await fetch(`http://127.0.0.1:${cloud.httpPort}${path}`)).json();
  const agent = await openAgent({
    schema: schemaSource,
    device: "d-1",
    account: "acme",
    path: ":memory:",
    mqtt: `mqtt://127.0.0.1:${cloud.mqttPort}`,
    password,
  });
  try {
    await until("the device has reported", async () => (await get("/api/devices/d-1")).report?.outbox === 0);
    const { report, state, connected } = await get("/api/devices/d-1");
    assert.deepEqual([report.schema, state, connected], ["3.2.1", "online", true]);
    assert.match(report.sqlite, /^3\./);
    assert.match(report.runtime, /^deno /);
    assert.equal(report.agent, JSON.parse(Deno.readTextFileSync(new URL("../../deno.json", import.meta.url))).version);

    const found = await get("/api/devices?q=schema:3.2.1&sort=-outbox");
    assert.deepEqual([found.total, found.devices[0].deviceId], [1, "d-1"]);
    assert.deepEqual(found.states, { online: 1, lagging: 0, trouble: 0, silent: 1 });

    agent.pause();
    await until("the link is cut", () => !agent.status().connected);
    await until(
      "the cloud knows",
      async () => (await get("/api/devices?q=d-1&sort=state")).devices[0].state === "silent",
    );
    agent.model("Note").create({ id: "1", text: "written while away" });
    assert.equal(agent.status().outbox, 1);
    agent.resume();
    await agent.flush({ timeoutMs: 20_000 });
    await until("it is back", async () => (await get("/api/devices/d-1")).connected === true);
    const refused = await fetch(`http://127.0.0.1:${cloud.httpPort}/api/devices?q=colour:red`);
    assert.equal(refused.status, 400);
    assert.match((await refused.json()).error.message, /"colour:red" is not a condition/);
  } finally {
    await agent.close();
  }
});
