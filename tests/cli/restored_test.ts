/** `cloud table restored`, and a worker whose embedded table is taken away, as processes. */
import assert from "node:assert/strict";
import { Program } from "../support/process.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { example, run } from "./run.ts";

const worker = (table: string) =>
  new Program(["cloud", "--schema", example, "--table", table, "--broker", "--mqtt-port", "0"]);

Deno.test("cli: cloud table restored begins an epoch, says what to do next, and refuses a table that is served", async () => {
  using dir = new TempDir();
  const table = `embedded:${dir.path}/cloud.db`;
  const restored = (...args: string[]) =>
    run("cloud", "table", "restored", "--schema", example, "--table", table, ...args);
  const missing = await restored("--since", "2026-03-01T12:00:00Z");
  assert.deepEqual([missing.code, /does not exist/.test(missing.stderr)], [1, true]);
  {
    await using cloud = worker(table);
    await cloud.printed(/cloud: embedded:/);
    const served = await restored("--since", "2026-03-01T12:00:00Z");
    assert.equal(served.code, 1);
    assert.match(served.stderr, /another process serves the table/);
    assert.equal((await cloud.stop()).code, 0);
  }
  assert.match((await restored()).stderr, /needs --since TIME/);
  assert.match((await restored("--since", "yesterday")).stderr, /--since yesterday is not a time/);
  assert.match((await restored("--since", "2999-01-01")).stderr, /is in the future/);
  const done = await restored("--since", "2026-03-01T12:00:00Z");
  assert.deepEqual([done.code, done.stderr], [0, ""]);
  assert.match(done.stdout, /was restored to 2026-03-01T12:00:00.000Z: epoch \w{8}\nstart the workers now/);
});

Deno.test("cli: a worker whose embedded table is deleted ends with a sentence", async () => {
  using dir = new TempDir();
  await using cloud = worker(`embedded:${dir.path}/cloud.db`);
  await cloud.printed(/cloud: embedded:/);
  Deno.removeSync(`${dir.path}/cloud.db`);
  await until("it ends", () => cloud.exited, 30_000);
  assert.equal(await cloud.ended(), 1);
  assert.match(cloud.stderr, /cloud\.db" was deleted or replaced while it was served/);
});
