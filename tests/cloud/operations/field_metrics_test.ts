import assert from "node:assert/strict";
import { createApp } from "../../../cloud/api/app.ts";
import { CloudMetrics } from "../../../cloud/api/metrics.ts";
import { openEmbedded } from "../../../cloud/embedded.ts";
import { deviceSeriesMax, FieldMetrics, partsMax } from "../../../cloud/operations/field_metrics.ts";
import { listFieldSeries, readFieldSeries } from "../../../cloud/operations/field_series.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { CloudService } from "../../../cloud/sync/service.ts";
import { itemSizeBytes } from "../../../cloud/table/item_size.ts";
import type { Up } from "../../../protocol.ts";
import { compileSchema } from "../../../schema.ts";
import { Random } from "../../sim/random.ts";

const schemaOf = (period: number) =>
  compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      Reading: {
        pk: { type: "string", value: "d#${deviceId}" },
        sk: { type: "string", value: "reading#${id}" },
        deviceId: { type: "string", required: true },
        id: { type: "string", required: true },
        celsius: { type: "number" },
        place: { type: "string" },
      },
    },
    process: {
      Reading: {
        sync: "up",
        metrics: [{
          namespace: "Acme",
          fields: ["celsius"],
          dimensions: [{ Device: "deviceId" }, {}, { Place: "place" }],
          period,
        }],
      },
    },
  });
const schema = schemaOf(60);
const minute = 60_000, start = 1_800_000_000_000, identity = { deviceId: "d1", accountId: "acme" };

/** A table, its clock, and workers on it. */
class World implements AsyncDisposable {
  time = start;
  readonly schema;
  readonly tables;
  readonly registry;
  #workers = 0;

  constructor(period = 60) {
    const now = () => this.time;
    this.schema = schemaOf(period);
    this.tables = openEmbedded(":memory:", { schema: this.schema, now });
    this.registry = new Registry(this.tables.log, { now });
  }

  worker(): { metrics: FieldMetrics; service: CloudService } {
    const now = () => this.time, { schema } = this;
    const metrics = new FieldMetrics({ schema, table: this.tables.log, worker: `w${++this.#workers}`, now });
    const service = new CloudService({
      ...{ schema, tables: this.tables, registry: this.registry, now, random: Math.random },
      publisher: { publish: () => Promise.resolve() },
      observer: metrics.observer,
    });
    return { metrics, service };
  }

  up(batch: string, changes: readonly [id: string, celsius: number, place?: string][]): Up {
    return {
      type: "up",
      batch,
      sent: this.time,
      changes: changes.map(([id, celsius, place]) => ({
        model: "Reading",
        op: "create",
        stamp: this.time * 1000,
        item: { id, deviceId: "d1", celsius, ...(place === undefined ? {} : { place }) },
      })),
    } as Up;
  }

  async read(dimensions: Record<string, string>, minutes: number, step = 1) {
    const time = { fromMs: start, toMs: start + minutes * minute, stepMs: step * minute };
    const { series } = await readFieldSeries(
      this.tables.log,
      { namespace: "Acme", field: "celsius", dimensions },
      time,
    );
    return Object.fromEntries(series.map(({ name, points }) => [name, points.map(([, value]) => value)]));
  }

  async [Symbol.asyncDispose]() {
    await this.tables.close();
  }
}

Deno.test("field metrics: each change counts once, whichever worker it came to and came to again", async () => {
  await using world = new World();
  await world.registry.add("d1", "acme");
  const a = world.worker(), b = world.worker();
  const first = world.up("i/1", [["1", 20], ["2", 24]]);
  await a.service.receive("d1", first);
  // Its answer was lost: it comes again, here and there.
  await b.service.receive("d1", first);
  await a.service.receive("d1", first);
  await b.service.receive("d1", world.up("i/2", [["3", 28]]));
  world.time += minute;
  await Promise.all([a.metrics.save(), b.metrics.save()]);
  const { count, sum, min, max, average } = await world.read({ Device: "d1" }, 2);
  assert.deepEqual([count, sum, min, max, average], [[3, null], [72, null], [20, null], [28, null], [24, null]]);
  assert.deepEqual((await world.read({}, 2)).count, [3, null]);
  assert.equal(a.metrics.counters().measuredValues! + b.metrics.counters().measuredValues!, 9);
});

Deno.test("field metrics: a worker that is closed and started again goes on with the period; a quiet one is a gap", async () => {
  await using world = new World();
  await world.registry.add("d1", "acme");
  const a = world.worker();
  await a.service.receive("d1", world.up("i/1", [["1", 1]]));
  await a.metrics.close();
  const b = world.worker();
  await b.service.receive("d1", world.up("i/2", [["2", 5]]));
  world.time += 3 * minute;
  await b.service.receive("d1", world.up("i/3", [["3", 7]]));
  await b.metrics.close();
  const { count, max } = await world.read({}, 4);
  assert.deepEqual([count, max], [[2, null, null, 1], [5, null, null, 7]]);
  assert.deepEqual((await world.read({}, 4, 4)).average, [13 / 3]);
});

