/** The fleet in memory: states, search, order, pages; and what it costs. */
import assert from "node:assert/strict";
import { ApiError } from "../../../cloud/api/errors.ts";
import { queryFleet } from "../../../cloud/api/devices.ts";
import { Fleet, stateOf } from "../../../cloud/sync/fleet.ts";
import { type DeviceInfo, Registry } from "../../../cloud/sync/registry.ts";
import { openEmbedded } from "../../../cloud/embedded.ts";
import type { Table } from "../../../cloud/table/port.ts";
import { itemSizeBytes } from "../../../cloud/table/item_size.ts";
import { decodePresence, encodePresence } from "../../../protocol.ts";
import { schema } from "../fixture.ts";

const start = 1_800_000_000_000;

function info(more: Partial<DeviceInfo>): DeviceInfo {
  return {
    deviceId: "d",
    accountId: "a",
    createdMs: start,
    connected: true,
    reportedMs: start,
    seenMs: start,
    ...more,
  };
}

Deno.test("fleet: a device is online, lagging, in trouble or silent, and why", () => {
  const state = (more: Partial<DeviceInfo>) => stateOf(info(more), start);
  assert.deepEqual(state({}), { state: "online" });
  assert.deepEqual(state({ connected: false, report: { problem: "the disk is full" } }), {
    state: "silent",
    why: "the disk is full",
    usualMs: 900_000,
  });
  assert.equal(state({ connected: undefined }).state, "silent");
  assert.deepEqual(state({ report: { oldest: start - 90_000 } }), {
    state: "lagging",
    why: "its oldest change has waited for 1 min",
    lagMs: 90_000,
  });
  // The device's clock is 80 s ahead: the change is 10 s old.
  assert.equal(state({ report: { oldest: start + 70_000, skew: 80_000 } }).lagMs, 10_000);
  assert.deepEqual(state({ report: { rejected: 2 } }), { state: "trouble", why: "2 of its changes were rejected" });
  assert.equal(state({ report: { problem: "x" }, reportedMs: start - 3_600_000 }).state, "online", "an old report");
});

/** A registry of `count` devices, each fifth with something waiting; reads of its table are counted. */
async function fleetOf(count: number) {
  let time = start, reads = 0;
  const tables = openEmbedded(":memory:", { schema, now: () => time });
  const counted: Table = Object.assign(Object.create(tables.log), {
    get: (keys: Parameters<Table["get"]>[0]) => (reads += keys.length, tables.log.get(keys)),
    query: (query: Parameters<Table["query"]>[0]) => (reads++, tables.log.query(query)),
    write: tables.log.write.bind(tables.log),
  });
  const registry = new Registry(counted, { now: () => time });
  for (let i = 0; i < count; i++) {
    const deviceId = `d-${String(i).padStart(5, "0")}`;
    await registry.add(deviceId, i % 2 ? "acme" : "bolt");
    await registry.touch(deviceId, i % 3 !== 0, { agent: "0.1.0", outbox: i % 5 === 0 ? i : 0 });
  }
  const fleet = new Fleet({ registry, now: () => time });
  return {
    fleet,
    registry,
    tables,
    tick: (ms: number) => void (time += ms),
    reads: () => reads,
    [Symbol.dispose]: () => void tables.close(),
  };
}

Deno.test("fleet: words search, any field sorts, pages go on where the last ended", async () => {
  using f = await fleetOf(60);
  const ask = (q?: string, sort?: string, after?: string) => queryFleet(f.fleet, { q, sort, limit: 7, after });
  const all = await ask();
  assert.deepEqual([all.total, all.states], [60, { online: 40, lagging: 0, trouble: 0, silent: 20 }]);
  const names: string[] = [];
  for (let page = await ask("account:acme outbox:>5 d-000"), n = 0;; n++) {
    names.push(...page.devices.map(({ deviceId }) => deviceId));
    if (page.next === undefined) break;
    page = await ask("account:acme outbox:>5 d-000", "device", page.next);
    assert.ok(n < 10);
  }
  assert.deepEqual(names, ["d-00015", "d-00025", "d-00035", "d-00045", "d-00055"]);
  const most = await ask("state:online", "-outbox");
  assert.deepEqual(most.devices.slice(0, 3).map(({ report }) => report?.outbox), [55, 50, 40]);
  for (const wrong of ["colour:red", "outbox:"]) {
    await assert.rejects(ask(wrong), (error) => error instanceof ApiError && error.status === 400);
  }
  await assert.rejects(ask("", "colour"), /can't sort by "colour"/);
});

Deno.test("fleet: it is read once, then kept by what devices say", async () => {
  using f = await fleetOf(30);
  await f.fleet.all();
  const loaded = f.reads();
  f.fleet.heard("d-00001", { online: true, report: { problem: "the disk is full" } });
  f.fleet.heard("d-00002", { online: false });
  f.tick(60_000);
  const found = await queryFleet(f.fleet, { q: "problem:DISK", limit: 10 });
  assert.deepEqual(found.devices.map(({ deviceId, state }) => [deviceId, state]), [["d-00001", "trouble"]]);
  assert.equal(found.states.silent, 11);
  assert.equal(f.reads(), loaded, "nothing was read again");
  await f.registry.add("new", "acme");
  f.tick(300_000);
  assert.equal((await queryFleet(f.fleet, { q: "new", limit: 10 })).total, 1, "and now and then it is");
});

Deno.test("fleet: a report costs one write a minute at most, whoever hears of it", async () => {
  using f = await fleetOf(1);
  const before = await f.registry.info("d-00000");
  f.tick(10_000);
  await f.registry.touch("d-00000", false, { outbox: 9 });
  assert.deepEqual((await f.registry.info("d-00000"))?.report, before?.report, "too soon after the last");
  f.tick(60_000);
  const other = new Registry(f.tables.log, { now: () => start + 70_000 });
  await Promise.all([f.registry, other].map((r) => r.touch("d-00000", false, { outbox: 9 })));
  assert.equal((await f.registry.info("d-00000"))?.report?.outbox, 9);
});

Deno.test("fleet: the longest report of the longest name is a row of one write unit", async () => {
  using f = await fleetOf(1);
  const name = "d".repeat(128), long = "x".repeat(2_000);
  await f.registry.add(name, "a".repeat(128));
  const { report } = decodePresence(encodePresence(true, { problem: long, error: long, agent: long, outbox: 1 }));
  await f.registry.touch(name, true, report);
  const page = await f.tables.log.scan({ limit: 100 });
  const row = page.items.find((item) => item.sort === name && typeof item.report === "string")!;
  assert.ok(itemSizeBytes(row) <= 1024, `${itemSizeBytes(row)} bytes`);
});
