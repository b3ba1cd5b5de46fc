/**
 * kill -9 of either process at random moments under load: nothing is lost, nothing is doubled. Twenty times with
 * `TWINTABLE_LONG=1`.
 */
import assert from "node:assert/strict";
import { openDevice, startAgent, statusOf } from "../support/device.ts";
import { freePort } from "../support/mosquitto.ts";
import { Program } from "../support/process.ts";
import { writeSchema } from "../support/schema.ts";
import { connect, count, query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { until } from "../support/until.ts";
import { long } from "../support/long.ts";

const kills = long ? 20 : 8;

/** Writes on one side, over and over, until it is stopped. `write` gets a number that grows. */
class Load {
  #stopped = false;
  readonly #done: Promise<void>;
  writes = 0;

  constructor(readonly everyMs: number, write: (n: number) => void | Promise<void>) {
    this.#done = (async () => {
      while (!this.#stopped) {
        await write(this.writes++);
        await pause(this.everyMs * 2 * Math.random());
      }
    })();
  }

  /** Ends it; throws what a write threw. */
  stop(): Promise<void> {
    this.#stopped = true;
    return this.#done;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What the device's application does: new samples, and settings that are written over and over. */
function deviceLoad(path: string): Load {
  return new Load(4, (n) => {
    using db = connect(path);
    db.prepare("INSERT INTO Sample(id, n) VALUES (?, ?)").run(`s${String(n).padStart(6, "0")}`, n);
    for (const model of ["Setting", "Site"]) {
      db.prepare(
        `INSERT INTO ${model}(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value`,
      ).run(`k${n % 10}`, n);
    }
  });
}

/** Writes that were acknowledged, and whose log entry never came: it was lost in the cloud. */
function unechoed(path: string): number {
  return count(path, "SELECT count(*) FROM _sync_items WHERE awaiting = 1");
}

/** A command's name: mostly a new one, whose loss no later write would hide; now and then one of a few. */
function commandName(n: number): string {
  return n % 3 === 0 ? `again${n % 10}` : `once${n}`;
}

/** The rows of both sides' models, comparable with {@link items}. */
function rows(path: string): Record<string, unknown[]> {
  return Object.fromEntries([
    ["Sample", query(path, "SELECT id AS name, n AS value FROM Sample ORDER BY id")],
    ...["Setting", "Site", "Command"].map((model) => [
      model,
      query(path, `SELECT name, value FROM ${model} ORDER BY name`),
    ]),
  ]);
}

function items(list: Record<string, readonly Record<string, unknown>[]>): Record<string, unknown[]> {
  return Object.fromEntries(
    Object.entries(list).map(([model, all]) => [
      model,
      all.map((item) => ({ name: item.name ?? item.id, value: item.value ?? item.n }))
        .sort((a, b) => String(a.name) < String(b.name) ? -1 : 1),
    ]),
  );
}

Deno.test(`kill: the agent killed ${kills} times under load loses and doubles nothing`, async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const identity = { deviceId: "dev-1", accountId: "acme" };
  const options = { mqttUrl: cloud.mqttUrl, token: await cloud.token("dev-1", "acme") };
  let agent = await startAgent(dir, options);
  const { path } = agent;
  const loads: Load[] = [];
  try {
    loads.push(
      deviceLoad(path),
      new Load(10, async (n) => {
        await cloud.put("Command", { name: commandName(n), value: n }, identity);
      }),
    );
    for (let kill = 0; kill < kills; kill++) {
      await pause(20 + Math.random() * 700);
      await agent.kill();
      agent = await startAgent(dir, options);
    }
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
    await using _last = agent;
    await cloud.streamed();
    const { head } = await cloud.cloud.service.log.state("device:dev-1");
    await until("the last agent has sent and received everything", async () => {
      await pause(50);
      return statusOf(path).outbox === 0 &&
        count(path, "SELECT count(*) FROM _sync_channels WHERE channel = 'device:dev-1' AND seq >= ?", head) === 1 &&
        count(path, "SELECT count(*) FROM _sync_items WHERE recheck IS NOT NULL") === 0;
    }, 30_000);
  }
  await until("every echo has come back", () => unechoed(path) === 0);
  const names = ["Sample", "Setting", "Site", "Command"];
  const table = items(Object.fromEntries(await Promise.all(names.map(async (m) => [m, await cloud.items(m)]))));
  assert.equal(table.Sample!.length, loads[0]!.writes);
  assert.deepEqual(rows(path), table);
  for (const [key, times] of cloud.writes) {
    if (key.includes(" sample#")) assert.equal(times, 1, `${key} was written ${times} times`);
  }
  assert.deepEqual(query(path, "SELECT * FROM _conflicts"), []);
  assert.deepEqual(query(path, "SELECT * FROM _rejected"), []);
  for (
    const { key, n } of query(path, "SELECT key, count(*) AS n FROM _changes WHERE model = 'Command' GROUP BY key")
  ) {
    const puts = cloud.writes.get(`device#dev-1 command#${JSON.parse(key as string).name}`)!;
    assert.ok(Number(n) <= puts, `${key} was applied ${n} times for ${puts} writes`);
  }
});

