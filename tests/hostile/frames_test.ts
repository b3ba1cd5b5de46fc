/**
 * Frames that no client library sends, at both brokers: versions, flags, aliases, shares, names and packets that are not what
 * they say. Whatever the broker makes of them, nothing reaches a topic that is not the sender's, the sender hears nothing of
 * others, nobody else loses a connection, and the broker goes on.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { rightsOf } from "../../cloud/broker_config/rights.ts";
import { topics } from "../../protocol.ts";
import { dynsecMissing, startDynsecFor } from "../support/mosquitto_dynsec.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { startEmbeddedFor } from "./embedded_broker.ts";
import { connectPacket, packet, publishPacket, RawConnection, subscribePacket, text } from "./raw_mqtt.ts";

const topic = topics();
const devices = [["spy", "beta"], ["victim", "acme"]] as const;
const rights = rightsOf(topic, { deviceId: "spy", accountId: "beta" });
const own = topic.up("spy"), others = [topic.down("victim"), topic.up("victim"), topic.account("acme")] as const;
const hostile = "HOSTILE", secret = "SECRET";

type Bytes = Uint8Array;
interface Attempt {
  readonly what: string;
  /** All that is sent, the CONNECT first. */
  readonly packets: (token: string) => readonly Bytes[];
}

const raw = (type: number, ...body: (number | readonly number[])[]) => packet(type, body.flat());
const bytesOf = (value: string) => [...new TextEncoder().encode(value)];
const counted = (bytes: readonly number[]) => [bytes.length >> 8, bytes.length & 255, ...bytes];
/** MQTT 5: properties of less than 128 bytes. */
const properties = (...bytes: number[]) => [bytes.length, ...bytes];

function connect5(token: string, more: { properties?: number[]; will?: { topic: string; delay: number } } = {}): Bytes {
  const { will } = more;
  return raw(
    0x10,
    text("MQTT"),
    [5, 0xc2 | (will ? 4 : 0), 0, 60],
    properties(...more.properties ?? []),
    text("spy"),
    will ? [...properties(0x18, 0, 0, 0, will.delay), ...text(will.topic), ...text(hostile)] : [],
    text("spy"),
    text(token),
  );
}
const publish5 = (name: string, ...more: number[]) =>
  raw(0x30, text(name), properties(...more), bytesOf(`${hostile} ${name}`));
const subscribe5 = (filter: string, options = 0, ...more: number[]) =>
  raw(0x82, [0, 1], properties(...more), text(filter), [options]);

/** CONNECTs of MQTT 3.1.1, and what follows. */
function* classic(): Generator<[what: string, packets: (connect: Bytes, token: string) => readonly Bytes[]]> {
  for (const filter of [...others, "#", "tt/d/+/down", "$share/g/#", "$share//tt/d/victim/down", "$queue/tt/d/+/up"]) {
    yield [`${filter} between its own filters`, (connect) => [
      connect,
      subscribePacket([rights.subscribes[0]!, filter, rights.subscribes[1]!]),
    ]];
  }
  for (
    const name of [
      `${own}/`,
      `/${own}`,
      `tt/d/spy//up`,
      `tt/d/spy/../victim/up`,
      "tt/d/victim%2fup",
      own.toUpperCase(),
      "tt/d/+/up",
      "tt/#",
      "$SYS/broker/x",
      "$CONTROL/dynamic-security/v1",
      "",
    ]
  ) {
    yield [`a publish on ${JSON.stringify(name)}`, (connect) => [connect, publishPacket(name, hostile, { qos: 1 })]];
  }
  for (
    const [what, name] of [
      ["a NUL", [...bytesOf(topic.up("victim")), 0]],
      ["an overlong slash", [...bytesOf("tt"), 0xc0, 0xaf, ...bytesOf("d/victim/up")]],
      ["half a character", [...bytesOf("tt/d/victim/up"), 0xc3]],
      ["a surrogate", [...bytesOf("tt/d/victim/"), 0xed, 0xa0, 0x80]],
      ["a mark of byte order", [0xef, 0xbb, 0xbf, ...bytesOf(topic.up("victim"))]],
      ["a length beyond the packet", bytesOf(topic.up("victim"))],
    ] as const
  ) {
    const length = what.startsWith("a length") ? [0xff, 0xff] : [name.length >> 8, name.length & 255];
    yield [`a topic with ${what}`, (connect) => [connect, raw(0x30, length, name, bytesOf(hostile))]];
    yield [`a filter with ${what}`, (connect) => [connect, raw(0x82, [0, 1], length, name, [1])]];
  }
  yield ["QoS 3", (connect) => [connect, raw(0x36, text(topic.up("victim")), [0, 1], bytesOf(hostile))]];
  yield ["a subscription on QoS 3", (connect) => [connect, subscribePacket([others[0]], 3)]];
  yield ["a subscription with the number 0", (connect) => [connect, subscribePacket([others[0]], 1, 0)]];
  yield ["a subscription to nothing", (connect) => [connect, raw(0x82, [0, 1])]];
  yield ["a subscription with the flags of a publish", (connect) => [connect, raw(0x80, [0, 1], text(others[0]), [1])]];
  yield ["the end of others' subscriptions", (connect) => [connect, raw(0xa2, [0, 1], text(others[0]), text("#"))]];
  yield ["acknowledgements of what was never sent", (connect) => [
    connect,
    ...[0x40, 0x50, 0x62, 0x70].flatMap((type) => [0, 1, 65_535].map((id) => raw(type, [id >> 8, id & 255]))),
  ]];
  yield ["what only a broker sends", (connect) => [
    connect,
    ...[0x20, 0x90, 0xb0, 0xd0].map((type) => raw(type, [0, 1])),
  ]];
  yield ["an AUTH", (connect) => [connect, raw(0xf0, [0, 0])]];
  yield ["a length of five bytes", (connect) => [connect, Uint8Array.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01])]];
  yield ["a CONNECT of somebody else after its own", (connect, token) => [
    connect,
    connectPacket({ clientId: "victim", username: "victim", password: token }),
    subscribePacket(others),
  ]];
}

