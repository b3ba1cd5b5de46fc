import assert from "node:assert/strict";
import net from "node:net";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import mqtt from "mqtt";
import { type LinkOptions, MqttLink } from "../../../agent/link.ts";
import { startBroker } from "../../../cloud/broker/broker.ts";
import { PacketGuard } from "../../../cloud/broker/socket.ts";
import { MqttPublisher } from "../../../cloud/publishers/mqtt.ts";
import { SyncError } from "../../../schema/errors.ts";
import { encode, type FromCloud, type Up } from "../../../protocol.ts";
import { authorityCert, deviceCert, deviceKey, serverCert, serverKey, tlsMissing } from "../../support/certificates.ts";
import { mosquittoMissing, startMosquitto } from "../../support/mosquitto.ts";
import { skipped } from "../../support/tools.ts";
import { until } from "../../support/until.ts";
import { brokerContract, internalUser, type TestBroker, testCloud, testDevices, testLink } from "./broker_contract.ts";

const known = (deviceId: string) => testDevices.find((device) => device.deviceId === deviceId);

const authenticate = (deviceId: string, token: string) => {
  const device = known(deviceId);
  return Promise.resolve(device?.token === token ? device : undefined);
};

async function embedded(options: Partial<Parameters<typeof startBroker>[0]> = {}): Promise<TestBroker> {
  const broker = await startBroker({ authenticate, internal: internalUser, ...options });
  return { devicePort: broker.port, workerPort: broker.port, internal: internalUser, dispose: () => broker.close() };
}

async function mosquitto(): Promise<TestBroker> {
  const broker = await startMosquitto({ devices: testDevices, internal: internalUser });
  const { devicePort, workerPort } = broker;
  return { devicePort, workerPort, internal: internalUser, dispose: () => broker.stop() };
}

brokerContract("embedded", embedded);
brokerContract(
  "mosquitto",
  mosquitto,
  skipped(mosquittoMissing),
);

brokerContract(
  "mosquitto, MQTT 5",
  async () => ({ ...await mosquitto(), protocolVersion: 5 as const }),
  skipped(mosquittoMissing),
);

const test = (name: string, fn: () => Promise<void>, ignore = false) =>
  Deno.test({ name, fn, ignore, sanitizeOps: false, sanitizeResources: false });

/** A connection made byte by byte, to do what no client library does. */
function rawConnection(port: number, deviceId: string, filter: string): net.Socket {
  const text = (value: string) => [value.length >> 8, value.length & 255, ...new TextEncoder().encode(value)];
  const packet = (type: number, body: number[]) => new Uint8Array([type, body.length, ...body]);
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(
    packet(0x10, [
      ...text("MQTT"),
      4,
      0xc2,
      0,
      60,
      ...text(deviceId),
      ...text(deviceId),
      ...text(`token-of-${deviceId}`),
    ]),
  );
  socket.write(packet(0x82, [0, 1, ...text(filter), 1]));
  return socket;
}

const upMessage = (batch: number): Up => ({ type: "up", batch: `k/${batch}`, sent: 0, changes: [] });

test("broker: a device that does not read is cut, and holds up nobody", async () => {
  const broker = await startBroker({ authenticate, internal: internalUser, bufferBytesMax: 256 * 1024 });
  const ends: TestBroker = {
    devicePort: broker.port,
    workerPort: broker.port,
    internal: internalUser,
    dispose: () => broker.close(),
  };
  const cloud = await testCloud(ends);
  const healthy = testLink(ends, "dev-2");
  await until("the healthy device is connected", () => healthy.events.connected === 1);
  const frozen = rawConnection(broker.port, "dev-1", "tt/a/acme");
  await new Promise((resolve) => frozen.once("data", resolve));
  frozen.pause();
  const connections = broker.connections;
  const item = { t: "x".repeat(100_000) };
  // Far more than the bound and the kernel's socket buffers together hold.
  for (let n = 0; n < 150; n++) {
    await cloud.publisher.publish({ account: "acme" }, {
      type: "items",
      request: `k/${n}`,
      time: 0,
      entries: [{ key: ["h", "s"], current: { model: "M", item } }],
    });
  }
  await until("the healthy device has all", () => healthy.events.messages.length === 150);
  await until("the frozen one is cut", () => broker.connections === connections - 1);
  frozen.destroy();
  await healthy.link.close();
  await cloud.close();
  await broker.close();
});

test("broker: a packet above the limit ends the connection before it is buffered", async () => {
  const broker = await embedded();
  const client = rawConnection(broker.devicePort, "dev-1", "tt/all");
  await new Promise((resolve) => client.once("data", resolve));
  const closed = new Promise((resolve) => client.once("close", resolve));
  // A PUBLISH that announces 200 MB.
  client.write(new Uint8Array([0x32, 0x80, 0x80, 0x80, 0x64]));
  client.resume();
  await closed;
  await broker.dispose();
});

