/**
 * What an agent costs: an idle one next to nothing; capture less than what it captures.
 */
import assert from "node:assert/strict";
import { startAgent, statusOf } from "../support/device.ts";
import { procMissing } from "../support/process.ts";
import { connect, count } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { until } from "../support/until.ts";

/** Long enough that 1 % of it is ten ticks of the kernel's processor accounting. */
const idleMs = 10_000;

Deno.test({
  name: "cost: an idle agent takes less than 1 % of a core and 90 MB",
  ignore: procMissing,
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const token = await cloud.token("dev-1", "acme");
    await using agent = await startAgent(dir, { mqttUrl: cloud.mqttUrl, token });
    const { path } = agent;
    {
      using db = connect(path);
      db.exec("INSERT INTO Setting(name, value) VALUES ('a', 1)");
    }
    await until("it is connected, and what was written is sent", () => {
      const { connected, outbox } = statusOf(path);
      return connected === 1 && outbox === 0;
    });
    // What is left of the start (garbage collection, the first purge) is not idleness.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const before = agent.cpuMs(), start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, idleMs));
    const share = (agent.cpuMs() - before) / (performance.now() - start);
    const resident = agent.memory().resident / 1024 / 1024;
    console.log(`idle agent: ${(share * 100).toFixed(2)} % of a core, ${resident.toFixed(1)} MB resident`);
    assert.ok(share < 0.01, `${(share * 100).toFixed(2)} %`);
    assert.ok(resident < 90, `${resident.toFixed(1)} MB`);
    // It was idle, not dead.
    {
      using db = connect(path);
      db.exec("UPDATE Setting SET value = 2 WHERE name = 'a'");
    }
    await until("a write is still noticed and sent", async () => (await cloud.items("Setting"))[0]?.value === 2);
  },
});

/** Rows of one transaction, and how often both are measured, one right after the other: the machine's speed changes. */
const rows = 20_000, runs = 5;

Deno.test("cost: an insert with capture has at least 0.4 of the speed of the same insert without triggers", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const token = await cloud.token("dev-1", "acme");
  let path: string;
  {
    // Its tables, without the agent: what is measured is what an application's process does.
    await using agent = await startAgent(dir, { mqttUrl: cloud.mqttUrl, token });
    path = agent.path;
    await agent.stop();
  }
  using db = connect(path);
  db.exec("PRAGMA synchronous = NORMAL");
  const definition = (type: string) =>
    db.prepare("SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'Sample' AND type = ? AND sql IS NOT NULL").all(
      type,
    );
  // The same table and indexes, under another name.
  const renamed = (sql: unknown) => String(sql).replaceAll("Sample", "Bare");
  for (const { sql } of [...definition("table"), ...definition("index")]) db.exec(renamed(sql));
  const insert = (table: string) => {
    db.exec(`DELETE FROM ${table}; DELETE FROM _outbox`);
    const statement = db.prepare(`INSERT INTO ${table}(id, n, text) VALUES (?, ?, 'a measurement')`);
    const start = performance.now();
    db.exec("BEGIN IMMEDIATE");
    for (let n = 0; n < rows; n++) statement.run(`row-${n}`, n);
    db.exec("COMMIT");
    return performance.now() - start;
  };
  const pairs = Array.from({ length: runs }, () => {
    const withMs = insert("Sample");
    assert.equal(count(path, "SELECT count(*) FROM _outbox"), rows);
    const withoutMs = insert("Bare");
    return { withMs, withoutMs, ratio: withoutMs / withMs };
  });
  const { withMs, withoutMs, ratio } = pairs.sort((a, b) => a.ratio - b.ratio)[Math.floor(runs / 2)]!;
  const rate = (ms: number) => Math.round(rows / ms * 1000);
  console.log(`capture: ${rate(withMs)} rows/s with, ${rate(withoutMs)} without, ratio ${ratio.toFixed(2)}`);
  assert.ok(ratio >= 0.4, `ratio ${ratio.toFixed(2)}`);
});
