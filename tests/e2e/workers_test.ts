/**
 * Cloud workers as processes on DynamoDB Local and Mosquitto: two that share the work, one killed with -9 again and again;
 * and one whose table is unreachable, then throttles. `TWINTABLE_LONG=1` runs them as long as issue 4 asks: a minute, and 30 s.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { emulators } from "../support/dynamo.ts";
import { FaultProxy } from "../support/fault_proxy.ts";
import { type Mosquitto, mosquittoMissing, startMosquitto } from "../support/mosquitto.ts";
import { skipped } from "../support/tools.ts";
import { procMissing, Program } from "../support/process.ts";
import { type Device, openDevice } from "../support/device.ts";
import { e2eCompiled, writeSchema } from "../support/schema.ts";
import { connect } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { credentials, newTableUrl } from "../support/world.ts";
import { openDynamo } from "../../cloud/dynamodb/tables.ts";
import type { DynamoTables } from "../../cloud/dynamodb/tables.ts";
import { completeItem, fromPlain, type Item } from "../../schema.ts";
import { long } from "../support/long.ts";

const killForMs = long ? 60_000 : 9_000, killEveryMs = 2_500;
const unreachableMs = long ? 30_000 : 6_000;
/**
 * Three devices' backlog is 54 MB, or 108. As messages, items and requests it is several times as much: far more than
 * the worker's heap may have.
 */
const rows = long ? 300 : 150, rowBytes = 120_000, heapMb = long ? 144 : 120;
/** How long a frozen worker is looked at: longer than the broker takes to give it up. */
const frozenWatchMs = 25_000;
const internal = { username: "twintable-cloud", password: "internal" };
const deviceIds = ["d1", "d2", "d3"];
const awsEnv = {
  AWS_ACCESS_KEY_ID: credentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
};
const [kind] = (await emulators()).filter(({ name }) => name === "dynamodb-local");
const missing = kind?.missing ?? mosquittoMissing ?? (procMissing ? "no /proc here" : undefined);

/** Runs a command to its end and gives what it printed. */
async function run(args: readonly string[]): Promise<string> {
  await using program = new Program(args, awsEnv);
  assert.equal(await program.ended(), 0, program.stderr);
  return program.stdout.trim();
}

/** The table (made by the command line), the broker, and devices; workers are the tests'. */
class Site implements AsyncDisposable {
  readonly dir = new TempDir();
  readonly #opened = new AsyncDisposableStack();
  readonly tokens = new Map<string, string>();
  schemaFile = "";
  /** As the test reaches the table, past any proxy. */
  direct = "";
  mosquitto!: Mosquitto;
  tables!: DynamoTables;

  async open(): Promise<this> {
    const emulator = await kind!.start();
    this.#opened.defer(() => emulator.stop());
    this.direct = newTableUrl(emulator.endpoint);
    this.schemaFile = writeSchema(this.dir.path);
    const where = ["--schema", this.schemaFile, "--table", this.direct];
    assert.match(await run(["cloud", "table", "create", ...where]), /created the table/);
    assert.match(await run(["cloud", "table", "check", ...where]), /match the schema/);
    for (const id of deviceIds) {
      this.tokens.set(id, await run(["device", "add", id, "--account", "acme", ...where]));
    }
    const devices = [...this.tokens].map(([deviceId, token]) => ({ deviceId, accountId: "acme", token }));
    this.mosquitto = await startMosquitto({ devices, internal });
    this.#opened.defer(() => this.mosquitto.stop());
    this.tables = await openDynamo(this.direct, { schema: e2eCompiled, credentials });
    this.#opened.defer(() => this.tables.close());
    return this;
  }

  get endpoint(): string {
    return new URLSearchParams(this.direct.split("?")[1]).get("endpoint")!;
  }

  async worker(table = this.direct, env: Record<string, string> = {}): Promise<Program> {
    const program = new Program([
      ...["cloud", "--schema", this.schemaFile, "--table", table],
      ...["--mqtt", `mqtt://127.0.0.1:${this.mosquitto.workerPort}`, "--mqtt-version", "5"],
      ...["--username", internal.username, "--password", internal.password],
    ], { ...awsEnv, ...env });
    await program.printed(/cloud: dynamodb/);
    return program;
  }