Deno.test("broker: the packet guard follows packets of any size through any chunks", () => {
  const packet = (type: number, bytes: number) => {
    const header = [type];
    for (let left = bytes;;) {
      header.push((left & 127) | (left > 127 ? 128 : 0));
      if ((left >>= 7) === 0) break;
    }
    return new Uint8Array([...header, ...new Uint8Array(bytes).fill(0xff)]);
  };
  const limit = 20_000;
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat(300), fc.nat(limit)), { maxLength: 8 }),
      fc.option(fc.integer({ min: limit + 1, max: 300_000 })),
      fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 50 }),
      (sizes, tooLarge, cuts) => {
        const bytes = new Uint8Array(
          [packet(0x10, 30), ...[...sizes, ...(tooLarge === null ? [] : [tooLarge])].map((size) => packet(0x30, size))]
            .flatMap((packet) => [...packet]),
        );
        const guard = new PacketGuard(limit);
        let fault: string | undefined;
        for (let at = 0, n = 0; at < bytes.length && !fault; n++) {
          const next = at + cuts[n % cuts.length]!;
          fault = guard.accept(bytes.subarray(at, next));
          at = next;
        }
        assert.equal(fault === undefined, tooLarge === null);
      },
    ),
    { numRuns: 100 },
  );
  const fault = (...packets: Uint8Array[]) => {
    const guard = new PacketGuard(limit);
    return packets.map((packet) => guard.accept(packet)).find((fault) => fault !== undefined);
  };
  assert.match(fault(new Uint8Array([0x10, 0xff, 0xff, 0xff, 0xff, 0x80]))!, /larger/);
  assert.match(fault(packet(0x30, 10))!, /no CONNECT/);
  assert.equal(fault(packet(0x10, 4096)), undefined);
  assert.match(fault(packet(0x10, 4097))!, /larger than 4096/);
  assert.equal(fault(packet(0x10, 10), packet(0x82, 4096)), undefined);
  assert.match(fault(packet(0x10, 10), packet(0x82, 4097))!, /larger than 4096/);
});

test("broker: a device gets nothing that was sent while it was away, even if it asks for a session", async () => {
  const broker = await embedded();
  const cloud = await testCloud(broker);
  const options = {
    host: "127.0.0.1",
    port: broker.devicePort,
    protocol: "mqtt" as const,
    clientId: "dev-1",
    username: "dev-1",
    password: "token-of-dev-1",
    clean: false,
    reconnectPeriod: 0,
  };
  const first = await mqtt.connectAsync(options);
  await first.subscribeAsync("tt/all", { qos: 1 });
  await first.endAsync();
  await cloud.publisher.publish("all", { type: "time", request: "k/1", time: 0 });
  const second = mqtt.connect(options);
  const messages: string[] = [];
  second.on("message", (name) => messages.push(name));
  const connack = await new Promise<mqtt.IConnackPacket>((resolve) => second.once("connect", resolve));
  assert.equal(connack.sessionPresent, false);
  await second.subscribeAsync("tt/d/dev-1/down", { qos: 1 });
  await cloud.publisher.publish({ device: "dev-1" }, { type: "time", request: "k/2", time: 0 });
  await until("what is sent now comes", () => messages.length > 0);
  assert.deepEqual(messages, ["tt/d/dev-1/down"]);
  await second.endAsync();
  await cloud.close();
  await broker.dispose();
});

test("broker: only presence is retained, and only in small", async () => {
  const broker = await embedded();
  const connect = () =>
    mqtt.connectAsync({
      host: "127.0.0.1",
      port: broker.devicePort,
      protocol: "mqtt",
      clientId: "dev-1",
      username: "dev-1",
      password: "token-of-dev-1",
      reconnectPeriod: 0,
    });
  const cases: [string, number, boolean][] = [["tt/d/dev-1/up", 10, true], ["tt/d/dev-1/presence", 2_000, false]];
  for (const [topic, bytes, retain] of cases) {
    const client = await connect();
    const closed = new Promise((resolve) => client.once("close", () => resolve(undefined)));
    client.publish(topic, Buffer.alloc(bytes), { qos: 1, retain });
    await closed;
    client.end(true);
  }
  const client = await connect();
  await client.publishAsync("tt/d/dev-1/presence", Buffer.alloc(10), { qos: 1, retain: true });
  await client.endAsync();
  await broker.dispose();
});

test("broker: credentials that can't be checked now are tried again, not refused", async () => {
  let failing = true;
  const broker = await embedded({
    authenticate: (deviceId, token) =>
      failing ? Promise.reject(new Error("the table is away")) : authenticate(deviceId, token),
  });
  const { link, events } = testLink(broker, "dev-1");
  await until("the first attempt failed", () => link.lastError);
  assert.equal(link.refused, false);
  failing = false;
  await until("the device is connected", () => events.connected === 1);
  await link.close();
  await broker.dispose();
});

