/**
 * Living with a device's database: copies taken and brought back, sync state reset, a device moved, damage noticed.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openAgent } from "../../agent/open.ts";
import { takeLease } from "../../agent/sqlite/lease.ts";
import { backupDevice } from "../../cli/backup.ts";
import { resetDevice } from "../../cli/reset.ts";
import { restoreDevice } from "../../cli/restore.ts";
import { readStatus } from "../../cli/status.ts";
import { SyncError } from "../../schema.ts";
import { openDevice } from "../support/device.ts";
import { e2eSchema } from "../support/schema.ts";
import { connect, count, query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud, type TestCloud } from "../support/test_cloud.ts";

const settings = (path: string) =>
  query(path, "SELECT name, value FROM Setting ORDER BY name").map((row) => `${row.name}=${row.value}`).join(" ");
const inCloud = async (cloud: TestCloud) =>
  (await cloud.items("Setting")).map((item) => `${item.name}=${item.value}`).join(" ");
const acme = (path: string, device = "dev-1") => ({ schema: e2eSchema, device, account: "acme", path });
const namesIn = (dir: TempDir) => [...Deno.readDirSync(dir.path)].map((entry) => entry.name).sort();
/** A device's database that ended in order, with this many unsent changes, named from `a` on. */
const makeDevice = async (path: string, unsent: number, device?: string) => {
  await using agent = await openAgent(acme(path, device));
  for (let i = 0; i < unsent; i++) agent.model("Setting").create({ name: String.fromCharCode(97 + i), value: 1 });
};
/** Whether the next start would check every page. */
const isUnclean = (path: string) => {
  using lease = takeLease(path);
  lease.left();
  return lease.unclean;
};
const code = (wanted: string) => (error: unknown) => error instanceof SyncError && error.code === wanted;

Deno.test("living: a backup is whole while applications write, and a restored copy is recognised and brought up to date", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const copy = dir.file("copy.db");
  let path = "";
  {
    await using device = await openDevice(dir, cloud);
    path = device.path;
    device.exec("INSERT INTO Setting(name, value) VALUES ('a', 1), ('b', 1), ('c', 1)");
    await device.settle();
    device.exec("INSERT INTO Setting(name, value) VALUES ('waiting', 1)");
    using writer = connect(path);
    writer.exec("BEGIN IMMEDIATE; INSERT INTO Setting(name) VALUES ('uncommitted')");
    await backupDevice(path, copy);
    writer.exec("ROLLBACK");
    assert.equal(settings(copy), "a=1 b=1 c=1 waiting=1");
    assert.equal(Deno.statSync(copy).mode! & 0o777, 0o600);
    await assert.rejects(backupDevice(path, copy), /exists/);
    device.exec("UPDATE Setting SET value = 2 WHERE name = 'a'; INSERT INTO Setting(name, value) VALUES ('d', 2)");
    await device.settle();
    await assert.rejects(restoreDevice(copy, path, true), code("in-use"));
  }
  await cloud.put("Setting", { name: "b", value: 3 }, { deviceId: "dev-1", accountId: "acme" });
  const reader = connect(path);
  await assert.rejects(restoreDevice(copy, path, false), /--force/);
  assert.deepEqual(await restoreDevice(copy, path, true), {
    device: "dev-1",
    account: "acme",
    unsent: 0,
    aside: undefined,
  });
  assert.equal(
    Object.values(reader.prepare("SELECT count(*) FROM Setting").get()!)[0],
    4,
    "an open reader sees the copy",
  );
  reader.close();
  assert.equal(settings(path), "a=1 b=1 c=1 waiting=1");
  {
    await using device = await openDevice(dir, cloud);
    assert.equal(device.agent.restored, true);
    await device.settle();
    assert.equal(settings(path), "a=2 b=3 c=1 d=2 waiting=1");
    assert.equal(await inCloud(cloud), "a=2 b=3 c=1 d=2 waiting=1");
    assert.notEqual(readStatus(path).restoredAt, null);
  }
  await using device = await openDevice(dir, cloud);
  assert.equal(device.agent.restored, false, "it is this device's database again");
});