/** CONNECTs that are not what they should be; what follows would harm. */
function* odd(): Generator<[what: string, connect: (token: string) => Bytes]> {
  const plain = { clientId: "spy", username: "spy" };
  yield ["MQTT 3.1", (password) => connectPacket({ ...plain, password, protocol: "MQIsdp", level: 3 })];
  yield ["a bridge", (password) => connectPacket({ ...plain, password, level: 0x84 })];
  yield ["a bridge of MQTT 3.1", (password) => connectPacket({ ...plain, password, protocol: "MQIsdp", level: 0x83 })];
  yield ["the version 6", (password) => connectPacket({ ...plain, password, level: 6 })];
  yield ["another protocol", (password) => connectPacket({ ...plain, password, protocol: "MQTU" })];
  yield ["the victim's client id", (password) => connectPacket({ ...plain, clientId: "victim", password })];
  yield ["the victim's user name", (password) => connectPacket({ ...plain, username: "victim", password })];
  for (const name of ["spy\0victim", "spy ", "SPY", "victim\0", "", "twintable-cloud", "admin", "spy#", "+"]) {
    yield [
      `the name ${JSON.stringify(name)}`,
      (password) => connectPacket({ clientId: name, username: name, password }),
    ];
  }
  yield ["no client id", (password) => connectPacket({ ...plain, clientId: "", password })];
  yield ["a session that stays", (password) => connectPacket({ ...plain, clean: false, password })];
  yield [
    "a will on a wildcard",
    (password) => connectPacket({ ...plain, password, will: { topic: "tt/d/+/up", payload: hostile, retain: true } }),
  ];
  yield [
    "a will on QoS 3",
    (password) => connectPacket({ ...plain, password, will: { topic: topic.up("victim"), payload: hostile, qos: 3 } }),
  ];
  yield [
    "a will without its flag",
    (password) => raw(0x10, text("MQTT"), [4, 0xe2, 0, 60], text("spy"), text("spy"), text(password)),
  ];
  yield [
    "a password without a name",
    (password) => raw(0x10, text("MQTT"), [4, 0x42, 0, 60], text("spy"), text(password)),
  ];
  yield [
    "the reserved flag",
    (password) => raw(0x10, text("MQTT"), [4, 0xc3, 0, 60], text("spy"), text("spy"), text(password)),
  ];
  yield [
    "a name of bytes that are no text",
    (password) => raw(0x10, text("MQTT"), [4, 0xc2, 0, 60], text("spy"), counted([0xff, 0xfe]), text(password)),
  ];
}

/** MQTT 5, which the embedded broker refuses. */
function* modern(): Generator<[what: string, packets: (token: string) => readonly Bytes[]]> {
  const connect = (token: string) => connect5(token, { properties: [0x22, 0, 10] });
  yield ["an alias that is turned to another's topic", (token) => [
    connect(token),
    publish5(own, 0x23, 0, 1),
    publish5(topic.up("victim"), 0x23, 0, 1),
    publish5("", 0x23, 0, 1),
  ]];
  yield ["an alias that was never given", (token) => [connect(token), publish5("", 0x23, 0, 7)]];
  yield ["the alias 0", (token) => [connect(token), publish5(topic.up("victim"), 0x23, 0, 0)]];
  yield ["a topic for answers that is another's", (token) => [
    connect(token),
    publish5(topic.down("victim"), 0x08, ...text(others[2])),
  ]];
  for (const filter of [...others, "#", "$share/g/tt/d/+/up", `$share/g/${topic.down("spy")}`]) {
    yield [`${filter}, retained as published and with a number`, (token) => [
      connect(token),
      subscribe5(filter, 0x08 | 0x10, 0x0b, 1),
    ]];
  }
  yield ["a session for ever", (token) => [
    connect5(token, { properties: [0x11, 0xff, 0xff, 0xff, 0xff] }),
    subscribe5(others[0]),
  ]];
  yield ["a late will on another's topic", (token) => [
    connect5(token, { will: { topic: topic.up("victim"), delay: 1 } }),
    raw(0xe0, [0x04], properties(0x11, 0xff, 0xff, 0xff, 0xff)),
  ]];
  yield ["another way to authenticate", (token) => [connect5(token, { properties: [0x15, ...text("SCRAM-SHA-1")] })]];
  yield [
    "a DISCONNECT that says it moves",
    (token) => [connect(token), raw(0xe0, [0x9d], properties(0x1c, ...text("x")))],
  ];
}

