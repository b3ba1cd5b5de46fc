/**
 * A DynamoDB table that was restored to a point in time under another name, with the log table kept, on DynamoDB Local: worker
 * and commands as processes. A device that was there all the time, and one that was away, heal it (rules B1 to B8).
 */
import assert from "node:assert/strict";
import { openDynamo } from "../../cloud/dynamodb/tables.ts";
import type { DataTable } from "../../cloud/table/port.ts";
import type { Item } from "../../schema.ts";
import { type Device, openDevice } from "../support/device.ts";
import { emulators } from "../support/dynamo.ts";
import { freePort } from "../support/mosquitto.ts";
import { Program } from "../support/process.ts";
import { e2eCompiled, writeSchema } from "../support/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { credentials, newTableUrl } from "../support/world.ts";

const [kind] = (await emulators()).filter(({ name }) => name === "dynamodb-local");
if (kind!.missing) skipped(kind!.missing);
const awsEnv = {
  AWS_ACCESS_KEY_ID: credentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
};

async function command(...args: string[]): Promise<string> {
  await using program = new Program(args, awsEnv);
  assert.equal(await program.ended(), 0, program.stderr);
  return program.stdout.trim();
}

/** The table, past every worker. */
async function within<T>(url: string, work: (data: DataTable) => Promise<T>): Promise<T> {
  const tables = await openDynamo(url, { schema: e2eCompiled, credentials });
  try {
    return await work(tables.data);
  } finally {
    await tables.close();
  }
}

async function itemsOf(url: string): Promise<Item[]> {
  return await within(url, async (data) => {
    const items: Item[] = [];
    let after: string | undefined;
    do {
      const page = await data.scan({ limit: 1000, after });
      items.push(...page.items);
      after = page.next;
    } while (after !== undefined);
    return items;
  });
}

Deno.test({
  name: "restored: devices heal a DynamoDB table that was restored under another name",
  ignore: kind!.missing !== undefined,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const emulator = await kind!.start();
    try {
      await heal(emulator.endpoint);
    } finally {
      await emulator.stop();
    }
  },
});

async function heal(endpoint: string): Promise<void> {
  using dir = new TempDir();
  const schema = writeSchema(dir.path), port = await freePort(), first = newTableUrl(endpoint);
  const log = `${/^dynamodb:\/\/([^?]+)/.exec(first)![1]}-log`;
  const where = (url: string) => ["--schema", schema, "--table", url];
  await command("cloud", "table", "create", ...where(first));
  const tokens = new Map<string, string>();
  for (const id of ["d1", "d2"]) {
    tokens.set(id, await command("device", "add", id, "--account", "acme", ...where(first)));
  }
  const worker = async (url: string) => {
    const program = new Program(["cloud", ...where(url), "--broker", "--mqtt-port", String(port)], awsEnv);
    await program.printed(/cloud: dynamodb/);
    return program;
  };
  const mqttUrl = `mqtt://127.0.0.1:${port}`;
  const open = (id: string) =>
    openDevice(dir, { mqttUrl, token: () => Promise.resolve(tokens.get(id)!) }, { device: id });
  const names = (device: Device, model: string) =>
    device.query(`SELECT name FROM "${model}" ORDER BY name`).map(({ name }) => name);
  const inTable = async (url: string, name: string) => (await itemsOf(url)).some((item) => item.name === name);

  await using one = await open("d1");
  let copy: Item[], since: string;
  {
    await using cloud = await worker(first);
    await using two = await open("d2");
    one.exec("INSERT INTO Setting(name, value) VALUES ('before', 1), ('removed', 1)");
    two.exec("INSERT INTO Setting(name, value) VALUES ('second', 1)");
    await until("all is in the table", async () => (await itemsOf(first)).length === 3, 60_000);
    await one.agent.flush({ timeoutMs: 60_000 });
    copy = await itemsOf(first);
    since = new Date().toISOString();
    // What a base was learnt less than a minute before that time is taken for lost as well, which does no harm.
    one.exec("UPDATE Setting SET value = 2 WHERE name = 'before'; DELETE FROM Setting WHERE name = 'removed'");
    one.exec("INSERT INTO Setting(name, value) VALUES ('after', 1)");
    two.exec("UPDATE Setting SET value = 2 WHERE name = 'second'");
    await until("the removal is in the table", async () => !await inTable(first, "removed"), 60_000);
    await one.agent.flush({ timeoutMs: 60_000 });
    await two.agent.flush({ timeoutMs: 60_000 });
    assert.equal((await cloud.stop()).code, 0);
  }

  // The restored table has another name, what stood in it at that time, and a stream of its own; the log table is kept.
  const second = newTableUrl(endpoint).replace("?", `?log=${log}&`);
  await command("cloud", "table", "create", ...where(second));
  await within(second, async (data) => {
    for (const item of copy) await data.write([{ op: "put", item }]);
  });
  assert.match(
    await command("cloud", "table", "restored", "--since", since, ...where(second)),
    /start the workers now/,
  );

  await using cloud = await worker(second);
  const values = async () => {
    const found = (await itemsOf(second)).map(({ name, value }) => [String(name), value]);
    return Object.fromEntries(found.sort()) as Record<string, unknown>;
  };
  await until("the first device has healed it", async () => {
    const { before, after, removed } = await values();
    return before === 2 && after === 1 && removed === undefined;
  }, 120_000);
  assert.equal((await values()).second, 1, "of the other one nobody has told yet");
  // The one that was away comes later, and brings its own.
  await using two = await open("d2");
  await until("the second device has healed it", async () => (await values()).second === 2, 120_000);
  await one.agent.flush({ timeoutMs: 60_000 });
  assert.deepEqual([names(one, "Setting"), names(two, "Setting")], [["after", "before"], ["second"]]);
  const kept = one.query("SELECT why FROM _conflicts").map(({ why }) => why);
  assert.ok(kept.every((why) => why === "revived"), `nothing else was in anybody's way: ${kept}`);
  assert.equal((await cloud.stop()).code, 0);
}
