/** What AWS and brokers hand in over HTTP: `/stream`, `/up`, `/sync`. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHandler } from "../../../cloud/handler.ts";
import { CloudService } from "../../../cloud/sync/service.ts";
import type { Table } from "../../../cloud/table/port.ts";
import { type Ack, type Changes, encode, type FromDevice } from "../../../protocol.ts";
import { type Item, SyncError } from "../../../schema.ts";
import { Fixture, Outbox, schema } from "../fixture.ts";

const token = "s3cret";
const outage = new SyncError("unavailable", "away", { retryable: true });

/** Two instances of a handler on one pair of tables, in turn behind one address. */
class Instances implements AsyncDisposable {
  readonly fixture = new Fixture();
  readonly publisher = new Outbox();
  /** Channels whose log can't be appended to. */
  readonly broken = new Set<string>();
  readonly services: CloudService[];
  readonly #handlers: ((request: Request) => Promise<Response>)[];
  #turn = 0;

  constructor(options: { token?: string; count?: number; streamTimeoutMs?: number } = { token }) {
    const { fixture, publisher } = this;
    const { log: real } = fixture.tables;
    const log: Table = {
      get: (keys) => real.get(keys),
      query: (query) => real.query(query),
      scan: (options) => real.scan(options),
      close: () => real.close(),
      write: (writes, more) => {
        const hits = writes.some((write) => write.op === "put" && this.broken.has(String(write.item.hash)));
        return hits ? Promise.reject(outage) : real.write(writes, more);
      },
    };
    const { now, random } = fixture;
    const tables = { data: fixture.tables.data, log };
    this.services = Array.from(
      { length: options.count ?? 2 },
      () => new CloudService({ schema, tables, publisher, now, random }),
    );
    this.#handlers = this.services.map((service) =>
      createHandler({
        schema,
        tables,
        registry: service.registry,
        service,
        token: options.token,
        now,
        random,
        streamTimeoutMs: options.streamTimeoutMs ?? 150,
      })
    );
  }

  async post(path: string, body: BodyInit | object, headers: Record<string, string> = {}) {
    const handler = this.#handlers[this.#turn++ % this.#handlers.length]!;
    const response = await handler(
      new Request(`http://cloud${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, ...headers },
        body: typeof body === "string" || body instanceof Uint8Array ? body as BodyInit : JSON.stringify(body),
      }),
    );
    return { status: response.status, json: await response.json() };
  }

  add(deviceId: string): Promise<string> {
    return this.services[0]!.registry.add(deviceId, "acme");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fixture[Symbol.asyncDispose]();
  }
}

/** An item as it stands in a stream's image. */
function image(item: Item): object {
  return Object.fromEntries(
    Object.entries(item).map(([name, value]) => [name, typeof value === "number" ? { N: `${value}` } : { S: value }]),
  );
}

let sequence = 0;

/** A record of an event: the item was put. */
function record(item: Item): { eventID: string; dynamodb: { SequenceNumber: string } } {
  const number = ++sequence;
  return {
    eventID: `event-${number}`,
    eventName: "INSERT",
    eventSource: "aws:dynamodb",
    dynamodb: {
      Keys: image({ pk: item.pk!, sk: item.sk! }),
      NewImage: image(item),
      SequenceNumber: String(number).padStart(21, "0"),
      StreamViewType: "NEW_AND_OLD_IMAGES",
    },
  } as never;
}

const failuresOf = (ids: string[]) => ({ batchItemFailures: ids.map((itemIdentifier) => ({ itemIdentifier })) });
const live = (publisher: Outbox) => publisher.take() as Changes[];

function create(fixture: Fixture, batch: string, id = "x"): FromDevice {
  const time = fixture.now();
  return {
    type: "up",
    batch,
    sent: time,
    changes: [{ model: "Plain", op: "create", stamp: time * 1000, item: { id } }],
  };
}

const payloadOf = (message: FromDevice) => encode(message)[0]!;

Deno.test("intake: a stream's batch is logged and published, and the answer names no failure", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  const items = [await fixture.put("Down", { id: "a" }), await fixture.put("Account", { id: "b" })];
  const lambda = await instances.post("/stream", { Records: items.map(record) });
  assert.deepEqual(lambda, { status: 200, json: { batchItemFailures: [] } });
  assert.deepEqual(live(publisher).map(({ channel, seq }) => [channel, seq]).sort(), [
    ["account:acme", 1],
    ["device:d1", 1],
  ]);
  for (const pipe of [items.map(record), record(items[0]!), []]) {
    assert.deepEqual(await instances.post("/stream", pipe), { status: 200, json: { batchItemFailures: [] } });
  }
  assert.deepEqual(live(publisher).map(({ channel, seq }) => [channel, seq]).sort(), [
    ["account:acme", 2],
    ["device:d1", 2],
    ["device:d1", 3],
  ]);
});

Deno.test("intake: what fails in the middle of a batch is named, all of its channel and nothing else", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  const put = (device: string, id: string) =>
    fixture.put("Down", { id, deviceId: device }, { deviceId: device, accountId: "acme" });
  const items = [await put("d1", "a"), await put("d2", "a"), await put("d3", "a"), await put("d2", "b")];
  const records = items.map(record);
  // A log that is not empty: in an empty one a failed attempt leaves a number out (the floor is raised before the entry).
  await instances.post("/stream", { Records: [record(await put("d2", "first"))] });
  live(publisher);
  instances.broken.add("log#device:d2");
  const ids = [records[1]!, records[3]!].map(({ dynamodb }) => dynamodb.SequenceNumber);
  assert.deepEqual(await instances.post("/stream", { Records: records }), { status: 200, json: failuresOf(ids) });
  assert.deepEqual(live(publisher).map(({ channel }) => channel).sort(), ["device:d1", "device:d3"]);
  // A pipe is told by the event's id, and by the status where all of it failed.
  assert.deepEqual(await instances.post("/stream", records), {
    status: 200,
    json: failuresOf([records[1]!.eventID, records[3]!.eventID]),
  });
  assert.deepEqual(await instances.post("/stream", records[1]!), {
    status: 503,
    json: failuresOf([records[1]!.eventID]),
  });
  live(publisher);
  // AWS hands in everything from the first failure on.
  instances.broken.clear();
  assert.deepEqual(await instances.post("/stream", { Records: records.slice(1) }), {
    status: 200,
    json: failuresOf([]),
  });
  const messages = live(publisher);
  const d2 = messages.filter(({ channel }) => channel === "device:d2");
  assert.deepEqual(d2.map(({ seq, entries }) => [seq, entries.map(({ key }) => key[1])]), [[2, ["Down#a", "Down#b"]]]);
});

Deno.test("intake: nothing is published before it is logged, and while the broker is away the batch counts as failed", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  const event = { Records: [record(await fixture.put("Down", { id: "a" }))] };
  publisher.fail = outage;
  const ids = event.Records.map(({ dynamodb }) => dynamodb.SequenceNumber);
  assert.deepEqual(await instances.post("/stream", event), { status: 200, json: failuresOf(ids) });
  assert.equal((await fixture.log.state("device:d1")).head, 1);
  publisher.fail = undefined;
  instances.broken.add("log#device:d1");
  assert.deepEqual((await instances.post("/stream", event)).json, failuresOf(ids));
  assert.deepEqual(publisher.take(), []);
});

Deno.test("intake: an item that moves between channels ties them together", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  const there = await fixture.put("Down", { id: "a" });
  const moved = record(await fixture.put("Account", { id: "a" }));
  // The same key, another channel: as if a hand had changed the item's kind.
  Object.assign(moved.dynamodb, { OldImage: image(there) });
  const other = record(await fixture.put("Global", { id: "g" }));
  instances.broken.add("log#account:acme");
  const { json } = await instances.post("/stream", { Records: [record(there), other, moved] });
  assert.equal(json.batchItemFailures.length, 2);
  assert.equal(json.batchItemFailures[1].itemIdentifier, moved.dynamodb.SequenceNumber);
  assert.deepEqual(live(publisher).map(({ channel }) => channel), ["global"]);
});

Deno.test("intake: where AWS has given records up, all devices are made to take a snapshot", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  await instances.add("d1");
  await instances.post("/stream", { Records: [record(await fixture.put("Down", { id: "a" }))] });
  const [{ epoch, seq }] = live(publisher) as [Changes];
  const sync: FromDevice = { type: "sync", request: "k/1", channels: [{ channel: "device:d1", epoch, seq }] };
  const ask = async () => {
    await instances.post("/sync?device=d1", payloadOf(sync) as BodyInit);
    return publisher.take().map(({ type }) => type);
  };
  assert.deepEqual([await ask(), await ask()], [["page"], ["page"]]);
  assert.deepEqual(await instances.post("/stream/lost", ""), { status: 200, json: {} });
  assert.deepEqual(live(publisher).map((told) => [told.channel, told.seq]), [["global", 0]], "devices are told");
  // An instance remembers the epoch for 5 s.
  fixture.time += 5_000;
  assert.deepEqual([await ask(), await ask()], [["snapshot"], ["snapshot"]]);
});

Deno.test("intake: what is no stream record in an event of some is left out, and spoils none of them", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  const good = record(await fixture.put("Down", { id: "a" }));
  for (const foreign of [null, "x", {}, { kinesis: { data: "eA==" } }, { dynamodb: null }]) {
    const { status, json } = await instances.post("/stream", { Records: [foreign, good] });
    assert.deepEqual({ status, json }, { status: 200, json: { batchItemFailures: [] } });
    assert.equal(live(publisher).length, 1, JSON.stringify(foreign));
  }
});

Deno.test("intake: what is no event is refused and does nothing", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  const good = record(await fixture.put("Down", { id: "a" }));
  const bad = [
    "{",
    {},
    "null",
    "7",
    { Records: 5 },
    { Records: [{}, null] },
    { Records: [good, { ...good, dynamodb: { ...good.dynamodb, SequenceNumber: 7 } }] },
  ];
  for (const event of bad) {
    const { status, json } = await instances.post("/stream", event as object);
    assert.deepEqual([status, json.error?.code], [400, "invalid"], JSON.stringify(event));
  }
  const { status } = await instances.post("/stream", "x".repeat(9 * 1024 * 1024));
  assert.equal(status, 413);
  assert.deepEqual(publisher.take(), []);
});

Deno.test("intake: a foreign or unreadable record is left out and spoils no other; one that tells too little is handed back", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  const good = record(await fixture.put("Down", { id: "a" }));
  const other = (more: object) => ({ ...good, dynamodb: { ...good.dynamodb, SequenceNumber: "7", ...more } });
  const foreign = [
    other({ Keys: { id: { S: "x" } }, NewImage: { id: { S: "x" } } }),
    other({ NewImage: { pk: { X: 1 } } }),
  ];
  const left = await instances.post("/stream", { Records: [...foreign, good] });
  assert.deepEqual([left.status, left.json.batchItemFailures], [200, []]);
  assert.equal(publisher.take().length, 1, "the good one is passed on");
  const poor = other({ StreamViewType: "KEYS_ONLY", NewImage: undefined });
  const back = await instances.post("/stream", { Records: [good, poor] });
  assert.deepEqual(back.json.batchItemFailures, [{ itemIdentifier: "7" }]);
  assert.equal(publisher.take().length, 1);
});

Deno.test("intake: without the right token nothing is taken, and without a configured one neither", async () => {
  for (const options of [{ token }, {}, { token: "" }]) {
    await using instances = new Instances(options);
    await instances.add("d1");
    for (const path of ["/stream", "/stream/lost", "/up", "/sync"]) {
      for (const authorization of ["", "Bearer ", "Bearer undefined", "Bearer S3cret", `Basic ${token}`]) {
        const { status, json } = await instances.post(path, create(instances.fixture, "i/1"), {
          authorization,
          "x-twintable-device": "d1",
        });
        assert.deepEqual([status, json.error.code], [401, "unauthorized"], `${path} ${authorization}`);
      }
    }
    if (!options.token) assert.equal((await instances.post("/stream", [])).status, 401);
    assert.deepEqual(instances.publisher.take(), []);
  }
});

Deno.test("intake: a message is taken as payload, in an envelope, as text, base64 or object, whoever names the device", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  await instances.add("d1");
  let n = 0;
  const next = () => create(fixture, `i/${++n}`, `x${n}`);
  const text = (message: FromDevice) => new TextDecoder().decode(payloadOf(message));
  const base64 = (message: FromDevice) => Buffer.from(payloadOf(message)).toString("base64");
  const topic = "tt/d/d1/up";
  const forms: [string, BodyInit | object, Record<string, string>?][] = [
    ["/up", payloadOf(next()), { "x-twintable-topic": topic }],
    ["/up", payloadOf(next()), { "x-twintable-device": "d1" }],
    [`/up?topic=${encodeURIComponent(topic)}`, payloadOf(next())],
    ["/up?device=d1", base64(next())],
    ["/up", { topic, payload: text(next()), qos: 1, clientid: "d1" }],
    ["/up", { topic, payload: base64(next()) }],
    ["/up", { device: "d1", payload: JSON.parse(text(next())) }],
    ["/sync", { topic: "tt/d/d1/sync", payload: base64(next()) }],
  ];
  for (const [path, body, headers] of forms) {
    assert.deepEqual(await instances.post(path, body, headers), { status: 200, json: { received: 1, refused: 0 } });
  }
  const many = [next(), next()].map((message) => ({ topic, payload: base64(message) }));
  assert.deepEqual(await instances.post("/up", [...many, { topic, payload: "eA==" }]), {
    status: 200,
    json: { received: 2, refused: 1 },
  });
  const acks = publisher.take() as Ack[];
  assert.deepEqual(
    acks.map(({ batch, answers }) => [batch, answers.length]).sort(),
    [
      ...Array.from({ length: n }, (_, i) => [`i/${i + 1}`, 0]),
    ].sort(),
  );
  assert.equal((await fixture.tables.data.scan({ limit: 100 })).items.length, n);
});

Deno.test("intake: a sync is answered on the device's topic", async () => {
  await using instances = new Instances();
  await instances.add("d1");
  await instances.fixture.put("Down", { id: "a" });
  const sync: FromDevice = { type: "sync", request: "k/1", channels: [{ channel: "device:d1" }] };
  await instances.post("/sync", payloadOf(sync), { "x-twintable-topic": "tt/d/d1/sync" });
  const [{ to, message }] = instances.publisher.sent as [(typeof instances.publisher.sent)[0]];
  assert.deepEqual([to, message.type], [{ device: "d1" }, "snapshot"]);
});

Deno.test("intake: who the device is comes from the topic alone", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  await instances.add("d1");
  await instances.add("d2");
  const forged: FromDevice = {
    type: "up",
    batch: "i/1",
    sent: fixture.now(),
    changes: [{ model: "Plain", op: "create", stamp: fixture.now() * 1000, item: { id: "x", deviceId: "d2" } }],
  };
  await instances.post("/up", { topic: "tt/d/d1/up", payload: JSON.stringify({ v: 1, ...forged }), deviceId: "d2" });
  const [{ to, message }] = publisher.sent as [(typeof publisher.sent)[0]];
  assert.deepEqual([to, (message as Ack).answers[0]!.code], [{ device: "d1" }, "invalid"]);
  assert.deepEqual((await fixture.tables.data.scan({ limit: 1 })).items, []);
  publisher.take();
  // Nobody that the registry knows: taken, counted, and dropped.
  await instances.post("/up", payloadOf(create(fixture, "i/2")), { "x-twintable-device": "stranger" });
  assert.deepEqual(publisher.take(), []);
  assert.equal(instances.services.reduce((sum, service) => sum + service.metrics().messagesUnknown, 0), 1);
});

Deno.test("intake: what is no message of a device is refused, and does nothing", async () => {
  await using instances = new Instances();
  await instances.add("d1");
  const good = new TextDecoder().decode(payloadOf(create(instances.fixture, "i/1")));
  const topic = "tt/d/d1/up";
  const cases: [BodyInit | object, Record<string, string>?][] = [
    [good],
    ["", { "x-twintable-device": "d1" }],
    ["{", { "x-twintable-device": "d1" }],
    ["not base64!", { "x-twintable-device": "d1" }],
    [good, { "x-twintable-device": "d/1" }],
    [good, { "x-twintable-topic": "tt/d/d1/down" }],
    [good, { "x-twintable-topic": "tt/d/d1/presence" }],
    [good, { "x-twintable-topic": "other/d/d1/up" }],
    [good, { "x-twintable-topic": topic, "x-twintable-device": "d2" }],
    [{ topic, payload: 7 }],
    [{ topic }],
    [{ payload: good }],
    [{ topic: ["tt", "d", "d1", "up"], payload: good }],
    [{ topic, payload: good.replace('"v":1', '"v":99') }],
    [{ topic, payload: "#1 0123456789abcdef 0 0\nx" }],
    [[null]],
    [Array.from({ length: 101 }, () => ({ topic, payload: good }))],
    ["[".repeat(100_000)],
  ];
  for (const [body, headers] of cases) {
    const { status, json } = await instances.post("/up", body, headers);
    assert.deepEqual([status, json.error?.code], [400, "invalid"], JSON.stringify([body, headers]).slice(0, 200));
  }
  assert.equal((await instances.post("/up?device=d1", "x".repeat(3_000_000))).status, 413);
  assert.deepEqual(instances.publisher.take(), []);
});

Deno.test("intake: the parts of a message are put together wherever they land, in any order, once for each transmission", async () => {
  await using instances = new Instances();
  const { fixture, publisher } = instances;
  await instances.add("d1");
  const message = create(fixture, "i/1", "x");
  const large = {
    ...message,
    changes: [{
      model: "Plain",
      op: "create",
      stamp: fixture.now() * 1000,
      item: { id: "x", text: "é".repeat(9_000) },
    }],
  } as FromDevice;
  const parts = encode(large, { maxBytes: 1024 });
  assert.ok(parts.length > 10);
  const send = async (list: readonly Uint8Array[]) => {
    for (const [i, part] of list.entries()) {
      const body = i % 2 ? { topic: "tt/d/d1/up", payload: Buffer.from(part).toString("base64") } : part;
      const headers: Record<string, string> = i % 2 ? {} : { "x-twintable-device": "d1" };
      assert.deepEqual((await instances.post("/up", body as BodyInit, headers)).status, 200);
    }
  };
  await send([...parts].reverse());
  assert.deepEqual((publisher.take() as Ack[]).map(({ batch }) => batch), ["i/1"]);
  // Again, with each part doubled: a doubled last part begins a transmission that never completes.
  await send(parts.flatMap((part) => [part, part]));
  assert.deepEqual((publisher.take() as Ack[]).map(({ batch, answers }) => [batch, answers]), [["i/1", []]]);
  // All at once, over both.
  await Promise.all(parts.map((part) => instances.post("/up?device=d1", part as BodyInit)));
  assert.ok(publisher.take().length >= 1);
  // What came too long ago is not counted.
  await send(parts.slice(1));
  fixture.time += 61_000;
  await send(parts.slice(0, 1));
  assert.deepEqual(publisher.take(), []);
  const [stored] = await fixture.tables.data.get([["d#d1", "Plain#x"]]);
  assert.equal((stored?.text as string).length, 9_000);
});

Deno.test("intake: parts of strangers, and of messages above 16 MB, leave nothing behind", async () => {
  await using instances = new Instances();
  await instances.add("d1");
  const part = (count: number, bytes: number) =>
    new TextEncoder().encode(`#1 0123456789abcdef 0 ${count}\n${"x".repeat(bytes)}`);
  assert.equal((await instances.post("/up?device=stranger", part(2, 10))).status, 200);
  assert.equal((await instances.post("/up?device=d1", part(16_000, 2_000))).status, 413);
  assert.equal((await instances.post("/up?device=d1", part(2, 395 * 1024))).status, 413);
  const left = (await instances.fixture.tables.log.scan({ limit: 100 })).items.map(({ hash }) => String(hash));
  assert.deepEqual(left.filter((hash) => hash.startsWith("part")), []);
});

Deno.test("intake: requests above the bound are told to come again, and memory does not hold them", async () => {
  await using instances = new Instances({ token, count: 1 });
  await instances.add("d1");
  const waiting = Promise.withResolvers<void>();
  const data = instances.fixture.tables.data;
  const write = data.write.bind(data);
  data.write = async (...parameters) => {
    await waiting.promise;
    return await write(...parameters);
  };
  const requests = Array.from(
    { length: 140 },
    (_, i) => instances.post("/up?device=d1", payloadOf(create(instances.fixture, `i/${i}`, `x${i}`)) as BodyInit),
  );
  const refused = (await Promise.all(requests.slice(128))).map(({ status }) => status);
  assert.deepEqual(refused, Array.from({ length: 12 }, () => 503));
  waiting.resolve();
  assert.ok((await Promise.all(requests.slice(0, 128))).every(({ status }) => status === 200));
  assert.equal(
    (await instances.post("/up?device=d1", payloadOf(create(instances.fixture, "i/1000")) as BodyInit)).status,
    200,
  );
});

Deno.test("intake: two instances in turn keep one contiguous log, also where both append at once", async () => {
  // What does not end in time is logged once more, and this test counts.
  await using instances = new Instances({ token, streamTimeoutMs: 60_000 });
  const { fixture, publisher } = instances;
  await instances.add("d1");
  const events = [];
  for (let i = 0; i < 40; i++) events.push({ Records: [record(await fixture.put("Down", { id: `x${i}` }))] });
  const answers = await Promise.all(events.map(async (event) => {
    let answer = await instances.post("/stream", event);
    // What AWS does with a refusal or a failure, after a while.
    while (answer.status !== 200 || answer.json.batchItemFailures.length > 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      answer = await instances.post("/stream", event);
    }
    return answer.json;
  }));
  assert.ok(answers.every(({ batchItemFailures }) => batchItemFailures.length === 0));
  const seqs = live(publisher).filter(({ channel }) => channel === "device:d1").map(({ seq }) => seq);
  const { head } = await fixture.log.state("device:d1");
  assert.deepEqual(new Set(seqs), new Set(Array.from({ length: head }, (_, i) => i + 1)));
  assert.ok(head >= 40);
});
