import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { type CloudEvent, HTTP } from "cloudevents";
import { NotTaken, Topic, Webhook } from "../../../cloud/notify/receivers.ts";
import { NotifyQueue } from "../../../cloud/notify/outbox.ts";
import { startBroker } from "../../../cloud/broker/broker.ts";
import { MqttPublisher } from "../../../cloud/publishers/mqtt.ts";
import { MqttSession } from "../../../mqtt/session.ts";
import type { ChangeEvent } from "../../../cloud/notify/event.ts";
import { serveHttp } from "../../../cloud/api/http_server.ts";
import { SyncError } from "../../../schema.ts";
import { freePort } from "../../support/mosquitto.ts";
import { until } from "../../support/until.ts";
import { NotifyWorld, openHook, type Received, schemaOf } from "./fixture.ts";

const secret = `whsec_${btoa("0123456789abcdef0123456789abcdef")}`;

function told(received: readonly Received[]): string[] {
  return received.map(({ event: { data, subject } }) =>
    `${subject.split("#").at(-1)} ${data.op} ${data.item?.level ?? "-"}`
  );
}

/** What a receiver was told of one item. */
function ofItem(received: readonly Received[], id: string): string[] {
  return told(received.filter(({ event }) => event.subject.endsWith(`#${id}`)));
}

Deno.test("notify: each matching change is a CloudEvent, signed, in the order of its item", async () => {
  await using hook = await openHook();
  await using world = new NotifyWorld(
    schemaOf({ url: hook.url, where: { level: { atLeast: 3 }, text: { not: "test" } } }),
  );
  const notifier = world.notifier({ secrets: [secret, "an older secret of ours"] });
  notifier.start();
  world.reads(notifier);
  await world.put("a", { level: 1 });
  await world.put("a", { level: 3, t: "up" });
  await world.put("b", { level: 9, t: "test" });
  await world.put("a", { level: 5, t: "up", _source: "d7#inc", _stamp: 5 });
  await world.remove("a");
  await until("all are told", () => hook.received.length === 3);
  assert.deepEqual(told(hook.received), ["a update 3", "a update 5", "a remove -"]);
  const [first, second, third] = hook.received as [Received, Received, Received];
  for (const { headers, body, event } of hook.received) {
    // The SDK's own reading, which throws where the specification is not met.
    const read = HTTP.toEvent({ headers: Object.fromEntries(headers), body });
    assert.equal((read as CloudEvent<unknown>).validate(), true);
    const signed = `${headers.get("webhook-id")}.${headers.get("webhook-timestamp")}.${body}`;
    const [own, older] = headers.get("webhook-signature")!.split(" ");
    const sign = (key: string) => `v1,${createHmac("sha256", key).update(signed).digest("base64")}`;
    assert.deepEqual([own, older], [sign("0123456789abcdef0123456789abcdef"), sign("an older secret of ours")]);
    assert.equal(headers.get("webhook-id"), event.id);
  }
  assert.deepEqual([first.event.data.by, second.event.data.by], ["cloud", "d7"]);
  assert.deepEqual([second.event.data.old?.level, third.event.data.old?.text], [3, "up"]);
  assert.equal(new Set(hook.received.map(({ event }) => event.id)).size, 3);
  await until("nothing waits", async () => await world.waiting() === 0);
});

Deno.test("notify: a receiver that is down holds up neither sync nor others, and gets all when it is back, in order", async () => {
  await using hook = await openHook();
  await using world = new NotifyWorld(schemaOf({ url: hook.url }));
  const notifier = world.notifier();
  hook.answer = () => 503;
  notifier.start();
  world.reads(notifier);
  const ids = Array.from({ length: 40 }, (_, i) => `n${i}`), levels = [1, 2, 3];
  for (const level of levels) for (const id of ids) await world.put(id, { level });
  await until("the stream is read to its end", () => world.isRead());
  await until("it was tried again and again", () => hook.requests >= 14);
  await new Promise((resolve) => setTimeout(resolve, 400));
  // Down: one at a time tries, after longer and longer, and not 40 each for itself.
  assert.ok(hook.requests < 30, `${hook.requests} requests`);
  hook.answer = () => 200;
  await until("all are told", () => hook.received.length === 120);
  for (const id of ids) {
    assert.deepEqual(ofItem(hook.received, id), [`${id} create 1`, `${id} update 2`, `${id} update 3`]);
  }
  await until("nothing waits", async () => await world.waiting() === 0);
});

Deno.test("notify: the stream's position moves when the notifications are in their queue, and no sooner", async () => {
  await using hook = await openHook();
  await using world = new NotifyWorld(schemaOf({ url: hook.url }));
  const { write } = world.tables.log;
  world.tables.log.write = (writes, options) =>
    writes.some((one) => one.op === "put" && String(one.item.hash).startsWith("notify#"))
      ? Promise.reject(new Error("away"))
      : write.call(world.tables.log, writes, options);
  const stop = world.reads(world.notifier());
  await world.put("a", { level: 1 });
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(world.isRead(), false);
  // The process ends; the next one finds it in the stream.
  await stop();
  world.tables.log.write = write.bind(world.tables.log);
  const next = world.notifier();
  next.start();
  world.reads(next);
  await until("it is told", () => hook.received.length === 1);
  await until("it is read", () => world.isRead());
});

