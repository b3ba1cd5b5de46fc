/**
 * What a change costs in DynamoDB, counted: every request passes a proxy that asks DynamoDB Local for the capacity that it
 * consumes. `ARCHITECTURE.md` has the same figures ("What it costs"); a test here fails where they change.
 */
import assert from "node:assert/strict";
import { emulators } from "../support/dynamo.ts";
import { type Device, openDevice } from "../support/device.ts";
import { type Exchange, FaultProxy } from "../support/fault_proxy.ts";
import { e2eCompiled } from "../support/schema.ts";
import { connect } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { newTableUrl, openMade } from "../support/world.ts";
import type { Cloud } from "../../cloud/running_cloud.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { startCloud } from "../../cloud/worker.ts";
import { mapBounded } from "../../cloud/sync/bounded.ts";
import { Orders } from "../../cloud/sync/orders.ts";
import type { FromCloud } from "../../protocol.ts";
import { type DeviceReport, fitReport } from "../../protocol/report.ts";
import type { Item } from "../../schema.ts";
import { long } from "../support/long.ts";

const many = 100;
/** Devices that report: ten thousand with `TWINTABLE_LONG=1`. */
const reporting = long ? 10_000 : 1_000;
const [kind] = (await emulators()).filter(({ name }) => name === "dynamodb-local");
const missing = kind?.missing;

/** What was spent on one kind of thing. */
interface Spent {
  requests: number;
  units: number;
}

/** Requests and units by what they were for: `data PutItem`, `log write`, `floor read`, … */
function spentOn(exchanges: readonly Exchange[]): Record<string, Spent> {
  const spent: Record<string, Spent> = {};
  for (const exchange of exchanges) {
    const name = purposeOf(exchange);
    if (name === undefined) continue;
    const sum = spent[name] ??= { requests: 0, units: 0 };
    sum.requests++;
    sum.units += exchange.units;
  }
  return spent;
}

const byTime = new Set(["samples", "reports", "stream", "epoch", "devices", "seen", "silence", "looked"]);

/** Undefined: what a worker does whether much changes or little (polling, the lease, what it remembers). */
function purposeOf({ operation, table, hash = "", sort = "" }: Exchange): string | undefined {
  if (operation.startsWith("GetRecords") || operation.startsWith("GetShard") || operation.startsWith("Describe")) {
    return undefined;
  }
  if (!table?.endsWith("-log")) return `data ${operation}`;
  const what = hash.split("#")[0]!;
  if (what === "stream" && sort.startsWith("shard#")) return "position write";
  // Remembered by each worker for 5 and 10 s, whatever is written: the epoch of all logs, and who a device is.
  // And a sample a minute, what a device reports, an hour of it at once, and what people have looked at.
  if (byTime.has(what)) return undefined;
  return operation === "PutItem" ? `${what} write` : `${what} read`;
}

/** Tables behind a proxy, a worker with its broker, one device. */
class Metered implements AsyncDisposable {
  readonly dir = new TempDir();
  readonly #opened = new AsyncDisposableStack();
  proxy!: FaultProxy;
  cloud!: Cloud;
  device!: Device;
  other!: Device;

  async open(): Promise<this> {
    const emulator = await kind!.start();
    this.#opened.defer(() => emulator.stop());
    this.proxy = this.#opened.use(await FaultProxy.open(emulator.endpoint));
    const tables = await openMade(newTableUrl(this.proxy.endpoint), e2eCompiled);
    this.#opened.defer(() => tables.close());
    this.cloud = this.#opened.use(await startCloud({ schema: e2eCompiled, table: tables }));
    const { cloud } = this;
    const where = {
      mqttUrl: `mqtt://127.0.0.1:${cloud.mqttPort}`,
      token: (id: string, account: string) => cloud.registry.add(id, account),
    };
    // A transmission that is slow on a busy machine must not be repeated: it would be counted.
    const limits = { retryMs: 30_000 };
    this.device = this.#opened.use(await openDevice(this.dir, where, { device: "d1", limits }));
    this.other = this.#opened.use(await openDevice(this.dir, where, { device: "d2", limits }));
    await this.device.settle();
    await this.other.settle();
    // The logs exist, and their floors are ahead of them: what a channel costs once is over.
    this.device.exec("INSERT INTO Setting(name) VALUES ('first')");
    this.device.exec("INSERT INTO Site(name) VALUES ('first')");
    await until("the other device has it", () => this.other.count("SELECT count(*) FROM Site") === 1);
    await this.quiet();
    return this;
  }

