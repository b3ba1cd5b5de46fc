/**
 * Verification: what was altered behind the protocol's back is found, named and mended by the rules, at the cost of the
 * differences and not of the data.
 */
import assert from "node:assert/strict";
import { encode } from "../../../protocol.ts";
import { compileSchema, type OneTableSchema } from "../../../schema.ts";
import { assertTwinned } from "../../support/compare.ts";
import { SkippingClock } from "../../support/clock.ts";
import { type Device, openDevice } from "../../support/device.ts";
import { e2eSchema } from "../../support/schema.ts";
import { connect, count } from "../../support/sql.ts";
import { TempDir } from "../../support/temp_dir.ts";
import { openTestCloud, type TestCloud } from "../../support/test_cloud.ts";
import { until } from "../../support/until.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };
const patient = { timeoutMs: 60_000 };
const limits = { settleMs: 150 };

/** Runs SQL as somebody does who has dropped the triggers, and puts them back. */
function behind(device: Device, sql: string): void {
  using db = connect(device.path);
  db.exec("BEGIN IMMEDIATE");
  const triggers = db.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all();
  for (const { name } of triggers) db.exec(`DROP TRIGGER "${name}"`);
  db.exec(sql);
  for (const trigger of triggers) db.exec(String(trigger.sql));
  db.exec("COMMIT");
}

/** A cloud and a device that agree on three items of a model, and on some of others. */
async function twinned(model: string, run: (cloud: TestCloud, device: Device) => Promise<void>): Promise<void> {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const clock = new SkippingClock();
  await using device = await openDevice(dir, cloud, { clock, limits });
  const rows = ["a", "b", "c"].map((name) => ({ name, value: 1, text: name }));
  if (model === "Command" || model === "Notice") await cloud.putAll(model, rows, identity);
  else {for (const { name } of rows) {
      const [column, value] = model === "Sample" ? ["id", `'${name}', 1`] : ["name", `'${name}', 1`];
      device.exec(`INSERT INTO ${model}(${column}, ${model === "Sample" ? "n" : "value"}) VALUES (${value})`);
    }}
  device.exec("INSERT INTO Board(name, value) VALUES ('x', 1), ('y', 2)");
  await settled(cloud, device);
  clock.skip();
  await run(cloud, device);
}

async function settled(cloud: TestCloud, device: Device): Promise<void> {
  await device.settle();
  await cloud.streamed();
  await device.settle();
  const awaited = "SELECT count(*) FROM _sync_items WHERE awaiting = 1 OR recheck IS NOT NULL";
  await until("every echo has come", () => device.count(awaited) === 0, 60_000);
}

Deno.test("verify: twins that are equal are said to be, whatever their models", async () => {
  await twinned("Setting", async (cloud, device) => {
    await cloud.put("Notice", { name: "n" }, identity);
    device.exec("INSERT INTO Sample(id, n) VALUES ('s', 1); INSERT INTO Site(name) VALUES ('here')");
    await settled(cloud, device);
    const report = await device.agent.verify(patient);
    assert.deepEqual([report.differences, report.unsettled, report.found], [0, 0, []]);
    const rows = Object.fromEntries(Object.entries(report.models).map(([name, { rows }]) => [name, rows]));
    assert.deepEqual(rows, {
      ...{ Setting: 3, Cloudy: 0, Devicey: 0, Merged: 0, Command: 0, Site: 1, Board: 2, Notice: 1, Sample: 1 },
    });
  });
});

for (const model of ["Setting", "Cloudy", "Devicey", "Merged", "Site", "Board"]) {
  Deno.test(`verify: rows of ${model} that were altered behind the triggers are found, and sent up by repair`, async () => {
    await twinned(model, async (cloud, device) => {
      behind(
        device,
        `UPDATE ${model} SET value = 7 WHERE name = 'a';
         DELETE FROM ${model} WHERE name = 'b';
         INSERT INTO ${model}(name, value) VALUES ('new', 9)`,
      );
      const before = await cloud.items(model);
      const found = await device.agent.verify({ models: [model], ...patient });
      const named = found.found.map(({ key, what }) => [key.name, what]).sort();
      const expected = [["a", "differs"], ["b", "only in the cloud"], ["new", "only on the device"]];
      assert.deepEqual(named, expected);
      assert.match(found.found.find(({ key }) => key.name === "a")!.detail, /^value; .*not captured/);
      assert.deepEqual(await cloud.items(model), before, "looking alters nothing");

      const mended = await device.agent.verify({ models: [model], repair: true, ...patient });
      assert.deepEqual([mended.differences, mended.mended], [3, 3]);
      assert.ok(mended.found.every((difference) => difference.mended));
      const rows = await assertTwinned(cloud, device.path, model);
      const named3 = model === "Board" ? ["a", "c", "new", "x", "y"] : ["a", "c", "new"];
      assert.deepEqual(rows.map(({ name }) => name).sort(), named3);
      assert.equal(rows.find(({ name }) => name === "a")!.value, 7);
      assert.equal((await device.agent.verify({ models: [model], ...patient })).differences, 0);
    });
  });
}

