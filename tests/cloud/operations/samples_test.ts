import assert from "node:assert/strict";
import { coarser, readSeries, Sampler } from "../../../cloud/operations/samples.ts";
import { itemSizeBytes } from "../../../cloud/table/item_size.ts";
import { Fixture } from "../fixture.ts";

const minute = 60_000, start = 1_800_000_000_000;

function sampler(
  fixture: Fixture,
  worker: string,
  counters: Record<string, number>,
  gauges: Record<string, number | undefined> = {},
) {
  return new Sampler(
    fixture.tables.log,
    worker,
    { counters: () => ({ ...counters }), gauges: () => gauges },
    fixture.now,
  );
}

async function read(fixture: Fixture, minutes: number, step = 1, worker?: string) {
  const found = await readSeries(fixture.tables.log, {
    fromMs: start,
    toMs: start + minutes * minute,
    stepMs: step * minute,
    worker,
  });
  const line = (name: string) => found.series.find((one) => one.name === name)!.points.map(([, value]) => value);
  return { ...found, line };
}

Deno.test("samples: a minute that nobody sampled is a gap, and no 0; workers add up", async () => {
  await using fixture = new Fixture();
  const a = { changesReceived: 0 }, b = { changesReceived: 100 };
  const one = sampler(fixture, "w-a", a, { connections: 3 });
  fixture.time = start + minute;
  a.changesReceived = 60;
  await one.sample();
  // It was restarted meanwhile, and another came.
  fixture.time = start + 3 * minute;
  const again = sampler(fixture, "w-a", a, { connections: 4 }), two = sampler(fixture, "w-b", b);
  await again.sample();
  fixture.time = start + 4 * minute;
  a.changesReceived += 10;
  b.changesReceived += 5;
  again.request("data", "get", 0.25, false, 0);
  again.request("data", "get", 0.01, true, 0);
  two.passed(1, 2.5);
  await again.sample();
  await two.sample();
  const { line, workers, read: units } = await read(fixture, 5);
  assert.deepEqual(line("changes").map((value) => value === null), [false, true, false, false, true]);
  assert.deepEqual([line("changes")[0], line("connections")], [60, [3, null, 4, 4, null]]);
  assert.deepEqual([line("table_requests")[3], line("table_failures")[3], line("table_ms_max")[3]], [2, 1, 250]);
  assert.deepEqual([line("stream_age_ms"), line("lag_p99_ms")], [[null, null, null, 2500, null], [
    null,
    null,
    null,
    null,
    null,
  ]]);
  assert.deepEqual([workers, units], [["w-a", "w-b"], 1]);
  assert.deepEqual((await read(fixture, 5, 1, "w-b")).line("changes").map((value) => value === null), [
    true,
    true,
    true,
    false,
    true,
  ]);
  // Of a step the mean of its minutes that there are.
  const wide = (await read(fixture, 5, 5)).line("connections");
  assert.deepEqual(wide, [3.67]);
});

Deno.test("samples: one write unit each, a day of one worker is some 200 read units, over midnight too", async () => {
  await using fixture = new Fixture();
  const values = Object.fromEntries(
    ["connections", "messages_running", "resident_bytes", "devices_online", "lag_p99_ms", "outbox"].map((
      name,
    ) => [name, 123_456]),
  );
  const one = sampler(fixture, "0123456789ab", { changesReceived: 1_000 }, values);
  const { write } = fixture.tables.log, sizes: number[] = [];
  fixture.tables.log.write = (writes, options) => {
    for (const one of writes) if (one.op === "put") sizes.push(itemSizeBytes(one.item));
    return write.call(fixture.tables.log, writes, options);
  };
  for (let i = 1; i <= 1440; i++) {
    fixture.time = start + i * minute;
    await one.sample();
  }
  assert.ok(Math.max(...sizes) <= 1024, `${Math.max(...sizes)} bytes`);
  const { line, read: units } = await read(fixture, 1440);
  assert.deepEqual([line("changes").length, line("connections").filter((value) => value === null).length], [1440, 0]);
  assert.ok(units <= 220, `${units} read units`);
});

Deno.test("samples: a table that is away is a gap, and no fault", async () => {
  await using fixture = new Fixture();
  const one = sampler(fixture, "w", {});
  const { write } = fixture.tables.log;
  fixture.tables.log.write = () => Promise.reject(new Error("away"));
  fixture.time = start + minute;
  await one.sample();
  fixture.tables.log.write = write.bind(fixture.tables.log);
  fixture.time = start + 2 * minute;
  await one.sample();
  assert.deepEqual((await read(fixture, 2)).line("changes"), [null, 0]);
});

Deno.test("samples: refused codes and throttled writes are 0 where a worker counted none, and nothing where there was no worker", async () => {
  await using fixture = new Fixture();
  const one = sampler(fixture, "w", {});
  for (const code of ["ok", "stale", "too-large", "stale"]) one.answered("Setting", code);
  one.request("data", "write", 0.01, false, 3);
  fixture.time = start + minute;
  await one.sample();
  fixture.time = start + 2 * minute;
  await one.sample();
  // Of a build that did not count them.
  await fixture.tables.log.write([{
    op: "put",
    item: {
      hash: `samples#${Math.floor(start / 86_400_000)}`,
      sort: `${String(start + 3 * minute).padStart(16, "0")}#old`,
      values: JSON.stringify({ changes: 5 }),
    },
  }]);
  const { line } = await read(fixture, 5);
  assert.deepEqual(line("refused_stale"), [2, 0, null, null, null]);
  assert.deepEqual(line("refused_too_large"), [1, 0, null, null, null]);
  assert.deepEqual(line("table_throttled"), [3, 0, null, null, null]);
  assert.deepEqual(line("changes"), [0, 0, null, 5, null]);
});

Deno.test("samples: units are a minute's, and none of a table that charges for none", async () => {
  await using fixture = new Fixture();
  const units: Record<string, number> = { unitsRead: 100, unitsWritten: 10 };
  const charged = sampler(fixture, "w-a", units), free = sampler(fixture, "w-b", {});
  fixture.time = start + minute;
  await free.sample();
  fixture.time = start + 2 * minute;
  Object.assign(units, { unitsRead: 700, unitsWritten: 50 });
  await charged.sample();
  const { line } = await read(fixture, 2);
  assert.deepEqual([line("rcu"), line("wcu")], [[null, 350], [null, 25]]);
});

Deno.test("samples: rows of longer steps are the mean or the greatest of what there is; of nothing they are nothing", () => {
  const points = [1, null, 5, null, null, null, 0].map((value, at) => [at, value] as const);
  assert.deepEqual(coarser({ name: "changes", points }, 3).points, [[0, 3], [3, null], [6, 0]]);
  assert.deepEqual(coarser({ name: "lag_p99_ms", points }, 3).points, [[0, 5], [3, null], [6, 0]]);
});
