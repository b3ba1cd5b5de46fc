/**
 * A release's own program beside this one: its agent with this cloud, which tells waits, windows and its return; this agent
 * with its cloud, which knows none of them. The release comes out of this repository's history.
 */
import assert from "node:assert/strict";
import { openEmbedded } from "../../cloud/embedded.ts";
import { startCloud } from "../../cloud/worker.ts";
import { openDevice } from "../support/device.ts";
import { freePort } from "../support/mosquitto.ts";
import { Limited } from "../support/limited.ts";
import { Program } from "../support/process.ts";
import { e2eCompiled, writeSchema } from "../support/schema.ts";
import { connect, count } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

/** The first one that devices have: as in `tests/golden`. */
const release = "c989acf";
const account = "acme";

const root = new URL("../../", import.meta.url).pathname;

/** Why it can't be had. */
function missingWhy(): string | undefined {
  try {
    const git = new Deno.Command("git", { args: ["cat-file", "-e", `${release}:mod.ts`], cwd: root, stderr: "null" });
    return git.outputSync().success ? undefined : `no history that has ${release}`;
  } catch {
    return "no git";
  }
}

/** Puts the release into the folder. @returns a program that runs it */
async function unpackRelease(dir: TempDir): Promise<string> {
  const folder = dir.file("release");
  Deno.mkdirSync(folder);
  const archive = await new Deno.Command("git", { args: ["archive", release], cwd: root }).output();
  Deno.writeFileSync(dir.file("release.tar"), archive.stdout);
  await new Deno.Command("tar", { args: ["xf", dir.file("release.tar"), "-C", folder] }).output();
  const program = dir.file("released");
  Deno.writeTextFileSync(
    program,
    `#!/bin/sh\nexec "${Deno.execPath()}" run -A --quiet --no-prompt --config "${folder}/deno.json" "${folder}/mod.ts" "$@"\n`,
  );
  Deno.chmodSync(program, 0o755);
  return program;
}

function sql(path: string, text: string): void {
  using db = connect(path);
  db.exec(text);
}

const missing = missingWhy();
const test = (name: string, fn: (dir: TempDir, program: string) => Promise<void>) =>
  Deno.test({
    name: `released: ${name}${missing ? `: ${missing}` : ""}`,
    ignore: missing !== undefined,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      using dir = new TempDir();
      await fn(dir, await unpackRelease(dir));
    },
  });

