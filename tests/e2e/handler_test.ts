/**
 * The cloud without any process of its own (`support/serverless.ts`): real stream events are handed in twice, reordered
 * between keys, with failures in the middle, to two instances in turn. Devices converge, and nothing is published before it is logged.
 */
import assert from "node:assert/strict";
import { readHandlerConfig } from "../../cloud/handler_config.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { startBroker } from "../../cloud/broker/broker.ts";
import { SyncError } from "../../schema.ts";
import { type Device, openDevice } from "../support/device.ts";
import type { RawRecord } from "../support/raw_stream.ts";
import { BrokerDouble, emqxAnswer } from "../cloud/publishers/double.ts";
import { e2eCompiled, writeSchema } from "../support/schema.ts";
import { handlerFile, HandlerProcess, Serverless, token } from "../support/serverless.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { tableKinds } from "../support/world.ts";

/** As of several shards: the order of one key's changes stays, that between keys does not. */
function shuffledKeys(records: readonly RawRecord[]): RawRecord[] {
  const groups = new Map<string, RawRecord[]>();
  for (const record of records) {
    const key = JSON.stringify(record.dynamodb.Keys);
    groups.set(key, [...groups.get(key) ?? [], record]);
  }
  return [...groups.values()].sort(() => Math.random() - 0.5).flat();
}

async function same(world: Serverless, device: Device, model: string): Promise<boolean> {
  const { deviceId } = device.agent.store.identity;
  const { items } = await world.tables[0]!.data.scan({ limit: 1000 });
  const there = items.filter((item) => item._type === model && (item.deviceId ?? deviceId) === deviceId)
    .map(({ name, value }) => `${name}=${value}`).sort();
  const here = device.query(`SELECT name, value FROM ${model}`).map(({ name, value }) => `${name}=${value}`).sort();
  return JSON.stringify(there) === JSON.stringify(here) && device.count("SELECT count(*) FROM _outbox") === 0;
}

for (const kind of await tableKinds()) {
  if (kind.name === "embedded") continue;
  Deno.test({
    name: `handler: two instances and real stream events of ${kind.name}, doubled, reordered and failing in the middle${
      kind.missing ? `: ${kind.missing}` : ""
    }`,
    ignore: kind.missing !== undefined,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const source = await kind.start();
      try {
        using dir = new TempDir();
        await using world = await new Serverless().open(source.endpoint!);
        await using first = await openDevice(dir, world, { device: "d1" });
        await using second = await openDevice(dir, world, { device: "d2" });
        const devices = [first, second];
        // Each event once more at a random later time.
        const late: RawRecord[][] = [];
        for (let round = 0; round < 5; round++) {
          for (const [at, device] of devices.entries()) {
            device.exec(
              `INSERT INTO Setting(name, value) VALUES ('s${round}', ${round}); UPDATE Setting SET value = value + 10`,
            );
            device.exec(`INSERT INTO Site(name, value) VALUES ('site-${at}-${round}', ${round})`);
            for (let n = 0; n < 4; n++) {
              await world.put("Command", { name: `c${n}`, value: round * 10 + n }, `d${at + 1}`);
            }
          }
          await Promise.all(devices.map((device) => device.agent.flush({ timeoutMs: 10_000 })));
          world.broken.add(`log#device:d${round % 2 + 1}`);
          await world.post((records) => {
            const event = shuffledKeys(records);
            const again = late.splice(0);
            late.push(event);
            return [event, event, ...again];
          });
        }
        assert.ok(world.posted.failures > 0, "something failed in the middle");
        await world.post((records) => [records]);
        for (const device of devices) {
          for (const model of ["Setting", "Site", "Command"]) {
            await until(`${model} is the same`, async () => {
              await world.post((records) => [records]);
              return await same(world, device, model);
            }, 20_000);
          }
          assert.equal(device.count("SELECT count(*) FROM Site"), 10);
          assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
          assert.deepEqual(device.query("SELECT * FROM _rejected"), []);
        }
        assert.deepEqual(world.unlogged, [], "nothing was published before it was logged");
        assert.ok(world.published > 0);
      } finally {
        await source.stop();
      }
    },
  });

  Deno.test({
    name:
      `handler: two processes of deno serve on ${kind.name}, one killed with -9 again and again, are one to devices${
        kind.missing ? `: ${kind.missing}` : ""
      }`,
    ignore: kind.missing !== undefined,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const source = await kind.start();
      try {
        using dir = new TempDir();
        await using world = await new Serverless().open(source.endpoint!, writeSchema(dir.path));
        await using first = await openDevice(dir, world, { device: "d1" });
        await using second = await openDevice(dir, world, { device: "d2" });
        for (let round = 0; round < 4; round++) {
          const instance = world.processes[round % 2]!;
          for (const [at, device] of [first, second].entries()) {
            device.exec(`INSERT INTO Setting(name, value) VALUES ('s${round}', ${round})`);
            device.exec(`INSERT INTO Site(name, value) VALUES ('site-${at}-${round}', ${round})`);
            await world.put("Command", { name: `c${round}`, value: round }, `d${at + 1}`);
          }
          await instance[Symbol.asyncDispose]();
          await Promise.all([first, second].map((device) => device.agent.flush({ timeoutMs: 20_000 })));
          await world.post((records) => [records, records]);
          await instance.restart();
        }
        for (const device of [first, second]) {
          for (const model of ["Setting", "Site", "Command"]) {
            await until(`${model} is the same`, async () => {
              await world.post((records) => [records]);
              return await same(world, device, model);
            }, 20_000);
          }
          assert.equal(device.count("SELECT count(*) FROM Site"), 8);
          assert.equal(device.count("SELECT count(*) FROM Command"), 4);
          for (const table of ["_conflicts", "_rejected"]) assert.deepEqual(device.query(`SELECT * FROM ${table}`), []);
        }
      } finally {
        await source.stop();
      }
    },
  });
}

