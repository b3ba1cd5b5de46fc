/** `cloud table create`, `cloud table check` and `dev --table dynamodb://…` as processes, on an emulator. */
import assert from "node:assert/strict";
import { DescribeTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { emulators } from "../support/dynamo.ts";
import { writeSchema } from "../support/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { Program } from "../support/process.ts";
import { count } from "../support/sql.ts";
import { run } from "./run.ts";

const [kind] = (await emulators()).filter(({ name }) => name === "dynoxide");
const missing = kind?.missing;

function test(sentence: string, body: (endpoint: string, dir: TempDir) => Promise<void>): void {
  Deno.test({
    name: `cli: ${sentence}${missing ? `: ${missing}` : ""}`,
    ignore: missing !== undefined,
    async fn() {
      using dir = new TempDir();
      const emulator = await kind!.start();
      try {
        await body(emulator.endpoint, dir);
      } finally {
        await emulator.stop();
      }
    },
  });
}

test(
  "cloud table create says what it did, and again nothing; check says what differs, by its exit code too",
  async (endpoint, dir) => {
    const schema = writeSchema(dir.path, {
      version: "1",
      indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk" } },
      models: {
        Note: {
          pk: { type: "string", value: "device#${deviceId}" },
          sk: { type: "string", value: "note#${id}" },
          gs1pk: { type: "string", value: "notes" },
          gs1sk: { type: "string", value: "note#${id}" },
          deviceId: { type: "string", required: true },
          id: { type: "string", required: true },
          expires: { type: "date", ttl: true },
        },
      },
      process: { Note: { sync: "both" } },
    });
    const table = `dynamodb://notes?region=eu-west-1&log=notes.log&endpoint=${encodeURIComponent(endpoint)}`;
    const command = (action: string) => run("cloud", "table", action, "--schema", schema, "--table", table);
    assert.deepEqual(await command("check"), {
      code: 1,
      stdout: 'the table "notes" does not exist\nthe table "notes.log" does not exist\n',
      stderr: "",
    });
    const created = await command("create");
    assert.deepEqual([created.code, created.stdout.trim().split("\n")], [0, [
      'created the table "notes" with the index "gs1", a stream of new and old images',
      'items of the table "notes" now expire by "expires"',
      'created the table "notes.log"',
      'items of the table "notes.log" now expire by "expires"',
    ]]);
    assert.deepEqual(await command("create"), { code: 0, stdout: "everything exists already\n", stderr: "" });
    assert.deepEqual(await command("check"), { code: 0, stdout: "the tables match the schema\n", stderr: "" });
    const wrong = await command("drop");
    assert.deepEqual([wrong.code, wrong.stdout], [2, ""]);
    const nowhere = table.replace(encodeURIComponent(endpoint), "http://127.0.0.1:1");
    const away = await run("cloud", "table", "check", "--schema", schema, "--table", nowhere);
    assert.deepEqual([away.code, away.stdout, away.stderr.trim().split("\n").length], [1, "", 1], away.stderr);
  },
);

test("dev makes the tables that it is given by itself, and twins its device with them", async (endpoint, dir) => {
  const state = dir.file("state"), table = `dynamodb://demo?region=eu-west-1&endpoint=${endpoint}`;
  await using dev = new Program(["--dir", state, "--port", "0", "--mqtt-port", "0", "--table", table]);
  await dev.printed(/created the table "demo"/);
  await dev.printed(/created the table "demo-log"/);
  await dev.printed(/Ctrl-C ends/);
  const [url] = await dev.printed(/http:\/\/127\.0\.0\.1:\d+/);
  const body = JSON.stringify({ model: "Command", item: { deviceId: "demo-1", name: "interval", value: 2 } });
  assert.equal(
    (await fetch(`${url}/api/items`, { method: "PUT", headers: { "content-type": "application/json" }, body })).status,
    200,
  );
  const arrived = () => count(`${state}/demo-1.db`, "SELECT count(*) FROM Command WHERE name = 'interval'") === 1;
  await until("the command is on the device", arrived, 20_000);
  await until("the device's telemetry is in the table", async () => {
    const response = await fetch(`${url}/api/items?model=Telemetry&device=demo-1`);
    return (await response.json()).items.length > 0;
  }, 20_000);
  assert.equal((await dev.stop("SIGINT")).code, 0, dev.stderr);
  const again = new Program(["--dir", state, "--port", "0", "--mqtt-port", "0", "--table", table]);
  await using _again = again;
  await again.printed(/Ctrl-C ends/);
  assert.doesNotMatch(again.stdout, /created|left as it is/);
  assert.equal((await again.stop("SIGINT")).code, 0, again.stderr);
});

test("an index of a sort attribute alone is made, and checked, as a local one", async (endpoint, dir) => {
  const schema = writeSchema(dir.path, {
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" }, ls1: { sort: "level" } },
    models: {
      Note: {
        pk: { type: "string", value: "device#${deviceId}" },
        sk: { type: "string", value: "note#${id}" },
        deviceId: { type: "string", required: true },
        id: { type: "string", required: true },
        level: { type: "string" },
      },
    },
    process: { Note: { sync: "both" } },
  });
  const table = `dynamodb://notes?region=eu-west-1&log=notes.log&endpoint=${encodeURIComponent(endpoint)}`;
  const created = await run("cloud", "table", "create", "--schema", schema, "--table", table);
  assert.equal(created.code, 0, created.stderr);
  const credentials = { accessKeyId: "x", secretAccessKey: "x" };
  const client = new DynamoDBClient({ endpoint, region: "eu-west-1", credentials });
  const { Table } = await client.send(new DescribeTableCommand({ TableName: "notes" }));
  client.destroy();
  assert.deepEqual(Table?.LocalSecondaryIndexes?.map(({ IndexName }) => IndexName), ["ls1"]);
  assert.equal(Table?.GlobalSecondaryIndexes?.length ?? 0, 0);
  const checked = await run("cloud", "table", "check", "--schema", schema, "--table", table);
  assert.deepEqual([checked.code, checked.stderr], [0, ""], checked.stdout);
});