  /** Waits until everything is sent, handled and published; without a sync, which would cost by itself. */
  async quiet(): Promise<void> {
    await this.device.agent.flush({ timeoutMs: 30_000 });
    await until("every echo is back", () => this.device.count("SELECT count(*) FROM _sync_items WHERE awaiting") === 0);
    const { service } = this.cloud;
    let seen = "", since = performance.now();
    await until("nothing has moved for a while", () => {
      const now = JSON.stringify([service.metrics().recordsRead, service.metrics().messagesPublished]);
      if (now !== seen) [seen, since] = [now, performance.now()];
      return performance.now() - since > 700;
    });
  }

  /** What an action costs, with the messages that are published to devices. */
  async measure(action: () => unknown | Promise<unknown>): Promise<Record<string, Spent> & { messages: number }> {
    this.proxy.take();
    const before = this.cloud.service.metrics().messagesPublished;
    await action();
    await this.quiet();
    const messages = this.cloud.service.metrics().messagesPublished - before;
    return Object.assign(spentOn(this.proxy.take()), { messages }) as Record<string, Spent> & { messages: number };
  }

  /** Commands written at once by an application in the cloud, past the proxy's count. */
  async commands(text: string, count = many): Promise<Item[]> {
    const items = Array.from({ length: count }, (_, n): Item => ({
      pk: "device#d1",
      sk: `command#c${n}`,
      _type: "Command",
      deviceId: "d1",
      name: `c${n}`,
      value: Math.random(),
      text,
    }));
    await this.cloud.tables.data.write(items.map((item) => ({ op: "put", item })));
    return items;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
    this.dir[Symbol.dispose]();
  }
}

/** Requests and units of the log table's rows of a kind: `seen`, `orders`; the largest request of each. */
function logCost(exchanges: readonly Exchange[], kind: string): Record<string, Spent & { most: number }> {
  const spent: Record<string, Spent & { most: number }> = {};
  for (const { operation, table, hash = "", units } of exchanges) {
    if (!table?.endsWith("-log") || hash.split("#")[0] !== kind) continue;
    const sum = spent[operation] ??= { requests: 0, units: 0, most: 0 };
    sum.requests++;
    sum.units += units;
    sum.most = Math.max(sum.most, units);
  }
  return spent;
}

/** One request of one unit. */
const unit = { requests: 1, units: 1, most: 1 };

/** As large as a report gets: its texts are cut to fit. */
function largeReport(n: number, agent: string): DeviceReport {
  return fitReport({
    ...{
      agent,
      schema: "0123456789abcdef",
      sqlite: "3.46.0",
      runtime: "deno 2.9.6",
      outbox: n,
      oldest: 1_800_000_000_000,
    },
    ...{
      problem: "the disk is full ".repeat(60),
      error: "nobody answers ".repeat(60),
      db: 1e9,
      free: 1e9,
      skew: -1_000,
    },
    at: { [`device:d-${n}`]: n, "account:acme": n, global: n },
  });
}