Deno.test("handler: deno serve runs it, configured by the environment", async () => {
  using dir = new TempDir();
  const env = {
    TWINTABLE_SCHEMA: writeSchema(dir.path),
    TWINTABLE_TABLE: `embedded:${dir.file("cloud.db")}`,
    TWINTABLE_TOKEN: token,
  };
  const authorization = `Bearer ${token}`;
  {
    await using handler = await HandlerProcess.start(env);
    const { url } = handler;
    assert.equal(await (await fetch(`${url}/healthz`)).text(), "ok\n");
    const item = { deviceId: "d1", name: "interval", value: 5 };
    const body = JSON.stringify({ model: "Command", item });
    const put = (headers: Record<string, string>) => fetch(`${url}/api/items`, { method: "PUT", headers, body });
    assert.equal((await put({})).status, 401);
    assert.equal((await put({ authorization })).status, 200);
    const listed = await (await fetch(`${url}/api/items?model=Command`, { headers: { authorization } })).json();
    assert.deepEqual(listed.items.map(({ value }: { value: number }) => value), [5]);
    const stream = await fetch(`${url}/stream`, { method: "POST", headers: { authorization }, body: "[]" });
    assert.deepEqual([stream.status, (await stream.json()).error.code], [503, "config"], "there is no publisher");
  }
});

