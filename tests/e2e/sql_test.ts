/**
 * Writes of applications in other languages and processes arrive exactly as the rows end up, while the agent runs.
 */
import assert from "node:assert/strict";
import { SkippingClock } from "../support/clock.ts";
import { assertTwinned } from "../support/compare.ts";
import { type Device, openDevice } from "../support/device.ts";
import { python, type Row, shell } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud, type TestCloud } from "../support/test_cloud.ts";
import { toolsMissing } from "../support/tools.ts";
import { patience, until } from "../support/until.ts";

/** Waits until all is sent, and compares both sides. */
async function arrived(
  cloud: TestCloud,
  device: Device,
  model: string,
  names: readonly string[],
  timeoutMs?: number,
): Promise<Row[]> {
  await device.settle(timeoutMs);
  return await assertTwinned(cloud, device.path, model, names, device.agent.store.identity.deviceId);
}

const settingNames = ["name", "value", "text", "slot", "created", "updated"];
const sampleNames = ["id", "n", "text", "created", "updated"];

Deno.test({
  name: "sql: what the sqlite3 shell and Python write arrives as the rows end up",
  ignore: toolsMissing("sqlite3", "python3"),
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    for (const [device, write] of [["shell", shell], ["python", runInPython]] as const) {
      const clock = new SkippingClock();
      await using twin = await openDevice(dir, cloud, { device, clock });
      await writeInEveryWay(cloud, twin, clock, write);
    }
  },
});

async function writeInEveryWay(
  cloud: TestCloud,
  device: Device,
  clock: SkippingClock,
  write: (path: string, sql: string) => Promise<string>,
): Promise<void> {
  const { path } = device;
  await write(path, "INSERT INTO Setting(name, value, slot) VALUES ('a', 1, 1), ('b', 2, 2), ('c', 3, 3), ('d', 4, 4)");
  await arrived(cloud, device, "Setting", settingNames);
  // A removal waits until 30 s have passed since its key was created in the cloud (rules 3.3).
  clock.skip();

  // 'b' is replaced by its key; 'c' is evicted through its slot.
  await write(path, "INSERT OR REPLACE INTO Setting(name, value, slot) VALUES ('b', 20, 3)");
  await write(
    path,
    "INSERT INTO Setting(name, value) VALUES ('a', 10), ('n', 5) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
  );
  await write(path, "UPDATE Setting SET name = 'e' WHERE name = 'a'");
  await write(path, "DELETE FROM Setting WHERE name = 'd'");
  await write(path, "BEGIN; UPDATE Setting SET value = -1; INSERT INTO Setting(name) VALUES ('z'); ROLLBACK");
  const rows = await arrived(cloud, device, "Setting", settingNames, 60_000);
  assert.deepEqual(rows.map(({ name, value, slot }) => [name, value, slot]), [["b", 20, 3], ["e", 10, 1], [
    "n",
    5,
    null,
  ]]);
  assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
  assert.deepEqual(device.query("SELECT * FROM _rejected"), []);
}

/** Statements one by one, as the driver of Python has them. */
async function runInPython(path: string, sql: string): Promise<string> {
  return await python(path, sql.split(";").map((one) => `db.execute(${JSON.stringify(one.trim())})`).join("\n"));
}

const tenThousand: [tool: "sqlite3" | "python3", write: (path: string) => Promise<unknown>][] = [
  ["sqlite3", (path) => {
    const insert = `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 10000)
      INSERT INTO Sample(n, text) SELECT n, 'row ' || n FROM i;`;
    return shell(path, `BEGIN; ${insert} ROLLBACK; BEGIN; ${insert} COMMIT;`);
  }],
  ["python3", (path) =>
    python(
      path,
      `
for end in ("ROLLBACK", "COMMIT"):
    db.execute("BEGIN")
    db.executemany("INSERT INTO Sample(n, text) VALUES (?, ?)", [(i, end) for i in range(10000)])
    db.execute(end)
`,
    )],
];

for (const [tool, write] of tenThousand) {
  Deno.test({
    name: `sql: one transaction of 10,000 rows of ${tool} arrives, each row once, and a rolled-back one is nothing`,
    ignore: toolsMissing(tool),
    async fn() {
      using dir = new TempDir();
      await using cloud = await openTestCloud();
      await using device = await openDevice(dir, cloud);
      await write(device.path);
      await device.agent.flush({ timeoutMs: 60_000 * patience });
      const rows = await arrived(cloud, device, "Sample", sampleNames);
      assert.equal(rows.length, 10_000);
      const times = [...cloud.writes.values()];
      assert.equal(times.length, 10_000);
      assert.ok(times.every((count) => count === 1), "no row was written twice");
    },
  });
}

Deno.test({
  name: "sql: Python that writes without a pause while the agent runs loses nothing",
  ignore: toolsMissing("python3"),
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    await using device = await openDevice(dir, cloud);
    await python(
      device.path,
      `
for i in range(2000):
    db.execute("INSERT INTO Sample(n) VALUES (?)", (i,))
    db.execute("INSERT INTO Setting(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
               ("s%d" % (i % 7), i))
`,
    );
    await arrived(cloud, device, "Sample", sampleNames);
    await arrived(cloud, device, "Setting", settingNames);
    assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
  },
});

Deno.test({
  name: "sql: a write of another process reaches the table without anybody asking",
  ignore: toolsMissing("sqlite3"),
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    await using device = await openDevice(dir, cloud);
    await device.settle();
    await shell(device.path, "INSERT INTO Setting(name, value) VALUES ('alone', 1)");
    await until("the item is in the table", async () => (await cloud.items("Setting")).length === 1);
    await until("the outbox is empty", () => device.count("SELECT count(*) FROM _outbox") === 0);
    await until("_pending is empty", () => device.count("SELECT count(*) FROM _pending") === 0);
  },
});
