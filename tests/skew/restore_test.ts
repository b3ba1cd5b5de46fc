/**
 * A table that was restored to an earlier time (rules B1–B8): the fleet heals it, by the stamps that its rows have; what is
 * not taken back stands in `_conflicts`, and nobody's removal is undone.
 */
import assert from "node:assert/strict";
import { compileSchema, type Json, jsonEquals } from "../../schema.ts";
import { SkewRig } from "./rig.ts";

type Policy = "newest" | "cloud" | "device" | "merge";

const fields = (name: string, hash: string, id: string) => ({
  pk: { type: "string", value: hash },
  sk: { type: "string", value: `${name}#\${name}` },
  [id]: { type: "string", required: true },
  name: { type: "string", required: true },
  v: { type: "number" },
});

function schemaOf(conflict: Policy = "newest", sync = "both", timestamps: boolean | "update" = "update") {
  return compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { isoDates: true, timestamps },
    models: {
      Own: fields("own", "d#${deviceId}", "deviceId"),
      Shared: fields("shared", "a#${accountId}", "accountId"),
      Meter: fields("meter", "d#${deviceId}", "deviceId"),
      Report: fields("report", "a#${accountId}", "accountId"),
      Notice: fields("notice", "a#${accountId}", "accountId"),
    },
    process: {
      Own: { sync, conflict },
      Shared: { sync, conflict },
      Meter: { sync: "up" },
      Report: { sync: "up" },
      Notice: { sync: "down" },
    },
  });
}

const insert = (model: string, name: string, v: number) =>
  `INSERT INTO "${model}"(name, v) VALUES ('${name}', ${v}) ON CONFLICT(name) DO UPDATE SET v = excluded.v`;
const hourMs = 3_600_000;

/** A copy of the table, of an hour before these models got the row `x`, which is in the table now. */
async function copyBeforeRow(rig: SkewRig, ...models: readonly string[]) {
  await rig.pass();
  const copy = await rig.keep();
  await rig.pass(hourMs);
  for (const model of models) rig.sql(model, insert(model, "x", 1));
  await rig.pass();
  return copy;
}

for (const conflict of ["newest", "cloud", "device", "merge"] as const) {
  Deno.test(`restore: the fleet heals the table, whoever comes first, and in the end all are equal (${conflict})`, async () => {
    for (const [order, together] of [[[0, 1], false], [[1, 0], false], [[0, 1], true], [[1, 0], true]] as const) {
      await using rig = new SkewRig(schemaOf(conflict), schemaOf(conflict), 2);
      const [a, b] = [rig.devices[order[0]]!, rig.devices[order[1]]!];
      for (const model of ["Own", "Shared", "Meter", "Report"]) rig.sql(model, insert(model, "before", 1));
      await rig.pass();
      const copy = await rig.keep();
      await rig.pass(hourMs);
      // After the time that is restored: a new item, an item written anew, one that a device removes.
      for (const model of ["Own", "Shared", "Meter", "Report"]) rig.sql(model, insert(model, "after", 2));
      rig.sql("Shared", insert("Shared", "before", 3), b);
      rig.sql("Own", `DELETE FROM Own WHERE name = 'before'`);
      await rig.pass();
      // One device has an older version of this than the other: it was away for the last write.
      rig.sql("Shared", insert("Shared", "twice", 4));
      await rig.pass();
      a.disconnect();
      rig.sql("Shared", insert("Shared", "twice", 5), b);
      await rig.pass(hourMs, [b]);
      b.disconnect();
      await rig.restore(copy);
      if (!together) await rig.pass(200_000, [a]);
      await rig.pass(200_000);
      await rig.pass(hourMs);
      const values = async (model: string) =>
        Object.fromEntries(Object.entries(await rig.itemsOf(model)).map(([name, item]) => [name, item.v]));
      assert.deepEqual(await values("Shared"), { after: 2, before: 3, twice: 5 });
      assert.deepEqual(await values("Own"), { after: 2 });
      assert.deepEqual(await values("Meter"), { after: 2, before: 1 });
      assert.deepEqual(await values("Report"), { after: 2, before: 1 });
      for (const device of rig.devices) {
        assert.deepEqual(rig.rows("SELECT name, v FROM Shared ORDER BY name", device), [
          { name: "after", v: 2 },
          { name: "before", v: 3 },
          { name: "twice", v: 5 },
        ]);
        assert.deepEqual(rig.rows("SELECT * FROM _rejected", device), []);
        assert.deepEqual(rig.rows("SELECT * FROM _outbox", device), []);
        assert.deepEqual(rig.rows("SELECT * FROM _sync_items WHERE offer IS NOT NULL", device), []);
      }
      // Who was away and had the older version is told of it; the one that heals has nothing to tell but the removal.
      const kept = rig.devices.flatMap((device) => rig.rows("SELECT why, item ->> 'v' AS v FROM _conflicts", device));
      assert.deepEqual(kept.filter(({ why }) => why !== "revived" && why !== "restored"), []);
    }
  });
}

