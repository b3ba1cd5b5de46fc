import assert from "node:assert/strict";
import { CloudService, type ServiceOptions } from "../../../cloud/sync/service.ts";
import type { StreamBatch, StreamRecord, Tables } from "../../../cloud/table/port.ts";
import type { Ack, Changes, FromDevice, Later, Page, SnapshotPage, Sync, Up } from "../../../protocol.ts";
import { SyncError } from "../../../schema.ts";
import type { Item } from "../../../schema/values.ts";
import { until } from "../../support/until.ts";
import { Fixture, Outbox, schema } from "../fixture.ts";

const outage = new SyncError("unavailable", "away", { retryable: true });

async function serviceOf(
  fixture: Fixture,
  publisher: Outbox,
  more: Pick<Partial<ServiceOptions>, "tables" | "answering"> = {},
): Promise<CloudService> {
  const service = new CloudService({
    schema,
    tables: fixture.tables,
    publisher,
    now: fixture.now,
    random: fixture.random,
    pause: () => new Promise((resolve) => setTimeout(resolve, 1)),
    ...more,
  });
  await service.registry.add("d1", "acme");
  return service;
}

const create = (fixture: Fixture, id: string, model = "Plain", batch = "i1/1"): FromDevice => ({
  type: "up",
  batch,
  sent: fixture.time,
  changes: [{ model, op: "create", item: { id, v: 1 }, stamp: fixture.time * 1000 }],
});

/** Runs the stream until the condition holds. */
async function streaming(service: CloudService, what: string, condition: () => unknown): Promise<void> {
  const abort = new AbortController();
  const running = service.runStream(abort.signal);
  try {
    await until(what, condition);
  } finally {
    abort.abort();
    await running;
  }
}

Deno.test("service: a device's change is written, acknowledged to it, and comes back as a mark", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  await service.receive("d1", create(fixture, "x"));
  assert.deepEqual(publisher.sent.map(({ to }) => to), [{ device: "d1" }]);
  const told = { schema: schema.fingerprint, epoch: await service.log.tableEpoch() };
  const ack: Ack = { type: "ack", batch: "i1/1", time: fixture.time, answers: [], ...told };
  assert.deepEqual(publisher.take(), [ack]);
  await streaming(service, "the echo is published", () => publisher.sent.length > 0);
  assert.deepEqual(publisher.sent[0]?.to, { device: "d1" });
  const [live] = publisher.take() as [Changes];
  assert.deepEqual(live.entries.map(({ mark }) => mark?.version), [["d1#i1", fixture.time * 1000]]);
});

Deno.test("service: a batch that comes again while it is being written, or waits to be, is written once; later it is written again", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { data } = fixture.tables;
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const deadlines: (number | undefined)[] = [];
  const slow: Tables = {
    ...fixture.tables,
    data: Object.assign(Object.create(data), {
      write: async (...[writes, options]: Parameters<typeof data.write>) => {
        deadlines.push(options?.deadline);
        await gate;
        return await data.write(writes, options);
      },
    }),
  };
  const service = await serviceOf(fixture, publisher, { tables: slow, answering: { upsAtOnce: 1 } });
  const running = [service.receive("d1", create(fixture, "x"))];
  await until("the first is being written", () => deadlines.length === 1);
  const other = (sent: number): FromDevice => ({ ...create(fixture, "y"), batch: "i1/2", sent } as FromDevice);
  const first = fixture.time;
  // What is repeated takes no room: the receiver goes on at once.
  await service.receive("d1", create(fixture, "x"));
  running.push(service.receive("d1", other(first)));
  // The second batch, which waits, is sent again: its turn comes as that of its newest transmission.
  fixture.time += 5_000;
  await service.receive("d1", other(first + 5_000));
  open();
  await Promise.all(running);
  assert.deepEqual(deadlines, [first + 30_000, first + 35_000]);
  assert.deepEqual(publisher.take().map((message) => (message as Ack).batch), ["i1/1", "i1/2"]);
  assert.equal(service.metrics().messagesRepeated, 2);
  await service.receive("d1", create(fixture, "x"));
  assert.equal(deadlines.length, 3);
  assert.deepEqual((publisher.take() as Ack[]).map(({ answers }) => answers), [[]]);
});

