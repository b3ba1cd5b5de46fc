import assert from "node:assert/strict";
import mqtt from "mqtt";
import { MqttLink } from "../../agent/link.ts";
import { type Broker, startBroker } from "../../cloud/broker/broker.ts";
import { MqttSession } from "../../mqtt/session.ts";
import { encode, type FromCloud, topics } from "../../protocol.ts";
import { freePort } from "../support/mosquitto.ts";
import { until } from "../support/until.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };
const internal = { username: "cloud", password: "secret" };
const time = (n: number): FromCloud => ({ type: "time", request: `k/${n}`, time: n });

function broker(
  port = 0,
  authenticate = (_deviceId: string, token: string) => token === "t" ? identity : undefined,
): Promise<Broker> {
  return startBroker({
    port,
    internal,
    authenticate: (deviceId, token) => Promise.resolve(authenticate(deviceId, token)),
  });
}

function linkTo(port: number, options: Partial<ConstructorParameters<typeof MqttLink>[0]> = {}) {
  const link = new MqttLink({
    url: `mqtt://127.0.0.1:${port}`,
    identity,
    password: "t",
    retryMinMs: 10,
    retryMaxMs: 50,
    ...options,
  });
  const events: string[] = [], messages: FromCloud[] = [];
  link.start({
    connected: () => events.push("connected"),
    disconnected: () => events.push("disconnected"),
    message: (message) => messages.push(message),
  });
  return { link, events, messages };
}

const test = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name: `link: ${name}`, fn, sanitizeOps: false, sanitizeResources: false });

test("an order on another topic than the device's own is dropped", async () => {
  const server = await broker();
  const { link, messages } = linkTo(server.port);
  const client = await worker(server.port);
  try {
    await until("the link is up", () => link.connected);
    const { down, account, all } = topics(),
      order = (n: number): FromCloud => ({ type: "order", order: `o/${n}`, do: "sync" });
    for (const [n, topic] of [account("acme"), all, down("dev-1")].entries()) {
      await client.publishAsync(topic, encode(order(n))[0] as never, { qos: 1 });
    }
    await until("the last has come", () => messages.length > 0);
    assert.deepEqual([messages, link.counters.malformed], [[order(2)], 2]);
  } finally {
    await client.endAsync(true);
    await link.close();
    await server.close();
  }
});

function worker(port: number): Promise<mqtt.MqttClient> {
  return mqtt.connectAsync({
    host: "127.0.0.1",
    port,
    protocol: "mqtt",
    clientId: "w/1",
    ...internal,
    reconnectPeriod: 0,
  });
}

test("waits for a broker that is not there yet, and comes back whenever it restarts", async () => {
  const port = await freePort();
  const { link, events } = linkTo(port);
  await until("the first attempt failed", () => link.lastError);
  assert.match(link.lastError!, /127\.0\.0\.1/);
  for (let round = 1; round <= 3; round++) {
    const running = await broker(port);
    await until("it is connected", () => link.connected);
    assert.equal(link.lastError, undefined);
    await running.close();
    await until("it is disconnected", () => !link.connected);
  }
  assert.deepEqual(events, Array(3).fill(["connected", "disconnected"]).flat());
  await link.close();
});

test("what could not be sent is not sent later: the uplink sends again by itself", async () => {
  const port = await freePort();
  const { link } = linkTo(port);
  const sync = (n: number) => ({ type: "sync" as const, request: `k/${n}`, channels: [] });
  assert.equal(link.send(sync(1)), false);
  let running = await broker(port);
  await until("it is connected", () => link.connected);
  await running.close();
  await until("it is disconnected", () => !link.connected);
  assert.equal(link.send(sync(2)), false);
  running = await broker(port);
  const listener = await worker(port);
  const seen: string[] = [];
  listener.on("message", (_topic, payload) => seen.push(payload.toString()));
  await listener.subscribeAsync("tt/d/+/sync", { qos: 1 });
  await until("it is connected again", () => link.connected);
  assert.equal(link.send(sync(3)), true);
  await until("a message arrived", () => seen.length > 0);
  assert.equal(seen.length, 1);
  assert.match(seen[0]!, /k\/3/);
  assert.match(seen[0]!, /"z":1/, "its answer may be compressed");
  assert.equal(link.counters.sent, 1);
  await listener.endAsync();
  await link.close();
  await running.close();
});

test("is subscribed to all three topics before it says that it is connected", async () => {
  const running = await broker();
  const publisher = await worker(running.port);
  const topic = topics();
  const messages: FromCloud[] = [];
  const link = new MqttLink({ url: `mqtt://127.0.0.1:${running.port}`, identity, password: "t" });
  link.start({
    connected: () =>
      [topic.down("dev-1"), topic.account("acme"), topic.all].forEach((name, n) =>
        publisher.publish(name, encode(time(n))[0]! as never, { qos: 1 })
      ),
    disconnected: () => {},
    message: (message) => messages.push(message),
  });
  await until("all three arrived", () => messages.length === 3);
  await link.close();
  await publisher.endAsync();
  await running.close();
});

test("a malformed message is counted and dropped, and stops nothing", async () => {
  const running = await broker();
  const publisher = await worker(running.port);
  const { link, messages } = linkTo(running.port);
  await until("it is connected", () => link.connected);
  for (const bad of ["", "{", '{"v":2,"type":"time"}', "#1 0 0 0\n", '{"v":1,"type":"up"}']) {
    await publisher.publishAsync("tt/d/dev-1/down", bad, { qos: 1 });
  }
  await publisher.publishAsync("tt/all", encode(time(5))[0]! as never, { qos: 1 });
  await until("the good one arrived", () => messages.length === 1);
  assert.deepEqual(messages, [time(5)]);
  assert.equal(link.counters.malformed, 5);
  assert.ok(link.connected);
  await link.close();
  await publisher.endAsync();
  await running.close();
});