Deno.test({
  name:
    `cost: the reports of ${reporting} devices are a read and a write of one unit each, as presence is; an order is few requests${
      missing ? `: ${missing}` : ""
    }`,
  ignore: missing !== undefined,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using opened = new AsyncDisposableStack();
    const emulator = await kind!.start();
    opened.defer(() => emulator.stop());
    const proxy = opened.use(await FaultProxy.open(emulator.endpoint));
    const tables = await openMade(newTableUrl(proxy.endpoint), e2eCompiled);
    opened.defer(() => tables.close());
    // Its clock stands still: how long this machine takes decides nothing.
    let nowMs = Date.now();
    const registry = new Registry(tables.log, { now: () => nowMs });
    // Ids as long as they may be: the row with the largest report fits a unit all the same.
    const ids = Array.from({ length: reporting }, (_, n) => `d-${n}-`.padEnd(128, "x"));
    const report = async (count: number, agent: string) => {
      proxy.take();
      await mapBounded(ids.slice(0, count), 16, (id, n) => registry.touch(id, true, largeReport(n, agent)));
      return logCost(proxy.take(), "seen");
    };

    await t.step("a report is one read of a unit and one write of a unit, as presence is", async () => {
      const cost = await report(reporting, "0.1.0");
      console.log(`${reporting} reports: ${JSON.stringify(cost)}`);
      assert.deepEqual(cost.PutItem, { requests: reporting, units: reporting, most: 1 });
      // The emulator counts nothing for a row that is not there yet; AWS counts one unit.
      assert.deepEqual(cost.BatchGetItem, { requests: reporting, units: 0, most: 0 });
      assert.deepEqual(Object.keys(cost).sort(), ["BatchGetItem", "PutItem"]);
    });

    await t.step(
      "one that says nothing new, or comes within a minute of the last, is read and not written",
      async () => {
        const again = await report(500, "0.1.0");
        assert.deepEqual(again, { BatchGetItem: { requests: 500, units: 500, most: 1 } });
        assert.equal((await report(500, "0.1.1")).PutItem, undefined);
        nowMs += 60_000;
        assert.deepEqual((await report(500, "0.1.1")).PutItem, { requests: 500, units: 500, most: 1 });
      },
    );

    const sent: FromCloud[] = [];
    const publisher = { publish: (_to: unknown, message: FromCloud) => Promise.resolve(void sent.push(message)) };
    const orders = new Orders({ table: tables.log, registry, publisher, now: () => nowMs, random: Math.random });

    await t.step("an order that is given to a connected device and carried out", async () => {
      await registry.add("d1", "acme");
      nowMs += 60_000;
      await registry.touch("d1", true, { orders: 1 });
      proxy.take();
      const order = await orders.give("d1", { do: "sync" });
      const given = proxy.take();
      await orders.answered("d1", { type: "ordered", order, state: "done", report: {} });
      await orders.deliver("d1");
      const done = proxy.take();
      for (const [what, exchanges] of [["given", given], ["done", done]] as const) {
        const cost = { orders: logCost(exchanges, "orders"), seen: logCost(exchanges, "seen") };
        console.log(`an order is ${what}: ${JSON.stringify(cost)}`);
        // One row of the order, and one of the presence that says whether there are any.
        assert.deepEqual([cost.orders.PutItem, cost.seen.PutItem], [unit, unit]);
      }
      assert.equal(sent.length, 1);
      const reads = given.filter(({ operation }) => operation !== "PutItem");
      assert.ok(reads.reduce((sum, { units }) => sum + units, 0) <= 6, JSON.stringify(reads));
    });

    await t.step("a fleet without orders is not asked for any", async () => {
      proxy.take();
      await mapBounded(ids.slice(0, 200), 16, async (id) => {
        if (await registry.touch(id, true)) await orders.deliver(id);
      });
      assert.deepEqual(logCost(proxy.take(), "orders"), {});
    });
  },
});

/** Settings of the device in one transaction. */
function write(device: Device, sql: string): void {
  using db = connect(device.path);
  db.exec("BEGIN");
  for (let n = 0; n < many; n++) db.exec(sql.replaceAll("$n", String(n)));
  db.exec("COMMIT");
}