Deno.test("field metrics: what the table does not take is written later, and once", async () => {
  await using world = new World();
  await world.registry.add("d1", "acme");
  const a = world.worker(), { write } = world.tables.log;
  await a.service.receive("d1", world.up("i/1", [["1", 1]]));
  world.time += minute;
  world.tables.log.write = () => Promise.reject(new Error("away"));
  await a.metrics.save();
  world.tables.log.write = write.bind(world.tables.log);
  await a.metrics.save();
  await a.metrics.save();
  assert.deepEqual((await world.read({}, 1)).count, [1]);
});

Deno.test("field metrics: one device can't use up the series of others; what exceeds counts as (other)", async () => {
  await using world = new World();
  const { metrics } = world.worker(), model = schema.models.get("Reading")!;
  for (let i = 0; i < deviceSeriesMax + 50; i++) {
    metrics.observer.stored(identity, model, { celsius: 1, place: `made up ${i}` });
  }
  metrics.observer.stored({ deviceId: "d2", accountId: "acme" }, model, { celsius: 2, place: "kitchen" });
  const { measuredValuesFolded } = metrics.counters();
  await metrics.close();
  assert.equal(measuredValuesFolded, 52);
  assert.deepEqual((await world.read({ Place: "(other)" }, 1)).count, [52]);
  assert.deepEqual((await world.read({ Place: "kitchen" }, 1)).sum, [2]);
  assert.deepEqual((await world.read({}, 1)).count, [deviceSeriesMax + 51]);
});

Deno.test("field metrics: the list has each series of the day once; an item is one write unit", async () => {
  await using world = new World();
  const a = world.worker(), b = world.worker(), model = schema.models.get("Reading")!, sizes: number[] = [];
  const { write } = world.tables.log;
  world.tables.log.write = (writes, options) => {
    for (const one of writes) if (one.op === "put") sizes.push(itemSizeBytes(one.item));
    return write.call(world.tables.log, writes, options);
  };
  for (const { metrics } of [a, b]) {
    for (let i = 0; i < 2_000; i++) {
      metrics.observer.stored(identity, model, { celsius: Math.sin(i) * 10 ** (i % 12), place: "x" });
    }
    world.time += minute;
    await metrics.save();
  }
  assert.ok(Math.max(...sizes) <= 1024, `${Math.max(...sizes)} bytes`);
  const { series } = await listFieldSeries(world.tables.log, start, { namespace: "Acme", field: "celsius", limit: 10 });
  assert.deepEqual(series.map(({ dimensions }) => dimensions), [{ Device: "d1" }, { Place: "x" }, {}]);
});

