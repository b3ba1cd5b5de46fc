/**
 * An outage of fifty devices: the broker is away for 4 s, then the table for 20 s. A worker writes at most ten lines, each with
 * its date and level, and an agent as few.
 */
import assert from "node:assert/strict";
import { openDynamo } from "../../cloud/dynamodb/tables.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { type Device, openDevice } from "../support/device.ts";
import { emulators } from "../support/dynamo.ts";
import { FaultProxy } from "../support/fault_proxy.ts";
import { mosquittoMissing, startMosquitto } from "../support/mosquitto.ts";
import { Program } from "../support/process.ts";
import { e2eCompiled, writeSchema } from "../support/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { credentials, newTableUrl } from "../support/world.ts";

const devicesCount = 50, brokerAwayMs = 4_000, tableAwayMs = 20_000, linesMax = 10;
const internal = { username: "twintable-cloud", password: "internal" };
const env = {
  AWS_ACCESS_KEY_ID: credentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
};
const kind = (await emulators()).find(({ missing }) => missing === undefined);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function run(args: readonly string[]): Promise<void> {
  await using program = new Program(args, env);
  assert.equal(await program.ended(), 0, program.stderr);
}

Deno.test({
  name: "outage: fifty devices without broker for 4 s and without table for 20 s are at most ten lines of a worker",
  ignore: skipped(mosquittoMissing ?? (kind === undefined ? "this machine has no emulator of DynamoDB" : undefined)),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using stack = new AsyncDisposableStack();
    using dir = new TempDir();
    const emulator = await kind!.start();
    stack.defer(() => emulator.stop());
    const proxy = stack.use(await FaultProxy.open(emulator.endpoint));
    const table = newTableUrl(proxy.endpoint), schema = writeSchema(dir.path);
    await run(["cloud", "table", "create", "--schema", schema, "--table", table]);
    const ids = Array.from({ length: devicesCount }, (_, at) => `d${at}`);
    const tables = await openDynamo(table, { schema: e2eCompiled, credentials });
    stack.defer(() => tables.close());
    const registry = new Registry(tables.log, { now: Date.now });
    const devices = [];
    for (const deviceId of ids) {
      devices.push({ deviceId, accountId: "acme", token: await registry.add(deviceId, "acme") });
    }
    let mosquitto = await startMosquitto({ devices, internal });
    stack.defer(() => mosquitto.stop());
    const { workerPort, devicePort } = mosquitto;
    const worker = stack.use(
      new Program([
        ...["cloud", "--schema", schema, "--table", table, "--mqtt", `mqtt://127.0.0.1:${workerPort}`],
        ...["--username", internal.username, "--password", internal.password],
      ], env),
    );
    await worker.printed(/cloud: dynamodb/);
    const agents: Device[] = [];
    for (const { deviceId, token } of devices) {
      const known = { mqttUrl: `mqtt://127.0.0.1:${devicePort}`, token: () => Promise.resolve(token) };
      agents.push(stack.use(await openDevice(dir, known, { device: deviceId })));
    }
    const write = (round: number) =>
      agents.forEach(({ agent }, at) => agent.model("Setting").upsert({ name: `n${at}`, value: round }));
    const settled = () => agents.every(({ agent }) => agent.status().connected && agent.status().outbox === 0);
    write(1);
    await until("all is sent", settled, 180_000);
    const before = worker.stderr;

    await mosquitto.stop();
    write(2);
    await pause(brokerAwayMs);
    mosquitto = await startMosquitto({ devices, internal, workerPort, devicePort });
    await until("all is sent after the broker's outage", settled, 180_000);

    await proxy.cut();
    write(3);
    await pause(tableAwayMs);
    proxy.mend();
    await until("all is sent after the table's outage", settled, 120_000);
    await until("its end is told", () => worker.stderr.match(/table .* is back/), 120_000);
    await until("the stream's end is told", () => worker.stderr.match(/change stream is back/), 120_000);

    const said = worker.stderr.slice(before.length), lines = said.trim().split("\n");
    console.log(`outage: ${lines.length} lines, ${said.length} bytes\n${said}`);
    assert.ok(lines.length <= linesMax, said);
    for (const line of lines) assert.match(line, /^\d{4}-\d\d-\d\dT[\d:.]+Z (info|warning) \w+: /);
    assert.ok(!/ at .*\.[jt]s:\d+/.test(said), "a stack trace");
    for (const what of [/the broker .* is away/, /the broker .* is back after \d+\.\d s: \d+ attempts? failed/]) {
      assert.match(said, what);
    }
    for (const what of [/table .* is away/, /table .* is back after \d+\.\d s: \d+ attempts failed/]) {
      assert.match(said, what);
    }
    assert.equal((await worker.stop()).code, 0);
  },
});
