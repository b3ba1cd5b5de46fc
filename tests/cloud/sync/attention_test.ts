/** What people said of devices: how long silence is usual, and what was looked at. */
import assert from "node:assert/strict";
import { openEmbedded } from "../../../cloud/embedded.ts";
import { Attention, everyAccount, usualDefaultMs } from "../../../cloud/sync/attention.ts";
import { Fleet, stateOf } from "../../../cloud/sync/fleet.ts";
import { type DeviceInfo, Registry } from "../../../cloud/sync/registry.ts";
import { decodePresence, type DeviceReport, encodePresence } from "../../../protocol.ts";
import { schema } from "../fixture.ts";

const start = 1_800_000_000_000;

function world() {
  let time = start;
  const now = () => time, tables = openEmbedded(":memory:", { schema, now });
  return {
    now,
    tick: (ms: number) => void (time += ms),
    log: tables.log,
    registry: new Registry(tables.log, { now }),
    attention: () => new Attention(tables.log, now),
    [Symbol.dispose]: () => void tables.close(),
  };
}

function info(more: Partial<DeviceInfo>): DeviceInfo {
  return { deviceId: "d", accountId: "acme", createdMs: start, connected: true, reportedMs: start, ...more };
}

Deno.test("attention: the usual silence is the account's, else everybody's, else 15 minutes; other workers hear of it", async () => {
  using w = world();
  const one = w.attention(), other = w.attention();
  await other.refresh();
  assert.equal(one.usualMs("acme"), usualDefaultMs);
  await one.setUsual(everyAccount, 3_600_000);
  await one.setUsual("acme", 86_400_000);
  assert.deepEqual([one.usualMs("acme"), one.usualMs("bolt")], [86_400_000, 3_600_000]);
  assert.equal(other.usualMs("acme"), usualDefaultMs, "it reads once a minute");
  w.tick(60_001);
  await other.refresh();
  assert.deepEqual([other.usualMs("acme"), other.usualMs("bolt")], [86_400_000, 3_600_000]);
  await one.setUsual("acme", undefined);
  assert.equal(one.usualMs("acme"), 3_600_000);

  const away = (seenMs: number | undefined, accountId = "bolt") => {
    const { state, usualMs, overdue } = stateOf(info({ connected: false, seenMs, accountId }), w.now(), one);
    return [state, usualMs, overdue];
  };
  assert.deepEqual(away(w.now() - 3_599_000), ["silent", 3_600_000, undefined]);
  assert.deepEqual(away(w.now() - 3_601_000), ["silent", 3_600_000, true]);
  assert.deepEqual(away(undefined), ["silent", 3_600_000, undefined], "added a minute ago, and never seen");
});

Deno.test("attention: what was looked at is no trouble; what comes after it is, also where the count fell in between", async () => {
  using w = world();
  const attention = w.attention();
  await attention.refresh();
  const say = (report: DeviceReport) => {
    attention.heard("d", report);
    const { state, why } = stateOf(info({ report, reportedMs: w.now() }), w.now(), attention);
    return `${state}: ${why}`;
  };
  assert.equal(say({ rejected: 214 }), "trouble: 214 of its changes were rejected");
  assert.equal(await attention.look([{ deviceId: "d", report: { rejected: 214 } }, { deviceId: "quiet" }]), 1);
  assert.equal(say({ rejected: 214 }), "online: undefined");
  assert.equal(say({ rejected: 215 }), "trouble: 1 of its changes was rejected since it was looked at");
  assert.equal(say({ rejected: 214, aside: 2 }), "trouble: 2 items are set aside");
  assert.equal(say({ rejected: 214, problem: "the disk is full" }), "trouble: the disk is full");
  // They were retried, and five others are new.
  assert.equal(say({ rejected: 0 }), "online: undefined");
  assert.equal(say({ rejected: 5 }), "trouble: 5 of its changes were rejected");
  // Another worker, or this one after a restart, knows that it fell.
  const later = w.attention();
  await later.refresh();
  assert.deepEqual(later.looked("d"), { rejected: 0, aside: 0 });
});

Deno.test("attention: the fleet judges by it, and a device that is taken out takes its mark along", async () => {
  using w = world();
  await w.registry.add("d-1", "acme");
  const attention = w.attention(), fleet = new Fleet({ registry: w.registry, now: w.now, attention });
  await fleet.all();
  fleet.heard("d-1", decodePresence(encodePresence(true, { rejected: 3 })));
  const { devices } = await fleet.all();
  assert.equal(devices[0]!.state, "trouble");
  await attention.look(devices);
  assert.equal((await fleet.all()).devices[0]!.state, "online");
  assert.equal((await fleet.one("d-1"))!.state, "online");
  assert.equal((await w.log.get([["looked", "d-1"]]))[0]?.rejected, 3);
  await w.registry.revoke("d-1");
  assert.deepEqual(await w.log.get([["looked", "d-1"]]), [undefined]);
});

Deno.test("attention: a table that can't be read leaves what was read before", async () => {
  using w = world();
  const attention = w.attention();
  await attention.setUsual("acme", 1_000);
  const broken = new Attention({ ...w.log, query: () => Promise.reject(new Error("away")) } as never, w.now);
  await broken.refresh();
  assert.equal(broken.usualMs("acme"), usualDefaultMs);
});

Deno.test("attention: a refused login is trouble while it is tried, for a device that is away; a stranger's guesses are not", async () => {
  using w = world();
  await w.registry.add("d-1", "acme");
  const fleet = new Fleet({ registry: w.registry, now: w.now });
  const judged = async () => {
    const { state, why } = (await fleet.all()).devices[0]!;
    return `${state}: ${why}`;
  };
  assert.equal(await judged(), "silent: undefined");
  assert.deepEqual([fleet.refused("d-1"), fleet.refused("nobody")], [true, false]);
  assert.equal(await judged(), "trouble: its login is refused");
  for (let minute = 0; minute < 30; minute += 10) {
    w.tick(600_000);
    fleet.refused("d-1");
  }
  assert.equal(await judged(), "trouble: its login is refused, for 30 min now");
  w.tick(900_000);
  assert.equal(await judged(), "silent: undefined", "it tries no more");
  fleet.refused("d-1");
  fleet.heard("d-1", decodePresence(encodePresence(true)));
  assert.equal(await judged(), "online: undefined");
  fleet.refused("d-1");
  assert.equal(await judged(), "online: undefined", "somebody else's");
});
