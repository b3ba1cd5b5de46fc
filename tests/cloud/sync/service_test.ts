import assert from "node:assert/strict";
import { CloudService } from "../../../cloud/sync/service.ts";
import type { StreamBatch, StreamRecord, Tables } from "../../../cloud/table/port.ts";
import type { Ack, Changes, FromDevice, Page, SnapshotPage } from "../../../protocol.ts";
import { SyncError } from "../../../schema.ts";
import { until } from "../../support/until.ts";
import { Fixture, Outbox, schema } from "../fixture.ts";

const outage = new SyncError("unavailable", "away", { retryable: true });

async function serviceOf(
  fixture: Fixture,
  publisher: Outbox,
  more: { tables?: Tables; concurrency?: number } = {},
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
  assert.deepEqual(publisher.take(), [{ type: "ack", batch: "i1/1", time: fixture.time, answers: [] } satisfies Ack]);
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
  const service = await serviceOf(fixture, publisher, { tables: slow, concurrency: 1 });
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
  assert.deepEqual(publisher.sent.map(({ to }) => to), [{ device: "d1" }, { account: "acme" }, "all"]);
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
  const service = await serviceOf(fixture, publisher, { tables: { data, log: fixture.tables.log }, concurrency: 3 });
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
  await streaming(service, "the loss is noticed", () => service.metrics().streamLost === 1);
  await ask();
  const answer = publisher.take()[0] as SnapshotPage;
  assert.equal(answer.type, "snapshot");
  assert.notEqual(answer.epoch, epoch);
});

Deno.test("service: presence is noted for known devices, and a fault in it stays its own", async () => {
  await using fixture = new Fixture();
  const service = await serviceOf(fixture, new Outbox());
  await service.presence("d1", true);
  await service.presence("stranger", true);
  assert.deepEqual((await service.registry.list()).devices.map(({ deviceId, connected }) => [deviceId, connected]), [[
    "d1",
    true,
  ]]);
  assert.equal((await fixture.tables.log.get([["seen", "stranger"]]))[0], undefined);
});