Deno.test("verify: rows of a model that only comes down are put back as the table has them", async () => {
  await twinned("Command", async (cloud, device) => {
    behind(
      device,
      `UPDATE Command SET value = 7 WHERE name = 'a';
       DELETE FROM Command WHERE name = 'b';
       INSERT INTO Command(name, value) VALUES ('new', 9)`,
    );
    const report = await device.agent.verify({ repair: true, ...patient });
    assert.deepEqual([report.differences, report.mended, report.models.Command!.mended], [3, 3, 3]);
    const rows = await assertTwinned(cloud, device.path, "Command");
    assert.deepEqual(rows.map(({ name, value }) => [name, value]), [["a", 1], ["b", 1], ["c", 1]]);
  });
});

Deno.test("verify: repair keeps to the keys a second that it is allowed, and reloads nothing", async () => {
  await twinned("Setting", async (cloud, device) => {
    behind(device, "UPDATE Setting SET value = 7");
    const before = device.agent.status();
    const startMs = performance.now();
    const report = await device.agent.verify({ models: ["Setting"], repair: true, keysPerSecond: 2, ...patient });
    assert.deepEqual([report.differences, report.mended], [3, 3]);
    // Three keys at two a second: whatever else it takes, a second and a half.
    assert.ok(performance.now() - startMs >= 1_500, `three keys were mended in ${performance.now() - startMs} ms`);
    await assertTwinned(cloud, device.path, "Setting");
    const { cursors } = device.agent.status();
    for (const [channel, { epoch, seq, snapshot }] of Object.entries(cursors)) {
      assert.equal(snapshot, false, channel);
      assert.equal(epoch, before.cursors[channel]!.epoch, channel);
      assert.ok(seq! >= before.cursors[channel]!.seq!, `${channel} went back`);
    }
  });
});

Deno.test("verify: of a model that only syncs up the device's rows are sent again, its purged ones are not missed", async () => {
  await twinned("Sample", async (cloud, device) => {
    behind(device, "UPDATE Sample SET n = 7 WHERE id = 'a'; DELETE FROM Sample WHERE id = 'b'");
    await cloud.remove("Sample", { id: "c" }, identity);
    const [item] = await cloud.items("Sample");
    await cloud.tables.data.write([{ op: "put", item: { ...item!, seen: "by an application" } }]);
    const report = await device.agent.verify({ repair: true, ...patient });
    assert.deepEqual(report.found.map(({ key, what, mended }) => [key.id, what, mended]), [
      ["a", "differs", true],
      ["c", "only on the device", true],
    ]);
    const items = await cloud.items("Sample");
    assert.deepEqual(items.map(({ id, n }) => [id, n]), [["a", 7], ["b", 1], ["c", 1]]);
    // What an application added to an item is no difference.
    assert.equal((await device.agent.verify(patient)).differences, 0);
  });
});

Deno.test("verify: of a model that several devices send up, another's newer item is no difference, and what is one is mended", async () => {
  using dir = new TempDir();
  const shared = { ...e2eSchema, process: { ...e2eSchema.process, Site: { sync: "up" } } } as unknown as OneTableSchema;
  const schema = compileSchema(shared);
  await using cloud = await openTestCloud({ schema });
  await using device = await openDevice(dir, cloud, { limits, schema });
  await using other = await openDevice(dir, cloud, { limits, schema, device: "dev-2" });
  device.exec("INSERT INTO Site(name, value) VALUES ('a', 1), ('b', 1), ('c', 1)");
  await device.settle();
  other.exec("INSERT INTO Site(name, value) VALUES ('a', 2)");
  await other.settle();
  await cloud.remove("Site", { name: "b" }, identity);
  behind(device, "UPDATE Site SET value = 7 WHERE name = 'c'");
  // What can't be mended would be waited for, for a minute and a half.
  const report = await device.agent.verify({ models: ["Site"], repair: true, timeoutMs: 20_000 });
  assert.deepEqual(report.found.map(({ key, what, mended }) => [key.name, what, mended]), [
    ["b", "only on the device", true],
    ["c", "differs", true],
  ]);
  assert.deepEqual((await cloud.items("Site")).map(({ name, value }) => [name, value]), [["a", 2], ["b", 1], ["c", 7]]);
  assert.equal((await device.agent.verify({ models: ["Site"], ...patient })).differences, 0);
});