Deno.test(`kill: the cloud killed ${kills} times under load loses and doubles nothing`, async () => {
  using dir = new TempDir();
  const table = `embedded:${dir.file("cloud.db")}`, schema = writeSchema(dir.path);
  const ports = { mqtt: await freePort(), http: await freePort() };
  await using adding = new Program([
    "device",
    "add",
    "dev-1",
    "--account",
    "acme",
    "--table",
    table,
    "--schema",
    schema,
  ]);
  assert.equal(await adding.ended(), 0, adding.stderr);
  auditWrites(dir.file("cloud.db"));
  const startCloud = async () => {
    const program = new Program([
      ...["cloud", "--schema", schema, "--table", table, "--broker"],
      ...["--mqtt-port", String(ports.mqtt), "--port", String(ports.http)],
    ]);
    await program.printed(/cloud: /);
    return program;
  };
  const api = (init: RequestInit, search = "") => fetch(`http://127.0.0.1:${ports.http}/api/items${search}`, init);

  let cloud = await startCloud();
  const loads: Load[] = [];
  await using device = await openDevice(dir, {
    mqttUrl: `mqtt://127.0.0.1:${ports.mqtt}`,
    token: () => Promise.resolve(adding.stdout.trim()),
  });
  try {
    loads.push(
      deviceLoad(device.path),
      // A cloud application repeats a write until it is answered.
      new Load(5, async (n) => {
        const body = JSON.stringify({ model: "Command", item: { deviceId: "dev-1", name: commandName(n), value: n } });
        await until("a PUT is answered", async () => {
          const response = await api({ method: "PUT", headers: { "content-type": "application/json" }, body }).catch(
            () => undefined,
          );
          if (response && response.status >= 400 && response.status < 500) throw new Error(await response.text());
          await response?.body?.cancel();
          return response?.ok;
        }, 30_000);
      }),
    );
    for (let kill = 0; kill < kills; kill++) {
      await pause(50 + Math.random() * 1_000);
      await cloud.kill();
      cloud = await startCloud();
    }
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
  }
  await using _last = cloud;
  await device.settle(30_000);
  await until("the change stream is handled", () => count(dir.file("cloud.db"), "SELECT count(*) FROM changes") === 0);
  await device.settle(30_000);
  await until("every echo has come back", () => unechoed(device.path) === 0);
  const found = items(Object.fromEntries(
    await Promise.all(["Sample", "Setting", "Site", "Command"].map(async (m) => [m, await listItems(api, m)])),
  ));
  assert.equal(found.Sample!.length, loads[0]!.writes);
  assert.deepEqual(rows(device.path), found);
  assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
  assert.deepEqual(
    query(
      dir.file("cloud.db"),
      "SELECT sort, count(*) AS n FROM audit WHERE sort LIKE 'sample#%' GROUP BY sort HAVING n > 1",
    ),
    [],
    "no sample was written twice",
  );
  assert.equal((await cloud.stop()).code, 0);
});

/** Records each write of the table: a trigger sees it in whatever process it is made. */
function auditWrites(path: string): void {
  using db = connect(path);
  db.exec(`
    CREATE TABLE audit(hash TEXT, sort TEXT);
    CREATE TRIGGER audit_insert AFTER INSERT ON items BEGIN INSERT INTO audit VALUES (new.hash, new.sort); END;
    CREATE TRIGGER audit_update AFTER UPDATE ON items BEGIN INSERT INTO audit VALUES (new.hash, new.sort); END;
  `);
}

async function listItems(
  api: (init: RequestInit, search: string) => Promise<Response>,
  model: string,
): Promise<Record<string, unknown>[]> {
  const all: Record<string, unknown>[] = [];
  let next: string | undefined;
  do {
    const response = await api({}, `?model=${model}&limit=1000${next === undefined ? "" : `&next=${next}`}`);
    const page = await response.json() as { items: Record<string, unknown>[]; next?: string };
    all.push(...page.items);
    next = page.next;
  } while (next !== undefined);
  return all;
}
