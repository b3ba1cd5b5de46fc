import assert from "node:assert/strict";
import { Registry } from "../../../cloud/sync/registry.ts";
import { pointOf, pointsHash, RecentPoints } from "../../../cloud/sync/report_points.ts";
import type { DeviceReport } from "../../../protocol.ts";
import { itemSizeBytes } from "../../../cloud/table/item_size.ts";
import { Fixture } from "../fixture.ts";

const minute = 60_000, start = Math.floor(1_800_000_000_000 / 3_600_000) * 3_600_000;

/** Reports each five minutes, as devices do, and what writing them cost. */
async function reported(fixture: Fixture, minutes: number, reportOf: (minute: number) => DeviceReport | undefined) {
  const registry = new Registry(fixture.tables.log, { now: fixture.now });
  const sizes: { hash: string; bytes: number }[] = [], { write } = fixture.tables.log;
  fixture.tables.log.write = (writes, options) => {
    for (const one of writes) {
      if (one.op === "put") sizes.push({ hash: String(one.item.hash), bytes: itemSizeBytes(one.item) });
    }
    return write.call(fixture.tables.log, writes, options);
  };
  for (let at = 0; at < minutes; at += 5) {
    fixture.time = start + at * minute;
    const report = reportOf(at);
    if (report) await registry.touch("press-1", true, report);
  }
  fixture.tables.log.write = write.bind(fixture.tables.log);
  return { registry, sizes };
}

const usual: DeviceReport = {
  agent: "0.1.0",
  schema: "8c41fe20aa11bb22",
  sqlite: "3.46.1",
  runtime: "deno 2.9.6",
  outbox: 0,
  at: { "device:press-1": 12_345, "account:acme": 4_321, global: 99 },
  rejected: 0,
  conflicts: 0,
  db: 20_000_000,
  free: 3_000_000_000,
  skew: -40,
};

Deno.test("reports: a day is kept, the worst of each ten minutes, for 24 write units more", async () => {
  await using fixture = new Fixture();
  const { registry, sizes } = await reported(fixture, 1440, (at) => ({
    ...usual,
    outbox: at,
    oldest: fixture.time - at * 1000 - 40,
    free: 3_000_000_000 - at,
    skew: at % 10 === 0 ? -40 : 7,
  }));
  const points = await registry.points("press-1", start);
  assert.equal(points.length, 144);
  const [, second] = points;
  assert.deepEqual(second, { atMs: start + 10 * minute, outbox: 15, lagMs: 15_047, free: 2_999_999_985, skew: -40 });
  const rows = sizes.filter(({ hash }) => hash === pointsHash("press-1"));
  assert.equal(rows.length, 23, "one for each hour that is over");
  assert.equal(sizes.length - rows.length, 288, "the note of each five minutes, as ever");
  assert.ok(Math.max(...sizes.map(({ bytes }) => bytes)) <= 1024, "each of them one write unit");
  assert.deepEqual((await registry.points("press-1", start + 1400 * minute)).length, 4);
});

Deno.test("reports: where a device said nothing there is no point, and what it did not say is missing, not 0", async () => {
  await using fixture = new Fixture();
  const { registry } = await reported(fixture, 120, (at) => {
    if (at >= 30 && at < 70) return undefined;
    return at < 30 ? { agent: "0.0.9" } : { agent: "0.0.9", outbox: 0 };
  });
  const points = await registry.points("press-1", start);
  assert.deepEqual(points.map(({ atMs }) => (atMs - start) / minute), [0, 10, 20, 70, 80, 90, 100, 110]);
  assert.deepEqual(points[0], { atMs: start });
  assert.deepEqual(points.at(-1), { atMs: start + 110 * minute, outbox: 0, lagMs: 0 });
});

Deno.test("reports: the longest leave no second write unit, and no point is lost", async () => {
  await using fixture = new Fixture();
  const { registry, sizes } = await reported(fixture, 240, (at) => ({
    ...usual,
    outbox: at,
    problem: "x".repeat(560),
    oldest: fixture.time - 123_456_789,
  }));
  assert.ok(Math.max(...sizes.map(({ bytes }) => bytes)) <= 1024, `${Math.max(...sizes.map(({ bytes }) => bytes))}`);
  const points = await registry.points("press-1", start);
  assert.deepEqual(points.map(({ outbox }) => outbox), Array.from({ length: 24 }, (_, i) => i * 10 + 5));
});

Deno.test("reports: a message that is no report, and a device that goes, keep the points", async () => {
  await using fixture = new Fixture();
  const { registry } = await reported(fixture, 30, (at) => ({ ...usual, outbox: at }));
  fixture.time = start + 31 * minute;
  await registry.touch("press-1", false);
  fixture.time = start + 50 * minute;
  await registry.touch("press-1");
  assert.deepEqual((await registry.points("press-1", start)).map(({ outbox }) => outbox), [5, 15, 25]);
});

Deno.test("reports: points survive their text; a row that nobody wrote has none", () => {
  const recent = new RecentPoints(undefined);
  assert.equal(recent.text, "");
  recent.add(pointOf({ outbox: 3, skew: -5 }, start), { hash: "seen#00", sort: "d" });
  recent.add(pointOf({ outbox: 0 }, start + 10 * minute), { hash: "seen#00", sort: "d" });
  assert.deepEqual(new RecentPoints(recent.text).points, recent.points);
});