Deno.test("notify: of two workers one tells, each change once; when it is gone the other goes on", async () => {
  await using hook = await openHook();
  await using world = new NotifyWorld(schemaOf({ url: hook.url }));
  const a = world.notifier({ leaseMs: 600 }), b = world.notifier({ leaseMs: 600 });
  a.start();
  b.start();
  world.reads(a);
  for (let i = 0; i < 30; i++) await world.put(`n${i}`, { level: i });
  await until("all are told", () => hook.received.length >= 30);
  await a.close();
  for (let i = 30; i < 40; i++) await world.put(`n${i}`, { level: i });
  await until("the rest is told", () => hook.received.length >= 40);
  await until("nothing waits", async () => await world.waiting() === 0);
  assert.equal(new Set(hook.received.map(({ event }) => event.id)).size, hook.requests);
});

Deno.test("notify: a sender that died is followed by another after its lease, and what it had not been answered comes again", async () => {
  await using hook = await openHook();
  await using world = new NotifyWorld(schemaOf({ url: hook.url }));
  const dying = world.notifier({ leaseMs: 500 });
  let seen = 0;
  const over = Promise.withResolvers<void>();
  hook.answer = () => ++seen > 3 ? 200 : over.promise.then(() => 500);
  // The dead one's requests hang, and from then on its table does not answer.
  const { write } = world.tables.log;
  let isDead = false;
  const table = Object.assign(Object.create(world.tables.log), {
    get: world.tables.log.get.bind(world.tables.log),
    query: world.tables.log.query.bind(world.tables.log),
    write: (...args: Parameters<typeof write>) =>
      isDead
        ? over.promise.then(() => Promise.reject(new SyncError("unavailable", "dead")))
        : write.apply(world.tables.log, args),
  });
  const dead = world.notifier({ leaseMs: 500, log: table });
  dead.start();
  world.reads(dying);
  for (const id of ["a", "b", "c"]) await world.put(id, { level: 1 });
  await until("all three are under way", () => seen === 3);
  isDead = true;
  dying.start();
  try {
    await until("another tells them", () => hook.received.length === 3);
    await until("nothing waits", async () => await world.waiting() === 0);
  } finally {
    over.resolve();
  }
});

Deno.test("notify: an event that the receiver does not want is given up and no other; so is one that only ever fails", async () => {
  await using hook = await openHook();
  await using world = new NotifyWorld(schemaOf({ url: hook.url }), { speed: 2_000 });
  const notifier = world.notifier();
  hook.answer = ({ subject }: ChangeEvent) => subject.endsWith("#bad") ? 422 : subject.endsWith("#poison") ? 500 : 200;
  notifier.start();
  world.reads(notifier);
  await world.put("bad", { level: 1 });
  await world.put("poison", { level: 1 });
  let i = 0;
  const value = (name: string) => [...notifier.labelled()].find((one) => one.name.includes(name))!.value;
  await until("both are given up", async () => {
    await world.put(`good${i++}`, { level: i });
    return value("refused") === 2;
  }, 30_000);
  await until("the others are told", () => hook.received.length === i);
  await until("nothing waits", async () => await world.waiting() === 0);
});

Deno.test("notify: an outage is nobody's fault: what failed in it is not given up when the receiver is back", async () => {
  await using hook = await openHook();
  await using world = new NotifyWorld(schemaOf({ url: hook.url }), { speed: 20_000 });
  const notifier = world.notifier();
  hook.answer = () => 500;
  notifier.start();
  world.reads(notifier);
  for (let i = 0; i < 5; i++) await world.put(`n${i}`, { level: i });
  await until("each was tried more than often enough", () => hook.requests > 300, 30_000);
  let answered = 0;
  // Back, and for a moment not quite.
  hook.answer = () => answered++ % 2 === 1 ? 500 : 200;
  await until("all are told", () => new Set(hook.received.map(({ event }) => event.id)).size === 5);
});

Deno.test("notify: of a receiver that stays away so many wait, the oldest go and are counted; after 7 days all do", async () => {
  await using hook = await openHook();
  await using world = new NotifyWorld(schemaOf({ url: hook.url }));
  hook.answer = () => 503;
  let ahead = 0;
  world.time = () => Date.now() + ahead;
  const notifier = world.notifier({ entriesMax: 10 });
  world.reads(notifier);
  for (let i = 0; i < 25; i++) {
    await world.put(`n${i}`, { level: i });
    await until("it is read", () => world.isRead());
  }
  assert.equal(await world.waiting(), 25);
  notifier.start();
  await until("the oldest are given up", async () => await world.waiting() === 10);
  const dropped = () => [...notifier.labelled()].find(({ name }) => name.includes("dropped"))!.value;
  assert.equal(dropped(), 15);
  await until("one at a time tries", () => hook.requests > 8);
  ahead = 7 * 86_400_000 + 60_000;
  const before = hook.requests;
  await until("all are", () => dropped() === 25);
  // What has waited for too long takes no turn of a receiver that is down: one may have been under way.
  assert.ok(hook.requests <= before + 1, `${hook.requests - before} more requests`);
  await until("nothing waits", async () => await world.waiting() === 0);
});