  device(id: string): Promise<Device> {
    return openDevice(this.dir, {
      mqttUrl: `mqtt://127.0.0.1:${this.mosquitto.devicePort}`,
      token: () => Promise.resolve(this.tokens.get(id)!),
    }, { device: id, limits: { retryMs: 5_000 } });
  }

  async put(deviceId: string, name: string, value: number): Promise<void> {
    const model = e2eCompiled.models.get("Command")!, identity = { deviceId, accountId: "acme" };
    const made = fromPlain(e2eCompiled, model, { name, value }, { now: Date.now(), random: Math.random, identity });
    const [result] = await this.tables.data.write([
      { op: "put", item: completeItem(e2eCompiled, model, made, identity) },
    ]);
    assert.equal(result!.outcome, "written");
  }

  /** A model's items that a device sees, without reading any other. */
  async items(model: string, deviceId: string): Promise<Item[]> {
    const hash = model === "Site" ? "account#acme" : `device#${deviceId}`;
    const found: Item[] = [];
    let after: string | undefined;
    do {
      const query = { index: "primary", hash, sortPrefix: `${model.toLowerCase()}#`, limit: 1000, after };
      const page = await this.tables.data.query(query);
      found.push(...page.items);
      after = page.next;
    } while (after !== undefined);
    return found;
  }

  /** How many samples of all devices there are. */
  async samples(): Promise<number> {
    let count = 0;
    for (const id of deviceIds) count += (await this.items("Sample", id)).length;
    return count;
  }