Deno.test({
  name:
    `cost: a change up is one conditional write and no read, a change down one log write for each batch and one read${
      missing ? `: ${missing}` : ""
    }`,
  ignore: missing !== undefined,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using metered = await new Metered().open();
    const { device } = metered;
    const show = (what: string, cost: object) => console.log(`${what}: ${JSON.stringify(cost)}`);
    /** A stream is read in pages, so that a hundred changes are one batch, or a few. */
    const batchesMax = 12;

    await t.step("up: a create of up to 1 KB is one request and one unit", async () => {
      const cost = await metered.measure(() =>
        write(device, "INSERT INTO Setting(name, value, text) VALUES ('s$n', $n, hex(zeroblob(200)))")
      );
      show(`${many} creates up`, cost);
      assert.deepEqual(cost["data PutItem"], { requests: many, units: many });
      assert.equal(cost["data BatchGetItem"], undefined, "its own changes come back as marks: nothing is read");
      assert.ok(cost["log write"]!.requests <= batchesMax);
    });

    await t.step("up: an update costs the larger of old and new, a unit each KB", async () => {
      const small = await metered.measure(() => write(device, "UPDATE Setting SET value = 1000 WHERE name = 's$n'"));
      show(`${many} updates up`, small);
      assert.deepEqual(small["data PutItem"], { requests: many, units: many });
      const large = await metered.measure(() =>
        write(device, "UPDATE Setting SET text = hex(zeroblob(1200)) WHERE name = 's$n'")
      );
      show(`${many} updates up to 2.6 KB`, large);
      assert.deepEqual(large["data PutItem"], { requests: many, units: 3 * many });
      assert.equal(large["data BatchGetItem"], undefined);
      assert.deepEqual(Object.keys(large).filter((name) => /Get|Query|Scan|read/.test(name)), []);
    });

    await t.step("up: of an account's item there is one consistent read more, for the other devices", async () => {
      const cost = await metered.measure(() => write(device, "INSERT INTO Site(name, value) VALUES ('s$n', $n)"));
      show(`${many} creates up in the account`, cost);
      assert.deepEqual(cost["data PutItem"], { requests: many, units: many });
      assert.equal(cost["data BatchGetItem"]!.units, many, "4 KB or less, strongly: one unit");
      assert.ok(cost["data BatchGetItem"]!.requests <= batchesMax);
    });

    await t.step("down: a batch is a log write, a read of one unit a change, and a publish", async () => {
      const cost = await metered.measure(() => metered.commands("x".repeat(300)));
      show(`${many} changes down at once`, cost);
      const batches = cost["log write"]!.requests;
      assert.ok(batches <= batchesMax, String(batches));
      assert.equal(cost["data BatchGetItem"]!.units, many);
      assert.ok(cost.messages <= batches + 2, `${cost.messages} messages for ${batches} entries`);
      assert.ok((cost["floor write"]?.requests ?? 0) <= 1);
    });

    await t.step("down: one at a time, each is a log write, a read and a publish", async () => {
      const cost = await metered.measure(async () => {
        for (let n = 0; n < 20; n++) {
          const [item] = await metered.commands("y", 1);
          await until("it is there", () => device.count(`SELECT count(*) FROM Command WHERE value = ${item!.value}`));
        }
      });
      show("20 changes down, one at a time", cost);
      assert.equal(cost["data BatchGetItem"]!.units, 20);
      assert.equal(cost["data BatchGetItem"]!.requests, 20);
      assert.equal(cost["log write"]!.requests, 20);
      assert.equal(cost["log write"]!.units, 20);
      assert.ok(cost["position write"]!.requests <= 20 && cost["position write"]!.units <= 20, "one a batch");
      assert.ok((cost["floor write"]?.requests ?? 0) <= 1, "a floor is raised 64 entries ahead");
      assert.ok(cost.messages >= 20 && cost.messages <= 22, String(cost.messages));
    });

    await t.step(
      "a sync with nothing new is a page, a query and a read of the log table for each channel",
      async () => {
        const cost = await metered.measure(() => device.agent.sync({ timeoutMs: 10_000 }));
        show("a sync with nothing new", cost);
        assert.deepEqual(Object.keys(cost).sort(), ["floor read", "log read", "messages"]);
        // Three channels: its own, its account's, and the global one.
        const requests = cost["log read"]!.requests + cost["floor read"]!.requests;
        assert.ok(requests <= 6, `${requests} requests`);
        assert.ok(cost["log read"]!.units + cost["floor read"]!.units <= 6);
        assert.equal(cost.messages, 3);
      },
    );
  },
});
