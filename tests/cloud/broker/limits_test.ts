/** What one connection, one device and one address may cost the embedded broker. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { startBroker } from "../../../cloud/broker/broker.ts";
import { HalfOpen, halfOpenMax } from "../../../cloud/broker/half_open.ts";
import { Turns } from "../../../cloud/broker/turns.ts";
import { connectPacket, packet, publishPacket, RawConnection, subscribePacket } from "../../hostile/raw_mqtt.ts";
import { serverCert, serverKey, tlsMissing } from "../../support/certificates.ts";
import { skipped } from "../../support/tools.ts";
import { until } from "../../support/until.ts";
import { internalUser, testCloud, testDevices, testLink } from "./broker_contract.ts";

type Options = Partial<Parameters<typeof startBroker>[0]>;

async function withBroker(options: Options, work: (broker: Awaited<ReturnType<typeof startBroker>>) => Promise<void>) {
  const broker = await startBroker({
    authenticate: (deviceId, token) =>
      Promise.resolve(testDevices.find((known) => known.deviceId === deviceId && known.token === token)),
    internal: internalUser,
    ...options,
  });
  try {
    await work(broker);
  } finally {
    await broker.close();
  }
}

const test = (name: string, options: Options, work: Parameters<typeof withBroker>[1]) =>
  Deno.test({
    name: `broker limits: ${name}`,
    fn: () => withBroker(options, work),
    sanitizeOps: false,
    sanitizeResources: false,
  });

const device = (deviceId: string) => ({ clientId: deviceId, username: deviceId, password: `token-of-${deviceId}` });
const ends = (port: number) => ({
  devicePort: port,
  workerPort: port,
  internal: internalUser,
  dispose: async () => {},
});

test(
  "a device that was cut has no connection left, however many it made and in whatever order they ended",
  {},
  async (broker) => {
    const first = (await RawConnection.connect(broker.port, device("dev-1"))).connection;
    const others: RawConnection[] = [];
    for (let n = 0; n < 20; n++) {
      const other = await RawConnection.open(broker.port);
      other.send(connectPacket(device("dev-1")));
      // Before, while and after it is let in.
      if (n % 3 > 0) await new Promise((resolve) => setTimeout(resolve, n % 3));
      if (n % 4 === 0) others.push(other);
      else await other.close();
    }
    broker.disconnect("dev-1");
    await Promise.all([first, ...others].map(({ closed }) => closed));
    // And it may come again, since nobody has revoked it here.
    const again = await RawConnection.connect(broker.port, device("dev-1"));
    assert.equal(again.code, 0);
    await again.connection.close();
  },
);

let isAsked = false;
test("a device that is cut while it is being let in has to show its credentials again", {
  authenticate: async (deviceId) => {
    isAsked = true;
    await new Promise((resolve) => setTimeout(resolve, 200));
    return { deviceId, accountId: "acme" };
  },
}, async (broker) => {
  isAsked = false;
  const connecting = RawConnection.connect(broker.port, device("dev-1"));
  await until("its credentials are looked up", () => isAsked);
  broker.disconnect("dev-1");
  const { code, connection } = await connecting;
  assert.equal(code, 3);
  await connection.closed;
});

test("who says nothing loses his place to a device", { pendingMax: 20 }, async (broker) => {
  const silent = await Promise.all(Array.from({ length: 200 }, () => RawConnection.open(broker.port)));
  await until("the oldest are closed", () => silent.filter(({ isClosed }) => isClosed).length === 180);
  const { code, connection } = await RawConnection.connect(broker.port, device("dev-1"));
  assert.equal(code, 0);
  for (const one of [...silent, connection]) await one.close();
});

Deno.test({
  name: "broker limits: who never ends a TLS handshake loses his place to a device, and is closed in time",
  ignore: skipped(tlsMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const tls = { cert: serverCert, key: serverKey };
    await withBroker({ pendingMax: 20, connectTimeoutMs: 2_000, tls }, async ({ port }) => {
      const half = await Promise.all(Array.from({ length: 100 }, () => RawConnection.open(port)));
      // The head of a ClientHello that never comes.
      half.forEach((one, at) => at % 2 === 0 && one.send(Uint8Array.from([22, 3, 1, 2, 0, 1])));
      await until("the oldest are closed", () => half.filter(({ isClosed }) => isClosed).length === 80);
      const connection = await RawConnection.openTls(port, { rejectUnauthorized: false });
      connection.send(connectPacket(device("dev-1")));
      assert.equal((await connection.next(2))?.body[1], 0);
      const silent = await RawConnection.openTls(port, { rejectUnauthorized: false });
      await until("all others are closed", () => silent.isClosed && half.every(({ isClosed }) => isClosed));
      connection.send(packet(0xc0, []));
      assert.ok(await connection.next(13), "the device is still served");
      await connection.close();
    });
  },
});

Deno.test({
  name: "broker limits: of handshakes that never end, the oldest are closed long before their time",
  ignore: skipped(tlsMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const tls = { cert: serverCert, key: serverKey }, begins = { perSecond: 1_000, burst: 1_000 };
    await withBroker({ connectTimeoutMs: 60_000, tls, begins }, async ({ port }) => {
      const half = await Promise.all(Array.from({ length: halfOpenMax + 20 }, () => RawConnection.open(port)));
      for (const one of half) one.send(Uint8Array.from([22, 3, 1, 2, 0, 1]));
      await until("the oldest are closed", () => half.filter(({ isClosed }) => isClosed).length === 20);
      const connection = await RawConnection.openTls(port, { rejectUnauthorized: false });
      connection.send(connectPacket(device("dev-1")));
      assert.equal((await connection.next(2))?.body[1], 0);
      for (const one of [...half, connection]) await one.close();
    });
  },
});

Deno.test({
  name: "broker limits: no more TLS handshakes begin than may; who waits for his turn is closed in time",
  ignore: skipped(tlsMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const tls = { cert: serverCert, key: serverKey }, begins = { perSecond: 0.001, burst: 5 };
    await withBroker({ connectTimeoutMs: 3_000, tls, begins }, async ({ port }) => {
      const tries = Array.from({ length: 20 }, () => RawConnection.openTls(port, { rejectUnauthorized: false }));
      const ended = await Promise.allSettled(tries);
      // One more goes into debt.
      assert.equal(ended.filter(({ status }) => status === "fulfilled").length, 6);
    });
  },
});

test("without TLS, too, no more begin than may; what waits is not read, and is closed in time", {
  connectTimeoutMs: 1_500,
  begins: { perSecond: 0.001, burst: 5 },
}, async ({ port }) => {
  const all = await Promise.all(Array.from({ length: 20 }, () => RawConnection.open(port)));
  // The first byte of no CONNECT: whose turn has come is closed for it.
  for (const one of all) one.send(Uint8Array.from([0x30, 0]));
  await until("those whose turn has come are closed", () => all.filter(({ isClosed }) => isClosed).length === 6);
  await until("all others are closed in time", () => all.every(({ isClosed }) => isClosed));
});

/** What {@link Turns} and {@link HalfOpen} know of a connection. */
class Asking extends EventEmitter {
  isDestroyed = false;
  constructor(readonly remoteAddress: string, readonly name = remoteAddress) {
    super();
  }
  destroy() {
    this.isDestroyed = true;
    this.emit("close");
  }
}

