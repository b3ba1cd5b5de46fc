/** A revoked device loses its open connection, wherever it was revoked. */
import assert from "node:assert/strict";
import { MqttLink } from "../../../agent/link.ts";
import { startBroker } from "../../../cloud/broker/broker.ts";
import { openEmbedded } from "../../../cloud/embedded.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { startCloud } from "../../../cloud/worker.ts";
import type { Identity } from "../../../schema/model.ts";
import { until } from "../../support/until.ts";
import { schema } from "../fixture.ts";

function link(port: number, deviceId: string, password: string) {
  const events = { connected: 0, disconnected: 0 };
  const link = new MqttLink({
    url: `mqtt://127.0.0.1:${port}`,
    identity: { deviceId, accountId: "acme" },
    password,
    retryMinMs: 20,
    retryMaxMs: 40,
  });
  link.start({ connected: () => events.connected++, disconnected: () => events.disconnected++, message() {} });
  return { link, events };
}

const test = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name: `revoke: ${name}`, fn, sanitizeOps: false, sanitizeResources: false });

test("a device that is revoked through the cloud's registry is cut at once, and is not let in again", async () => {
  await using cloud = await startCloud({ schema, table: "embedded::memory:" });
  const one = link(cloud.mqttPort!, "d1", await cloud.registry.add("d1", "acme"));
  const other = link(cloud.mqttPort!, "d2", await cloud.registry.add("d2", "acme"));
  await until("both are connected", () => one.link.connected && other.link.connected);
  assert.equal(await cloud.registry.revoke("d1"), true);
  await until("it is cut", () => one.events.disconnected === 1);
  await until("it is refused", () => one.link.refused);
  assert.deepEqual([other.events.disconnected, other.link.connected], [0, true]);
  await one.link.close();
  await other.link.close();
});

test("a device that gets another token loses the connection that the old one made", async () => {
  await using cloud = await startCloud({ schema, table: "embedded::memory:" });
  const { registry } = cloud;
  const old = link(cloud.mqttPort!, "d1", await registry.add("d1", "acme"));
  await until("it is connected", () => old.link.connected);
  const token = await registry.add("d1", "acme", { replace: true });
  await until("it is cut and refused", () => old.link.refused);
  await old.link.close();
  const fresh = link(cloud.mqttPort!, "d1", token);
  await until("the new token lets it in", () => fresh.link.connected);
  await fresh.link.close();
});

test("a device that another process revokes is cut at the next look", async () => {
  const path = `${await Deno.makeTempDir()}/cloud.db`;
  const tables = openEmbedded(path, { schema, now: Date.now });
  const registry = new Registry(tables.log, { now: Date.now, cacheMs: 20 });
  const broker = await startBroker({
    internal: { username: "w", password: "p" },
    authenticate: (deviceId, token) => registry.authenticate(deviceId, token),
    identityOf: (deviceId) => registry.identityOf(deviceId),
    recheckMs: 50,
  });
  const { link: agent, events } = link(broker.port, "d1", await registry.add("d1", "acme"));
  await until("it is connected", () => agent.connected);
  const beside = openEmbedded(path, { schema, now: Date.now, shared: true });
  await new Registry(beside.log, { now: Date.now }).revoke("d1");
  await beside.close();
  await until("it is cut", () => events.disconnected === 1);
  await agent.close();
  await broker.close();
  await tables.close();
});

test("who can't be looked up stays, who belongs to another account by now is cut", async () => {
  let known: () => Promise<Identity | undefined> = () => Promise.reject(new Error("away"));
  let asked = 0;
  const identity = { deviceId: "d1", accountId: "acme" };
  const broker = await startBroker({
    internal: { username: "w", password: "p" },
    authenticate: () => Promise.resolve(identity),
    identityOf: () => {
      asked++;
      return known();
    },
    recheckMs: 20,
  });
  const { link: agent, events } = link(broker.port, "d1", "t");
  await until("it is connected", () => agent.connected);
  await until("it was looked for in vain", () => asked > 3);
  known = () => Promise.resolve(identity);
  const before = asked;
  await until("it was found", () => asked > before + 3);
  assert.equal(events.disconnected, 0);
  known = () => Promise.resolve({ ...identity, accountId: "rival" });
  await until("it is cut", () => events.disconnected > 0);
  await agent.close();
  await broker.close();
});