Deno.test("handler: a process whose configuration is wrong does not start, and says why in one line", async () => {
  using dir = new TempDir();
  const good = {
    TWINTABLE_SCHEMA: writeSchema(dir.path),
    TWINTABLE_TABLE: `embedded:${dir.file("cloud.db")}`,
    TWINTABLE_TOKEN: token,
  };
  // A DynamoDB that has no such table.
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, () =>
    Response.json({
      __type: "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
      message: "Requested resource not found",
    }, { status: 400 }));
  const aws = { AWS_ACCESS_KEY_ID: "x", AWS_SECRET_ACCESS_KEY: "x" };
  const missing = `dynamodb://nowhere?region=eu-west-1&endpoint=http://127.0.0.1:${server.addr.port}`;
  const wrong: [Record<string, string>, RegExp][] = [
    [{ ...aws, TWINTABLE_TABLE: missing }, /TWINTABLE_TABLE: .*nowhere.*not found/],
    ...Object.keys(good).map((
      name,
    ): [Record<string, string>, RegExp] => [{ [name]: "" }, new RegExp(`${name} is missing`)]),
    [{ TWINTABLE_TABLE: "sqlite:x" }, /TWINTABLE_TABLE is embedded:PATH or/],
    [{ TWINTABLE_TABLE: `embedded:${dir.file("none/cloud.db")}` }, /TWINTABLE_TABLE: the folder .*none does not exist/],
    [{ TWINTABLE_SCHEMA: dir.file("none.json") }, /TWINTABLE_SCHEMA: .*none\.json/],
    [{ TWINTABLE_PUBLISHER: "ftp://x" }, /TWINTABLE_PUBLISHER: .*unknown scheme/],
    [{ TWINTABLE_PUBLISHER: "emqx+https://h/api" }, /TWINTABLE_PUBLISHER: .*no API key/],
    [{ TWINTABLE_MQTT_VERSION: "6" }, /4 or 5/],
    [{ TWINTABLE_MQTT_CA: dir.file("none.pem") }, /can't be read/],
    [{ TWINTABLE_STREAM_TIMEOUT_MS: "soon" }, /whole number/],
    [{ TWINTABLE_PREFIX: "a/#" }, /TWINTABLE_PREFIX: a topic prefix is/],
    [{ TWINTABLE_LOG: "loud" }, /TWINTABLE_LOG/],
  ];
  await Promise.all(wrong.map(async ([env, reason]) => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["serve", "-A", "--no-check", "--host", "127.0.0.1", "--port", "0", handlerFile],
      env: { NO_COLOR: "1", ...good, ...env },
      stdin: "null",
    }).output();
    const said = new TextDecoder().decode(stderr);
    assert.equal(code, 1, said);
    assert.match(said, reason);
    assert.equal(said.trim().split("\n").length, 1, said);
  }));
  await server.shutdown();
});

Deno.test("handler: each variable is read with its bounds before anything is opened, and is named", async () => {
  using dir = new TempDir();
  const good: Record<string, string> = {
    TWINTABLE_SCHEMA: writeSchema(dir.path),
    TWINTABLE_TABLE: "embedded:c.db",
    TWINTABLE_TOKEN: token,
  };
  const read = (env: Record<string, string>) => {
    const all: Record<string, string> = { ...good, ...env };
    return readHandlerConfig((name) => all[name]);
  };
  const noPem = dir.file("no.pem"), secret = "hush";
  Deno.writeTextFileSync(noPem, secret);
  const wrong: Record<string, string[]> = {
    TWINTABLE_SCHEMA: [dir.path, dir.file("none.json"), noPem],
    TWINTABLE_TABLE: ["sqlite:x", "embedded:", "dynamodb://"],
    TWINTABLE_PREFIX: ["a/#", "/", "a//b", "ü", "x".repeat(65)],
    TWINTABLE_PAYLOAD_BYTES_MAX: ["1", "1023", "-1", "1e99", "0x", `${2 ** 30}`],
    TWINTABLE_RETENTION_HOURS: ["0", "1.5", `${Number.MAX_SAFE_INTEGER}`],
    TWINTABLE_AUDIT_DAYS: ["-1", `${Number.MAX_SAFE_INTEGER}`],
    // A timer of more than 2^31 ms ends at once.
    TWINTABLE_STREAM_TIMEOUT_MS: ["0", "4s", `${2 ** 31}`],
    TWINTABLE_NOTIFY_SECRET: [secret, "whsec_ü"],
    TWINTABLE_PUBLISHER: [`x://u:${secret}@h`, `mqtt://u:%zz${secret}@h`, "iot-data://h", `emqx+https://:${secret}@h`],
    TWINTABLE_MQTT_VERSION: ["3", "v5"],
    ...Object.fromEntries(["CA", "CERT", "KEY"].map((one) => [`TWINTABLE_MQTT_${one}`, [noPem, dir.file("none.pem")]])),
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      await assert.rejects(read({ [name]: value }), (error) => {
        assert.ok(error instanceof SyncError, `${name}=${value}: ${error}`);
        assert.ok(error.message.includes(name), `${name}=${value}: ${error.message}`);
        assert.equal(error.message.includes(secret), false, error.message);
        return true;
      }, `${name}=${value}`);
    }
  }
  const largest = { TWINTABLE_PAYLOAD_BYTES_MAX: "1024", TWINTABLE_RETENTION_HOURS: "1", TWINTABLE_PREFIX: "a/b" };
  assert.equal((await read(largest)).payloadBytesMax, 1024);
});

