/**
 * `aside` and `status --check`: an item that its table can't take is told, looked at, and placed once nothing refuses it.
 */
import assert from "node:assert/strict";
import { openDevice } from "../support/device.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { until } from "../support/until.ts";
import { run } from "./run.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };

Deno.test("cli: status --check and aside say what is set aside and why, and retry places it", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  const db = ["--db", device.path];
  await device.settle();
  const fine = await run("status", "--check", ...db);
  assert.deepEqual([fine.code, fine.stdout], [0, ""], fine.stderr);
  assert.equal((await run("aside", "list", ...db)).stdout.trim(), "none");

  device.exec(`CREATE TRIGGER guard BEFORE INSERT ON Setting WHEN new.name = 'odd'
    BEGIN SELECT RAISE(ABORT, 'not in my table'); END`);
  await cloud.put("Setting", { name: "odd", value: 7 }, identity);
  await until("it is set aside", () => device.count("SELECT count(*) FROM _sync_aside") === 1);
  await until("it is told", () => device.query("SELECT problem FROM _status")[0]!.problem !== null);
  const check = await run("status", "--check", ...db);
  assert.equal(check.code, 1);
  assert.match(
    check.stdout,
    /^1 item from the cloud can't be placed in their tables.*not in my table.*see aside list$/m,
  );
  assert.deepEqual(JSON.parse((await run("status", "--check", "--json", ...db)).stdout).ok, false);

  assert.match((await run("aside", "list", ...db)).stdout, /^1 {2}\S+ {2}put Setting setting#odd: .*not in my table/);
  const shown = JSON.parse((await run("aside", "show", "1", "--json", ...db)).stdout);
  assert.deepEqual([shown.model, shown.item.value], ["Setting", 7]);
  assert.equal((await run("aside", "show", "2", ...db)).code, 1);
  const still = await run("aside", "retry", ...db);
  assert.equal(still.code, 1);
  assert.match(still.stdout, /^0 placed, 1 left/);

  device.exec("DROP TRIGGER guard");
  const placed = await run("aside", "retry", ...db);
  assert.deepEqual([placed.code, placed.stdout.trim()], [0, "1 placed, 0 left"], placed.stderr);
  assert.equal(device.count("SELECT value FROM Setting WHERE name = 'odd'"), 7);
  await until("nothing is wrong", async () => (await run("status", "--check", ...db)).code === 0);
});

Deno.test("cli: status --check fails where no agent runs, and where changes wait for longer than they may", async () => {
  using dir = new TempDir();
  const device = await openDevice(dir, undefined);
  const db = ["--db", device.path];
  device.exec("INSERT INTO Setting(name) VALUES ('a')");
  const offline = await run("status", "--check", ...db);
  assert.deepEqual([offline.code, offline.stdout], [0, ""], "being offline is no fault");
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const late = await run("status", "--check", "--max-lag", "1s", ...db);
  assert.equal(late.code, 1);
  assert.match(
    late.stdout,
    /^the oldest change waits since \S+: the connection to the broker .* failed: .*ECONNREFUSED/m,
  );
  await device.agent.close();
  const ended = await run("status", "--check", ...db);
  assert.deepEqual([ended.code, ended.stdout.trim()], [1, "no agent is running"]);
});
