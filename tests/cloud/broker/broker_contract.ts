/**
 * What Twintable needs of a broker, as one suite over every broker: who gets in, who may do what, messages of every size in
 * both directions, take-over, last will.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqtt from "mqtt";
import { MqttLink } from "../../../agent/link.ts";
import { defaultBudgets } from "../../../cloud/decode_lane.ts";
import { MqttPublisher } from "../../../cloud/publishers/mqtt.ts";
import { MqttReceiver, type MqttReceiverOptions } from "../../../cloud/receiver.ts";
import { encode, encodePresence, type FromCloud, type FromDevice, topics, type Up } from "../../../protocol.ts";
import { until } from "../../support/until.ts";

/** A broker under test: devices `dev-1` and `dev-2` of account `acme`, `dev-3` of account `other`, tokens `token-of-<id>`. */
export interface TestBroker {
  readonly devicePort: number;
  readonly workerPort: number;
  readonly internal: { readonly username: string; readonly password: string };
  /** What our links and connections speak; default MQTT 3.1.1. */
  readonly protocolVersion?: 4 | 5;
  dispose(): Promise<void>;
}

/** The devices of a {@link TestBroker}. */
export const testDevices = [["dev-1", "acme"], ["dev-2", "acme"], ["dev-3", "other"]].map(([deviceId, accountId]) => ({
  deviceId: deviceId!,
  accountId: accountId!,
  token: `token-of-${deviceId}`,
}));

/** The workers' credentials. */
export const internalUser = { username: "twintable-cloud", password: "a secret of the workers" };

const topic = topics();
const kb = 1024;

function upOf(batch: number, bytes: number): Up {
  const item = { text: "x".repeat(bytes) };
  return { type: "up", batch: `k/${batch}`, sent: 0, changes: [{ model: "M", op: "create", item, stamp: 1 }] };
}

function itemsOf(request: number, bytes: number): FromCloud {
  const current = { model: "M", item: { text: "x".repeat(bytes) } };
  return { type: "items", request: `k/${request}`, entries: [{ key: ["h", "s"], current }], time: 0 };
}

/** A link of one of the test devices; `events` has what it told. */
export function testLink(
  broker: TestBroker,
  deviceId: string,
  options: { password?: string; accountId?: string; payloadBytesMax?: number } = {},
) {
  const device = testDevices.find((known) => known.deviceId === deviceId);
  const link = new MqttLink({
    url: `mqtt://127.0.0.1:${broker.devicePort}`,
    identity: { deviceId, accountId: options.accountId ?? device?.accountId ?? "none" },
    password: options.password ?? device?.token ?? "none",
    payloadBytesMax: options.payloadBytesMax,
    protocolVersion: broker.protocolVersion,
    retryMinMs: 20,
    retryMaxMs: 200,
  });
  const events = { connected: 0, disconnected: [] as string[], messages: [] as FromCloud[] };
  link.start({
    connected: () => events.connected++,
    disconnected: (reason) => events.disconnected.push(reason),
    message: (message) => events.messages.push(message),
  });
  return { link, events };
}

/** The cloud's two connections. */
export async function testCloud(
  broker: TestBroker,
  options: Partial<MqttReceiverOptions> & { payloadBytesMax?: number } = {},
) {
  const got: [string, FromDevice][] = [], presence: [string, boolean][] = [];
  const { protocolVersion } = broker;
  const connection = { url: `mqtt://127.0.0.1:${broker.workerPort}`, ...broker.internal, protocolVersion };
  const publisher = new MqttPublisher({ ...connection, payloadBytesMax: options.payloadBytesMax });
  const receiver = new MqttReceiver({
    ...connection,
    receive: (deviceId, message) => {
      got.push([deviceId, message]);
      return Promise.resolve();
    },
    arrival: () => ({ atMs: 0 }),
    presence: (deviceId, { online }) => void presence.push([deviceId, online]),
    // What reading may cost is measured by the clock: on a busy machine it would not be the broker that is tested.
    budgets: { ...defaultBudgets, deviceMs: { perSecond: 1e6, burst: 1e6 }, accountMs: { perSecond: 1e6, burst: 1e6 } },
    ...options,
  });
  await Promise.all([publisher.start(), receiver.start()]);
  return { publisher, receiver, got, presence, close: () => Promise.all([publisher.close(), receiver.close()]) };
}

