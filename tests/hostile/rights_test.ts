/**
 * Every topic × whose it is × what is done, at each broker: a device may do what `rights.ts` says, and nothing else. What was
 * done is judged by what arrives, not by what the broker says of it: Mosquitto acknowledges what it throws away.
 */
import assert from "node:assert/strict";
import { rightsOf } from "../../cloud/broker_config/rights.ts";
import { topics } from "../../protocol.ts";
import { dynsecMissing, startDynsecFor } from "../support/mosquitto_dynsec.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { startEmbeddedFor } from "./embedded_broker.ts";
import { connectPacket, publishPacket, RawConnection, subscribePacket } from "./raw_mqtt.ts";

const topic = topics();
const own = { deviceId: "dev-1", accountId: "acme" };
const devices = [["dev-1", "acme"], ["dev-2", "acme"], ["spy", "beta"]] as const;
const rights = rightsOf(topic, own);

/** Whose topic, and the topic. */
const places: [whose: string, topic: string][] = [
  ...(["up", "sync", "presence", "down"] as const).flatMap((kind): [string, string][] => [
    ["own", topic[kind]("dev-1")],
    ["of a neighbour", topic[kind]("dev-2")],
    ["of another account's device", topic[kind]("spy")],
  ]),
  ["its account's", topic.account("acme")],
  ["another account's", topic.account("beta")],
  ["everybody's", topic.all],
  ["below its own", `${topic.down("dev-1")}/more`],
  ["above its own", "tt/d/dev-1"],
  ["whose name begins as its own", topic.down("dev-11")],
  ["the workers'", "tt/w/part/dev-1/up"],
  ["the workers' test's", "tt/w/test/x"],
  ["the workers' feed", topic.feed],
  ["under another prefix", "other/d/dev-1/up"],
  ["the broker's", "$SYS/broker/uptime"],
  ["the broker's control", "$CONTROL/dynamic-security/v1"],
  ["the broker's control's answers", "$CONTROL/dynamic-security/v1/response"],
  ["a share's", "$share/g/tt/d/dev-1/down"],
];
/** Filters that only a subscription can have, and a topic that they would bring. */
const filters: [whose: string, filter: string, brings: string][] = [
  ["everything", "#", topic.down("spy")],
  ["everything of ours", "tt/#", topic.down("spy")],
  ["all its own", "tt/d/dev-1/#", topic.down("dev-1")],
  ["all its own, one level", "tt/d/dev-1/+", topic.down("dev-1")],
  ["each device's", "tt/d/+/down", topic.down("spy")],
  ["each account's", "tt/a/+", topic.account("beta")],
  ["each device's presence", "tt/d/+/presence", topic.presence("spy")],
  ["the workers' own", "tt/w/#", topic.feed],
  ["any level", "+/+/+/+", topic.down("spy")],
  ["the broker's all", "$SYS/#", "$SYS/broker/uptime"],
  ["the workers' share", "$share/twintable/tt/d/+/sync", topic.sync("spy")],
  ["a share of everything", "$share/g/#", topic.down("spy")],
  ["a share of its own", `$share/g/${topic.down("dev-1")}`, topic.down("dev-1")],
  ["a share of its account's", `$share/g/${topic.account("acme")}`, topic.account("acme")],
  ["the control's answers", "$CONTROL/#", "$CONTROL/dynamic-security/v1/response"],
];

interface Ends {
  readonly devicePort: number;
  readonly workerPort: number;
  readonly worker: { readonly username: string; readonly password: string };
  readonly token: (device: string) => string;
}

async function connected(
  port: number,
  username: string,
  password: string,
  clientId = username,
): Promise<RawConnection> {
  const { connection, code } = await RawConnection.connect(port, { clientId, username, password });
  assert.equal(code, 0, `${username} is let in`);
  return connection;
}

/** Everything that a worker sees, with a mark after which nothing is to come. */
async function watching(ends: Ends) {
  const worker = await connected(ends.workerPort, ends.worker.username, ends.worker.password, "watch/receive");
  worker.send(subscribePacket(["tt/#"]));
  await worker.next(9);
  let marks = 0;
  return {
    worker,
    /** What arrived until now. */
    async seen(): Promise<string[]> {
      const mark = `mark ${++marks}`;
      worker.send(publishPacket("tt/w/test/mark", mark));
      const texts = () => worker.messages.map(({ payload }) => new TextDecoder().decode(payload));
      await until("the mark is back", () => texts().includes(mark));
      return texts();
    },
  };
}

async function publishes(ends: Ends): Promise<void> {
  const { worker, seen } = await watching(ends);
  const attempts: { what: string; name: string; retain: boolean; allowed: boolean; text: string }[] = [];
  for (const [whose, name] of places) {
    for (const retain of [false, true]) {
      const allowed = rights.publishes.includes(name);
      attempts.push({ what: `${whose} (${name})`, name, retain, allowed, text: `attempt ${attempts.length}.` });
    }
  }
  for (const { name, retain, text } of attempts) {
    // Each by itself: a broker may end the connection for one of them.
    const device = await connected(ends.devicePort, "dev-1", ends.token("dev-1"));
    device.send(publishPacket(name, text, { qos: 1, retain }));
    await Promise.race([device.next(4), device.closed]);
    await device.close();
  }
  const texts = await seen();
  for (const { what, allowed, retain, name, text } of attempts) {
    // That only presence may be retained is a rule which the embedded broker alone can make.
    if (allowed && retain && name !== rights.presence) continue;
    assert.equal(texts.includes(text), allowed, `publishing on a topic ${what}${retain ? ", retained" : ""}`);
  }
  await worker.close();
}