Deno.test("restore: what a device learnt before the restored time, and the table lacks, was removed: it goes, with a copy", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf(), 2);
  rig.sql("Shared", insert("Shared", "old", 1));
  await rig.pass();
  rig.devices[1]!.disconnect();
  await rig.pass(hourMs, [rig.device]);
  rig.sql("Shared", `DELETE FROM Shared WHERE name = 'old'`);
  await rig.pass(hourMs, [rig.device]);
  const copy = await rig.keep();
  // Nobody who knows of the removal is there to make it again.
  rig.device.disconnect();
  await rig.restore(copy);
  await rig.pass(hourMs, [rig.devices[1]!]);
  assert.deepEqual(await rig.itemsOf("Shared"), {});
  assert.deepEqual(rig.rows("SELECT * FROM Shared", rig.devices[1]), []);
  const kept = rig.rows("SELECT why, item ->> 'v' AS v FROM _conflicts", rig.devices[1]);
  assert.deepEqual(kept, [{ why: "swept", v: 1 }]);
});

Deno.test("restore: a row written offline before the restored time and acknowledged after it is offered again", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf());
  await rig.pass();
  rig.device.disconnect();
  for (const model of ["Own", "Meter"]) rig.sql(model, insert(model, "x", 1));
  rig.now += 2 * hourMs;
  const copy = await rig.keep();
  rig.now += hourMs;
  await rig.pass();
  for (const model of ["Own", "Meter"]) assert.equal((await rig.itemsOf(model)).x?.v, 1);
  rig.device.disconnect();
  await rig.restore(copy);
  await rig.pass(hourMs);
  for (const model of ["Own", "Meter"]) assert.equal((await rig.itemsOf(model)).x?.v, 1, model);
});

Deno.test("restore: of rows that only sync up, those acknowledged before the restored time are not sent again", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf());
  await rig.pass();
  // More late answers, hours apart, than are remembered one by one.
  for (let i = 0; i < 70; i++) {
    rig.device.disconnect();
    rig.sql("Meter", insert("Meter", `m${i}`, i));
    rig.now += 2 * hourMs;
    await rig.pass(1000);
  }
  const noted = JSON.parse(String(rig.device.store.getMeta("lateRows"))) as number[][];
  assert.equal(noted.length, 64);
  rig.now += hourMs;
  const copy = await rig.keep();
  rig.device.disconnect();
  await rig.restore(copy);
  rig.sent.splice(0);
  await rig.pass(hourMs);
  const names = rig.sent.flatMap((m) => m.type === "up" ? m.changes.map(({ item }) => item?.name) : []);
  assert.deepEqual([...new Set(names)], [], "the last was acknowledged an hour before");
});

Deno.test("restore: away during two of them, a device offers what the first lost", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf());
  await rig.pass();
  const first = await rig.keep();
  rig.now += hourMs;
  rig.sql("Own", insert("Own", "x", 1));
  await rig.pass();
  rig.device.disconnect();
  rig.now += hourMs;
  await rig.restore(first);
  rig.now += hourMs;
  const second = await rig.keep();
  rig.now += hourMs;
  await rig.restore(second);
  await rig.pass(hourMs);
  assert.equal((await rig.itemsOf("Own")).x?.v, 1);
});