Deno.test("service: changes are published to whom they concern: a device, an account, all", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  for (const model of ["Down", "Account", "Global", "Up"]) await fixture.put(model, { id: "x" });
  await streaming(service, "three are published", () => publisher.sent.length === 3);
  // In no order: channels are independent.
  const to = publisher.sent.map((one) => JSON.stringify(one.to)).sort();
  assert.deepEqual(to, ['"all"', '{"account":"acme"}', '{"device":"d1"}']);
});

Deno.test("service: a sync and a fetch are answered to the device that asked", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  await fixture.put("Down", { id: "x" });
  await service.receive("d1", {
    type: "sync",
    request: "i/1",
    channels: [{ channel: "device:d1" }, { channel: "device:d2" }],
  });
  await service.receive("d1", { type: "fetch", request: "i/2", keys: [["d#d1", "Down#x"]] });
  assert.deepEqual(publisher.sent.map(({ to }) => to), [{ device: "d1" }, { device: "d1" }]);
  assert.deepEqual(publisher.take().map(({ type }) => type), ["snapshot", "items"]);
  assert.equal(service.metrics().channelsIgnored, 1);
});

Deno.test("service: answers are compressed for a device that reads it, by what each request says", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  const sync = { type: "sync", request: "i/1", channels: [{ channel: "device:d1" }] } as const;
  const fetch = { type: "fetch", request: "i/2", keys: [["d#d1", "Down#x"]] } as const;
  for (const message of [sync, { ...sync, z: 1 }, fetch, { ...fetch, z: 1 }] as const) {
    await service.receive("d1", message);
  }
  await service.receive("d1", create(fixture, "x"));
  assert.deepEqual(publisher.sent.map(({ message, deflate }) => [message.type, deflate]), [
    ["snapshot", false],
    ["snapshot", true],
    ["items", false],
    ["items", true],
    ["ack", false],
  ]);
});

Deno.test("service: a device that the registry does not know is neither answered nor obeyed", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  await service.receive("stranger", create(fixture, "x"));
  assert.deepEqual([publisher.sent.length, service.metrics().messagesUnknown], [0, 1]);
  assert.deepEqual((await fixture.tables.data.scan({ limit: 10 })).items, []);
});

Deno.test("service: while the table is away a batch is answered with throttled, and the fault is counted", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const data = Object.assign(Object.create(fixture.tables.data) as Tables["data"], {
    write: () => Promise.reject(outage),
  });
  const service = await serviceOf(fixture, publisher, { tables: { data, log: fixture.tables.log } });
  await service.receive("d1", create(fixture, "x"));
  const [ack] = publisher.take() as [Ack];
  assert.deepEqual(ack.answers, [{ at: 0, code: "throttled" }]);
  assert.equal(service.metrics().messagesFailed, 1);
});

Deno.test("service: an answer that can't be published is given up, and the next one is given", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  publisher.fail = outage;
  await service.receive("d1", create(fixture, "x"));
  publisher.fail = undefined;
  await service.receive("d1", create(fixture, "x"));
  assert.deepEqual((publisher.take() as [Ack]).map(({ answers }) => answers), [[]]);
  assert.equal(service.metrics().publishFailed, 1);
});

Deno.test("service: no more messages are worked on at once than it was told", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  let running = 0, most = 0;
  const data = Object.assign(Object.create(fixture.tables.data) as Tables["data"], {
    async write(...parameters: Parameters<Tables["data"]["write"]>) {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
      return await fixture.tables.data.write(...parameters);
    },
  });
  const service = await serviceOf(fixture, publisher, {
    tables: { data, log: fixture.tables.log },
    answering: { upsAtOnce: 3 },
  });
  await Promise.all(
    Array.from({ length: 20 }, (_, i) => service.receive("d1", create(fixture, `x${i}`, "Plain", `i1/${i}`))),
  );
  assert.equal(publisher.take().length, 20);
  assert.equal(most, 3);
});

