import assert from "node:assert/strict";
import { MqttLink } from "../../agent/link.ts";
import { startBroker } from "../../cloud/broker/broker.ts";
import type { Cloud } from "../../cloud/running_cloud.ts";
import { type CloudOptions, startCloud } from "../../cloud/worker.ts";
import type { Ack, FromCloud } from "../../protocol.ts";
import { compileSchema, SyncError } from "../../schema.ts";
import { authorityCert, serverCert, serverKey, tlsMissing } from "../support/certificates.ts";
import { freePort, mosquittoMissing, startMosquitto } from "../support/mosquitto.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";

const schema = compileSchema({
  version: "1",
  format: "onetable:1.1.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Setting: {
      pk: { type: String, value: "device#${deviceId}" },
      sk: { type: String, value: "setting#${name}" },
      deviceId: { type: String },
      name: { type: String, required: true },
      value: { type: Number },
    },
  },
  process: { Setting: { enable: "both", sync: "both" } },
  params: { isoDates: true, timestamps: false },
});

const identity = { deviceId: "dev-1", accountId: "acme" };

function device(url: string, password: string, ca?: string) {
  const messages: FromCloud[] = [];
  const link = new MqttLink({ url, identity, password, ca, retryMinMs: 20, retryMaxMs: 100 });
  link.start({ connected() {}, disconnected() {}, message: (message) => messages.push(message) });
  const find = <T extends FromCloud>(type: T["type"]) =>
    messages.find((message): message is T => message.type === type);
  const live = () => messages.flatMap((message) => message.type === "changes" ? message.entries : []);
  return { link, find, live };
}

const setting = (value: number, stamp: number) => ({
  model: "Setting",
  op: "create" as const,
  stamp,
  item: { name: "interval", value },
});

async function put(cloud: Cloud, item: Record<string, unknown>): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${cloud.httpPort}/api/items`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "Setting", item }),
  });
  assert.equal(response.status, 200, await response.text());
}

function cloudOf(options: Partial<CloudOptions> = {}): Promise<Cloud> {
  return startCloud({ schema, table: "embedded::memory:", http: {}, ...options });
}

/** The main path both ways: a change goes up and is answered; a write by the API comes down live. */
async function mainPath(cloud: Cloud, url: string, token: string, ca?: string): Promise<void> {
  const { link, find, live } = device(url, token, ca);
  await until("the device is connected", () => link.connected);
  link.send({ type: "sync", request: "k/1", channels: [{ channel: "device:dev-1" }] });
  await until("the sync is answered", () => find("snapshot") ?? find("page"));
  link.send({ type: "up", batch: "k/1", sent: Date.now(), changes: [setting(5, Date.now() * 1000)] });
  const ack = await until("the batch is acknowledged", () => find<Ack>("ack"));
  assert.deepEqual(ack.answers, []);
  await until(
    "the device's own change comes back as a mark",
    () => live().some(({ mark }) => mark?.version[0] === "dev-1#k"),
  );
  await put(cloud, { deviceId: "dev-1", name: "interval", value: 7 });
  await until("the API's change comes down", () => live().some(({ current }) => current?.item.value === 7));
  assert.equal(cloud.counters().mqttMalformed, 0);
  await link.close();
}

const test = (name: string, fn: () => Promise<void>, ignore = false) =>
  Deno.test({ name: `worker: ${name}`, fn, ignore, sanitizeOps: false, sanitizeResources: false });

test("with an embedded broker and table a change goes up and one comes down", async () => {
  await using cloud = await cloudOf();
  const token = await cloud.registry.add("dev-1", "acme");
  await mainPath(cloud, `mqtt://127.0.0.1:${cloud.mqttPort}`, token);
  const metrics = await (await fetch(`http://127.0.0.1:${cloud.httpPort}/metrics`)).text();
  assert.match(metrics, /mqtt_published/);
});

const tlsTest = "with TLS at the broker the devices use it";
test(tlsTest, async () => {
  await using cloud = await cloudOf({ broker: { tls: { cert: serverCert, key: serverKey } } });
  const token = await cloud.registry.add("dev-1", "acme");
  await mainPath(cloud, `mqtts://localhost:${cloud.mqttPort}`, token, authorityCert);
}, skipped(tlsMissing));

test(
  "with Mosquitto a change goes up and one comes down",
  async () => {
    const internal = { username: "twintable-cloud", password: "secret" };
    const broker = await startMosquitto({ devices: [{ ...identity, token: "t" }], internal });
    try {
      await using cloud = await cloudOf({ mqtt: `mqtt://127.0.0.1:${broker.workerPort}`, ...internal });
      assert.equal(cloud.mqttPort, undefined);
      await cloud.registry.add("dev-1", "acme");
      await mainPath(cloud, `mqtt://127.0.0.1:${broker.devicePort}`, "t");
    } finally {
      await broker.stop();
    }
  },
  skipped(mosquittoMissing),
);