Deno.test("living: a copy that was put in place by hand is recognised, and syncs", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  let path = "";
  const run = async (sql: string) => {
    await using device = await openDevice(dir, cloud);
    path = device.path;
    device.exec(sql);
    await device.settle();
    return device.agent.restored;
  };
  assert.equal(await run("INSERT INTO Setting(name, value) VALUES ('a', 1)"), false);
  Deno.copyFileSync(path, `${path}.old`);
  assert.equal(await run("UPDATE Setting SET value = 2"), false);
  for (const end of ["-wal", "-shm"]) await Deno.remove(path + end).catch(() => {});
  Deno.renameSync(`${path}.old`, path);
  assert.equal(settings(path), "a=1");
  assert.equal(await run("INSERT INTO Setting(name, value) VALUES ('b', 1)"), true);
  assert.equal(settings(path), "a=2 b=1");
  assert.equal(await inCloud(cloud), "a=2 b=1");
});

Deno.test("living: after a reset the rows are taken in again, and what is newer in the cloud wins", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  let path = "";
  {
    await using device = await openDevice(dir, cloud);
    path = device.path;
    device.exec("INSERT INTO Setting(name, value) VALUES ('a', 1), ('b', 1)");
    device.exec("INSERT INTO Scratch(name, text) VALUES ('mine', 'only here')");
    await device.settle();
    assert.throws(() => resetDevice(path, { rows: false, force: true }), code("in-use"));
  }
  resetDevice(path, { rows: false, force: false });
  assert.throws(() => readStatus(path), /is not a device database/);
  await cloud.put("Setting", { name: "b", value: 2 }, { deviceId: "dev-1", accountId: "acme" });
  {
    using app = connect(path);
    app.exec("INSERT INTO Setting(name, value) VALUES ('c', 1)");
  }
  await using device = await openDevice(dir, cloud);
  await device.settle();
  assert.equal(settings(path), "a=1 b=2 c=1");
  assert.equal(await inCloud(cloud), "a=1 b=2 c=1");
  assert.equal(device.count("SELECT count(*) FROM Scratch"), 1);
});

Deno.test("living: a device moves to another account with reset --rows, which loses nothing unasked", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  let path = "";
  {
    await using device = await openDevice(dir, cloud);
    path = device.path;
    device.exec("INSERT INTO Site(name, value) VALUES ('old', 1)");
    await device.settle();
  }
  {
    await using device = await openDevice(dir, undefined);
    device.exec("INSERT INTO Site(name, value) VALUES ('unsent', 1)");
  }
  const moved = { schema: e2eSchema, device: "dev-1", account: "other", path };
  await assert.rejects(openAgent(moved), code("foreign-database"));
  assert.throws(() => resetDevice(path, { rows: true, force: false }), /1 changes that the cloud does not have/);
  assert.equal(isUnclean(path), false, "a refused reset has changed nothing");
  assert.equal(count(path, "SELECT count(*) FROM Site"), 2);
  resetDevice(path, { rows: true, force: true });
  assert.equal(new TextDecoder("latin1").decode(Deno.readFileSync(path)).includes("unsent"), false);
  const agent = await openAgent(moved);
  assert.equal(count(path, "SELECT count(*) FROM Site"), 0);
  assert.equal(query(path, "SELECT account FROM _status")[0]!.account, "other");
  await agent.close();
});

Deno.test("living: rows that name another device are refused, not taken over", async () => {
  using dir = new TempDir();
  const path = dir.file("there.db");
  {
    using db = connect(path);
    db.exec("CREATE TABLE Setting(name TEXT, deviceId TEXT, value); INSERT INTO Setting VALUES ('a', 'dev-9', 1)");
  }
  const options = { schema: e2eSchema, device: "dev-1", account: "acme", path };
  await assert.rejects(
    openAgent(options),
    (error) => code("migration")(error) && /rows of the deviceId "dev-9"/.test((error as Error).message),
  );
  assert.equal(count(path, "SELECT count(*) FROM sqlite_master WHERE name = '_outbox'"), 0, "nothing was changed");
  {
    using db = connect(path);
    db.exec("UPDATE Setting SET deviceId = 'dev-1'");
  }
  await using agent = await openAgent(options);
  assert.equal(agent.model("Setting").get({ name: "a" })!.value, 1);
});