Deno.test("verify: where both sides changed, the policy decides and the loser is kept", async () => {
  await twinned("Cloudy", async (cloud, device) => {
    // The base that the device remembers is neither the row nor the table's item.
    behind(
      device,
      `UPDATE Cloudy SET value = 7 WHERE name = 'a';
       UPDATE _sync_items SET stamp = stamp - 1, base = json_set(base, '$.value', 3) WHERE sort = 'cloudy#a'`,
    );
    const report = await device.agent.verify({ repair: true, ...patient });
    assert.match(report.found[0]!.detail, /both sides changed/);
    assert.equal(report.mended, 1);
    assert.equal((await assertTwinned(cloud, device.path, "Cloudy"))[0]!.value, 1);
    const kept = device.query("SELECT item FROM _conflicts").map(({ item }) => JSON.parse(String(item)).value);
    assert.deepEqual(kept, [7]);
  });
});

Deno.test("verify: three differences in ten thousand rows cost a fraction of the rows", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud, { limits });
  device.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO Setting(name, value, text) SELECT printf('%05d', i), i, printf('%0200d', i) FROM n`);
  await settled(cloud, device);
  behind(
    device,
    `UPDATE Setting SET value = -1 WHERE name IN ('00017', '05000');
     DELETE FROM Setting WHERE name = '10000'`,
  );
  device.tap.sent.length = device.tap.received.length = 0;
  const report = await device.agent.verify(patient);
  assert.deepEqual(report.found.map(({ key }) => key.name), ["00017", "05000", "10000"]);
  assert.equal(report.models.Setting!.rows, 9_999);
  const messages = [...device.tap.sent, ...device.tap.received].filter(({ type }) => type !== "page");
  const bytes = messages.reduce((sum, m) => sum + encode(m).reduce((n, part) => n + part.length, 0), 0);
  assert.ok(messages.length < 80, `${messages.length} messages`);
  assert.ok(bytes < 250_000, `${bytes} bytes of 3,500,000`);
});

Deno.test("verify: more differences than are looked at at once, and lost and repeated messages, are all found", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud, { limits: { ...limits, retryMs: 300 } });
  device.exec("INSERT INTO Setting(name, value) VALUES ('5000', 1)");
  await settled(cloud, device);
  behind(
    device,
    `WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 2299)
     INSERT INTO Setting(name, value) SELECT printf('%04d', i), i FROM n`,
  );
  let n = 0;
  const fate = ({ type }: { type: string }) =>
    ["compare", "fetch", "digests", "items"].includes(type) ? (["drop", 2, "pass"] as const)[n++ % 3]! : "pass";
  device.tap.onSend = device.tap.onReceive = fate;
  const verified = device.agent.verify({ repair: true, keysPerSecond: 10_000, timeoutMs: 120_000 });
  const report = await verified;
  device.tap.onSend = device.tap.onReceive = () => "pass";
  assert.deepEqual([report.differences, report.mended, report.found.length], [1300, 1300, 1000]);
  await assertTwinned(cloud, device.path, "Setting");
});

Deno.test("verify: the cloud that asked is told every few seconds how far it is, and never takes that for the end", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const clock = new SkippingClock();
  await using device = await openDevice(dir, cloud, { clock, limits });
  device.exec("INSERT INTO Setting(name, value) VALUES ('a', 1), ('b', 2)");
  await settled(cloud, device);
  const told = () => device.tap.sent.filter((message) => message.type === "verified");
  const stored = () => cloud.cloud.registry.report("dev-1");
  // What it compares is held back while the time passes.
  device.tap.onReceive = ({ type }) => type === "digests" ? "hold" : "pass";
  const request = await cloud.cloud.service.requestVerify("dev-1", { repair: false });
  await until("it has asked", () => device.tap.held > 0);
  assert.deepEqual(told(), []);
  clock.skip(5_100);
  await until("it says how far it is", () => told().length === 1);
  const { request: under, report } = told()[0]!;
  assert.deepEqual([under, report.state, report.of], [`running-${request}`, "running", 2]);
  await until("the cloud has it", async () => (await stored())?.request === under);
  device.tap.onReceive = () => "pass";
  device.tap.release();
  await until("the last report is there", async () => (await stored())?.request === request);
  assert.deepEqual((await stored())!.report.state, "done");
  // Who does not ask, a worker of an older version, is told the end alone.
  const before = told().length;
  device.tap.onReceive = ({ type }) => type === "digests" ? "hold" : "pass";
  device.tap.replay({ type: "verify", request: "verify/1", repair: false });
  await until("it has asked again", () => device.tap.held > 0);
  clock.skip(5_100);
  // It looks at the time at least once a second.
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  device.tap.onReceive = () => "pass";
  device.tap.release();
  await until("it has told the end", async () => (await stored())?.request === "verify/1");
  assert.equal(told().length, before + 1);
});

Deno.test("verify: models that are listed by a secondary index are compared item by item", async () => {
  using dir = new TempDir();
  const device2 = { type: "string", value: "device#${deviceId}" } as const;
  const schema = {
    ...e2eSchema,
    indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk" } },
    models: {
      ...e2eSchema.models,
      Setting: {
        ...e2eSchema.models.Setting,
        pk: { type: "string", value: "thing#${deviceId}#${name}" },
        sk: { type: "string", value: "thing#" },
        gs1pk: device2,
        gs1sk: { type: "string", value: "thing#${name}" },
      },
    },
  } as unknown as OneTableSchema;
  await using cloud = await openTestCloud({ schema: compileSchema(schema) });
  const { openAgent } = await import("../../../agent/open.ts");
  const path = dir.file("d.db"), clock = new SkippingClock();
  await using agent = await openAgent({
    schema,
    device: "dev-1",
    account: "acme",
    path,
    clock,
    limits,
    mqtt: cloud.mqttUrl,
    password: await cloud.token("dev-1", "acme"),
  });
  const run = (sql: string) => {
    using db = connect(path);
    db.exec(sql);
  };
  run("INSERT INTO Setting(name, value) VALUES ('a', 5), ('b', 5), ('c', 4)");
  await agent.flush(patient);
  const awaited = "SELECT count(*) FROM _sync_items WHERE awaiting = 1 OR recheck IS NOT NULL";
  await until("every echo has come", () => count(path, awaited) === 0, 60_000);
  clock.skip();
  behind(
    { path } as Device,
    `UPDATE Setting SET value = 6 WHERE name = 'a'; DELETE FROM Setting WHERE name = 'b';
     INSERT INTO Setting(name, value) VALUES ('d', 1)`,
  );
  const report = await agent.verify({ models: ["Setting"], repair: true, ...patient });
  assert.deepEqual(report.found.map(({ key, what }) => `${key.name} ${what}`).sort(), [
    "a differs",
    "b only in the cloud",
    "d only on the device",
  ]);
  assert.equal(report.mended, 3);
});

Deno.test("verify: the cloud asks a device, and keeps what it tells", async () => {
  await twinned("Setting", async (cloud, device) => {
    behind(device, "UPDATE Setting SET value = 7 WHERE name = 'a'");
    const request = await cloud.cloud.service.requestVerify("dev-1", { repair: true });
    let report = await cloud.cloud.registry.report("dev-1");
    await until(
      "the device told of it",
      async () => (report = await cloud.cloud.registry.report("dev-1")) !== undefined,
    );
    assert.equal(report!.request, request);
    assert.deepEqual([report!.report.state, report!.report.differences, report!.report.mended], ["done", 1, 1]);
    await assertTwinned(cloud, device.path, "Setting");
  });
});

Deno.test("verify: a device is told nothing of another's channel", async () => {
  await twinned("Setting", async (_cloud, device) => {
    const [theirs, ours] = ["device:dev-2", "device:dev-1"].map((channel, i) => ({
      type: "compare" as const,
      request: `x/${i}`,
      channel,
      each: true,
    }));
    device.tap.received.length = 0;
    device.tap.link.send(theirs!);
    device.tap.link.send(ours!);
    const answers = () => device.tap.received.filter((m) => m.type === "digests");
    await until("the device's own channel is answered", () => answers().length > 0);
    assert.deepEqual(answers().map((m) => "request" in m && m.request), ["x/1"]);
  });
});

Deno.test("verify: a model that is none is refused, and a device without a link waits", async () => {
  using dir = new TempDir();
  await using device = await openDevice(dir, undefined);
  await assert.rejects(device.agent.verify({ models: ["Nothing"] }), RangeError);
  await assert.rejects(device.agent.verify({ timeoutMs: 100 }), { code: "timeout" });
});