  /** Waits until the devices have what the table has, and nothing waits anywhere. */
  async converged(devices: readonly Device[], timeoutMs: number): Promise<void> {
    const text = (list: readonly Record<string, unknown>[]) =>
      JSON.stringify(list.map(({ name, value }) => `${name}=${value}`).sort());
    for (const device of devices) {
      const { deviceId } = device.agent.store.identity;
      for (const model of ["Setting", "Site", "Command"]) {
        await until(`${deviceId} has the table's ${model}`, async () => {
          const items = await this.items(model, deviceId);
          return text(items) === text(device.query(`SELECT name, value FROM ${model}`)) &&
            device.count("SELECT count(*) FROM _outbox") === 0;
        }, timeoutMs);
      }
      assert.deepEqual(device.query("SELECT * FROM _rejected"), []);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
    this.dir[Symbol.dispose]();
  }
}

const test = (name: string, fn: () => Promise<void>) =>
  Deno.test({
    name: `workers: ${name}${missing ? `: ${missing}` : ""}`,
    ignore: skipped(missing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn,
  });

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

test("of two, one is killed with -9 again and again under load: nothing is lost, devices converge", async () => {
  await using site = await new Site().open();
  const workers = [await site.worker(), await site.worker()];
  const devices = await Promise.all(deviceIds.map((id) => site.device(id)));
  let stopped = false, written = 0, commands = 0;
  const load = (async () => {
    while (!stopped) {
      for (const [at, device] of devices.entries()) {
        using db = connect(device.path);
        db.prepare("INSERT INTO Sample(id, n) VALUES (?, ?)").run(`s${String(written).padStart(6, "0")}`, written);
        db.prepare(
          "INSERT INTO Setting(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
        )
          .run(`k${written % 8}`, written);
        db.prepare("INSERT INTO Site(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value")
          .run(`d${at}-${written % 4}`, written);
      }
      written++;
      await pause(15);
    }
  })();
  const cloudLoad = (async () => {
    while (!stopped) {
      for (const id of deviceIds) await site.put(id, `c${commands % 10}`, commands);
      commands++;
      await pause(30);
    }
  })();
  try {
    let kills = 0;
    for (const end = performance.now() + killForMs; performance.now() < end; kills++) {
      await pause(killEveryMs * (0.6 + 0.8 * Math.random()));
      await workers[kills % 2]!.kill();
      workers[kills % 2] = await site.worker();
    }
    stopped = true;
    await Promise.all([load, cloudLoad]);
    console.log(`${kills} kills, ${written} rounds of the devices, ${commands} of the cloud`);
    for (const device of devices) await device.agent.flush({ timeoutMs: 120_000 });
    // A tailer's lease is waited out first, 6 s.
    await site.converged(devices, 120_000);
    assert.equal(await site.samples(), written * devices.length);
    assert.ok(commands > 0 && written > 0 && kills > 0);
    for (const device of devices) {
      assert.equal(device.count("SELECT count(*) FROM Command"), Math.min(commands, 10));
    }
  } finally {
    stopped = true;
    await Promise.all([load, cloudLoad]);
    for (const device of devices) await device.agent.close();
    for (const worker of workers) await worker.kill();
  }
});

test("one that is frozen (SIGSTOP) costs 15 s and a repetition at most: the broker gives it up, the other has all of it", async () => {
  await using site = await new Site().open();
  await using frozen = await site.worker();
  await using other = await site.worker();
  const devices = await Promise.all(deviceIds.map((id) => site.device(id)));
  try {
    for (const device of devices) await device.settle(60_000);
    process.kill(frozen.pid, "SIGSTOP");
    const began = Date.now();
    let oldestMs = 0, written = 0, down = 0;
    const waiting = (device: Device) =>
      device.query("SELECT min(time) AS oldest FROM _outbox")[0]!.oldest as number | bigint | null;
    while (Date.now() - began < frozenWatchMs) {
      for (const device of devices) {
        device.exec(`INSERT INTO Sample(id, n) VALUES ('f${String(written).padStart(6, "0")}', ${written})`);
        const oldest = waiting(device);
        if (oldest !== null) oldestMs = Math.max(oldestMs, Date.now() - Number(oldest));
      }
      written++;
      for (const id of deviceIds) await site.put(id, `frozen${down % 5}`, down);
      down++;
      await pause(250);
    }
    for (const device of devices) await device.agent.flush({ timeoutMs: 30_000 });
    await site.converged(devices, 30_000);
    console.log(`${written} rounds; a change waited for ${(oldestMs / 1000).toFixed(1)} s at most`);
    // One and a half keep-alives of 10 s, and the wait for an answer that had begun by then; before, 90 s and that.
    assert.ok(oldestMs > 1_000, "some went to the frozen one");
    assert.ok(oldestMs < 45_000, `${oldestMs} ms`);
    assert.equal(other.exited, undefined, other.stderr.slice(-2000));
    assert.equal(await site.samples(), written * devices.length);
  } finally {
    process.kill(frozen.pid, "SIGCONT");
    for (const device of devices) await device.agent.close();
  }
});

test("while the table is unreachable and then throttles, the backlog waits on the devices and drains by itself", async () => {
  await using site = await new Site().open();
  await using proxy = await FaultProxy.open(site.endpoint);
  // A worker that held the backlog, or as much of it as comes in, would end for want of memory.
  await using worker = await site.worker(site.direct.replace(encodeURI(site.endpoint), proxy.endpoint), {
    DENO_V8_FLAGS: `--max-old-space-size=${heapMb}`,
  });
  const devices = await Promise.all(deviceIds.map((id) => site.device(id)));
  try {
    for (const device of devices) {
      device.exec("INSERT INTO Setting(name, value) VALUES ('before', 1)");
      await device.settle(30_000);
    }
    await proxy.cut();
    for (const device of devices) {
      using db = connect(device.path);
      db.exec("BEGIN");
      for (let n = 0; n < rows; n++) {
        db.prepare("INSERT INTO Sample(id, n, text) VALUES (?, ?, ?)").run(`s${n}`, n, "x".repeat(rowBytes));
      }
      db.exec("COMMIT; UPDATE Setting SET value = 2");
    }
    // Cloud applications go on: their table is not away from them.
    for (let n = 0; n < 20; n++) for (const id of deviceIds) await site.put(id, `c${n}`, n);
    await pause(unreachableMs);
    assert.equal(await site.samples(), 0);
    for (const device of devices) assert.ok(device.count("SELECT count(*) FROM _outbox") > rows, "the backlog waits");
    assert.equal(worker.exited, undefined);

    proxy.mode = "throttle";
    proxy.mend();
    for (const device of devices) {
      await device.agent.flush({ timeoutMs: 120_000 }).catch((error) => {
        throw new Error(`${error.message}; the worker ${JSON.stringify(worker.exited)}: ${worker.stderr.slice(-3000)}`);
      });
    }
    await site.converged(devices, 60_000);
    console.log(`${proxy.throttled} requests throttled`);
    assert.ok(proxy.throttled > rows);
    assert.equal(worker.exited, undefined, worker.stderr.slice(-2000));
    assert.equal(await site.samples(), rows * devices.length);
    for (const device of devices) {
      assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
      assert.equal(device.count("SELECT count(*) FROM Command"), 20);
    }
  } finally {
    for (const device of devices) await device.agent.close();
  }
});