Deno.test("broker limits: of handshakes under way, the source that has the most loses its oldest", () => {
  const halfOpen = new HalfOpen(10), begun: Asking[] = [];
  const begin = (...names: string[]) => {
    for (const name of names) {
      begun.push(new Asking(name));
      halfOpen.begin(begun.at(-1) as unknown as Socket);
    }
  };
  const ended = () => begun.flatMap(({ isDestroyed }, at) => isDestroyed ? [at] : []);
  begin("192.0.2.1", "192.0.2.2");
  // Of one /64.
  for (let at = 0; at < 8; at++) begin(`2001:db8::${at}`);
  assert.deepEqual(ended(), []);
  begin("2001:db8::ff", "192.0.2.1", "192.0.2.3");
  assert.deepEqual(ended(), [2, 3, 4]);
  // Over, and closed: their places are free.
  halfOpen.over(begun[5] as unknown as Socket);
  begun[6]!.emit("close");
  begin("192.0.2.4", "192.0.2.5");
  assert.deepEqual(ended(), [2, 3, 4]);
  // Over is over: what closes later counts no more.
  begun[5]!.emit("close");
  begin("192.0.2.6");
  assert.deepEqual(ended(), [2, 3, 4, 7]);
});

Deno.test("broker limits: whatever one network asks for, another's handshake is the next but one", async () => {
  const begun: string[] = [];
  const turns = new Turns({ perSecond: 50, burst: 3 }, (raw) => begun.push((raw as unknown as Asking).name));
  const ask = (one: Asking) => turns.ask(one as unknown as Socket);
  // Of one /64.
  for (let at = 0; at < 30; at++) ask(new Asking(`2001:db8::${at.toString(16)}`, "flood"));
  const gone = new Asking("192.0.2.7");
  ask(gone);
  ask(new Asking("192.0.2.8"));
  ask(new Asking("192.0.2.9"));
  gone.emit("close");
  const before = begun.length;
  assert.ok(before < 25, "most are waiting");
  await until("all have begun", () => begun.length === 32);
  assert.deepEqual(begun.slice(before, before + 4), ["flood", "192.0.2.8", "192.0.2.9", "flood"]);
  assert.ok(!begun.includes(gone.name));
});