Deno.test("restore: what the cloud wrote, and a device only reads, is kept in _conflicts before the table's is taken", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf());
  await rig.put("Notice", { name: "n", v: 1 });
  await rig.pass();
  const copy = await rig.keep();
  await rig.pass(hourMs);
  await rig.put("Notice", { name: "n", v: 2 });
  await rig.put("Notice", { name: "new", v: 3 });
  await rig.pass();
  await rig.restore(copy);
  await rig.pass(hourMs);
  assert.deepEqual(rig.rows("SELECT name, v FROM Notice"), [{ name: "n", v: 1 }]);
  assert.deepEqual(
    rig.rows("SELECT key ->> 'name' AS name, item ->> 'v' AS v, why FROM _conflicts ORDER BY id"),
    [{ name: "n", v: 2, why: "restored" }, { name: "new", v: 3, why: "swept" }],
  );
});

Deno.test("restore: a cloud application's items are offered too, and one that it wrote since the restore stays", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf());
  await rig.put("Own", { name: "a", v: 1, updated: new Date(rig.now).toISOString() });
  await rig.pass();
  const copy = await rig.keep();
  await rig.pass(hourMs);
  await rig.put("Own", { name: "b", v: 2 });
  rig.sql("Own", insert("Own", "a", 3));
  rig.sql("Own", insert("Own", "c", 4));
  await rig.pass();
  rig.device.disconnect();
  rig.now += hourMs;
  await rig.restore(copy);
  rig.now += hourMs;
  await rig.put("Own", { name: "c", v: 5, updated: new Date(rig.now).toISOString() });
  await rig.pass(hourMs);
  const items = await rig.itemsOf("Own");
  assert.deepEqual([items.a?.v, items.b?.v, items.c?.v], [3, 2, 5]);
  assert.deepEqual(
    rig.rows("SELECT key ->> 'name' AS name, item ->> 'v' AS v, why FROM _conflicts"),
    [{ name: "c", v: 4, why: "restored" }],
  );
});

Deno.test("restore: an update that waits is not lost with its base, and a local write supersedes an offer", async () => {
  for (const conflict of ["newest", "cloud", "device", "merge"] as const) {
    await using rig = new SkewRig(schemaOf(conflict), schemaOf(conflict));
    await rig.pass();
    const copy = await rig.keep();
    await rig.pass(hourMs);
    for (const name of ["x", "y"]) rig.sql("Own", insert("Own", name, 1));
    await rig.pass();
    rig.device.disconnect();
    await rig.restore(copy);
    rig.now += 10_000;
    rig.sql("Own", insert("Own", "x", 2));
    await rig.pass(1);
    rig.sql("Own", insert("Own", "y", 3));
    await rig.pass(hourMs);
    const items = await rig.itemsOf("Own");
    assert.deepEqual([items.x?.v, items.y?.v], [2, 3], conflict);
    assert.deepEqual(rig.rows("SELECT why FROM _conflicts"), [], conflict);
  }
});

Deno.test("restore: an answer of another epoch settles nothing until the device has met it", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf());
  const copy = await copyBeforeRow(rig, "Own");
  // The device stays connected: the first that it hears of the restored table is the answer to an update.
  await rig.restore(copy);
  rig.sql("Own", insert("Own", "x", 2));
  await rig.pass(hourMs);
  assert.equal((await rig.itemsOf("Own")).x?.v, 2);
  assert.deepEqual(rig.rows("SELECT name, v FROM Own"), [{ name: "x", v: 2 }]);
  assert.deepEqual(rig.rows("SELECT why FROM _conflicts"), []);
});