Deno.test("notify: what a webhook's URL holds stands in no message, and no redirect is followed", async () => {
  await using hook = await openHook();
  let followed = 0;
  const other = await serveHttp(() => (followed++, new Response()), { host: "127.0.0.1", port: 0 });
  hook.answer = () => Response.redirect(`http://127.0.0.1:${other.port}/x`, 302);
  const { signal } = new AbortController(), text = JSON.stringify({ id: "1" });
  for (const url of [hook.url, `http://127.0.0.1:${await freePort()}/hush-hush?key=hush-hush`]) {
    await assert.rejects(new Webhook(url, [], Date.now).send(text, signal), (error) => {
      assert.ok(error instanceof NotTaken && error.retryable);
      assert.doesNotMatch(`${error.message} ${error.cause}`, /hush/);
      return true;
    });
  }
  assert.equal(followed, 0);
  other.destroy();
  await other.shutdown().catch(() => {});
});

Deno.test("notify: Retry-After is waited for", async () => {
  await using hook = await openHook();
  hook.answer = () => new Response(null, { status: 429, headers: { "retry-after": "7" } });
  await assert.rejects(
    new Webhook(hook.url, [], Date.now).send(JSON.stringify({ id: "1" }), new AbortController().signal),
    (error) => error instanceof NotTaken && error.afterMs === 7_000 && error.retryable === true,
  );
});

Deno.test("notify: true tells on the model's MQTT topic; a message too large for a broker leaves its items out", async () => {
  const internal = { username: "w", password: "p" };
  const broker = await startBroker({ internal, authenticate: () => Promise.resolve(undefined) });
  const url = `mqtt://127.0.0.1:${broker.internalPort}`, publisher = new MqttPublisher({ url, ...internal });
  const heard: [string, ChangeEvent][] = [], up = Promise.withResolvers<void>();
  const session = new MqttSession(
    { url, ...internal, clientId: "listener", subscriptions: ["tt/notify/+"], logName: "test" },
    {
      up: () => up.resolve(),
      down: () => {},
      message: (topic, payload) => void heard.push([topic, JSON.parse(new TextDecoder().decode(payload))]),
    },
  );
  session.start();
  await Promise.all([up.promise, publisher.start()]);
  {
    await using world = new NotifyWorld(schemaOf(true));
    const notifier = world.notifier({ publisher });
    notifier.start();
    world.reads(notifier);
    await world.put("a", { level: 1 });
    await world.put("big", { level: 1, t: "x".repeat(150_000) });
    await until("both are told", () => heard.length === 2);
  }
  const [[topic, small], [, large]] = heard.sort(([, a], [, b]) => a.subject < b.subject ? -1 : 1) as [
    [string, ChangeEvent],
    [string, ChangeEvent],
  ];
  assert.deepEqual([topic, small.data.item?.level, small.data.omitted], ["tt/notify/Alarm", 1, undefined]);
  assert.deepEqual([large.data.item, large.data.omitted], [undefined, ["item"]]);
  await session.close();
  await publisher.close();
  await broker.close();
});

Deno.test("notify: a topic of Twintable's own, a secret that is short, a publisher without topics: it does not start", async () => {
  for (const topic of ["tt/all", "tt/d/d1/down", "tt/w/feed"]) {
    await using world = new NotifyWorld(schemaOf({ topic }));
    assert.throws(
      () => world.notifier({ publisher: { publishRaw: () => Promise.resolve() } }),
      /one of Twintable's own/,
    );
  }
  await using world = new NotifyWorld(schemaOf(true));
  assert.throws(() => world.notifier(), /can't publish events on topics/);
  assert.throws(() => world.notifier({ secrets: ["short"] }), /at least 16 bytes/);
  assert.doesNotThrow(() => new Topic("a", () => Promise.resolve()));
});

Deno.test("notify queue: entries stay in order whoever appends; a sender that was held up deletes nothing but its own", async () => {
  await using world = new NotifyWorld(schemaOf(false));
  const a = new NotifyQueue(world.tables.log, "r", Date.now), b = new NotifyQueue(world.tables.log, "r", Date.now);
  await a.append(["1", "2"]);
  await b.append(["3"]);
  await a.append(["4"]);
  await Promise.all([a.append(["5"]), b.append(["5"])]);
  const entries = await a.read(0, 100);
  assert.deepEqual(entries.flatMap(({ events }) => events), ["1", "2", "3", "4", "5", "5"]);
  await a.remove(entries);
  // Its numbers begin anew, and the late sender deletes again what it had sent.
  await b.append(["6"]);
  await a.remove(entries);
  assert.deepEqual((await a.read(0, 100)).flatMap(({ events }) => events), ["6"]);
  await a.append(Array.from({ length: 250 }, (_, i) => `${i}`));
  await a.append(["x".repeat(100_000), "y"]);
  assert.deepEqual((await a.read(1, 100)).map(({ events }) => events.length), [100, 100, 50, 1, 1]);
});