function attempts(): Attempt[] {
  const plain = (password: string) => connectPacket({ clientId: "spy", username: "spy", password });
  return [
    ...[...classic()].map(([what, make]) => ({ what, packets: (token: string) => make(plain(token), token) })),
    ...[...odd()].map(([what, connect]) => ({
      what: `connected as ${what}`,
      packets: (token: string) => [
        connect(token),
        subscribePacket(others),
        ...others.map((name) => publishPacket(name, hostile)),
      ],
    })),
    ...[...modern()].map(([what, packets]) => ({ what: `MQTT 5: ${what}`, packets })),
  ];
}

interface Ends {
  readonly devicePort: number;
  readonly workerPort: number;
  readonly worker: { readonly username: string; readonly password: string };
  readonly token: (device: string) => string;
}

async function connected(port: number, clientId: string, username: string, password: string): Promise<RawConnection> {
  const { connection, code } = await RawConnection.connect(port, { clientId, username, password });
  assert.equal(code, 0, `${username} is let in`);
  return connection;
}

/** Which messages came, as texts with their topics. */
const cameTo = ({ messages }: RawConnection) =>
  messages.map(({ topic: name, payload }) => ({ name, text: new TextDecoder().decode(payload) }));

async function suite(ends: Ends): Promise<void> {
  const { worker: user } = ends;
  const worker = await connected(ends.workerPort, "watch/receive", user.username, user.password);
  worker.send(subscribePacket(["tt/#"]));
  await worker.next(9);
  const victim = await connected(ends.devicePort, "victim", "victim", ends.token("victim"));
  victim.send(subscribePacket([topic.down("victim"), topic.account("acme"), topic.all]));
  await victim.next(9);
  const faults: string[] = [];
  for (const [n, { what, packets }] of attempts().entries()) {
    const spy = await RawConnection.open(ends.devicePort);
    const [connect, ...rest] = packets(ends.token("spy"));
    spy.send(connect!);
    // One that is refused is refused: what follows is for those who got in.
    await Promise.race([spy.next(2), spy.closed, new Promise((resolve) => setTimeout(resolve, 400))]);
    if (!spy.isClosed) spy.send(...rest.length > 0 ? rest : [new Uint8Array()]);
    await Promise.race([spy.closed, new Promise((resolve) => setTimeout(resolve, 60))]);
    // What is others' goes round; and whoever is alive hears it.
    const mark = `mark ${n}.`;
    for (const name of others) worker.send(publishPacket(name, `${secret} ${mark}`, { qos: 1, id: n + 1 }));
    await until(
      `the victim hears of ${what}`,
      () => victim.isClosed || cameTo(victim).filter(({ text }) => text.includes(mark)).length === 2,
    );
    await until(`the worker hears of ${what}`, () => cameTo(worker).some(({ text }) => text.includes(mark)));
    if (victim.isClosed) faults.push(`${what}: the victim lost its connection`);
    for (const { name, text } of cameTo(worker)) {
      if (text.includes(hostile) && !rights.publishes.includes(name)) faults.push(`${what}: reached ${name}`);
    }
    if (cameTo(victim).some(({ text }) => text.includes(hostile))) faults.push(`${what}: reached the victim`);
    const heard = Buffer.concat(spy.received.map(({ body }) => body)).toString("latin1");
    if (heard.includes(secret)) faults.push(`${what}: heard of others`);
    for (const one of [worker, victim]) one.received.splice(0);
    await spy.close();
    if (faults.length > 0) break;
  }
  // A will that was to come late.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const late = cameTo(worker).filter(({ name, text }) => text.includes(hostile) && !rights.publishes.includes(name));
  assert.deepEqual([...faults, ...late], []);
  for (const one of [worker, victim]) await one.close();
}

const test = (name: string, fn: () => Promise<void>, ignore = false) =>
  Deno.test({ name: `frames: ${name}`, fn, ignore, sanitizeOps: false, sanitizeResources: false });

test("none harms anybody at the embedded broker", async () => {
  await using broker = await startEmbeddedFor(devices);
  await suite(broker);
});

test("nor at Mosquitto", async () => {
  const tokens = new Map<string, string>();
  await using broker = await startDynsecFor(devices, tokens);
  await suite({ ...broker, token: (device) => tokens.get(device)! });
}, skipped(dynsecMissing));
