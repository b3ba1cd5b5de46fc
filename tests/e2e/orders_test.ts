/** Orders over real brokers: given while the device is away, carried out when it comes; and what a device keeps, asked by any worker. */
import assert from "node:assert/strict";
import { type Agent, openAgent } from "../../agent/open.ts";
import type { Cloud } from "../../cloud/running_cloud.ts";
import { startCloud } from "../../cloud/worker.ts";
import { encode, encodePresence, topics } from "../../protocol.ts";
import { compileSchema } from "../../schema.ts";
import mqtt from "mqtt";
import { mosquittoMissing } from "../support/mosquitto.ts";
import { schemaSource } from "../support/report_schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { skipped } from "../support/tools.ts";
import { withTwoWorkers } from "../support/two_workers.ts";
import { until } from "../support/until.ts";

const schema = compileSchema(schemaSource);
const identity = { deviceId: "d-1", accountId: "acme" };

interface Answer {
  readonly status: number;
  // deno-lint-ignore no-explicit-any -- JSON of the API
  readonly json: any;
}

async function call(cloud: Cloud, method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${cloud.httpPort}/api/devices/d-1${path && `/${path}`}`, {
    method,
    ...(body ? { body: JSON.stringify(body), headers: { "content-type": "application/json" } } : {}),
  });
  return { status: response.status, json: await response.json() };
}

function agentOf(path: string, mqtt: string, password: string): Promise<Agent<typeof schemaSource>> {
  return openAgent({ schema: schemaSource, device: "d-1", account: "acme", path, mqtt, password });
}

/** A change that the cloud refused, as the device keeps it. */
function refused(agent: Agent<typeof schemaSource>, id: string): void {
  agent.store.db.prepare(
    "INSERT INTO _rejected(model, key, op, item, code, reason, stamp, time) VALUES ('Note', ?, 'create', ?, 'invalid', 'no', 1, 1)",
  ).run(JSON.stringify({ id }), JSON.stringify({ id, text: "kept" }));
}

async function done(cloud: Cloud, order: string) {
  return await until(`${order} is done`, async () => {
    const { json } = await call(cloud, "GET", "orders");
    // deno-lint-ignore no-explicit-any -- JSON of the API
    const found = json.orders.find((one: any) => one.order === order);
    return found && (found.state === "done" || found.state === "failed") ? found : undefined;
  });
}

/** @param gives the worker that is given orders and questions; the device's answers may reach any */
async function whole(gives: Cloud, url: string, password: string): Promise<void> {
  using dir = new TempDir();
  const path = dir.file("d.db");
  let agent = await agentOf(path, url, password);
  try {
    await until("the device has reported", async () => (await call(gives, "GET", "")).json.report?.orders === 1);
    refused(agent, "n1");
    refused(agent, "n2");
    for (let i = 0; i < 4; i++) {
      const { status, json } = await call(gives, "GET", "kept?table=rejected");
      assert.deepEqual([status, json.rows?.length, json.rows?.[0].lost.text], [200, 2, "kept"], JSON.stringify(json));
    }
    const at = await call(gives, "POST", "orders", { do: "retry", table: "rejected", id: 1 });
    assert.equal(at.status, 202);
    assert.deepEqual((await done(gives, at.json.order)).report, { done: 1, failed: 0 });
    await agent.flush({ timeoutMs: 20_000 });
    assert.equal(agent.model("Note").get({ id: "n1" })?.text, "kept");
    await agent.close();
    await until("the cloud knows that it is away", async () => (await call(gives, "GET", "")).json.connected === false);
    const away = await call(gives, "GET", "kept?table=rejected");
    assert.deepEqual([away.status, away.json.command], [504, "twintable rejected list --db FILE"]);
    const later = await call(gives, "POST", "orders", { do: "retry", all: true });
    const { json: { orders: [waiting] } } = await call(gives, "GET", "orders");
    assert.deepEqual([waiting.order, waiting.state, waiting.why], [
      later.json.order,
      "waiting",
      "the device is not connected",
    ]);
    agent = await agentOf(path, url, password);
    assert.deepEqual((await done(gives, later.json.order)).report, { done: 1, failed: 0 });
    assert.equal(agent.rejected.list().length, 0);
    const verify = await call(gives, "POST", "orders", { do: "verify" });
    assert.equal((await done(gives, verify.json.order)).report.differences, 0);
  } finally {
    await agent.close();
  }
}

Deno.test("orders: a device carries them out when it comes, and says what it keeps", async () => {
  await using cloud = await startCloud({ schema, table: "embedded::memory:", http: {} });
  await whole(cloud, `mqtt://127.0.0.1:${cloud.mqttPort}`, await cloud.registry.add("d-1", "acme"));
  // A device of the same name that is registered anew gets none of the orders of before.
  assert.ok((await call(cloud, "POST", "orders", { do: "sync" })).json.order);
  await cloud.registry.revoke("d-1");
  await cloud.registry.add("d-1", "acme");
  assert.deepEqual((await call(cloud, "GET", "orders")).json.orders, []);
  for (
    const [body, why] of [
      [{ do: "restart" }, /do is sync/],
      [{ do: "rotate", token: "mine" }, /an order has no "token"/],
      [{ do: "retry" }, /one of id, model/],
      [{ do: "drop", all: true }, /table is rejected or conflicts/],
      [{ do: "restore", table: "rejected", all: true }, /table is conflicts/],
      [{ do: "sync", table: "rejected" }, /no table/],
      [{ do: "drop", table: "rejected", id: 1, all: true }, /one of id/],
      [{ do: "sync", colour: 1 }, /colour/],
    ] as const
  ) {
    const { status, json } = await call(cloud, "POST", "orders", body);
    assert.equal(status, 400, JSON.stringify(body));
    assert.match(json.error.message, why);
  }
});