Deno.test("restore: what somebody wrote in another form than the schema's is offered in the schema's, and rejected by nobody", async () => {
  const rawForms: readonly [type: string, raw: Json, form: Json][] = [
    ["date", Date.UTC(2026, 0, 2), "2026-01-02T00:00:00.000Z"],
    ["date", "2026-01-02", "2026-01-02T00:00:00.000Z"],
    ["date", "2026-01-02T01:00:00+01:00", "2026-01-02T00:00:00.000Z"],
    ["string", 12.5, "12.5"],
    ["number", "12.5", 12.5],
    ["boolean", "true", true],
    ["boolean", 0, false],
    ["array", "[1,2]", [1, 2]],
    ["object", '{"a":1}', { a: 1 }],
    ["set", '["a","b"]', { $ss: ["a", "b"] }],
  ];
  const typed = Object.fromEntries(rawForms.map(([type], i) => [`f${i}`, { type }]));
  const schema = compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { isoDates: true },
    models: { Own: { ...fields("own", "d#${deviceId}", "deviceId"), ...typed } },
    process: { Own: { sync: "both" } },
  });
  await using rig = new SkewRig(schema, schema);
  await rig.pass();
  const copy = await rig.keep();
  await rig.pass(hourMs);
  for (const [i, [, raw]] of rawForms.entries()) await rig.put("Own", { name: `r${i}`, [`f${i}`]: raw, other: "kept" });
  await rig.pass();
  const before = rig.rows("SELECT * FROM Own ORDER BY name");
  assert.equal(before.length, rawForms.length, "each of them can be read");
  rig.device.disconnect();
  await rig.restore(copy);
  await rig.pass(hourMs);
  const items = await rig.itemsOf("Own");
  for (const [i, [type, raw, form]] of rawForms.entries()) {
    const { [`f${i}`]: healed, other } = items[`r${i}`] ?? {};
    // Whatever the cloud takes as it is stays as it was.
    assert.ok(jsonEquals(healed ?? null, form) || jsonEquals(healed ?? null, raw), `${type} ${JSON.stringify(raw)}`);
    assert.equal(other, "kept");
  }
  assert.deepEqual(rig.rows("SELECT * FROM Own ORDER BY name"), before);
  assert.deepEqual(rig.rows("SELECT reason FROM _rejected"), []);
  assert.deepEqual(rig.rows("SELECT why FROM _conflicts"), []);
});

Deno.test("restore: an offer that the cloud refuses, and an item that was set aside, hold up nothing and are kept", async () => {
  const schema = compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { isoDates: true },
    models: {
      Own: {
        ...fields("own", "d#${deviceId}", "deviceId"),
        mail: { type: "string", validate: "/^.+@.+$/" },
        kind: { type: "string", enum: ["a", "b"] },
        slot: { type: "string", unique: true },
      },
    },
    process: { Own: { sync: "both" } },
  });
  await using rig = new SkewRig(schema, schema);
  await rig.pass();
  const copy = await rig.keep();
  await rig.pass(hourMs);
  // Whoever writes past the API may write what the schema forbids.
  await rig.put("Own", { name: "good", mail: "a@b", slot: "1" });
  await rig.put("Own", { name: "moved", v: 1, slot: "2" });
  await rig.put("Own", { name: "unfit", mail: "nobody" });
  await rig.put("Own", { name: "other", kind: "c" });
  await rig.pass();
  await rig.put("Own", { name: "moved", v: 2, slot: "1" });
  await rig.pass();
  assert.deepEqual(rig.rows("SELECT sort FROM _sync_aside ORDER BY sort"), [{ sort: "own#moved" }, {
    sort: "own#other",
  }]);
  rig.device.disconnect();
  await rig.restore(copy);
  await rig.pass(hourMs);
  const items = await rig.itemsOf("Own");
  assert.deepEqual([Object.keys(items).sort(), items.moved!.v], [["good", "moved"], 1]);
  assert.deepEqual(rig.rows("SELECT name, v FROM Own ORDER BY name"), [{ name: "good", v: null }, {
    name: "moved",
    v: 1,
  }]);
  assert.deepEqual(rig.rows("SELECT item ->> 'name' AS name, code FROM _rejected"), [{
    name: "unfit",
    code: "invalid",
  }]);
  const kept = rig.rows("SELECT item ->> 'name' AS name, item ->> 'v' AS v, why FROM _conflicts ORDER BY name");
  assert.deepEqual(kept, [{ name: "moved", v: 2, why: "restored" }, { name: "other", v: null, why: "restored" }]);
  for (const table of ["_sync_aside", "_outbox", "_inflight"]) assert.deepEqual(rig.rows(`SELECT * FROM ${table}`), []);
  assert.ok(rig.device.twin.settled);
});

