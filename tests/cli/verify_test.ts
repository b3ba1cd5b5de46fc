/**
 * `verify` as a command: through the agent that runs on the file, by an agent of its own, and from the cloud.
 */
import assert from "node:assert/strict";
import { assertTwinned } from "../support/compare.ts";
import { openDevice, startAgent } from "../support/device.ts";
import { freePort } from "../support/mosquitto.ts";
import { Program } from "../support/process.ts";
import { writeSchema } from "../support/schema.ts";
import { query, shell } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { until } from "../support/until.ts";
import { askOne, byAgent, isEqual, linesOf } from "../../cli/verify.ts";
import { openDatabase } from "../../agent/sqlite/driver.ts";
import { newReport } from "../../agent/verify/report.ts";
import { VerifyProgress } from "../../cli/verify_progress.ts";
import { run } from "./run.ts";
import { testWith } from "../support/tools.ts";

const withShell = testWith("sqlite3");

/** Alters rows in the `sqlite3` shell as somebody does who has dropped the triggers, and puts these back. */
async function behind(path: string, sql: string): Promise<void> {
  const triggers = query(path, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'");
  const drops = triggers.map(({ name }) => `DROP TRIGGER "${name}";`);
  await shell(
    path,
    ["BEGIN IMMEDIATE;", ...drops, sql, ";", ...triggers.map((t) => `${t.sql};`), "COMMIT;"].join("\n"),
  );
}

Deno.test("cli: verify calls nothing equal that it could not compare", () => {
  const report = { ...newReport("done"), found: [] };
  assert.deepEqual([isEqual(report), linesOf(report).at(-1)], [true, "equal"]);
  const unsure = { ...report, unsettled: 2 };
  assert.deepEqual([isEqual(unsure), linesOf(unsure).at(-1)], [false, "the others are equal"]);
  const mended = { ...report, differences: 1, mended: 1 };
  assert.ok(isEqual(mended) && !isEqual({ ...mended, unsettled: 1 }));
});

withShell(
  "cli: verify finds and mends rows altered behind the triggers, through the agent that runs on the file, or by its own",
  async () => {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const token = await cloud.token("dev-1", "acme");
    const connection = ["--schema", writeSchema(dir.path), "--mqtt", cloud.mqttUrl, "--password", token];
    let path: string;
    {
      await using agent = await startAgent(dir, { mqttUrl: cloud.mqttUrl, token });
      path = agent.path;
      await shell(
        path,
        "INSERT INTO Setting(name, value) VALUES ('a', 1), ('b', 2); INSERT INTO Board(name) VALUES ('x');",
      );
      await until("both are in the cloud", async () => (await cloud.items("Setting")).length === 2);
      const equal = await run("verify", "--db", path);
      assert.equal(equal.code, 0, equal.stderr);
      assert.match(equal.stdout, /^model +rows +differ +mended\n/);
      assert.match(equal.stdout, /\nSetting +2 +0 +0\n[^]*\nequal\n$/);

      await behind(path, "UPDATE Setting SET value = 7 WHERE name = 'a'");
      const found = await run("verify", "--db", path, "--model", "Setting");
      assert.equal(found.code, 1, found.stdout);
      assert.match(
        found.stdout,
        /\nSetting: differs: value; .*not captured: \{"name":"a"\}\n1 differ, 0 of them mended\n$/,
      );
      const mended = await run("verify", "--db", path, "--repair", "--json");
      assert.equal(mended.code, 0, mended.stderr);
      const report = JSON.parse(mended.stdout);
      assert.deepEqual([report.differences, report.mended, report.found[0].mended], [1, 1, true]);
      await assertTwinned(cloud, path, "Setting");
      const unknown = await run("verify", "--db", path, "--model", "Nothing");
      assert.deepEqual([unknown.code, /no model "Nothing"/.test(unknown.stderr)], [2, true]);
      await agent.stop();
    }
    await behind(path, "UPDATE Board SET value = 7");
    const without = await run("verify", "--db", path);
    assert.deepEqual(
      [without.code, /no agent runs on .*--schema and --mqtt/.test(without.stderr)],
      [2, true],
      without.stderr,
    );
    const own = await run("verify", "--db", path, "--repair", ...connection);
    assert.equal(own.code, 0, own.stdout + own.stderr);
    assert.match(own.stdout, /Board: differs: value; .*\(1 mended\): \{"name":"x"\}\n/);
    assert.deepEqual((await cloud.items("Board")).map(({ value }) => value), [7]);
    const wrong = await run("verify", "--db", path, ...connection.slice(0, -1), "wrong");
    assert.deepEqual([wrong.code, /refused these credentials/.test(wrong.stderr)], [1, true], wrong.stderr);
  },
);

withShell("cli: verify asks devices from the cloud, and says which are not connected", async () => {
  using dir = new TempDir();
  const [port, mqttPort] = [await freePort(), await freePort()];
  const table = `embedded:${dir.file("cloud.db")}`, schema = writeSchema(dir.path);
  await using cloud = new Program(
    [
      "cloud",
      "--schema",
      schema,
      "--table",
      table,
      "--broker",
      "--mqtt-port",
      `${mqttPort}`,
      "--port",
      `${port}`,
      "--token",
      "t",
    ],
  );
  await cloud.printed(/http/);
  const add = (device: string) =>
    run("device", "add", device, "--account", "acme", "--table", table, "--schema", schema);
  const token = (await add("dev-1")).stdout.trim();
  assert.equal((await add("away")).code, 0);
  const at = { mqttUrl: `mqtt://127.0.0.1:${mqttPort}`, token: () => Promise.resolve(token) };
  await using device = await openDevice(dir, at, { limits: { settleMs: 200 } });
  device.exec("INSERT INTO Setting(name, value) VALUES ('a', 1)");
  await device.settle();
  await behind(device.path, "UPDATE Setting SET value = 7");
  Deno.writeTextFileSync(dir.file("token"), "t\n", { mode: 0o600 });
  Deno.writeTextFileSync(dir.file("wrong"), "a-wrong-token\n", { mode: 0o600 });
  const url = `http://127.0.0.1:${port}`, api = ["--cloud", url, "--token-file", dir.file("token")];
  const one = await run("verify", ...api, "--device", "dev-1", "--repair");
  assert.equal(one.code, 0, one.stdout + one.stderr);
  assert.match(one.stdout, /dev-1: Setting: differs: .*\(1 mended\): \{"name":"a"\}\n/);
  const all = await run("verify", ...api, "--all", "--json");
  assert.equal(all.code, 1);
  const reports = JSON.parse(all.stdout);
  assert.deepEqual([reports.away, reports["dev-1"].differences], [null, 0]);
  const cases: [args: string[], code: number, line: RegExp][] = [
    [[...api, "--device", "nobody"], 1, /no device "nobody"/],
    [["--cloud", url, "--token", "wrong", "--all"], 1, /bearer token/],
    [["--cloud", url, "--token-file", dir.file("wrong"), "--all"], 1, /^(?![^]*a-wrong-token)[^]*bearer token/],
    [["--cloud", url, "--token-file", dir.file("none"), "--all"], 1, /--token-file: .*none/],
    [[...api, "--token", "t", "--all"], 2, /--token or --token-file/],
    [["--cloud", "http://127.0.0.1:1", "--all"], 1, /can't be reached/],
    [[...api], 2, /--device, --all or --table/],
    [["--db", device.path, ...api], 2, /either --db or --cloud/],
  ];
  for (const [args, code, line] of cases) {
    const done = await run("verify", ...args);
    assert.deepEqual([done.code, line.test(done.stderr)], [code, true], done.stderr);
  }
});

withShell(
  "cli: verify says how far the device's own running agent is: rows of how many, what differs, how much longer",
  async () => {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    await using device = await openDevice(dir, cloud, { limits: { settleMs: 150 } });
    device.exec(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) INSERT INTO Setting(name, value) SELECT 'n' || i, 1 FROM n",
    );
    await device.settle();
    await behind(device.path, "UPDATE Setting SET value = 7 WHERE name = 'n1'");
    const said: string[] = [], pace = { pollMs: 1, progressMs: 0, say: (line: string) => void said.push(line) };
    const report = await byAgent(device.path, { models: ["Setting"] }, 60, openDatabase, pace);
    assert.deepEqual([report.differences, report.models.Setting!.rows], [1, 1500]);
    assert.ok(said.some((line) => /^[\d,]+ of 1,500 rows compared/.test(line)), said.join("\n"));
    assert.ok(said.some((line) => /^500 of 1,500 rows compared, 1 differ, \d+ a second, [\d.]+ s left$/.test(line)));
    // No later line says less than an earlier one.
    const rows = said.flatMap((line) => {
      const [, count] = line.match(/^([\d,]+) (?:of [\d,]+ )?rows/) ?? [];
      return count === undefined ? [] : Number(count.replace(",", ""));
    });
    assert.deepEqual(rows, rows.toSorted((a, b) => a - b));
  },
);

Deno.test("cli: verify says how far a device of a cloud is, and waits for its last report", async () => {
  const running = (rows: number) => ({
    ...newReport("running"),
    of: 3_000,
    models: { Setting: { rows, differences: 0, mended: 0 } },
  });
  const report = { ...newReport("done"), found: [] };
  // First the report of a verification before this one.
  const bodies = [
    { request: "verify/1", report },
    ...[500, 1_000, 3_000].map((rows) => {
      return { request: "verify/2", running: running(rows) };
    }),
    { request: "verify/2", report },
  ];
  const call = (_path: string, body?: unknown) =>
    Promise.resolve({ status: 200, body: body ? { request: "verify/2" } : bodies.shift()! });
  const said: string[] = [], pace = { pollMs: 1, progressMs: -1, say: (line: string) => void said.push(line) };
  assert.deepEqual(await askOne({ call }, "dev-1", {}, 60, pace), report);
  assert.equal(said[0], "waiting for dev-1");
  assert.equal(said[1], "dev-1: 500 of 3,000 rows compared");
  assert.match(said[2]!, /^dev-1: 1,000 of 3,000 rows compared, [\d,]+ a second, 0? ?.* left$/);
  assert.equal(said[3], "dev-1: 3,000 rows compared; what seems to differ is looked at again");
});

Deno.test("cli: the progress of a verification has a rate and the time that is left, once they are known", () => {
  let now = 0;
  const progress = new VerifyProgress(() => now);
  const report = { ...newReport("running"), of: 50_000 },
    model = report.models.Setting = { rows: 0, differences: 0, mended: 0 };
  assert.equal(progress.text(report), "0 of 50,000 rows compared");
  [now, model.rows] = [2_000, 10_000];
  assert.equal(progress.text(report), "10,000 of 50,000 rows compared, 5,000 a second, 8 s left");
  [now, model.rows, report.differences, report.mended] = [10_000, 50_000, 3, 1];
  assert.equal(
    progress.text(report),
    "50,000 rows compared, 3 differ, 1 of them mended; what seems to differ is looked at again",
  );
});