Deno.test("service: while only the broker is away the log does not grow, and what waits is published once it is back", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  publisher.fail = outage;
  await fixture.put("Down", { id: "x" });
  await fixture.put("Account", { id: "x" });
  const abort = new AbortController();
  const running = service.runStream(abort.signal);
  await until("publishing failed several times", () => service.metrics().publishFailed >= 6);
  assert.equal((await fixture.log.state("device:d1")).head, 1);
  publisher.fail = undefined;
  await until("both are published", () => publisher.sent.length === 2);
  abort.abort();
  await running;
  assert.equal((await fixture.log.state("device:d1")).head, 1);
});

Deno.test("service: a batch is checkpointed only after it was published", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const first = await serviceOf(fixture, publisher);
  publisher.fail = outage;
  await fixture.put("Down", { id: "x" });
  await streaming(first, "publishing failed", () => first.metrics().publishFailed > 0);
  publisher.fail = undefined;
  const second = new CloudService({
    schema,
    tables: fixture.tables,
    publisher,
    now: fixture.now,
    random: fixture.random,
  });
  await streaming(second, "it is published", () => publisher.sent.length === 1);
  assert.equal((publisher.take()[0] as Changes).entries[0]?.current?.item.id, "x");
  assert.deepEqual(await fixture.records(), [], "and then it is done with");
});

Deno.test("service: a record that can't be passed on is dropped alone, counted, and stops nothing", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  // A record whose image throws when it is looked at: nothing that a table gives, but what a fault of ours would be.
  const poison: StreamRecord = {
    key: ["d#d1", "Down#poison"],
    get new(): never {
      throw new TypeError("poison");
    },
  };
  const item = await fixture.put("Down", { id: "good" });
  const good: StreamRecord = { key: ["d#d1", "Down#good"], new: item };
  let checkpoints = 0;
  const batches: StreamBatch[] = [[good, poison, good], [poison], [good]].map((records) => ({
    records,
    checkpoint: () => {
      checkpoints++;
      return Promise.resolve();
    },
  }));
  const data = Object.assign(Object.create(fixture.tables.data) as Tables["data"], {
    get: fixture.tables.data.get.bind(fixture.tables.data),
    stream: () => ({
      async *batches(signal: AbortSignal) {
        yield* batches.splice(0);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    }),
  });
  const service = await serviceOf(fixture, publisher, { tables: { data, log: fixture.tables.log } });
  await streaming(service, "all batches are done with", () => checkpoints === 3);
  assert.equal(service.metrics().recordsDropped, 2);
  assert.ok(publisher.take().every((message) => (message as Changes).entries[0]?.current?.item.id === "good"));
});

Deno.test("service: lost history begins a new epoch, and a device takes a snapshot", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  let lost = false;
  const data = Object.assign(Object.create(fixture.tables.data) as Tables["data"], {
    get: fixture.tables.data.get.bind(fixture.tables.data),
    query: fixture.tables.data.query.bind(fixture.tables.data),
    stream: () => ({
      async *batches(signal: AbortSignal) {
        if (!lost) yield { lost: true as const };
        lost = true;
        yield* fixture.tables.data.stream().batches(signal);
      },
    }),
  });
  const service = await serviceOf(fixture, publisher, { tables: { data, log: fixture.tables.log } });
  const { epoch, head } = await service.log.state("device:d1");
  const cursor = { channel: "device:d1", epoch, seq: head };
  const ask = () => service.receive("d1", { type: "sync", request: "i/1", channels: [cursor] });
  await ask();
  assert.equal((publisher.take()[0] as Page).type, "page");
  await streaming(service, "all devices are told", () => publisher.sent.length > 0);
  const [told] = publisher.take() as [Changes];
  assert.deepEqual([told.type, told.channel, told.seq], ["changes", "global", 0]);
  assert.notEqual(told.epoch, epoch);
  await ask();
  const answer = publisher.take()[0] as SnapshotPage;
  assert.equal(answer.type, "snapshot");
  assert.notEqual(answer.epoch, epoch);
});

Deno.test("service: presence is noted for known devices, and a fault in it stays its own", async () => {
  await using fixture = new Fixture();
  const service = await serviceOf(fixture, new Outbox());
  await service.presence("d1", { online: true });
  await service.presence("stranger", { online: true });
  assert.deepEqual((await service.registry.list()).devices.map(({ deviceId, connected }) => [deviceId, connected]), [[
    "d1",
    true,
  ]]);
  const { items } = await fixture.tables.log.scan({ limit: 100 });
  assert.deepEqual(items.filter(({ sort }) => sort === "stranger"), []);
});