test("who says nothing, or half a CONNECT, is closed in time", { connectTimeoutMs: 200 }, async (broker) => {
  const silent = await RawConnection.open(broker.port), half = await RawConnection.open(broker.port);
  half.send(connectPacket(device("dev-1")).subarray(0, 20));
  await until("both are closed", () => silent.isClosed && half.isClosed);
});

test("who has sent its CONNECT in time is let in, however long its credentials are looked up", {
  connectTimeoutMs: 200,
  authenticate: async (deviceId) => {
    await new Promise((resolve) => setTimeout(resolve, 700));
    return { deviceId, accountId: "acme" };
  },
}, async (broker) => {
  const { code, connection } = await RawConnection.connect(broker.port, device("dev-1"));
  assert.equal(code, 0);
  await connection.close();
});

test(
  "connections of one address are bounded, and a place that gets free is used",
  { perAddressMax: 3 },
  async (broker) => {
    const inside = await Promise.all([1, 2, 3].map(() => RawConnection.open(broker.port)));
    const turned = await RawConnection.open(broker.port);
    await turned.closed;
    await inside[0]!.close();
    let connection = turned;
    await until("the place is free", async () => {
      const tried = await RawConnection.connect(broker.port, device("dev-1"));
      connection = tried.connection;
      return tried.code === 0;
    });
    for (const one of [...inside, connection]) await one.close();
  },
);

for (
  const [name, packets] of [
    ["another packet than a CONNECT", [publishPacket("tt/d/dev-1/up", "{}")]],
    ["a CONNECT above 4 KB", [connectPacket({ ...device("dev-1"), username: " ".repeat(5_000) })]],
    ["a second CONNECT", [connectPacket(device("dev-1")), connectPacket(device("dev-1"))]],
    ["a will on QoS 2", [
      connectPacket({ ...device("dev-1"), will: { topic: "tt/d/dev-1/presence", payload: "x", qos: 2 } }),
    ]],
    ["a publish on QoS 2", [connectPacket(device("dev-1")), publishPacket("tt/d/dev-1/up", "{}", { qos: 2 })]],
    ["nine filters in a subscription", [
      connectPacket(device("dev-1")),
      subscribePacket(Array.from({ length: 9 }, (_, n) => `tt/x/${n}`)),
    ]],
    ["a subscription above 4 KB", [connectPacket(device("dev-1")), subscribePacket(["x".repeat(4_100)])]],
  ] as const
) {
  test(`${name} ends the connection`, {}, async (broker) => {
    const connection = await RawConnection.open(broker.port);
    connection.send(...packets);
    await connection.closed;
  });
}