test("a token that is not valid yet is reported, and lets the device in once it is", async () => {
  let valid = false;
  const running = await broker(0, () => valid ? identity : undefined);
  // Refused credentials are tried again after 15 to 30 s; the random source makes it no shorter, so a new link stands in.
  const refused = linkTo(running.port);
  await until("it is refused", () => refused.link.refused);
  assert.match(refused.link.lastError!, /refused dev-1/);
  await refused.link.close();
  valid = true;
  const accepted = linkTo(running.port);
  await until("it is connected", () => accepted.link.connected);
  assert.equal(accepted.link.refused, false);
  await accepted.link.close();
  await running.close();
});

test("a handler that throws does not end the link", async () => {
  const running = await broker();
  const publisher = await worker(running.port);
  let handled = 0;
  const link = new MqttLink({ url: `mqtt://127.0.0.1:${running.port}`, identity, password: "t" });
  link.start({
    connected: () => {},
    disconnected: () => {},
    message: () => {
      if (++handled === 1) throw new Error("on purpose");
    },
  });
  await until("it is connected", () => link.connected);
  for (const n of [1, 2]) await publisher.publishAsync("tt/all", encode(time(n))[0]! as never, { qos: 1 });
  await until("both were handled", () => handled === 2);
  assert.ok(link.connected);
  await link.close();
  await publisher.endAsync();
  await running.close();
});

test("notices a broker that is silent, by its keepalive", async () => {
  // Accepts, acknowledges the connection and the subscription, and then never says anything again.
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.Conn[] = [];
  const serving = (async () => {
    for await (const connection of listener) {
      connections.push(connection);
      await connection.read(new Uint8Array(1024));
      await connection.write(new Uint8Array([0x20, 2, 0, 0]));
      const packet = new Uint8Array(1024);
      await connection.read(packet);
      await connection.write(new Uint8Array([0x90, 5, packet[2]!, packet[3]!, 1, 1, 1]));
    }
  })();
  const { link, events } = linkTo((listener.addr as Deno.NetAddr).port, { keepaliveSeconds: 1 });
  await until("it is connected", () => events.includes("connected"));
  await until("it is disconnected", () => events.includes("disconnected"));
  await link.close();
  listener.close();
  for (const connection of connections) connection.close();
  await serving;
});

test("a connection that takes nothing any more is cut instead of buffering for ever", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.Conn[] = [];
  const serving = (async () => {
    for await (const connection of listener) {
      connections.push(connection);
      await connection.read(new Uint8Array(1024));
      await connection.write(new Uint8Array([0x20, 2, 0, 0]));
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  let downs = 0;
  const session = new MqttSession(
    {
      url: `mqtt://127.0.0.1:${port}`,
      clientId: "x",
      subscriptions: [],
      bufferBytesMax: 1_000_000,
      retryMinMs: 60_000,
      logName: "link",
    },
    { up: () => {}, down: () => downs++, message: () => {} },
  );
  session.start();
  await until("it is up", () => session.up);
  let failed = 0, sent = 0;
  const payload = new Uint8Array(100_000);
  while (session.publish("t", payload, (error) => error && failed++)) {
    if (++sent > 500) assert.fail("took 50 MB that nobody reads");
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await until("it is down", () => downs === 1);
  await session.close();
  assert.equal(failed, sent, "each publish without a PUBACK was told so");
  listener.close();
  for (const connection of connections) connection.close();
  await serving;
});

test("a broker that is away after each of its short connections has no double told", async () => {
  let server = await broker();
  // However slow the machine is, no connection counts as one that held.
  const { port } = server, { link } = linkTo(port, { stableMs: 1e9 });
  try {
    for (let n = 1; n <= 5; n++) {
      await until("the link is up", () => link.connected);
      await server.close();
      await until("nobody answers", () => /failed: connect/.test(link.lastError ?? ""));
      assert.notEqual(link.trouble?.name, "duplicate");
      server = await broker(port);
    }
    await until("the link is up again", () => link.connected);
    assert.equal(link.trouble, undefined);
  } finally {
    await link.close();
    await server.close();
  }
});

Deno.test("link: a URL that is no broker's is misuse", () => {
  for (const url of ["", "http://x", "mqtt://", "localhost:1883"]) {
    assert.throws(() => new MqttLink({ url, identity }), TypeError, url);
  }
  assert.throws(() => new MqttLink({ url: "mqtt://x", identity, prefix: "a/#" }), RangeError);
});

test("closing before, while and after connecting ends in silence", async () => {
  const running = await broker();
  const idle = new MqttLink({ url: `mqtt://127.0.0.1:${running.port}`, identity, password: "t" });
  await idle.close();
  const { link: early, events } = linkTo(running.port);
  await early.close();
  const { link: late } = linkTo(running.port);
  await until("it is connected", () => late.connected);
  await Promise.all([late.close(), late.close()]);
  assert.equal(late.connected, false);
  assert.equal(late.send({ type: "sync", request: "k/1", channels: [] }), false);
  assert.deepEqual(events, []);
  await until("nobody is left", () => running.connections === 0);
  await running.close();
});