/** A plain client, for what our own would never do. */
function rawClient(port: number, options: mqtt.IClientOptions): Promise<mqtt.MqttClient> {
  const client = mqtt.connect({ host: "127.0.0.1", port, protocol: "mqtt", reconnectPeriod: 0, ...options });
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve(client));
    client.once("error", reject);
    client.once("close", () => reject(new Error("closed before it was connected")));
  });
}

function rawDevice(broker: TestBroker, deviceId: string, options: mqtt.IClientOptions = {}): Promise<mqtt.MqttClient> {
  return rawClient(broker.devicePort, {
    clientId: deviceId,
    username: deviceId,
    password: `token-of-${deviceId}`,
    ...options,
  });
}

async function subscribable(client: mqtt.MqttClient, filter: string): Promise<boolean> {
  try {
    const [grant] = await client.subscribeAsync(filter, { qos: 1 });
    return grant!.qos < 128;
  } catch {
    return false;
  }
}

/** Runs the suite over the broker that `make` starts. */
export function brokerContract(name: string, make: () => Promise<TestBroker>, ignore = false): void {
  const test = (what: string, run: (broker: TestBroker) => Promise<void>) =>
    Deno.test({
      name: `broker (${name}): ${what}`,
      ignore,
      // npm:mqtt ends a socket a moment after it says so.
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        const broker = await make();
        try {
          await run(broker);
        } finally {
          await broker.dispose();
        }
      },
    });

  test("a device with its token gets in and both directions work", async (broker) => {
    const cloud = await testCloud(broker);
    const { link, events } = testLink(broker, "dev-1");
    assert.equal(link.send(upOf(1, 10)), false, "before it is connected nothing is taken");
    await until("the device is connected", () => events.connected === 1);
    assert.equal(link.send(upOf(2, 10)), true);
    assert.equal(link.send({ type: "sync", request: "k/1", channels: [] }), true);
    await until("both messages are there", () => cloud.got.length === 2);
    assert.deepEqual(cloud.got.map(([deviceId, message]) => [deviceId, message.type]), [["dev-1", "up"], [
      "dev-1",
      "sync",
    ]]);
    await cloud.publisher.publish({ device: "dev-1" }, itemsOf(1, 10));
    await cloud.publisher.publish({ account: "acme" }, itemsOf(2, 10));
    await cloud.publisher.publish("all", itemsOf(3, 10));
    await until("three messages came down", () => events.messages.length === 3);
    await link.close();
    await cloud.close();
  });

  test("a wrong token or an unknown device is refused, told, and tried again slowly", async (broker) => {
    for (const { link, events } of [testLink(broker, "dev-1", { password: "wrong" }), testLink(broker, "dev-9")]) {
      await until("the refusal is known", () => link.refused);
      assert.match(link.lastError!, /refused/);
      assert.equal(events.connected, 0);
      await link.close();
    }
    await assert.rejects(
      rawClient(broker.workerPort, { clientId: "x", username: internalUser.username, password: "wrong" }),
    );
    await assert.rejects(rawClient(broker.devicePort, { clientId: "x" }));
  });

  test("a device that names another account than its own gets none of that account's messages", async (broker) => {
    const cloud = await testCloud(broker);
    const foreign = testLink(broker, "dev-1", { accountId: "other" });
    const rightful = testLink(broker, "dev-3");
    await until("the rightful device is connected", () => rightful.events.connected === 1);
    // aedes refuses the subscription, Mosquitto grants it and withholds the messages.
    await until("the other is turned away or connected", () => foreign.link.refused || foreign.link.connected);
    await cloud.publisher.publish({ account: "other" }, itemsOf(1, 1));
    await cloud.publisher.publish("all", itemsOf(2, 1));
    await until("the rightful device has both", () => rightful.events.messages.length === 2);
    await until(
      "the other has the common one, or is out",
      () => foreign.link.refused || foreign.events.messages.length > 0,
    );
    assert.ok(!foreign.events.messages.some((message) => (message as { request: string }).request === "k/1"));
    await foreign.link.close();
    await rightful.link.close();
    await cloud.close();
  });

  test("a device reads its own topics only", async (broker) => {
    const client = await rawDevice(broker, "dev-1");
    const seen: string[] = [];
    client.on("message", (name) => seen.push(name));
    for (const own of [topic.down("dev-1"), topic.account("acme"), topic.all]) {
      assert.ok(await subscribable(client, own), own);
    }
    const foreign = [
      topic.down("dev-2"),
      topic.up("dev-2"),
      topic.account("other"),
      // Ids that begin with the device's own, or are the beginning of it.
      topic.account("acme2"),
      topic.account("acm"),
      topic.down("dev-10"),
      topic.presence("dev-2"),
      "#",
      "tt/#",
      "tt/d/+/down",
      "tt/a/+",
      "tt/d/dev-1/#",
      topic.every("up"),
      "$share/g/tt/d/+/up",
      "$SYS/#",
    ];
    // Mosquitto grants filters that cover more and withholds the messages; aedes refuses them. Only the messages count.
    for (const filter of foreign) await subscribable(client, filter);
    const cloud = await testCloud(broker);
    const other = testLink(broker, "dev-2");
    await until("the other device is connected", () => other.events.connected === 1);
    other.link.send(upOf(1, 10));
    await until("its message arrived", () => cloud.got.length === 1);
    await cloud.publisher.publish({ device: "dev-2" }, itemsOf(1, 1));
    for (const account of ["other", "acme2", "acm"]) await cloud.publisher.publish({ account }, itemsOf(2, 1));
    await cloud.publisher.publish({ device: "dev-10" }, itemsOf(2, 1));
    await until("the other device has its message", () => other.events.messages.length === 1);
    await cloud.publisher.publish({ device: "dev-1" }, itemsOf(3, 1));
    await until("the own message came", () => seen.includes(topic.down("dev-1")));
    assert.deepEqual([...new Set(seen)], [topic.down("dev-1")]);
    await client.endAsync(true);
    await other.link.close();
    await cloud.close();
  });

  test("a device writes its own topics only", async (broker) => {
    const cloud = await testCloud(broker);
    const other = testLink(broker, "dev-2");
    await until("the other device is connected", () => other.events.connected === 1);
    const payload = Buffer.from(encode(upOf(1, 1))[0]!), down = Buffer.from(encode(itemsOf(1, 1))[0]!);
    const forbidden: [string, Buffer][] = [
      [topic.up("dev-2"), payload],
      [topic.sync("dev-2"), payload],
      [topic.presence("dev-2"), Buffer.from(encodePresence(false))],
      [topic.down("dev-2"), down],
      [topic.down("dev-1"), down],
      [topic.account("acme"), down],
      [topic.all, down],
      [topic.relay("dev-2", "up"), payload],
    ];
    for (const [name, bytes] of forbidden) {
      const client = await rawDevice(broker, "dev-1");
      // It is closed (aedes) or ignored (Mosquitto): either way the next message on its own topic tells that it was handled.
      const closed = new Promise((resolve) => client.once("close", () => resolve(undefined)));
      await Promise.race([client.publishAsync(name, bytes, { qos: 1 }).catch(() => {}), closed]);
      await client.endAsync(true).catch(() => {});
    }
    const own = testLink(broker, "dev-1");
    await until("the device is connected", () => own.events.connected === 1);
    own.link.send(upOf(7, 1));
    await until("its own message arrived", () => cloud.got.length > 0);
    assert.deepEqual(cloud.got.map(([deviceId, message]) => [deviceId, (message as Up).batch]), [["dev-1", "k/7"]]);
    await cloud.publisher.publish({ device: "dev-2" }, itemsOf(9, 1));
    await until("the other device has its message", () => other.events.messages.length > 0);
    assert.deepEqual(other.events.messages.map((message) => (message as { request: string }).request), ["k/9"]);
    assert.ok(!cloud.presence.some(([deviceId, online]) => deviceId === "dev-2" && !online));
    await own.link.close();
    await other.link.close();
    await cloud.close();
  });

  test("a last will on another device's topic is never published", async (broker) => {
    const cloud = await testCloud(broker);
    const will = {
      topic: topic.up("dev-2"),
      payload: Buffer.from(encode(upOf(1, 1))[0]!),
      qos: 1 as const,
      retain: false,
    };
    const client = await rawDevice(broker, "dev-1", { will }).catch(() => undefined);
    client?.stream.destroy();
    const own = testLink(broker, "dev-1");
    await until("the device is connected", () => own.events.connected === 1);
    own.link.send(upOf(7, 1));
    await until("its own message arrived", () => cloud.got.length > 0);
    assert.deepEqual(cloud.got.map(([deviceId]) => deviceId), ["dev-1"]);
    await own.link.close();
    await cloud.close();
  });

  test("a device can't displace another by its client id", async (broker) => {
    const victim = testLink(broker, "dev-2");
    await until("the victim is connected", () => victim.events.connected === 1);
    const client = await rawDevice(broker, "dev-1", { clientId: "dev-2" }).catch(() => undefined);
    const cloud = await testCloud(broker);
    await cloud.publisher.publish({ device: "dev-2" }, itemsOf(1, 1));
    await until("the victim has its message", () => victim.events.messages.length === 1);
    assert.deepEqual(victim.events.disconnected, []);
    await client?.endAsync(true);
    await victim.link.close();
    await cloud.close();
  });

  test("a client that publishes and receives 350 KB on one socket does not stall", async (broker) => {
    const client = await rawClient(broker.workerPort, { clientId: "one-socket", ...broker.internal });
    await client.subscribeAsync("tt/w/loop", { qos: 1 });
    const sizes = [350 * kb, 64 * kb, 64 * kb + 1, 65_536 - 20, 1, 200 * kb, ...Array<number>(40).fill(350 * kb)];
    let received = 0, acknowledged = 0;
    client.on("message", (_name, payload) => {
      assert.equal(payload.length, sizes[received]);
      received++;
    });
    for (const size of sizes) {
      client.publish("tt/w/loop", Buffer.alloc(size), { qos: 1 }, (error) => error || acknowledged++);
    }
    await until("all came back", () => received === sizes.length && acknowledged === sizes.length, 20_000);
    await client.endAsync(true);
  });

  test("payloads of each size around every boundary, and of random ones, come back on the socket that sent them", async (broker) => {
    const client = await rawClient(broker.workerPort, { clientId: "sizes", ...broker.internal });
    await client.subscribeAsync("tt/w/sizes", { qos: 1 });
    // MQTT's length takes a byte more from 128 and from 16,384 on, topic included; buffers of 64 KB, payloads of 128 KB.
    const around = [16_384, 65_536, 131_072].flatMap((at) => Array.from({ length: 81 }, (_, i) => at - 40 + i));
    const sizes = [
      ...Array.from({ length: 600 }, (_, size) => size),
      ...around,
      ...Array.from({ length: 200 }, () => Math.floor(Math.random() * 350 * kb)),
    ];
    let received = 0, acknowledged = 0;
    client.on("message", (_name, payload) => {
      assert.equal(payload.length, sizes[received]);
      assert.ok(payload.every((byte) => byte === received % 256));
      received++;
    });
    for (const [n, size] of sizes.entries()) {
      const sent = client.publishAsync("tt/w/sizes", Buffer.alloc(size, n % 256), { qos: 1 }).then(() =>
        acknowledged++
      );
      // A broker may hold only so many for a subscriber.
      if (n % 20 === 19) await sent;
    }
    await until("all came back", () => received === sizes.length && acknowledged === sizes.length, 30_000);
    await client.endAsync(true);
  });

  for (
    const [how, payloadBytesMax, deflate] of [
      ["in one payload", 500 * kb, false],
      ["in parts", 128 * kb, false],
      ["compressed", 128 * kb, true],
    ] as const
  ) {
    test(`messages of every size up to 350 KB go both ways at once, ${how}`, async (broker) => {
      const cloud = await testCloud(broker, { payloadBytesMax });
      const { link, events } = testLink(broker, "dev-1", { payloadBytesMax });
      await until("the device is connected", () => events.connected === 1);
      const sizes = [
        1,
        1 * kb,
        16 * kb,
        64 * kb - 150,
        64 * kb,
        65 * kb,
        127 * kb,
        128 * kb,
        129 * kb,
        200 * kb,
        256 * kb,
        350 * kb,
      ];
      const rounds = [...sizes, ...sizes.toReversed(), 350 * kb, 350 * kb];
      const published = rounds.map((size, n) =>
        cloud.publisher.publish({ device: "dev-1" }, itemsOf(n, size), { deflate })
      );
      rounds.forEach((size, n) => assert.ok(link.send(upOf(n, size))));
      await Promise.all(published);
      await until(
        "all arrived",
        () => cloud.got.length === rounds.length && events.messages.length === rounds.length,
        20_000,
      );
      assert.deepEqual(cloud.got.map(([, message]) => message), rounds.map((size, n) => upOf(n, size)));
      assert.deepEqual(events.messages, rounds.map((size, n) => itemsOf(n, size)));
      await link.close();
      await cloud.close();
    });
  }

  test("a second connection of a device takes over from the first", async (broker) => {
    const first = testLink(broker, "dev-1");
    await until("the first is connected", () => first.events.connected === 1);
    const second = testLink(broker, "dev-1");
    await until("the first is cut", () => first.events.disconnected.length === 1);
    await first.link.close();
    await until("the second is connected", () => second.link.connected);
    const cloud = await testCloud(broker);
    await cloud.publisher.publish({ device: "dev-1" }, itemsOf(1, 1));
    await until("the second has the message", () => second.events.messages.length === 1);
    await second.link.close();
    await cloud.close();
  });

  test("presence: online at connect, offline by the last will and at a clean close", async (broker) => {
    const cloud = await testCloud(broker);
    const last = (online: boolean) => () => cloud.presence.at(-1)?.[1] === online;
    const { link, events } = testLink(broker, "dev-1");
    await until("the device is connected", () => events.connected === 1);
    await until("it is seen online", last(true));
    await link.close();
    await until("it is seen offline", last(false));
    const will = {
      topic: topic.presence("dev-2"),
      payload: Buffer.from(encodePresence(false)),
      qos: 1 as const,
      retain: true,
    };
    const client = await rawDevice(broker, "dev-2", { will });
    await client.publishAsync(topic.presence("dev-2"), Buffer.from(encodePresence(true)), { qos: 1, retain: true });
    await until("the other is seen online", last(true));
    client.stream.destroy();
    await until("its last will is seen", last(false));
    const later = await testCloud(broker);
    await until("a worker that comes later learns both", () => later.presence.length === 2);
    assert.deepEqual(later.presence.toSorted(), [["dev-1", false], ["dev-2", false]]);
    await cloud.close();
    await later.close();
  });

  const bounds: [string, Partial<MqttReceiverOptions>, number][] = [
    ["messages than it has places for", { concurrency: 4 }, 2 * kb],
    // Three are 90 KB, and a fourth is the one that fills it.
    ["bytes than it has room for", { bytesMax: 100 * kb }, 30 * kb],
  ];
  for (const [what, options, bytes] of bounds) {
    test(`a worker takes no more ${what}, and loses none`, async (broker) => {
      let running = 0, most = 0, handled = 0;
      const gate = Promise.withResolvers<void>();
      const cloud = await testCloud(broker, {
        ...options,
        async receive() {
          most = Math.max(most, ++running);
          await gate.promise;
          running--;
          handled++;
        },
      });
      const { link, events } = testLink(broker, "dev-1");
      await until("the device is connected", () => events.connected === 1);
      for (let n = 0; n < 200; n++) assert.ok(link.send(upOf(n, bytes)));
      await until("all places are taken", () => running === 4);
      // A publish to the device still gets through: nothing of its way is behind the full worker.
      await cloud.publisher.publish({ device: "dev-1" }, itemsOf(1, 300 * kb));
      await until("the device has it", () => events.messages.length === 1);
      gate.resolve();
      await until("all are handled", () => handled === 200);
      assert.equal(most, 4);
      await link.close();
      await cloud.close();
    });
  }
}
