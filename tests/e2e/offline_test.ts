/**
 * Being offline, for however much was written on either side meanwhile, costs time and nothing else.
 */
import assert from "node:assert/strict";
import { chosenTables } from "../support/chosen.ts";
import { openDevice, startAgent, statusOf } from "../support/device.ts";
import { procMissing } from "../support/process.ts";
import { connect, count, query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { until, untilStill } from "../support/until.ts";

/** Nobody listens there. */
const nowhere = "mqtt://127.0.0.1:1";

function insertSamples(path: string, many: number): void {
  using db = connect(path);
  const insert = db.prepare("INSERT INTO Sample(id, n) VALUES (?, ?)");
  db.exec("BEGIN IMMEDIATE");
  for (let n = 0; n < many; n++) insert.run(`s${String(n).padStart(6, "0")}`, n);
  db.exec("COMMIT");
}

Deno.test("offline: created, updated and updated again while never connected, the last value arrives", async () => {
  using dir = new TempDir();
  {
    await using device = await openDevice(dir, undefined);
    device.exec("INSERT INTO Setting(name, value) VALUES ('a', 1)");
    device.exec("UPDATE Setting SET value = 2 WHERE name = 'a'");
    device.exec("UPDATE Setting SET value = 3 WHERE name = 'a'");
    device.exec("INSERT INTO Setting(name, value) VALUES ('gone', 1)");
    device.exec("DELETE FROM Setting WHERE name = 'gone'");
  }
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  await device.settle();
  const items = await cloud.items();
  assert.deepEqual(items.map(({ sk, value }) => [sk, value]), [["setting#a", 3]]);
  assert.deepEqual([...cloud.writes.values()], [1], "only the last state was sent");
});

for (const end of ["a clean shutdown", "kill -9"] as const) {
  Deno.test(`offline: 1,000 changes made offline arrive after ${end} and a restart`, async () => {
    using dir = new TempDir();
    let path: string;
    {
      await using agent = await startAgent(dir, { mqttUrl: nowhere, token: "none" });
      path = agent.path;
      insertSamples(path, 500);
      using db = connect(path);
      for (let n = 0; n < 250; n++) {
        db.prepare("INSERT INTO Setting(name, value) VALUES (?, ?)").run(`k${n}`, n);
      }
      db.exec("UPDATE Setting SET value = value + 1000");
      if (end === "kill -9") await agent.kill();
      else assert.equal((await agent.stop()).code, 0);
    }
    await using cloud = await openTestCloud();
    await using agent = await startAgent(dir, {
      mqttUrl: cloud.mqttUrl,
      token: await cloud.token("dev-1", "acme"),
    });
    await until("everything is acknowledged", () => statusOf(agent.path).outbox === 0, 30_000);
    assert.equal((await cloud.items("Sample")).length, 500);
    const settings = await cloud.items("Setting");
    assert.equal(settings.length, 250);
    assert.ok(settings.every(({ name, value }) => Number(value) === Number(String(name).slice(1)) + 1000));
    assert.ok([...cloud.writes.values()].every((times) => times === 1), "nothing was written twice");
  });
}

Deno.test("offline: 10,000 changes made offline arrive", async () => {
  using dir = new TempDir();
  {
    await using device = await openDevice(dir, undefined);
    insertSamples(device.path, 5_000);
    using db = connect(device.path);
    db.exec("BEGIN");
    for (let n = 0; n < 5_000; n++) db.prepare("INSERT INTO Setting(name, value) VALUES (?, ?)").run(`k${n}`, n);
    db.exec("COMMIT");
  }
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  await device.settle(240_000);
  assert.equal((await cloud.items("Sample")).length, 5_000);
  assert.equal((await cloud.items("Setting")).length, 5_000);
  assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
});

/**
 * Ten thousand items of 16 KB are 160 MB. Held in memory, as text or as objects, they would be more; a page of 100 KB at a
 * time needs what the garbage collector leaves lying about, whose heap grows in large steps.
 */
const itemBytes = 16_000, growthBytesMax = 120 * 1024 * 1024;
/** All in all 2.1 times as many are written. */
const away = Math.min(10_000, Math.floor((chosenTables?.recordsMax ?? Infinity) / 21) * 10), gone = away / 10;
const awayText = away.toLocaleString("en");

Deno.test({
  name:
    `offline: ${awayText} cloud changes made while the device was away arrive in bounded memory, by catch-up and by snapshot`,
  ignore: procMissing,
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const identity = { deviceId: "dev-1", accountId: "acme" };
    const options = { mqttUrl: cloud.mqttUrl, token: await cloud.token("dev-1", "acme") };
    const padding = "x".repeat(itemBytes);
    const commands = (from: number, to: number, value: number) =>
      Array.from({ length: to - from }, (_, i) => ({ name: `c${from + i}`, value, text: padding }));
    const path = dir.file("dev-1.db");
    /** Cheap to ask often: the cursor, which moves in the transaction that applies. */
    const caughtUp = async () => {
      const { head } = await cloud.cloud.service.log.state("device:dev-1");
      return count(path, "SELECT count(*) FROM _sync_channels WHERE channel = 'device:dev-1' AND seq = ?", head) === 1;
    };
    /** Moves with every page. */
    const position = () => JSON.stringify(query(path, "SELECT seq, snap_head, snap_after FROM _sync_channels"));
    const values = () => query(path, "SELECT value, count(*) AS n FROM Command GROUP BY value");
    const measured = async (what: string, check: () => void | Promise<void>) => {
      await using agent = await startAgent(dir, options);
      const before = agent.memory().resident;
      // However slow the machine is: as long as it goes on.
      await untilStill("the device has caught up", caughtUp, position);
      const growth = agent.memory().peak - before;
      console.log(`${what}: ${mb(before)} MB at the start, at the highest ${mb(growth)} MB more`);
      await check();
      assert.ok(growth < growthBytesMax, `${mb(growth)} MB`);
      await agent.stop();
    };

    await cloud.put("Command", { name: "c0", value: 1, text: padding }, identity);
    {
      await using agent = await startAgent(dir, options);
      await until("the first command is there", () => count(path, "SELECT count(*) FROM Command") === 1);
      await agent.stop();
    }

    await cloud.putAll("Command", commands(0, away, 2), identity);
    await cloud.streamed(60_000);
    await measured(`catch-up of ${awayText} changes`, () => {
      assert.deepEqual(values(), [{ value: 2, n: away }]);
    });

    // Past the log's end: a tenth is removed (more would be reviewed, which takes its time), the others altered, and no log entry tells of it.
    await cloud.removeAll("Command", commands(0, gone, 0), identity);
    await cloud.putAll("Command", commands(gone, away + gone, 3), identity);
    await cloud.streamed(60_000);
    await cloud.trimLog("device:dev-1", 5);
    await measured(`snapshot of ${awayText} items`, async () => {
      // What the list did not show is asked for by name before it goes.
      await until(
        "what the table no longer has is gone",
        () => count(path, "SELECT count(*) FROM Command WHERE value = 2") === 0,
        60_000,
      );
      assert.deepEqual(values(), [{ value: 3, n: away }]);
      assert.deepEqual(query(path, `SELECT name FROM Command WHERE name IN ('c0', 'c${gone - 1}')`), []);
      // It follows live again.
      await cloud.put("Command", { name: `c${away}`, value: 4, text: "live" }, identity);
      await until("a live change is there", () => count(path, "SELECT count(*) FROM Command WHERE value = 4") === 1);
    });
  },
});

function mb(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
