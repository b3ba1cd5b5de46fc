/**
 * `rejected` and `conflicts`: what the cloud refused, or what lost, is put back once what was wrong is put right.
 */
import assert from "node:assert/strict";
import { assertTwinned } from "../support/compare.ts";
import { openDevice } from "../support/device.ts";
import { query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { until } from "../support/until.ts";
import { run } from "./run.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };

Deno.test("cli: a refused change is listed, shown, and arrives by retry when nothing stands against it any more", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  const db = ["--db", device.path];
  // Larger than an item of DynamoDB may be.
  device.exec("INSERT INTO Setting(name, text) VALUES ('big', hex(zeroblob(300000))), ('small', 'x')");
  await until("it is refused", () => device.count("SELECT count(*) FROM _rejected") === 1);
  await device.settle();
  assert.equal(device.count("SELECT count(*) FROM Setting WHERE name = 'big'"), 0);

  const list = await run("rejected", "list", ...db);
  assert.match(list.stdout, /^1 {2}\d{4}-.*Z {2}create Setting \{"name":"big"\}: too-large: /);
  const shown = JSON.parse((await run("rejected", "show", "1", ...db, "--json")).stdout);
  assert.deepEqual([shown.model, shown.op, shown.item.text.length, shown.row], ["Setting", "create", 600_000, null]);
  assert.match((await run("rejected", "show", "1", ...db)).stdout, /row now {4}none/);

  // As an application does it that has shortened the text.
  device.exec("UPDATE _rejected SET item = json_set(item, '$.text', 'short')");
  const retried = await run("rejected", "retry", "1", ...db);
  assert.deepEqual(
    [retried.code, retried.stdout.trim()],
    [0, '1: Setting {"name":"big"} is written again'],
    retried.stderr,
  );
  await device.settle();
  const rows = await assertTwinned(cloud, device.path, "Setting");
  assert.deepEqual(rows.map(({ name, text }) => [name, text]), [["big", "short"], ["small", "x"]]);
  assert.equal((await run("rejected", "list", ...db)).stdout.trim(), "none");
});

Deno.test("cli: the version that lost a conflict is restored, and wins then", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  const db = ["--db", device.path];
  device.exec("INSERT INTO Cloudy(name, value) VALUES ('k', 1), ('other', 1)");
  await device.settle();
  device.tap.cut();
  for (const [i, name] of ["k", "other"].entries()) {
    device.exec(`UPDATE Cloudy SET value = ${10 + i} WHERE name = '${name}'`);
    await cloud.put("Cloudy", { name, value: 20 + i }, identity);
  }
  device.tap.mend();
  await until("both have lost", () => device.count("SELECT count(*) FROM _conflicts") === 2);
  await cloud.streamed();
  await device.settle();
  const refused = await run("conflicts", "restore", "1", ...db);
  if (refused.code !== 0) assert.match(refused.stderr, /was written again .*force/);
  const shown = JSON.parse((await run("conflicts", "list", ...db, "--json")).stdout);
  for (const { id, item } of shown) {
    const { code, stderr } = await run("conflicts", "restore", String(id), "--force", ...db);
    assert.equal(code, 0, `${stderr} ${JSON.stringify(item)}`);
  }
  await device.settle();
  await cloud.streamed();
  await device.settle();
  const rows = await assertTwinned(cloud, device.path, "Cloudy");
  assert.deepEqual(rows.map(({ value }) => value), [10, 11]);
});