Deno.test("handler: SIGTERM ends it, with a connection to a broker too; its log is JSON lines without a secret", async () => {
  using dir = new TempDir();
  const internal = { username: "twintable-cloud", password: "hush" };
  const broker = await startBroker({ internal, authenticate: () => Promise.resolve(undefined) });
  try {
    await using handler = await HandlerProcess.start({
      TWINTABLE_SCHEMA: writeSchema(dir.path),
      TWINTABLE_TABLE: `embedded:${dir.file("cloud.db")}`,
      TWINTABLE_TOKEN: token,
      TWINTABLE_PUBLISHER: `mqtt://${internal.username}:${internal.password}@127.0.0.1:${broker.port}`,
    });
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${handler.url}/up?device=d1`, { method: "POST", headers, body: "{}" });
    assert.equal(response.status, 400);
    await response.body?.cancel();
    assert.equal(await handler.stop(), 0);
    const lines = handler.said.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
    assert.ok(
      lines.some(({ level, message }) => level === "info" && /^opened embedded:.* with a publisher$/.test(message)),
    );
    assert.ok(lines.some(({ level, message }) => level === "warning" && /dropped a message of d1/.test(message)));
    assert.doesNotMatch(handler.said, /hush|s3cret/);
  } finally {
    await broker.close();
  }
});

Deno.test("handler: SIGTERM lets a request under way publish, and its answer reach the caller", async () => {
  using dir = new TempDir();
  const path = dir.file("cloud.db"), publishing = Promise.withResolvers<void>(), held = Promise.withResolvers<void>();
  await using emqx = new BrokerDouble();
  emqx.answer = async () => {
    publishing.resolve();
    await held.promise;
    return emqxAnswer();
  };
  const tables = openEmbedded(path, { schema: e2eCompiled, now: Date.now });
  try {
    await new Registry(tables.log, { now: Date.now }).add("d1", "acme");
    await using handler = await HandlerProcess.start({
      TWINTABLE_SCHEMA: writeSchema(dir.path),
      TWINTABLE_TABLE: `embedded:${path}`,
      TWINTABLE_TOKEN: token,
      TWINTABLE_PUBLISHER: `emqx+http://k:s@${emqx.host}/p`,
      TWINTABLE_STREAM_TIMEOUT_MS: "60000",
    });
    const Keys = { pk: { S: "device#d1" }, sk: { S: "command#c" } };
    const NewImage = { ...Keys, _type: { S: "Command" }, deviceId: { S: "d1" }, name: { S: "c" }, value: { N: "5" } };
    const dynamodb = { Keys, NewImage, SequenceNumber: "100", StreamViewType: "NEW_AND_OLD_IMAGES" };
    const record = { eventID: "1", eventName: "INSERT", eventSource: "aws:dynamodb", eventVersion: "1.1", dynamodb };
    const answer = fetch(`${handler.url}/stream`, {
      method: "POST",
      headers: { "authorization": `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ Records: [record] }),
    }).then(async (response) => ({ status: response.status, body: await response.text() }));
    await Promise.race([publishing.promise, answer.then(({ body }) => assert.fail(body))]);
    const ended = handler.stop();
    // So that the signal comes first; if it does not, the test is weaker, not wrong.
    await new Promise((resolve) => setTimeout(resolve, 200));
    held.resolve();
    const { status, body } = await answer;
    assert.equal(status, 200, body);
    assert.equal(await ended, 0);
  } finally {
    await tables.close();
  }
});