/** A log table whose reads by key wait for something first. */
function delayed(log: Tables["log"], wait: () => Promise<void>): Tables["log"] {
  return {
    get: async (keys) => {
      await wait();
      return await log.get(keys);
    },
    write: log.write.bind(log),
    query: log.query.bind(log),
    scan: log.scan.bind(log),
    close: log.close.bind(log),
  };
}

/** A log table that answers nothing from `stop` until `go`, and counts what it is asked meanwhile. */
function stalled(fixture: Fixture): { tables: Tables; stop: () => void; go: () => void; asked: () => number } {
  const { promise: gate, resolve: go } = Promise.withResolvers<void>();
  const { data, log } = fixture.tables;
  let asked = 0, stopped = false;
  const slow = delayed(log, () => {
    if (!stopped) return Promise.resolve();
    asked++;
    return gate;
  });
  return { tables: { data, log: slow }, stop: () => stopped = true, go, asked: () => asked };
}

const syncOf = (n: number, more: Partial<Sync> = {}): Sync => ({
  type: "sync",
  request: `i/${n}`,
  channels: [{ channel: "device:d1", epoch: "e", seq: 0 }],
  ...more,
});

Deno.test("service: of a device's waiting syncs of a channel the newest is answered, in the first one's turn", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { tables, stop, go } = stalled(fixture);
  const service = await serviceOf(fixture, publisher, { tables, answering: { asksAtOnce: 1 } });
  await service.registry.add("d2", "acme");
  stop();
  const other = { ...syncOf(1), channels: [{ channel: "device:d2", epoch: "e", seq: 0 }] };
  const running = [
    service.receive("d2", { ...other, request: "i/0" }),
    service.receive("d1", syncOf(1)),
    service.receive("d2", other),
    service.receive("d1", syncOf(2, { channels: [{ channel: "account:acme", epoch: "e", seq: 0 }] })),
    ...[3, 4, 5].map((n) => service.receive("d1", syncOf(n))),
  ];
  go();
  await Promise.all(running);
  const answers = publisher.sent.map(({ to, message }) =>
    `${(to as { device: string }).device} ${(message as SnapshotPage).request} ${(message as SnapshotPage).channel}`
  );
  assert.deepEqual(answers, [
    "d2 i/0 device:d2",
    "d1 i/5 device:d1",
    "d2 i/1 device:d2",
    "d1 i/2 account:acme",
  ]);
  assert.equal(service.metrics().messagesRepeated, 3);
});

Deno.test("service: a sync that is asked again while it is answered is left to its answer; another one is not", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { tables, stop, go, asked } = stalled(fixture);
  const service = await serviceOf(fixture, publisher, { tables });
  stop();
  const running = [service.receive("d1", syncOf(1, { later: 1 }))];
  await until("it is being answered", () => asked() > 0);
  running.push(
    service.receive("d1", syncOf(1, { later: 1 })),
    // Asked after it had been away: it does not wait for an answer from before.
    service.receive("d1", syncOf(2, { later: 1 })),
    service.receive("d1", syncOf(3)),
  );
  go();
  await Promise.all(running);
  const requests = (publisher.take() as SnapshotPage[]).map(({ request }) => request).sort();
  assert.deepEqual(requests, ["i/1", "i/2", "i/3"]);
  assert.equal(service.metrics().messagesRepeated, 1);
});

Deno.test("service: a comparison or a fetch that is asked again while it is answered is left to its answer", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { promise: gate, resolve: go } = Promise.withResolvers<void>();
  const { data, log } = fixture.tables;
  let asked = 0, stopped = false;
  const wait = () => stopped ? (asked++, gate) : Promise.resolve();
  const query = async (asks: Parameters<typeof data.query>[0]) => {
    await wait();
    return await data.query(asks);
  };
  const slow = { ...delayed(data, wait), query, stream: data.stream.bind(data) };
  const service = await serviceOf(fixture, publisher, { tables: { data: slow, log } });
  stopped = true;
  const compare = (request: string): FromDevice => ({ type: "compare", request, channel: "device:d1" });
  const fetch = (request: string): FromDevice => ({ type: "fetch", request, keys: [["d#d1", "Plain#x"]] });
  const running = [service.receive("d1", compare("i/1")), service.receive("d1", fetch("i/1"))];
  await until("both are being answered", () => asked === 2);
  for (const message of [compare("i/1"), fetch("i/1"), compare("i/2")]) running.push(service.receive("d1", message));
  go();
  await Promise.all(running);
  const answers = publisher.take().map((message) => `${message.type} ${(message as { request: string }).request}`);
  assert.deepEqual(answers.sort(), ["digests i/1", "digests i/2", "items i/1"]);
  assert.equal(service.metrics().messagesRepeated, 2);
});

