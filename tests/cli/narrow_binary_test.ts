/**
 * A binary that is compiled for one broker and two folders, with its schema in it: it syncs with what it was compiled for, and all
 * else ends in one line and exit code 1.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { statusOf } from "../support/device.ts";
import { binary, Program } from "../support/process.ts";
import { writeSchema } from "../support/schema.ts";
import { query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { noted } from "../support/tools.ts";
import { until } from "../support/until.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Runs the task that compiles. */
async function compile(...flags: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "compile", ...flags],
    cwd: root,
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

Deno.test({
  name:
    "narrow binary: it syncs with its broker by its own schema; other brokers, folders and clouds are one line and exit 1",
  ignore: noted(binary ? undefined : "TWINTABLE_BINARY names no compiled program: nothing to compile with"),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const state = dir.file("state"), etc = dir.file("etc"), program = dir.file("bin/twintable");
    for (const folder of [state, etc]) Deno.mkdirSync(folder);
    const broker = new URL(cloud.mqttUrl).host;
    await compile(
      ...["--broker", broker, "--state", state, "--etc", etc],
      ...["--schema", writeSchema(dir.path), "--output", program, "--small"],
    );
    Deno.writeTextFileSync(`${etc}/token`, await cloud.token("d-1", "acme"));
    const db = `${state}/d-1.db`;
    const config = { device: "d-1", account: "acme", db, mqtt: cloud.mqttUrl, "password-file": `${etc}/token` };
    Deno.writeTextFileSync(`${etc}/agent.json5`, JSON.stringify(config));
    Deno.copyFileSync(`${etc}/agent.json5`, dir.file("agent.json5"));
    {
      await using agent = new Program(["agent", "--config", `${etc}/agent.json5`], {}, program);
      await agent.printed(/agent d-1 of account acme/);
      query(db, "INSERT INTO Setting(name, value) VALUES ('a', 1)");
      await until("the row is in the table", async () => (await cloud.items("Setting")).length === 1, 60_000);
      await until("it is acknowledged", () => statusOf(db).outbox === 0, 30_000);
      assert.equal((await agent.stop()).code, 0, agent.stderr);
    }
    const own = ["--config", `${etc}/agent.json5`], outside = dir.file("x.db");
    Deno.copyFileSync(db, outside);
    const forbidden: [string[], RegExp][] = [
      [["agent", ...own, "--mqtt", "mqtt://127.0.0.1:1"], /forbid a connection to 127\.0\.0\.1:1: .*another broker/],
      [["agent", ...own, "--mqtt", "mqtts://broker.example", "--db", db], /connection to broker\.example:8883/],
      [["agent", ...own, "--db", outside], /Requires read access .* permissions forbid it/],
      [["agent", ...own, "--password-file", dir.file("token")], /--password-file: .* permissions forbid it/],
      [["agent", ...own, "--schema", dir.file("schema.json")], /the schema .* permissions forbid it/],
      [["agent", ...own, "--db", `${etc}/d.db`], /(write|read) access .* permissions forbid it/],
      [["status", "--db", outside], /permissions forbid it/],
      [["backup", "--db", db, "--to", dir.file("copy.db")], /permissions forbid it/],
      [["backup", "--db", db, "--to", `${etc}/copy.db`], /permissions forbid it/],
      [["restore", "--from", outside, "--db", db, "--force"], /permissions forbid it/],
      [["reset", "--db", outside, "--force"], /permissions forbid it/],
      [["verify", "--db", db, "--mqtt", "mqtt://127.0.0.1:1"], /forbid a connection/],
      [["verify", "--cloud", "http://127.0.0.1:1", "--all"], /permissions forbid it/],
    ];
    for (const [args, reason] of forbidden) {
      await using command = new Program(args, {}, program);
      await until(`"${args.join(" ")}" ends`, () => command.exited, 30_000);
      assert.equal(await command.ended(), 1, `${args.join(" ")}: ${command.stderr}`);
      assert.match(command.stderr, reason, args.join(" "));
      assert.match(command.stderr, /^twintable: [^\n]*\n$/, args.join(" "));
    }
    // Nothing of that left a mark.
    assert.deepEqual([...Deno.readDirSync(etc)].map(({ name }) => name).sort(), ["agent.json5", "token"]);
    await using status = new Program(["status", "--db", db, "--json"], {}, program);
    assert.equal(await status.ended(), 0, status.stderr);
    assert.equal(JSON.parse(status.stdout).outbox, 0);
  },
});