Deno.test("restore: what waits beside the table of a model that only goes up is kept, and waits no longer", async () => {
  const schema = compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: { Report: { ...fields("report", "a#${accountId}", "accountId"), slot: { type: "string", unique: true } } },
    process: { Report: { sync: "up" } },
  });
  await using rig = new SkewRig(schema, schema);
  await rig.pass();
  const copy = await rig.keep();
  await rig.pass(hourMs);
  await rig.put("Report", { name: "b", v: 9, slot: "1" });
  rig.sql("Report", "INSERT INTO Report(name, v, slot) VALUES ('a', 1, '1'), ('b', 2, '2')");
  await rig.pass();
  const aside = () => rig.rows("SELECT sort FROM _sync_aside");
  assert.deepEqual(aside(), [{ sort: "report#b" }]);
  rig.device.disconnect();
  await rig.restore(copy);
  await rig.pass(hourMs);
  assert.deepEqual(aside(), []);
  assert.deepEqual(rig.rows("SELECT item ->> 'v' AS v, why FROM _conflicts ORDER BY v"), [{ v: 2, why: "stale" }, {
    v: 9,
    why: "restored",
  }]);
});

Deno.test("restore: an idle device that stays connected heals every channel when the worker says that it is there", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf(), 1, { syncIntervalMs: Infinity });
  const models = ["Own", "Shared", "Meter", "Report"], copy = await copyBeforeRow(rig, ...models);
  await rig.restore(copy, copy.atMs, true);
  await rig.pass(30_000);
  for (const model of models) assert.equal((await rig.itemsOf(model)).x?.v, 1, model);
});

Deno.test("restore: a batch with an ignored answer is sent again as soon as the device has met the epoch", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf(), 1, { syncIntervalMs: Infinity });
  await rig.pass();
  const copy = await rig.keep();
  rig.spoils = ({ type }) => type === "ack" ? "swallowed" : undefined;
  rig.sql("Own", insert("Own", "x", 1));
  // Unanswered for so long, it is sent once a minute.
  await rig.pass(hourMs / 4);
  assert.equal(rig.count("_inflight"), 1);
  // The answer to the batch comes before the snapshot does.
  rig.spoils = ({ type }) => type === "snapshot" ? "swallowed" : undefined;
  await rig.restore(copy, copy.atMs, true);
  await rig.pass(1);
  assert.equal(rig.count("_inflight"), 1);
  rig.spoils = () => undefined;
  await rig.pass(30_000);
  assert.equal((await rig.itemsOf("Own")).x?.v, 1);
  assert.equal(rig.count("_inflight"), 0, "it is answered, and not ignored");
});

Deno.test("restore: a device that hears of it on one channel heals the others as well", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf(), 1, { syncIntervalMs: Infinity });
  const copy = await copyBeforeRow(rig, "Own");
  await rig.restore(copy);
  // The live message of somebody else's write is all that comes.
  await rig.put("Notice", { name: "n", v: 1 });
  await rig.pass(30_000);
  assert.equal((await rig.itemsOf("Own")).x?.v, 1);
});

Deno.test("restore: what a device knows to be removed, whoever wrote it, is removed again, with a copy", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf(), 2);
  rig.sql("Shared", insert("Shared", "x", 1), rig.devices[1]);
  await rig.pass();
  const copy = await rig.keep();
  await rig.pass(hourMs);
  rig.sql("Shared", `DELETE FROM Shared WHERE name = 'x'`);
  await rig.pass();
  // Its writer stays away: who removed it comes alone.
  rig.devices[1]!.disconnect();
  await rig.restore(copy);
  await rig.pass(hourMs, [rig.device]);
  assert.deepEqual(await rig.itemsOf("Shared"), {});
  await rig.pass(hourMs);
  for (const device of rig.devices) assert.deepEqual(rig.rows("SELECT * FROM Shared", device), []);
  const kept = rig.devices.flatMap((device) => rig.rows("SELECT why, item ->> 'v' AS v FROM _conflicts", device));
  assert.ok(kept.some(({ why, v }) => why === "revived" && v === 1));
});

