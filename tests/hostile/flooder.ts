/**
 * A hostile device as a process of its own: sends one kind of thing as fast as it is taken, until it is killed.
 *
 *     flooder.ts KIND PORT DEVICE TOKEN
 *
 * @module
 */
import { Buffer } from "node:buffer";
import tls from "node:tls";
import { deflated } from "../../protocol/deflate.ts";
import { connectPacket, packet, publishPacket, RawConnection, subscribePacket, text } from "./raw_mqtt.ts";

const [kind, port, device, token] = Deno.args as [string, string, string, string];
const utf8 = new TextEncoder();
let n = 0;
const name = () => `spy/${++n}`;
const up = (payload: Uint8Array | string) =>
  publishPacket(`tt/d/${device}/up`, payload, { qos: n % 2, id: n % 60_000 + 1 });
const sync = (payload: Uint8Array | string) =>
  publishPacket(`tt/d/${device}/sync`, payload, { qos: n % 2, id: n % 60_000 + 1 });
const json = (more: object) => JSON.stringify({ v: 1, ...more });
const brackets = deflated(utf8.encode(`{"v":1,"type":"up","y":[${"[],".repeat(2_600_000)}[]]}`));
const texts = deflated(
  utf8.encode(
    `{"v":1,"type":"up","batch":"spy/1","sent":1,"changes":[{"model":"Own","op":"create","stamp":1,"item":{"id":"spy","text":"${
      "x".repeat(7_900_000)
    }"}}]}`,
  ),
);
const keys = Array.from({ length: 100 }, (_, at) => [`d#${device}`, `Own#spy-large-${at}`]);

/** What is sent, by kind; several packets make one write. */
const packets: Record<string, () => Uint8Array> = {
  syncs: () =>
    sync(
      json({
        type: "sync",
        request: name(),
        channels: [{ channel: `device:${device}` }, { channel: "account:beta" }, { channel: "global" }],
      }),
    ),
  fetches: () => sync(json({ type: "fetch", request: name(), keys })),
  compares: () => sync(json({ type: "compare", request: name(), channel: `device:${device}`, each: true })),
  brackets: () => up(brackets),
  texts: () => up(texts),
  parts: () => up(`#1 ${(++n).toString(16).padStart(16, "0")} 0 3\n${"x".repeat(30)}`),
  refused: () =>
    up(json({
      type: "up",
      batch: name(),
      sent: Date.now(),
      changes: keys.map(([, sort]) => ({
        model: "Own",
        op: "update",
        stamp: 1,
        item: { id: sort!.slice(4), v: "none" },
      })),
    })),
  writes: () =>
    up(json({
      type: "up",
      batch: name(),
      sent: Date.now(),
      changes: Array.from(
        { length: 200 },
        () => ({ model: "Shared", op: "create", stamp: Date.now() * 1000, item: { id: `spy-${++n}`, text: "x" } }),
      ),
    })),
  presence: () => publishPacket(`tt/d/${device}/presence`, `{"online":${n++ % 2 === 0}}`, { retain: true }),
  subscribes: () =>
    subscribePacket([`tt/d/${device}/down`, "tt/all", "#", "$share/twintable/tt/d/+/sync"], 1, ++n % 60_000 + 1),
  // Packets of two to five bytes, each of which the broker has to handle.
  pings: () => Buffer.concat(Array.from({ length: 2_000 }, () => packet(0xc0, []))),
  acknowledgements: () => Buffer.concat(Array.from({ length: 2_000 }, () => packet(0x40, [0, 1]))),
  releases: () => Buffer.concat(Array.from({ length: 2_000 }, () => packet(0x62, [0, 1]))),
  unsubscribes: () =>
    Buffer.concat(Array.from({ length: 200 }, () => packet(0xa2, [0, 1, ...text("a/b"), ...text("c/d")]))),
  // One large item, a hundred times.
  repeats: () => sync(json({ type: "fetch", request: name(), keys: keys.map(() => keys[0]) })),
  probes: () => sync(json({ type: "probe", request: name(), model: "Own", attributes: ["text"], keys })),
  channels: () =>
    sync(json({ type: "sync", request: name(), channels: Array.from({ length: 64 }, () => ({ channel: "global" })) })),
  reports: () => sync(json({ type: "verified", request: name(), report: { text: "x".repeat(10_000) } })),
  garbage: () => sync("{".repeat(n++ % 100 + 1)),
};

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Sends without end; comes again where it is thrown out. What is not taken is waited for. */
async function flood(make: () => Uint8Array): Promise<never> {
  for (;;) {
    try {
      await floodOnce(make);
    } catch {
      // Cut in the middle, or refused: it comes again.
      await pause(50);
    }
  }
}