Deno.test("cli: what can't be put back says why, in one line, and alters nothing; dropping forgets", async () => {
  using dir = new TempDir();
  await using device = await openDevice(dir, undefined);
  const db = ["--db", device.path];
  device.exec(`INSERT INTO Setting(name, value, slot) VALUES ('a', 1, 5);
    INSERT INTO _conflicts(model, key, op, item, why, time) VALUES
      ('Setting', '{"name":"b"}', 'create', '{"name":"b","slot":5}', 'stale', 0),
      ('Nothing', '{"name":"b"}', 'create', '{"name":"b"}', 'stale', 0),
      ('Setting', '{"name":"c"}', 'update', NULL, 'stale', 0),
      ('Setting', '{"name":"a"}', 'remove', NULL, 'stale', 0),
      ('Setting', '{"name":"d"}', 'create', '{"name":"d"}', 'stale', 0)`);
  const cases: [args: string[], code: number, line: RegExp][] = [
    [["restore", "1"], 1, /UNIQUE constraint failed: Setting.slot/],
    [["restore", "2"], 1, /no model "Nothing"/],
    [["restore", "3"], 1, /has no item/],
    [["restore", "4"], 1, /written again/],
    [["restore", "9"], 1, /has no number 9/],
    [["drop", "9"], 1, /has no number 9/],
    [["restore"], 2, /needs a number/],
    [["restore", "x"], 2, /"x" is not a number/],
    [["show"], 2, /needs a number/],
    [["list", "1"], 2, /takes no number/],
    [["undo", "1"], 2, /list, show, restore or drop/],
  ];
  for (const [args, code, line] of cases) {
    const done = await run("conflicts", ...args, ...db);
    assert.deepEqual([done.code, done.stderr.trimEnd().split("\n").length], [code, 1], done.stderr);
    assert.match(done.stderr, line);
  }
  assert.equal(device.count("SELECT count(*) FROM _conflicts"), 5);
  assert.match((await run("conflicts", "restore", "4", "--force", ...db)).stdout, /is removed again/);
  const all = await run("conflicts", "restore", "--all", ...db);
  assert.deepEqual([all.code, all.stdout.trim().split("\n").length], [1, 4], all.stdout);
  assert.deepEqual(device.query("SELECT name FROM Setting ORDER BY name"), [{ name: "b" }, { name: "d" }]);
  assert.equal((await run("conflicts", "drop", "--model", "Setting", ...db)).stdout.trim(), "dropped 1");
  assert.equal((await run("conflicts", "drop", "--all", ...db)).stdout.trim(), "dropped 1");
  assert.deepEqual(device.agent.conflicts.list(), []);
});

Deno.test("cli: what is kept in a file whose schema this version can't compile is listed, shown and dropped", async () => {
  using dir = new TempDir();
  const path = dir.file("dev-1.db");
  {
    await using device = await openDevice(dir, undefined);
    device.exec(`INSERT INTO _conflicts(model, key, op, item, why, time)
      VALUES ('Setting', '{"name":"a"}', 'update', '{"name":"a","value":1}', 'stale', 1)`);
    assert.equal(device.path, path);
  }
  const stored = query(path, "SELECT value FROM _sync WHERE name = 'schema'")[0]!.value as string;
  const broken = JSON.stringify({ ...JSON.parse(stored), models: { Setting: { pk: { type: "a type of later" } } } });
  for (const text of [broken, "no JSON"]) {
    query(path, "UPDATE _sync SET value = ? WHERE name = 'schema'", text);
    assert.match((await run("conflicts", "list", "--db", path)).stdout, /^1 {2}.*stale/);
    const shown = await run("conflicts", "show", "1", "--db", path);
    assert.deepEqual([shown.code, shown.stderr], [0, ""]);
    assert.match(shown.stdout, /row now {4}not known: the schema that is stored in the file can't be compiled/);
    const json = JSON.parse((await run("conflicts", "show", "1", "--db", path, "--json")).stdout);
    assert.deepEqual([json.item.value, json.row], [1, null]);
    const restored = await run("conflicts", "restore", "1", "--db", path);
    assert.deepEqual([restored.code, restored.stderr.split("\n").length], [1, 2]);
    assert.match(restored.stderr, /^twintable: the schema that is stored in the file can't be compiled/);
    assert.match((await run("status", "--db", path)).stdout, /conflicts 1/);
  }
  assert.match((await run("conflicts", "drop", "1", "--db", path)).stdout, /dropped 1/);
});