Deno.test("service: who will wait for long is told when to ask again, if it reads that, and is answered all the same", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { data, log } = fixture.tables;
  const { promise: gate, resolve: go } = Promise.withResolvers<void>();
  const slow = delayed(log, () => {
    fixture.time += 100;
    return publisher.sent.length > 30 ? gate : Promise.resolve();
  });
  const tables = { data, log: slow };
  const service = await serviceOf(fixture, publisher, { tables, answering: { asksAtOnce: 1 } });
  const devices = Array.from({ length: 100 }, (_, i) => `x${i}`);
  for (const device of devices) await service.registry.add(device, "acme");
  const ask = (device: string, later?: 1) =>
    service.receive(device, syncOf(1, { later, channels: [{ channel: `device:${device}`, epoch: "e", seq: 0 }] }));
  const running = devices.slice(0, 90).map((device) => ask(device));
  await until("how long one takes is known", () => publisher.sent.length > 30);
  running.push(ask("x90", 1), ask("x91"));
  go();
  await Promise.all(running);
  await until("it was told", () => service.metrics().messagesDelayed > 0);
  const to = (device: string) =>
    publisher.sent.filter(({ to }) => (to as { device: string }).device === device).map(({ message }) => message);
  assert.deepEqual(to("x90").map(({ type }) => type).sort(), ["later", "snapshot"]);
  assert.deepEqual(to("x91").map(({ type }) => type), ["snapshot"]);
  const later = to("x90").find(({ type }) => type === "later") as Later;
  assert.equal(later.request, "i/1");
  assert.ok(later.afterMs > 2_500 && later.afterMs < 120_000, String(later.afterMs));
});

Deno.test("service: batches are written while catch-ups wait for the table", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { tables, stop, go } = stalled(fixture);
  const service = await serviceOf(fixture, publisher, { tables, answering: { asksAtOnce: 1, upsAtOnce: 1 } });
  // Known before the log table stalls: the devices' registry stands in it, and the table's epoch.
  await service.log.tableEpoch();
  const identity = { deviceId: "d1", accountId: "acme", registration: "" };
  service.registry.identityAt = () => Promise.resolve(identity);
  service.registry.identityOf = () => Promise.resolve(identity);
  service.registry.touch = () => Promise.resolve(false);
  stop();
  const waiting = [1, 2, 3].map((n) => service.receive("d1", syncOf(n)));
  await service.receive("d1", create(fixture, "x"));
  assert.deepEqual(publisher.take().map(({ type }) => type), ["ack"]);
  go();
  await Promise.all(waiting);
});

Deno.test("service: batches that find no room are answered with throttled, and when to send again", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { data } = fixture.tables;
  const { promise: gate, resolve: go } = Promise.withResolvers<void>();
  const tables = {
    ...fixture.tables,
    data: Object.assign(Object.create(data) as Tables["data"], {
      write: async (...parameters: Parameters<Tables["data"]["write"]>) => {
        await gate;
        return await data.write(...parameters);
      },
    }),
  };
  const service = await serviceOf(fixture, publisher, { tables, answering: { upsAtOnce: 1 } });
  await service.registry.add("d2", "acme");
  const flood = Array.from(
    { length: 100 },
    (_, i) => service.receive("d1", create(fixture, `x${i}`, "Plain", `i1/${i}`)),
  );
  const good = service.receive("d2", create(fixture, "good"));
  await until("the rest is told", () => publisher.sent.length === 35);
  for (const { message } of publisher.sent) {
    const { answers, afterMs } = message as Ack;
    assert.deepEqual(answers, [{ at: 0, code: "throttled" }]);
    assert.ok(afterMs! >= 1_000);
  }
  publisher.take();
  go();
  await Promise.all([...flood, good]);
  const order = publisher.sent.map(({ to }) => (to as { device: string }).device);
  assert.ok(order.indexOf("d2") <= 2, `the other device is ${order.indexOf("d2")} in the row`);
  assert.equal(service.metrics().messagesRefused, 35);
});