Deno.test("restore: another's version by a stamp that this device gave to one of its own is offered below it", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf(), 2);
  await rig.pass();
  const copy = await rig.keep();
  await rig.pass(hourMs);
  // Both write at the same moment: the stamps are equal, and one of them stays.
  for (const [i, device] of rig.devices.entries()) rig.sql("Shared", insert("Shared", "x", i), device);
  await rig.pass();
  const x = (await rig.itemsOf("Shared")).x!.v;
  const loser = rig.devices[x === 0 ? 1 : 0]!;
  for (const device of rig.devices) device.disconnect();
  await rig.restore(copy);
  await rig.pass(hourMs, [loser]);
  assert.equal((await rig.itemsOf("Shared")).x?.v, x);
  const sent = rig.sent.flatMap((message) =>
    message.type === "up" ? message.changes.map((c) => [message.batch, c] as const) : []
  );
  const versions = new Map<string, unknown>();
  for (const [batch, { item, stamp, model }] of sent) {
    if (model !== "Shared" || !item) continue;
    const version = `${batch.split("/")[0]} ${stamp}`, known = versions.get(version);
    if (known !== undefined) assert.deepEqual(known, item, "one version is one content");
    versions.set(version, item);
  }
});

Deno.test("restore: an epoch that follows at once ends nothing: what waits to be fetched is compared all the same", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf(), 1, { syncIntervalMs: Infinity });
  const models = ["Own", "Shared"];
  for (const model of models) rig.sql(model, insert(model, "old", 1));
  const copy = await copyBeforeRow(rig, ...models);
  for (const model of models) rig.sql(model, insert(model, "old", 2));
  await rig.pass();
  // The snapshot does not show the row, which is asked for by its name; the answer does not come.
  rig.spoils = ({ type }) => type === "items" ? "swallowed" : undefined;
  await rig.restore(copy, copy.atMs, true);
  await rig.pass(1);
  assert.ok(rig.told.some(({ type }) => type === "items"), "asked and answered");
  // As in AWS, where the restored table has another stream than the workers know.
  await rig.beginEpoch();
  rig.spoils = () => undefined;
  await rig.pass(hourMs);
  for (const model of models) {
    assert.deepEqual(rig.rows(`SELECT name, v FROM "${model}" ORDER BY name`), [
      { name: "old", v: 2 },
      { name: "x", v: 1 },
    ]);
    const items = await rig.itemsOf(model);
    assert.deepEqual([items.old?.v, items.x?.v], [2, 1], model);
  }
  assert.deepEqual(rig.rows("SELECT * FROM _conflicts"), []);
});

Deno.test("restore: after an epoch of another kind nothing is offered that was learnt since the restore", async () => {
  await using rig = new SkewRig(schemaOf(), schemaOf(), 2);
  const copy = await copyBeforeRow(rig, "Shared");
  await rig.restore(copy);
  await rig.pass();
  rig.sql("Shared", insert("Shared", "new", 1));
  await rig.pass();
  rig.devices[1]!.disconnect();
  rig.sql("Shared", "DELETE FROM Shared WHERE name = 'new'");
  await rig.pass(hourMs, [rig.device]);
  // Nobody who knows of the removal is there to make it again.
  rig.device.disconnect();
  await rig.beginEpoch();
  await rig.pass(hourMs, [rig.devices[1]!]);
  assert.deepEqual(Object.keys(await rig.itemsOf("Shared")), ["x"]);
  assert.deepEqual(rig.rows("SELECT name FROM Shared", rig.devices[1]), [{ name: "x" }]);
});