test("broker: connections above the limit are closed, and a place that gets free is used", async () => {
  const broker = await embedded({ connectionsMax: 1 });
  const first = testLink(broker, "dev-1"), second = testLink(broker, "dev-2");
  await until("one is connected", () => first.link.connected || second.link.connected);
  const [inside, outside] = first.link.connected ? [first, second] : [second, first];
  await until("the other was turned away", () => outside.link.lastError);
  await inside.link.close();
  await until("the other is connected", () => outside.link.connected);
  await outside.link.close();
  await broker.dispose();
});

const tlsTest = "broker: over TLS a device gets in by its certificate or its token, and trusts only its authority";
test(tlsTest, async () => {
  const broker = await startBroker({
    authenticate,
    identityOf: (deviceId) => Promise.resolve(known(deviceId)),
    internal: internalUser,
    tls: { cert: serverCert, key: serverKey, ca: authorityCert, requestCert: true },
  });
  const link = (options: Partial<LinkOptions>) => {
    const made = new MqttLink({
      url: `mqtts://localhost:${broker.port}`,
      identity: { deviceId: "dev-1", accountId: "acme" },
      ca: authorityCert,
      retryMinMs: 20,
      ...options,
    });
    made.start({ connected() {}, disconnected() {}, message() {} });
    return made;
  };
  const certified = link({ cert: deviceCert, key: deviceKey });
  await until("the certificate lets it in", () => certified.connected);
  await certified.close();
  const byToken = link({ password: "token-of-dev-1", url: `mqtts://127.0.0.1:${broker.port}` });
  await until("the token lets it in", () => byToken.connected);
  await byToken.close();
  const other = link({
    cert: deviceCert,
    key: deviceKey,
    identity: { deviceId: "dev-2", accountId: "acme" },
    password: "token-of-dev-2",
  });
  await until("another device's certificate is refused", () => other.refused);
  await other.close();
  const nobody = link({});
  await until("neither is refused", () => nobody.refused);
  await nobody.close();
  const distrustful = link({ ca: undefined, password: "token-of-dev-1" });
  await until("an unknown authority is an error", () => distrustful.lastError);
  assert.equal(distrustful.connected, false);
  await distrustful.close();
  const backDoor = link({ url: `mqtt://127.0.0.1:${broker.internalPort}`, password: "token-of-dev-1" });
  await until("the workers' plain listener refuses a device", () => backDoor.refused);
  await backDoor.close();
  await broker.close();
}, skipped(tlsMissing));

test("link: over TLS at Mosquitto", async () => {
  const broker = await startMosquitto({
    devices: testDevices,
    internal: internalUser,
    tls: { cert: serverCert, key: serverKey, ca: authorityCert },
  });
  const ends = { ...broker, internal: internalUser, dispose: () => broker.stop() };
  const cloud = await testCloud(ends);
  const messages: FromCloud[] = [];
  const link = new MqttLink({
    url: `mqtts://127.0.0.1:${broker.devicePort}`,
    identity: { deviceId: "dev-1", accountId: "acme" },
    password: "token-of-dev-1",
    ca: authorityCert,
  });
  link.start({ connected() {}, disconnected() {}, message: (message) => messages.push(message) });
  await until("it is connected", () => link.connected);
  const item = { text: "x".repeat(300 * 1024) };
  link.send({ ...upMessage(1), changes: [{ model: "M", op: "create", item, stamp: 1 }] });
  await cloud.publisher.publish({ device: "dev-1" }, {
    type: "items",
    request: "k/1",
    time: 0,
    entries: [{ key: ["h", ""], current: { model: "M", item } }],
  });
  await until("both large messages arrived", () => cloud.got.length === 1 && messages.length === 1);
  await link.close();
  await cloud.close();
  await broker.stop();
}, skipped(mosquittoMissing));

test("broker: a port that is taken is one clear error", async () => {
  const broker = await embedded();
  await assert.rejects(
    () => startBroker({ authenticate, internal: internalUser, port: broker.devicePort }),
    (error) =>
      error instanceof SyncError && error.code === "unavailable" && error.message.includes(String(broker.devicePort)),
  );
  await broker.dispose();
});

test("receiver: aedes grants a shared subscription and delivers nothing, so a plain one is used", async () => {
  const broker = await embedded();
  const cloud = await testCloud(broker, { shareGroup: "workers", selfTestMs: 300 });
  assert.equal(cloud.receiver.shared, false);
  const { link, events } = testLink(broker, "dev-1");
  await until("the device is connected", () => events.connected === 1);
  link.send(upMessage(1));
  await until("its message arrived", () => cloud.got.length === 1);
  await link.close();
  await cloud.close();
  await broker.dispose();
});

