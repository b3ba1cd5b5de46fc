/**
 * `device decommission --erase` and `audit`, as processes, on an embedded table and on DynamoDB: killed while it waits, it goes
 * on; the audit says who did it.
 */
import assert from "node:assert/strict";
import { userInfo } from "node:os";
import { Erasure } from "../../cloud/operations/erasure.ts";
import { openTables } from "../../cloud/open_tables.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { compileSchema, completeItem } from "../../schema.ts";
import { emulators } from "../support/dynamo.ts";
import { runModWith } from "../support/mod.ts";
import { program } from "../support/program.ts";
import { TempDir } from "../support/temp_dir.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { source } from "../hostile/rig.ts";

const env = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test", AWS_REGION: "us-east-1", NO_COLOR: "1" };
const [dynoxide] = await emulators();
const schema = compileSchema(source as unknown as Parameters<typeof compileSchema>[0]);

async function suite(url: string, schemaFile: string): Promise<void> {
  const flags = ["--table", url, "--schema", schemaFile];
  const run = async (...args: string[]) => await runModWith({ env }, ...args, ...flags);
  if (url.startsWith("dynamodb:")) assert.equal((await run("cloud", "table", "create")).code, 0);
  for (const [device, account] of [["d1", "acme"], ["d2", "acme"]] as const) {
    const added = await run("device", "add", device, "--account", account);
    assert.equal(added.code, 0, added.stderr);
  }
  const token = (await run("device", "rotate", "d2")).stdout.trim();
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  const tables = await openTables(url, { schema, now: Date.now, shared: true });
  try {
    for (const deviceId of ["d1", "d2"]) {
      for (let at = 0; at < 120; at++) {
        const model = schema.models.get(at % 2 === 0 ? "Own" : "Up")!;
        const item = completeItem(schema, model, { id: `${at}` }, { deviceId, accountId: "acme" });
        await tables.data.write([{ op: "put", item }]);
      }
    }
    // It begins, waits for what is under way, and is killed.
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", program, "device", "decommission", "d1", "--erase", ...flags],
      stdout: "null",
      stderr: "piped",
      env,
    }).spawn();
    let said = "";
    const reading = child.stderr.pipeThrough(new TextDecoderStream()).pipeTo(
      new WritableStream({ write: (text) => void (said += text) }),
    );
    await until("it waits", () => said.includes("waits until"), 60_000);
    child.kill("SIGKILL");
    await child.status;
    await reading;
    // A minute later, the next call ends it.
    const now = () => Date.now() + 60_000, registry = new Registry(tables.log, { now });
    const receipt = await new Erasure({ schema, tables, registry, now }).run("d1");
    assert.deepEqual(receipt?.items, { Own: 60, Up: 60 });
    assert.ok(receipt?.done);
    const { items } = await tables.data.scan({ limit: 1_000 });
    assert.deepEqual(new Set(items.map(({ deviceId }) => deviceId)), new Set(["d2"]));
    // Done: told again, at once.
    const again = await run("device", "decommission", "d1", "--erase");
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(JSON.parse(again.stdout), receipt);
    assert.equal((await run("device", "decommission", "d3", "--erase")).code, 1);
    assert.equal((await run("device", "decommission", "d1")).code, 2);
    assert.equal((await run("device", "revoke", "d2", "--erase")).code, 2);
    const audit = await run("audit", "--json");
    const entries = audit.stdout.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(entries.map(({ action, target }) => `${action} ${target}`), [
      "device.add d1",
      "device.add d2",
      "device.rotate d2",
      "device.decommission d1",
      "device.decommission d1",
      "device.decommission d3",
    ]);
    assert.ok(entries.every(({ who, via }) => who.startsWith(`${userInfo().username}@`) && via === "command line"));
    assert.ok(!audit.stdout.includes(token));
    assert.match((await run("audit", "--from", "1h")).stdout, /device\.rotate +d2\n/);
    assert.match((await run("audit", "--who", "nobody")).stdout, /nothing was done/);
    assert.equal((await run("audit", "--from", "yesterday")).code, 2);
  } finally {
    await tables.close();
  }
}

for (const [name, emulator] of [["an embedded table", undefined], ["DynamoDB", dynoxide]] as const) {
  Deno.test({
    name: `decommission: on ${name} an erasure that is killed goes on, and the audit has who did it`,
    ignore: skipped(emulator?.missing),
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      using dir = new TempDir();
      await using opened = new AsyncDisposableStack();
      const running = await emulator?.start();
      if (running) opened.defer(() => running.stop());
      const schemaFile = dir.file("schema.json");
      await Deno.writeTextFile(schemaFile, JSON.stringify(source));
      const endpoint = running && encodeURIComponent(running.endpoint);
      await suite(
        running ? `dynamodb://erased?region=us-east-1&endpoint=${endpoint}` : `embedded:${dir.file("cloud.db")}`,
        schemaFile,
      );
    },
  });
}