test(
  "its agent syncs with this cloud, in a storm as well, and is not put out by what it does not know",
  async (dir, program) => {
    const tables = openEmbedded(":memory:", { schema: e2eCompiled, now: Date.now });
    const limited = new Limited(Infinity, 5);
    const cloud = await startCloud({ schema: e2eCompiled, table: limited.tables(tables) });
    const put = (name: string) =>
      tables.data.write([{
        op: "put",
        item: { pk: "device#dev-1", sk: `command#${name}`, _type: "Command", deviceId: "dev-1", name, value: 1 },
      }]);
    const path = dir.file("dev-1.db"),
      seen = (name: string) => count(path, `SELECT count(*) FROM Command WHERE name = '${name}'`);
    const arrived = async (name: string) =>
      (await tables.data.get([["device#dev-1", `setting#${name}`]]))[0] !== undefined;
    try {
      // Others, so that what goes to all names a window.
      for (let i = 0; i < 150; i++) await cloud.registry.add(`other-${i}`, account);
      for (let i = 0; i < 150; i++) await cloud.registry.identityOf(`other-${i}`);
      await using agent = new Program(
        [
          ...["agent", "--device", "dev-1", "--account", account, "--db", path, "--schema", writeSchema(dir.path)],
          ...["--mqtt", `mqtt://127.0.0.1:${cloud.mqttPort}`, "--password", await cloud.registry.add("dev-1", account)],
        ],
        {},
        program,
      );
      await agent.printed(/agent .*: /, 120_000);
      sql(path, "INSERT INTO Setting(name, value) VALUES ('before', 1)");
      await put("before");
      await until("both ways", async () => seen("before") === 1 && await arrived("before"), 60_000);

      limited.perSecond = 40;
      const stopped = new AbortController();
      for (let i = 0; i < 5; i++) await cloud.service.announce(stopped.signal);
      const flood = (n: number) => {
        for (let i = 0; i < 150; i++) {
          const channels = [{ channel: `device:other-${i}` }, { channel: "global" as const }];
          void cloud.service.receive(`other-${i}`, { type: "sync", request: `r/${n}`, channels, later: 1 });
        }
      };
      flood(1);
      sql(path, "INSERT INTO Setting(name, value) VALUES ('in the storm', 1)");
      await put("in the storm");
      await cloud.service.announce(stopped.signal);
      const both = async () => seen("in the storm") === 1 && await arrived("in the storm");
      await until("both ways in the storm", both, 120_000);
      limited.perSecond = Infinity;
      sql(path, "UPDATE Setting SET value = 2 WHERE name = 'before'; DELETE FROM Setting WHERE name = 'in the storm'");
      await put("after");
      await until("both ways after it", async () => seen("after") === 1 && !await arrived("in the storm"), 90_000);
      assert.equal(agent.exited, undefined, agent.stderr.slice(-2000));
      await until("all is acknowledged", () => count(path, "SELECT count(*) FROM _outbox") === 0, 60_000);
      for (const table of ["_rejected", "_conflicts"]) {
        assert.equal(count(path, `SELECT count(*) FROM ${table}`), 0, table);
      }
    } finally {
      limited.perSecond = Infinity;
      await cloud.close();
      await tables.data.close();
      await tables.log.close();
    }
  },
);

test("this agent syncs with its cloud, which knows nothing of waits and windows", async (dir, program) => {
  const ports = { mqtt: await freePort(), http: await freePort() },
    schema = writeSchema(dir.path),
    table = `embedded:${dir.file("cloud.db")}`;
  const run = async (args: readonly string[]) => {
    await using once = new Program(args, {}, program);
    assert.equal(await once.ended(), 0, once.stderr);
    return once.stdout.trim();
  };
  const start = async () => {
    const args = [
      "--schema",
      schema,
      "--table",
      table,
      "--broker",
      "--mqtt-port",
      String(ports.mqtt),
      "--port",
      String(ports.http),
    ];
    const cloud = new Program(["cloud", ...args], { TWINTABLE_TOKEN: "secret" }, program);
    await cloud.printed(/cloud: /, 120_000);
    return cloud;
  };
  const token = await run(["device", "add", "dev-1", "--account", account, "--schema", schema, "--table", table]);
  let cloud = await start();
  const where = { mqttUrl: `mqtt://127.0.0.1:${ports.mqtt}`, token: () => Promise.resolve(token) };
  const device = await openDevice(dir, where, { device: "dev-1" });
  try {
    const put = (name: string) =>
      fetch(`http://127.0.0.1:${ports.http}/api/items`, {
        method: "PUT",
        headers: { authorization: "Bearer secret", "content-type": "application/json" },
        body: JSON.stringify({ model: "Command", item: { deviceId: "dev-1", name, value: 1 } }),
      });
    for (const name of ["first", "after its restart"]) {
      device.exec(`INSERT INTO Setting(name, value) VALUES ('${name}', 1)`);
      const answer = await put(name);
      assert.ok(answer.ok, `${answer.status} ${await answer.text()}`);
      await device.settle(60_000);
      await until(
        "it is here",
        () => device.count(`SELECT count(*) FROM Command WHERE name = '${name}'`) === 1,
        60_000,
      );
      assert.equal(device.count("SELECT count(*) FROM _outbox"), 0);
      if (name !== "first") break;
      await cloud.kill();
      cloud = await start();
    }
    for (const problem of ["_rejected", "_conflicts"]) assert.equal(device.count(`SELECT count(*) FROM ${problem}`), 0);
  } finally {
    await device.agent.close();
    await cloud.kill();
  }
});