async function wills(ends: Ends): Promise<void> {
  const { worker, seen } = await watching(ends);
  const attempts = places.map(([whose, name], n) => ({
    what: `${whose} (${name})`,
    name,
    allowed: rights.publishes.includes(name),
    text: `will ${n}.`,
  }));
  for (const { name, text } of attempts) {
    const device = await RawConnection.open(ends.devicePort);
    device.send(connectPacket({
      clientId: "dev-1",
      username: "dev-1",
      password: ends.token("dev-1"),
      will: { topic: name, payload: text, qos: 1 },
    }));
    await Promise.race([device.next(2), device.closed]);
    await device.close();
  }
  // Wills are published when the broker sees the end.
  const last = attempts.findLast(({ allowed }) => allowed)!;
  await until("the last will that is allowed came", async () => (await seen()).includes(last.text));
  const texts = await seen();
  for (const { what, allowed, text } of attempts) {
    assert.equal(texts.includes(text), allowed, `a will on a topic ${what}`);
  }
  await worker.close();
}

async function subscriptions(ends: Ends): Promise<void> {
  const worker = await connected(ends.workerPort, ends.worker.username, ends.worker.password, "write/publish");
  const all: [string, string, string][] = [
    ...places.map(([whose, name]): [string, string, string] => [whose, name, name]),
    ...filters,
  ];
  for (const [n, [whose, filter, brings]] of all.entries()) {
    const device = await connected(ends.devicePort, "dev-1", ends.token("dev-1"));
    device.send(subscribePacket([filter]), subscribePacket([rights.subscribes[0]!], 1, 2));
    await Promise.race([device.next(9), device.closed]);
    await Promise.race([device.next(9), device.closed]);
    const text = `sent ${n}.`, mark = `after ${n}.`;
    worker.send(publishPacket(brings, text, { qos: 1 }), publishPacket(rights.subscribes[0]!, mark, { qos: 1, id: 2 }));
    const texts = () => device.messages.map(({ payload }) => new TextDecoder().decode(payload));
    // The broker ends the connection of a device that asks for too much, or grants the rest.
    await until("the mark came", () => device.isClosed || texts().includes(mark));
    // Its own `down` is subscribed to in any case.
    const isGranted = rights.subscribes.includes(filter);
    const expected = isGranted || brings === rights.subscribes[0];
    const copies = texts().filter((got) => got === text).length;
    assert.equal(copies > 0, expected && !device.isClosed, `subscribing to a topic ${whose} (${filter})`);
    if (!isGranted) assert.ok(copies <= 1, `${filter} brought it a second time`);
    for (const { topic: name } of device.messages) {
      assert.ok(rights.subscribes.includes(name), `${filter} brought ${name}`);
    }
    await device.close();
  }
  await worker.close();
}

async function suite(ends: Ends): Promise<void> {
  await publishes(ends);
  await wills(ends);
  await subscriptions(ends);
}

const test = (name: string, fn: () => Promise<void>, ignore = false) =>
  Deno.test({ name: `rights: ${name}`, fn, ignore, sanitizeOps: false, sanitizeResources: false });

test("at the embedded broker a device may do what is its own, and nothing else", async () => {
  await using broker = await startEmbeddedFor(devices);
  await suite(broker);
});

test("at Mosquitto, configured by `broker config mosquitto`, as well", async () => {
  const tokens = new Map<string, string>();
  await using broker = await startDynsecFor(devices, tokens);
  await suite({ ...broker, token: (device) => tokens.get(device)! });
}, skipped(dynsecMissing));

test(
  "Mosquitto is kept in step: a device that is added is let in, a revoked one is cut, its token and a rotated one are void",
  async () => {
    const tokens = new Map<string, string>();
    await using broker = await startDynsecFor([["dev-1", "acme"]], tokens);
    const codeOf = async (device: string, token: string, clientId = device) => {
      const { connection, code } = await RawConnection.connect(broker.devicePort, {
        clientId,
        username: device,
        password: token,
      });
      await connection.close();
      return code;
    };
    assert.equal(await codeOf("dev-1", tokens.get("dev-1")!), 0);
    assert.notEqual(await codeOf("dev-1", "wrong"), 0);
    const added = await broker.device("add", "dev-2", "--account", "beta");
    assert.equal(added.code, 0, added.stderr);
    const token = added.stdout.trim();
    assert.equal(await codeOf("dev-2", token), 0);
    // Another's client id does not push that one out.
    const held = await connected(broker.devicePort, "dev-1", tokens.get("dev-1")!);
    assert.equal(await codeOf("dev-2", token, "dev-1"), 0);
    assert.equal(held.isClosed, false);
    const rotated = await broker.device("rotate", "dev-2");
    assert.equal(rotated.code, 0, rotated.stderr);
    assert.notEqual(await codeOf("dev-2", token), 0);
    assert.equal(await codeOf("dev-2", rotated.stdout.trim()), 0);
    const persistent = await RawConnection.open(broker.devicePort);
    persistent.send(
      connectPacket({ clientId: "dev-2", username: "dev-2", password: rotated.stdout.trim(), clean: false }),
    );
    await persistent.next(2);
    persistent.send(subscribePacket(["tt/all"]));
    await persistent.next(9);
    const revoked = await broker.device("revoke", "dev-2");
    assert.equal(revoked.code, 0, revoked.stderr);
    await persistent.closed;
    assert.notEqual(await codeOf("dev-2", rotated.stdout.trim()), 0);
    await held.close();
  },
  skipped(dynsecMissing),
);