async function floodOnce(make: () => Uint8Array): Promise<void> {
  const { connection, code } = await RawConnection.connect(Number(port), {
    clientId: device,
    username: device,
    password: token,
  });
  if (code !== 0) await pause(50);
  connection.send(subscribePacket([`tt/d/${device}/down`]));
  while (!connection.isClosed) {
    for (let at = 0; at < 20 && !connection.isClosed; at++) connection.send(make());
    if (connection.socket.writableLength > 256 * 1024) {
      await Promise.race([new Promise((resolve) => connection.socket.once("drain", resolve)), connection.closed]);
    } else await pause(0);
    connection.received.splice(0);
  }
}

/** Connections that are made and misused, so many at a time. */
async function connections(
  count: number,
  use: (connection: RawConnection, at: number) => Promise<void>,
): Promise<never> {
  const lanes = Array.from({ length: count }, async (_, at) => {
    for (;;) {
      try {
        const connection = await RawConnection.open(Number(port));
        await use(connection, at);
        await connection.close();
      } catch {
        await pause(20);
      }
    }
  });
  await Promise.all(lanes);
  throw new Error("unreachable");
}

/** What each of 5,000 connections does. */
const misbehaviour: readonly ((connection: RawConnection, at: number) => void)[] = [
  // Nothing at all.
  () => {},
  // Half a CONNECT, which never comes to an end.
  (connection, at) => connection.send(wrong.subarray(0, 10 + at % 20)),
  // No MQTT.
  (connection, at) => connection.send(new Uint8Array(1_000).fill(at % 256)),
  // A packet that is said to have 256 MB.
  (connection) => connection.send(Uint8Array.from([0x10, 0xff, 0xff, 0xff, 0x7f])),
  // A PUBLISH before any CONNECT.
  (connection) => connection.send(publishPacket(`tt/d/${device}/up`, "x".repeat(3_000))),
  // A CONNECT, byte by byte.
  (connection) => {
    let sent = 0;
    const timer = setInterval(() => {
      if (connection.isClosed || sent === wrong.length) return clearInterval(timer);
      connection.send(wrong.subarray(sent, ++sent));
    }, 500);
  },
];
const wrong = connectPacket({ clientId: device, username: device, password: "wrong" });
let opened = 0, open = 0, most = 0;
const misbehave = async (connection: RawConnection, at: number): Promise<void> => {
  opened++;
  most = Math.max(most, ++open);
  misbehaviour[at % misbehaviour.length]!(connection, at);
  await Promise.race([connection.closed, pause(30_000)]);
  open--;
};

/** The head of a TLS record with a handshake message of so many bytes, which never comes, or not as one. */
const hello = (bytes: number) =>
  Uint8Array.from([22, 3, 1, bytes >> 8, bytes & 255, 1, 0, bytes - 4 >> 8, bytes - 4 & 255]);

/** A connection's handshake, as a good client does it. */
const handshake = (connection: RawConnection) =>
  new Promise<tls.TLSSocket>((resolve, reject) => {
    const socket = tls.connect({ socket: connection.socket, rejectUnauthorized: false }, () => resolve(socket));
    socket.once("error", reject).once("close", reject);
  });

if (kind === "connections") {
  setInterval(() => console.log(JSON.stringify({ opened, most })), 250);
  await connections(5_000, misbehave);
} else if (kind === "guesses") {
  await connections(64, async (connection, at) => {
    connection.send(connectPacket({ clientId: `guess-${at}`, username: `guess-${at}`, password: `${++n}` }));
    await connection.next(2);
  });
} else if (kind === "blanks") {
  // Made once: the flood is to cost the worker, not this process, which shares the machine with it.
  const blanks = connectPacket({ clientId: "x", username: " ".repeat(65_000), password: "x" });
  await connections(64, async (connection) => {
    connection.send(blanks);
    await connection.closed;
  });
} else if (kind === "half handshakes") {
  await connections(2_000, async (connection) => {
    connection.send(hello(512));
    await Promise.race([connection.closed, pause(5_000)]);
  });
} else if (kind === "broken handshakes") {
  await connections(64, async (connection, at) => {
    connection.send(Buffer.concat([hello(1_024), new Uint8Array(1_020).fill(at)]));
    await connection.closed;
  });
} else if (kind === "handshakes") {
  await connections(64, async (connection) => {
    (await handshake(connection)).destroy();
  });
} else await flood(packets[kind]!);