Deno.test("living: after an unclean end damage is noticed before anything is built on it", async () => {
  using dir = new TempDir();
  const path = dir.file("dev.db");
  const options = { schema: e2eSchema, device: "dev-1", account: "acme", path, synchronous: "normal" as const };
  {
    await using agent = await openAgent(options);
    for (let i = 0; i < 2000; i++) agent.model("Setting").create({ name: `n${i}`, text: "x".repeat(50) });
  }
  {
    using lease = takeLease(path);
    assert.equal(lease.unclean, false, "it ended in order");
    lease.ended();
  }
  const file = Deno.openSync(path, { write: true });
  const page = Number(query(path, "SELECT rootpage FROM sqlite_master WHERE name = 'Setting'")[0]!.rootpage);
  file.seekSync((page - 1) * 4096 + 8, Deno.SeekMode.Start);
  file.writeSync(new Uint8Array(200).fill(0xff));
  file.close();
  {
    const lease = new DatabaseSync(`${path}.lease`);
    lease.exec("UPDATE lease SET running = 1");
    lease.close();
  }
  for (let i = 0; i < 2; i++) await assert.rejects(openAgent(options), code("corrupt"));
});

Deno.test("living: a copy is restored in place of a damaged file, which is moved aside with its WAL", async () => {
  using dir = new TempDir();
  const path = dir.file("dev.db"), copy = dir.file("copy.db");
  await makeDevice(path, 1);
  await backupDevice(path, copy);
  const damages: [name: string, from: number, to: number][] = [["header", 0, 100], ["schema's page", 100, 4096]];
  for (const [name, from, to] of damages) {
    Deno.writeFileSync(path, Deno.readFileSync(path).fill(0xff, from, to));
    const damaged = Deno.readFileSync(path);
    Deno.writeTextFileSync(`${path}-wal`, "the WAL");
    await assert.rejects(restoreDevice(copy, path, false), /exists: --force/);
    const { aside, unsent } = await restoreDevice(copy, path, true);
    assert.match(aside!, /dev\.db\.damaged-[-\dTZ]+$/, name);
    assert.equal(unsent, 0);
    assert.deepEqual(Deno.readFileSync(aside!), damaged);
    assert.ok(Deno.statSync(`${aside}-wal`).isFile);
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
    await using agent = await openAgent(acme(path));
    assert.deepEqual([agent.restored, settings(path)], [true, "a=1"], name);
  }
});

Deno.test("living: a damaged file behind a link is moved aside where it is", async () => {
  using dir = new TempDir();
  const path = dir.file("real.db"), copy = dir.file("copy.db"), link = dir.file("link.db");
  await makeDevice(path, 1);
  await backupDevice(path, copy);
  Deno.writeTextFileSync(path, "no database\n".repeat(1000));
  Deno.symlinkSync(path, link);
  const { aside } = await restoreDevice(copy, link, true);
  assert.ok(aside!.startsWith(`${Deno.realPathSync(path)}.damaged-`));
  assert.equal(settings(path), "a=1");
  assert.ok(Deno.lstatSync(link).isSymlink);
});