Deno.test("field metrics: /api/metrics and /metrics show them, what is not written yet as well", async () => {
  await using world = new World();
  const { metrics: fieldMetrics } = world.worker(), model = schema.models.get("Reading")!;
  fieldMetrics.observer.stored(identity, model, { celsius: 21, place: 'the "hall"' });
  const metrics = new CloudMetrics(), now = () => world.time;
  metrics.add({ counters: () => fieldMetrics.counters(), labelled: () => fieldMetrics.labelled() });
  const app = createApp({
    ...{ schema, tables: world.tables, registry: world.registry, metrics, fieldMetrics, now, random: Math.random },
  });
  const ask = async (path: string) => (await app.request(`http://localhost${path}`)).json();
  const dimensions = encodeURIComponent('{"Device":"d1"}');
  world.time += 1_000;
  const { series } = await ask(`/api/metrics?namespace=Acme&field=celsius&dimensions=${dimensions}&from=${start}`);
  const p95 = series.find(({ name }: { name: string }) => name === "p95");
  assert.deepEqual(p95.points, [[start, 21]]);
  const { fields } = await ask("/api/metrics");
  assert.deepEqual(fields.map(({ dimensions }: { dimensions: string[] }) => dimensions), [["Device"], [], ["Place"]]);
  assert.equal((await app.request("http://localhost/api/metrics?namespace=Acme")).status, 400);
  assert.equal((await app.request("http://localhost/api/metrics?namespace=A&field=b&dimensions=[]")).status, 400);
  world.time += minute;
  await fieldMetrics.save();
  const text = await (await app.request("http://localhost/metrics")).text();
  assert.match(text, /^twintable_field_values_total\{namespace="Acme",field="celsius",Device="d1"\} 1$/m);
  assert.match(text, /^twintable_field_p95\{namespace="Acme",field="celsius",Place="the \\"hall\\""\} 21$/m);
  const listed = await ask("/api/metrics/series?namespace=Acme");
  assert.equal(listed.series.length, 3);
  // What ended long ago is no value of now.
  world.time += 10 * minute;
  assert.doesNotMatch(await (await app.request("http://localhost/metrics")).text(), /twintable_field_p95\{/);
});

const hour = 60 * minute, day = 24 * hour, all = { namespace: "Acme", field: "celsius", dimensions: {} };

Deno.test("field metrics: a killed worker loses the last fifth of its period; a period costs five write units at most", async () => {
  for (const period of [60, 300, 3600]) {
    const world = new World(period), model = world.schema.models.get("Reading")!;
    const { metrics } = world.worker(), { write } = world.tables.log;
    let units = 0;
    world.tables.log.write = (writes, options) => {
      for (const one of writes) if (one.op === "put" && String(one.item.hash).startsWith("fields#")) units++;
      return write.call(world.tables.log, writes, options);
    };
    // One value each ten seconds, and the worker's timer after it: for an hour and a bit.
    const ticks = 400, time = { fromMs: start, toMs: start + 3 * hour, stepMs: 3 * hour };
    for (let i = 1; i <= ticks; i++) {
      metrics.observer.stored(identity, model, { celsius: i });
      world.time += 10_000;
      await metrics.save();
      if (i % 7 !== 0) continue;
      const { series } = await readFieldSeries(world.tables.log, all, time);
      const lost = i - series[0]!.points.reduce((sum, [, count]) => sum + (count ?? 0), 0);
      assert.ok(lost <= Math.max(period / 5, 60) / 10, `${lost} values lost, period ${period} s`);
    }
    // Three series: of the device, of all, and of no place.
    const most = 3 * Math.ceil(ticks * 10 / period) * Math.min(5, period / 60);
    assert.ok(units <= most, `${units} write units, at most ${most}, period ${period} s`);
    await metrics.close();
    await world.tables.close();
  }
});

Deno.test("field metrics: running periods cost a bounded number of writes, those that waited longest first", async () => {
  await using world = new World(300);
  const { metrics } = world.worker(), { write } = world.tables.log, model = world.schema.models.get("Reading")!;
  const written: string[][] = [];
  world.tables.log.write = (writes, options) => {
    const parts = writes.flatMap((one) =>
      one.op === "put" && String(one.item.hash).startsWith("fields#") ? String(one.item.hash) : []
    );
    if (parts.length > 0) written.push(parts);
    return write.call(world.tables.log, writes, options);
  };
  const count = partsMax + partsMax / 2,
    each = () => {
      for (let i = 0; i < count; i++) {
        metrics.observer.stored({ deviceId: `d${i}`, accountId: "acme" }, model, { celsius: 1 });
      }
    };
  each();
  world.time += minute;
  for (let i = 0; i < 3; i++) await metrics.save();
  assert.deepEqual(written.map(({ length }) => length), [partsMax, partsMax / 2 + 2]);
  assert.equal(new Set(written.flat()).size, count + 2);
  each();
  world.time += minute;
  await metrics.save();
  assert.deepEqual(new Set(written[2]), new Set(written[0]));
  // What did not change since is not written again.
  await metrics.save();
  for (let i = 0; i < 3; i++, world.time += 50_000) await metrics.save();
  assert.equal(written.length, 4);
  await metrics.close();
});

Deno.test("field metrics: each value is there once, whatever is written late, fails or goes back in time", async () => {
  for (let seed = 1; seed <= 15; seed++) {
    await using world = new World(300);
    const draws = new Random(seed),
      random = () => draws.next(),
      model = world.schema.models.get("Reading")!,
      { log } = world.tables;
    world.time = Math.ceil(start / day) * day - 200_000;
    const midnight = Math.ceil(start / day) * day, workers = [world.worker().metrics, world.worker().metrics];
    const late: Parameters<typeof log.write>[0][] = [], write = log.write.bind(log);
    let total = 0, isWell = false;
    log.write = async (writes, options) => {
      const fate = random();
      if (isWell || fate < 0.5) return await write(writes, options);
      if (fate < 0.9) late.push(structuredClone(writes));
      throw new Error("away");
    };
    const counted = async (unsaved: FieldMetrics[]) => {
      const time = { fromMs: midnight - day, toMs: midnight + day, stepMs: day };
      const { series } = await readFieldSeries(log, all, time, function* (text) {
        for (const metrics of unsaved) yield* metrics.unsaved(text);
      });
      return series[0]!.points.reduce((sum, [, count]) => sum + (count ?? 0), 0);
    };
    for (let step = 0; step < 120; step++) {
      const metrics = workers[random() < 0.5 ? 0 : 1]!, choice = random();
      if (choice < 0.3) metrics.observer.stored(identity, model, { celsius: 1 }), total++;
      else if (choice < 0.55) world.time += Math.floor(random() * 90_000);
      else if (choice < 0.58) world.time -= Math.floor(random() * 400_000);
      else if (choice < 0.95) await metrics.save();
      else if (late.length > 0) await write(late.splice(Math.floor(random() * late.length), 1)[0]!);
      assert.equal(await counted(workers), total, `seed ${seed}, step ${step}`);
    }
    isWell = true;
    for (const metrics of workers) await metrics.close();
    for (const writes of late) await write(writes);
    assert.equal(await counted([]), total, `seed ${seed}, at the end`);
  }
});