Deno.test({
  name: "orders: of two workers on Mosquitto either gives them, and an answer finds who asked",
  ignore: skipped(mosquittoMissing),
  fn: async () => {
    await withTwoWorkers(schema, identity, ({ a, mqtt }) => whole(a, mqtt, "t"));
  },
});

Deno.test("orders: an older agent is sent none, and it is said why", async () => {
  await using cloud = await startCloud({ schema, table: "embedded::memory:", http: {} });
  const password = await cloud.registry.add("d-1", "acme");
  const client = await mqtt.connectAsync({
    host: "127.0.0.1",
    port: cloud.mqttPort!,
    protocol: "mqtt",
    clientId: "d-1",
    username: "d-1",
    password,
    reconnectPeriod: 0,
  });
  const heard: string[] = [];
  client.on("message", (_topic, payload) => heard.push(new TextDecoder().decode(payload)));
  try {
    const own = topics();
    await client.subscribeAsync(own.down("d-1"), { qos: 1 });
    const { v: _v, online, r } = JSON.parse(new TextDecoder().decode(encodePresence(true, { agent: "0.0.9" })));
    await client.publishAsync(own.presence("d-1"), JSON.stringify({ v: 1, online, r }), { qos: 1, retain: true });
    await until("it has reported", async () => (await call(cloud, "GET", "")).json.report?.agent === "0.0.9");
    assert.equal((await call(cloud, "POST", "orders", { do: "sync" })).status, 202);
    const { json } = await call(cloud, "GET", "orders");
    assert.equal(json.orders[0].why, "not understood by agent 0.0.9: update it");
    assert.equal((await call(cloud, "GET", "kept?table=aside")).status, 504);
    // What it says of orders that are none of its own changes nothing.
    const [payload] = encode({ type: "ordered", order: "o/1", state: "done", report: {} });
    await client.publishAsync(own.sync("d-1"), payload as never, { qos: 1 });
    await until("it is handled", () => cloud.counters().mqttReceived! >= 1);
    assert.deepEqual((await call(cloud, "GET", "orders")).json.orders.length, 1);
    assert.deepEqual(heard.filter((text) => text.includes('"order"')), []);
  } finally {
    await client.endAsync(true);
  }
});