Deno.test("service: a change that can't be read is answered by itself, with what the table has; the others are written", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  await fixture.put("Plain", { id: "bad", v: 7 });
  const good = (create(fixture, "good") as Up).changes[0]!;
  const bad = { ...good, item: { id: "bad" }, unreadable: "it can't be read" };
  const lost = { ...good, item: {}, unreadable: "it can't be read" };
  await service.receive("d1", { type: "up", batch: "i1/1", sent: fixture.time, changes: [bad, good, lost] });
  const [ack] = publisher.take() as [Ack];
  assert.deepEqual(ack.answers.map(({ at, code, reason }) => [at, code, reason]), [
    [0, "invalid", "it can't be read"],
    [2, "invalid", "it can't be read"],
  ]);
  assert.deepEqual(ack.answers[0]!.current?.item, { id: "bad", v: 7 });
  assert.equal(ack.answers[1]!.current, undefined);
  assert.deepEqual(await fixture.tables.data.get([["d#d1", "Plain#good"]]).then(([item]) => item?.v), 1);
});

Deno.test("service: a batch that fails for another reason than the table is refused; one that the table could not try is throttled", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { data } = fixture.tables;
  let fault: unknown = new TypeError("a value that nobody thought of");
  const tables: Tables = {
    ...fixture.tables,
    data: Object.assign(Object.create(data), { write: () => Promise.reject(fault) }),
  };
  const service = await serviceOf(fixture, publisher, { tables });
  await service.receive("d1", create(fixture, "x"));
  const [refused] = publisher.take();
  assert.ok(refused?.type === "refused" && refused.batch === "i1/1", JSON.stringify(refused));
  for (const error of [outage, new SyncError("denied", "the credentials have expired")]) {
    fault = error;
    await service.receive("d1", create(fixture, "x"));
    assert.deepEqual((publisher.take()[0] as Ack).answers, [{ at: 0, code: "throttled" }]);
  }
  await service.refuse("d1", "i1/9", "no JSON");
  await service.refuse("nobody", "i1/9", "no JSON");
  const told = { time: fixture.time, schema: schema.fingerprint };
  assert.deepEqual(publisher.take(), [{ type: "refused", batch: "i1/9", reason: "no JSON", ...told }]);
  assert.equal(service.metrics().batchesRefused, 3);
});

Deno.test("service: an item without a type, or without the id of its scope, is counted; one whose key tells its id is sent", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  const put = (item: Item) => fixture.tables.data.write([{ op: "put", item }]);
  await put({ pk: "d#d1", sk: "Plain#told", id: "told", _type: "Plain" });
  await put({ pk: "d#d1", sk: "Plain#bare", id: "bare" });
  await put({ pk: "nobody", sk: "Plain#lost", id: "lost", _type: "Plain" });
  await put({ pk: "x", sk: "y", _type: "Elsewhere" });
  await streaming(service, "the first is published", () => publisher.sent.length > 0);
  const messages = publisher.take() as Changes[];
  assert.deepEqual(messages.flatMap(({ entries }) => entries.map(({ key }) => key[1])), ["Plain#told"]);
  assert.equal(service.metrics().itemsUnidentified, 2);
});

Deno.test("service: records wait while a table refuses for a reason of its own, and none is dropped", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { log } = fixture.tables;
  let refusals = -1;
  const tables: Tables = {
    ...fixture.tables,
    log: Object.assign(Object.create(log), {
      write: (...parameters: Parameters<typeof log.write>) =>
        refusals >= 0 && ++refusals < 8
          ? Promise.reject(new SyncError("denied", "the credentials have expired"))
          : log.write(...parameters),
      query: log.query.bind(log),
      get: log.get.bind(log),
    }),
  };
  const service = await serviceOf(fixture, publisher, { tables });
  refusals = 0;
  await fixture.put("Plain", { id: "x" });
  await streaming(service, "it is published", () => publisher.sent.length > 0);
  assert.equal(service.metrics().recordsDropped, 0);
});