test("a device that floods is read at its pace: nothing is lost, and another does not wait", {
  packets: { perSecond: 200, burst: 100 },
}, async (broker) => {
  const cloud = await testCloud(ends(broker.port));
  const flood = (await RawConnection.connect(broker.port, device("dev-1"))).connection;
  const { link } = testLink(ends(broker.port), "dev-2");
  await until("the good device is connected", () => link.connected);
  const started = performance.now();
  const message = (n: number) => `{"v":1,"type":"sync","request":"k/${n}","channels":[]}`;
  for (let n = 0; n < 300; n++) flood.send(publishPacket("tt/d/dev-1/sync", message(n)));
  link.send({ type: "sync", request: "good/1", channels: [] });
  await until("the good one's message came", () => cloud.got.some(([deviceId]) => deviceId === "dev-2"));
  assert.ok(cloud.got.length < 250, `${cloud.got.length} messages came before it`);
  await until("all of the flood came", () => cloud.got.length === 301);
  // 200 above the burst are 1 s, but for those of the last turn, which are read on credit.
  assert.ok(performance.now() - started > 600, "300 messages came at no pace");
  await link.close();
  await flood.close();
  await cloud.close();
});

for (
  const [what, type, answer] of [["pings", 0xc0, 0xd0], ["releases of what it never sent", 0x62, 0x70]] as const
) {
  test(`${what} count like messages, and a read of thousands is handled in turns`, {
    packets: { perSecond: 200, burst: 100 },
  }, async (broker) => {
    const cloud = await testCloud(ends(broker.port));
    const { link } = testLink(ends(broker.port), "dev-2");
    await until("the good device is connected", () => link.connected);
    const { connection } = await RawConnection.connect(broker.port, device("dev-1"));
    const one = packet(type, type === 0xc0 ? [] : [0, 1]);
    connection.send(...Array.from({ length: 20_000 }, () => one));
    link.send({ type: "sync", request: "good/1", channels: [] });
    await until("the good one's message came", () => cloud.got.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const answers = connection.received.filter((got) => got.type === answer).length;
    assert.ok(answers > 0 && answers < 500, `${answers} were answered`);
    await connection.close();
    await link.close();
    await cloud.close();
  });
}

/** What the kernel's buffers of a connection hold, and more; a device sends several times as much. */
const heldBytesMax = 24 * 1024 * 1024, sentBytes = 96 * 1024 * 1024;

/** Sends all of it, and waits until no more is taken. @returns the bytes that were taken */
async function takenOf({ socket }: RawConnection): Promise<number> {
  const packet = publishPacket("tt/d/dev-1/up", new Uint8Array(100_000));
  for (let sent = 0; sent < sentBytes; sent += packet.length) socket.write(packet);
  for (let left = -1; left !== socket.writableLength;) {
    left = socket.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  return socket.bytesWritten - socket.writableLength;
}

test("who sends far above its pace is not read, and fills no memory", {
  bytes: { perSecond: 100_000, burst: 1_000_000 },
}, async (broker) => {
  const { connection } = await RawConnection.connect(broker.port, device("dev-1"));
  const taken = await takenOf(connection);
  await connection.close();
  assert.ok(taken < heldBytesMax, `${taken} bytes were taken`);
});

test("what waits for a slow worker is not read, and fills no memory", {
  bytes: { perSecond: 1e9, burst: 1e9 },
}, async (broker) => {
  const worker = await RawConnection.connect(broker.port, { clientId: "worker", ...internalUser });
  worker.connection.send(subscribePacket(["tt/d/+/up"], 0));
  await worker.connection.next(9);
  worker.connection.socket.pause();
  const { connection } = await RawConnection.connect(broker.port, device("dev-1"));
  const taken = await takenOf(connection);
  await connection.close();
  await worker.connection.close();
  assert.ok(taken < heldBytesMax, `${taken} bytes were taken`);
});