Deno.test("living: restore writes over this device's database alone, and tells of its unsent changes", async () => {
  using dir = new TempDir();
  const path = dir.file("dev.db"), copy = dir.file("copy.db");
  await makeDevice(path, 1);
  await backupDevice(path, copy);
  {
    await using agent = await openAgent(acme(path));
    agent.model("Setting").create({ name: "b", value: 1 });
  }
  assert.equal((await restoreDevice(copy, path, true)).unsent, 2);
  resetDevice(path, { rows: false, force: true });
  assert.equal((await restoreDevice(copy, path, true)).unsent, 0, "a file that was reset is nobody's");
  Deno.writeTextFileSync(dir.file("empty.db"), "");
  assert.equal((await restoreDevice(copy, dir.file("empty.db"), true)).unsent, 0, "and so is an empty one");

  const others = dir.file("others.db"), application = dir.file("application.db");
  await makeDevice(others, 3, "dev-2");
  {
    using db = connect(application);
    db.exec("CREATE TABLE note(text); INSERT INTO note VALUES ('dear')");
  }
  const refused: [path: string, reason: RegExp][] = [
    [others, /belongs to the device dev-2 of account acme, the copy to the device dev-1.*name another file, or delete/],
    [application, /is a database, but no device's.*name another file, or delete/],
  ];
  const before = namesIn(dir);
  for (const [target, reason] of refused) await assert.rejects(restoreDevice(copy, target, true), reason);
  assert.deepEqual(namesIn(dir).filter((name) => !/-(wal|shm)$/.test(name)), before, "no lease is left");
  assert.equal(isUnclean(others), false);
  assert.equal(count(others, "SELECT count(*) FROM _outbox"), 3);
  assert.equal(query(application, "SELECT text FROM note")[0]!.text, "dear");
});

Deno.test("living: a refused start leaves the lease as it found it", async () => {
  using dir = new TempDir();
  const path = dir.file("dev.db"), text = dir.file("text"), application = dir.file("application.db");
  await makeDevice(path, 1);
  await assert.rejects(openAgent(acme(path, "dev-2")), code("foreign-database"));
  assert.equal(isUnclean(path), false, "the next start need not check the database");
  {
    using lease = takeLease(path);
    assert.equal(lease.unclean, false);
  }
  await assert.rejects(openAgent(acme(path, "dev-2")), code("foreign-database"));
  assert.equal(isUnclean(path), true, "one that was killed before is still checked for");
  await (await openAgent(acme(path))).close();
  {
    using db = connect(path);
    db.exec("UPDATE _sync SET value = 99 WHERE name = 'format'");
  }
  await assert.rejects(openAgent(acme(path)), code("newer-format"));
  assert.equal(isUnclean(path), false);
  Deno.writeFileSync(path, Deno.readFileSync(path).fill(0xff, 100, 4096));
  await assert.rejects(openAgent(acme(path)), code("corrupt"));
  assert.equal(isUnclean(path), true, "damage is looked for until it is gone");

  Deno.writeTextFileSync(text, "no database\n".repeat(1000));
  await assert.rejects(openAgent(acme(text)), code("not-a-database"));
  {
    using db = connect(application);
    db.exec("CREATE TABLE Setting(name TEXT, deviceId TEXT); INSERT INTO Setting VALUES ('a', 'dev-9')");
  }
  await assert.rejects(openAgent(acme(application)), code("migration"));
  assert.deepEqual(namesIn(dir), ["application.db", "dev.db", "dev.db.lease", "text"]);
});

Deno.test("living: a directory in the database's place is named as one, and nothing is made beside it", async () => {
  using dir = new TempDir();
  Deno.mkdirSync(dir.file("dev.db"));
  await assert.rejects(
    openAgent(acme(dir.file("dev.db"))),
    (error) => code("io")(error) && /dev\.db" is a directory/.test(String(error)) && !!(error as SyncError).hint,
  );
  assert.deepEqual(namesIn(dir), ["dev.db"]);
});

Deno.test("living: the agent's files are their owner's alone", async () => {
  using dir = new TempDir();
  const path = dir.file("deep/er/dev.db");
  await using agent = await openAgent({ schema: e2eSchema, device: "dev-1", account: "acme", path });
  agent.model("Setting").create({ name: "a" });
  for (const end of ["", "-wal", "-shm", ".lease"]) {
    assert.equal(Deno.statSync(path + end).mode! & 0o777, 0o600, `dev.db${end}`);
  }
  for (const folder of ["deep/er", "deep"]) assert.equal(Deno.statSync(dir.file(folder)).mode! & 0o777, 0o700, folder);
});