Deno.test("service: live messages of a channel of many devices name the window to ask in; a device's own do not", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const service = await serviceOf(fixture, publisher);
  for (let i = 0; i < 500; i++) {
    await service.registry.add(`x${i}`, i < 300 ? "acme" : `other${i}`);
    await service.registry.identityOf(`x${i}`);
  }
  for (const model of ["Down", "Account", "Global"]) await fixture.put(model, { id: "x" });
  await streaming(service, "three are published", () => publisher.sent.length === 3);
  const of = new Map(
    publisher.sent.map(({ message }) => [(message as Changes).channel, (message as Changes).spreadMs]),
  );
  const [own, account, all] = ["device:d1", "account:acme", "global"].map((channel) => of.get(channel));
  // The device of its own channel, d1, may be remembered as well by then.
  assert.ok(own === undefined && account! >= 300 && all! >= 500, JSON.stringify([...of]));
});

Deno.test("service: a worker that begins to receive says so, with a window for as many devices as there were before", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const first = await serviceOf(fixture, publisher);
  for (let i = 0; i < 2_000; i++) {
    await first.registry.add(`x${i}`, "acme");
    await first.registry.identityOf(`x${i}`);
  }
  await first.receive("x1", syncOf(1));
  publisher.take();
  const second = new CloudService({
    schema,
    tables: fixture.tables,
    publisher,
    now: fixture.now,
    random: fixture.random,
    pause: () => {
      publisher.fail = undefined;
      return Promise.resolve();
    },
  });
  publisher.fail = outage;
  await second.announce(new AbortController().signal);
  assert.deepEqual(publisher.sent.map(({ to }) => to), ["all"]);
  const [said] = publisher.take() as [Changes];
  assert.deepEqual([said.type, said.channel, said.seq, said.entries, said.spreadMs], [
    "changes",
    "global",
    0,
    [],
    2_000,
  ]);
  assert.equal(said.epoch, await second.log.epoch("global"));
});

Deno.test("service: a channel whose log is throttled holds up no other; nothing is checkpointed past it; it catches up in few entries", async () => {
  await using fixture = new Fixture();
  const publisher = new Outbox();
  const { data, log } = fixture.tables;
  let throttled = true;
  const hot: Tables["log"] = {
    get: log.get.bind(log),
    write: (writes, options) =>
      throttled && writes.some((write) => write.op === "put" && String(write.item.hash).endsWith("#global"))
        ? Promise.resolve(writes.map(() => ({ outcome: "throttled" as const })))
        : log.write(writes, options),
    query: log.query.bind(log),
    scan: log.scan.bind(log),
    close: log.close.bind(log),
  };
  const service = await serviceOf(fixture, publisher, { tables: { data, log: hot } });
  const abort = new AbortController();
  const running = service.runStream(abort.signal);
  const waits: number[] = [];
  for (let i = 0; i < 40; i++) {
    const began = performance.now(), before = publisher.sent.length;
    await fixture.put("Global", { id: `g${i}` });
    await fixture.put("Down", { id: `x${i}` });
    await until("the device's is published", () => publisher.sent.length > before);
    waits.push(performance.now() - began);
  }
  // The first meets it unprepared; from then on it is known to be busy.
  assert.ok(waits.slice(1).every((ms) => ms < 200), JSON.stringify(waits.map(Math.round)));
  assert.ok(publisher.take().every((message) => (message as Changes).channel === "device:d1"));
  assert.ok((await fixture.records()).length >= 40, "what the channel lacks is still in the stream");
  throttled = false;
  await until("all of it is published", () => {
    const entries = publisher.sent.flatMap(({ message }) => (message as Changes).entries);
    return new Set(entries.map(({ key }) => key[1])).size === 40;
  });
  assert.ok(publisher.sent.length <= 5, `${publisher.sent.length} entries`);
  await until("all is checkpointed", async () => (await fixture.records()).length === 0);
  abort.abort();
  await running;
});