test("a broker that refuses the worker's credentials ends the start with that reason", async () => {
  await using other = await cloudOf();
  await assert.rejects(
    () => cloudOf({ mqtt: `mqtt://127.0.0.1:${other.mqttPort}`, username: "twintable-cloud", password: "wrong" }),
    (error) => error instanceof SyncError && error.code === "unauthorized",
  );
});

test("a broker that is not there yet is waited for in the background", async () => {
  const port = await freePort();
  await using cloud = await cloudOf({ mqtt: `mqtt://127.0.0.1:${port}`, connectTimeoutMs: 50 });
  assert.equal(cloud.connected, false);
  assert.ok(cloud.lastError);
  assert.equal((await fetch(`http://127.0.0.1:${cloud.httpPort}/healthz`)).status, 200);
});

test("while the broker is away writes wait in the stream, and come down when it is back", async () => {
  const internal = { username: "w", password: "p" };
  const port = await freePort();
  const start = () => startBroker({ port, internal, authenticate: () => Promise.resolve(identity) });
  let broker = await start();
  await using cloud = await cloudOf({ mqtt: `mqtt://127.0.0.1:${port}`, ...internal, shareGroup: undefined });
  await cloud.registry.add("dev-1", "acme");
  await broker.close();
  await until("the worker noticed", () => !cloud.connected);
  await put(cloud, { deviceId: "dev-1", name: "interval", value: 9 });
  broker = await start();
  const { link, live } = device(`mqtt://127.0.0.1:${port}`, "t");
  await until("the device is connected", () => link.connected);
  await until("the write comes down", () => live().some(({ current }) => current?.item.value === 9), 20_000);
  await link.close();
  await cloud.close();
  await broker.close();
});

test("ports that are taken and tables that are none are one clear error each, and leave nothing open", async () => {
  await using cloud = await cloudOf();
  const unavailable = (error: unknown) => error instanceof SyncError && error.code === "unavailable";
  await assert.rejects(() => cloudOf({ broker: { port: cloud.mqttPort } }), unavailable);
  await assert.rejects(() => cloudOf({ http: { port: cloud.httpPort } }), unavailable);
  await assert.rejects(() => cloudOf({ table: "sqlite:x" }), TypeError);
  await assert.rejects(() => cloudOf({ mqtt: "http://x" }), TypeError);
  const path = `${await Deno.makeTempDir()}/cloud.db`;
  await assert.rejects(() => cloudOf({ table: `embedded:${path}`, http: { port: cloud.httpPort } }), unavailable);
  const again = await cloudOf({ table: `embedded:${path}` });
  await again.close();
});

test("an HTTP API that others can reach wants a token", async () => {
  await using cloud = await startCloud({ schema, table: "embedded::memory:" });
  assert.equal(cloud.httpPort, undefined);
  await assert.rejects(
    () => cloud.serveHttp({ host: "0.0.0.0" }),
    (error) => error instanceof SyncError && error.code === "config",
  );
  const port = await cloud.serveHttp({ token: "secret" });
  const status = async (token?: string) => {
    const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(`http://127.0.0.1:${port}/api/devices`, { headers });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await status(), 401);
  assert.equal(await status("secret"), 200);
  await assert.rejects(() => cloud.serveHttp(), TypeError);
});

test("what was acknowledged before the close is there after the next start", async () => {
  const path = `${await Deno.makeTempDir()}/cloud.db`;
  let cloud = await cloudOf({ table: `embedded:${path}` });
  const token = await cloud.registry.add("dev-1", "acme");
  const first = device(`mqtt://127.0.0.1:${cloud.mqttPort}`, token);
  await until("the device is connected", () => first.link.connected);
  first.link.send({ type: "up", batch: "k/1", sent: Date.now(), changes: [setting(5, Date.now() * 1000)] });
  await until("the batch is acknowledged", () => first.find("ack"));
  await Promise.all([cloud.close(), cloud.close()]);
  await first.link.close();
  cloud = await cloudOf({ table: `embedded:${path}` });
  const { items } = await (await fetch(`http://127.0.0.1:${cloud.httpPort}/api/items?model=Setting`)).json();
  assert.equal(items.length, 1);
  assert.equal(items[0].value, 5);
  await mainPath(cloud, `mqtt://127.0.0.1:${cloud.mqttPort}`, token);
  await cloud.close();
});

Deno.test("worker: a schema literal does as well as a compiled one", async () => {
  const literal = {
    version: "1.0.0",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      Note: {
        pk: { type: "string", value: "device#${deviceId}" },
        sk: { type: "string", value: "note#${name}" },
        deviceId: { type: "string", required: true },
        name: { type: "string", required: true },
      },
    },
    process: { Note: { sync: "both" } },
  } as const;
  await using cloud = await startCloud({ schema: literal, table: "embedded::memory:" });
  assert.deepEqual([...cloud.service.schema.models.keys()], ["Note"]);
});