Deno.test({
  name: `receiver: two workers share the messages, and a message in parts reaches exactly one${
    mosquittoMissing ? `: ${mosquittoMissing}` : ""
  }`,
  ignore: skipped(mosquittoMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const broker = await mosquitto();
    const [a, b] = await Promise.all([
      testCloud(broker, { shareGroup: "workers" }),
      testCloud(broker, { shareGroup: "workers" }),
    ]);
    assert.ok(a.receiver.shared && b.receiver.shared);
    const { link, events } = testLink(broker, "dev-1");
    await until("the device is connected", () => events.connected === 1);
    for (let n = 0; n < 100; n++) link.send(upMessage(n));
    const batches = () => [...a.got, ...b.got].map(([, message]) => (message as Up).batch).toSorted();
    await until("all messages arrived", () => batches().length === 100);
    assert.equal(new Set(batches()).size, 100);
    assert.ok(a.got.length > 0 && b.got.length > 0, "both worked");
    const item = { text: "x".repeat(300 * 1024) };
    for (let n = 100; n < 120; n++) {
      link.send({ ...upMessage(n), changes: [{ model: "M", op: "create", item, stamp: 1 }] });
    }
    await until("all large messages arrived", () => batches().length === 120);
    assert.equal(new Set(batches()).size, 120);
    await link.close();
    await Promise.all([a.close(), b.close()]);
    await broker.dispose();
  },
});

test("receiver: a malformed message is counted and dropped, and the next one arrives", async () => {
  const broker = await embedded();
  const cloud = await testCloud(broker);
  const client = await mqtt.connectAsync({
    host: "127.0.0.1",
    port: broker.devicePort,
    protocol: "mqtt",
    clientId: "dev-1",
    username: "dev-1",
    password: "token-of-dev-1",
    reconnectPeriod: 0,
  });
  for (const payload of ["", "{", "{}", "#1 x", '{"v":1,"type":"ack"}', "\xff"]) {
    await client.publishAsync("tt/d/dev-1/up", payload, { qos: 1 });
    await client.publishAsync("tt/d/dev-1/presence", payload, { qos: 1 });
  }
  await client.publishAsync("tt/d/dev-1/up", Buffer.from(encode(upMessage(1))[0]!), { qos: 1 });
  await until("the good one arrived", () => cloud.got.length === 1);
  // An empty presence is what clears one, and no fault.
  assert.equal(cloud.receiver.counters.malformed, 11);
  await client.endAsync();
  await cloud.close();
  await broker.dispose();
});

test("receiver: a handler that throws is counted, and the next message is handled", async () => {
  const broker = await embedded();
  let handled = 0;
  const cloud = await testCloud(broker, {
    receive: () => handled++ === 0 ? Promise.reject(new Error("on purpose")) : Promise.resolve(),
  });
  const { link, events } = testLink(broker, "dev-1");
  await until("the device is connected", () => events.connected === 1);
  link.send(upMessage(1));
  link.send(upMessage(2));
  await until("both were handled", () => handled === 2);
  assert.equal(cloud.receiver.counters.failed, 1);
  await link.close();
  await cloud.close();
  await broker.dispose();
});

test("publisher: without a connection a publish fails at once and may be tried again", async () => {
  const broker = await embedded();
  const cloud = await testCloud(broker);
  await cloud.publisher.publish("all", { type: "time", request: "k/1", time: 0 });
  await broker.dispose();
  await until("the connection is gone", () => !cloud.publisher.connected);
  await assert.rejects(
    cloud.publisher.publish("all", { type: "time", request: "k/1", time: 0 }),
    (error) => error instanceof SyncError && error.code === "unavailable" && error.retryable,
  );
  await cloud.close();
});

test("publisher: what waits for its PUBACK is bounded, and all of it arrives", async () => {
  const broker = await embedded();
  const connection = { url: `mqtt://127.0.0.1:${broker.workerPort}`, ...broker.internal };
  const publisher = new MqttPublisher({ ...connection, inFlightBytesMax: 10_000 });
  await publisher.start();
  const { link, events } = testLink(broker, "dev-1");
  await until("the device is connected", () => events.connected === 1);
  const item = { t: "x".repeat(4_000) };
  const sizes = Array.from({ length: 300 }, (_, n) => n % 7 === 0 ? 20_000 : 3_000);
  await Promise.all(
    sizes.map((size, n) =>
      publisher.publish({ device: "dev-1" }, {
        type: "items",
        request: `k/${n}`,
        time: 0,
        entries: [{ key: ["h", ""], current: { model: "M", item: { ...item, pad: "y".repeat(size) } } }],
      })
    ),
  );
  await until("all arrived", () => events.messages.length === 300);
  await link.close();
  await publisher.close();
  await broker.dispose();
});
