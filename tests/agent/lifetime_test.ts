/**
 * An agent's life on its file: a link to it is the file, a file that is replaced under it ends it with a sentence, and a
 * closed agent says so to every caller instead of crashing the program that embeds it. Made after WiseLibs/better-sqlite3#1237
 * (no error where the files are deleted under a program in WAL mode: all that it writes is lost).
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { renameSync, symlinkSync, writeFileSync } from "node:fs";
import { type Agent, openAgent } from "../../agent/open.ts";
import type { Transport } from "../../agent/ports.ts";
import { fileIdentity, realPath } from "../../agent/sqlite/real_path.ts";
import { SyncError } from "../../schema.ts";
import { exampleSchema } from "./store_fixture.ts";

/** A link that is up and never answers. */
function silent(): Transport {
  let connected = true;
  return {
    start: (handlers) => queueMicrotask(() => handlers.connected()),
    send: () => connected,
    get connected() {
      return connected;
    },
    close: async () => {
      connected = false;
      await undefined;
    },
  };
}

const open = (path: string) =>
  openAgent({ schema: exampleSchema, device: "dev-1", account: "acme", path, mqtt: silent(), synchronous: "normal" });

function folder(): { path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "twintable-life-" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

/** What comes of it within some seconds. */
async function soon<T>(what: Promise<T>): Promise<T | "nothing"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"nothing">((resolve) => timer = setTimeout(() => resolve("nothing"), 10_000));
  try {
    return await Promise.race([what, late]);
  } finally {
    clearTimeout(timer);
  }
}

const isClosed = (error: unknown) => error instanceof SyncError && error.code === "closed";

Deno.test("lifetime: a link to the database, also one to a file that is still to be made, is the database: one agent", async () => {
  using dir = folder();
  Deno.mkdirSync(`${dir.path}/data`);
  Deno.mkdirSync(`${dir.path}/links`);
  symlinkSync("../data/device.db", `${dir.path}/links/device.db`);
  symlinkSync(`${dir.path}/links/device.db`, `${dir.path}/again.db`);
  assert.equal(realPath(`${dir.path}/again.db`), realPath(`${dir.path}/data/device.db`));
  await using agent = await open(`${dir.path}/links/device.db`);
  for (const path of ["data/device.db", "links/device.db", "again.db"]) {
    await assert.rejects(open(`${dir.path}/${path}`), (e) => e instanceof SyncError && e.code === "in-use", path);
  }
  assert.deepEqual([...Deno.readDirSync(`${dir.path}/links`)].map(({ name }) => name), ["device.db"]);
  assert.equal(agent.status().device, "dev-1");
});

Deno.test("lifetime: a database with a second name by a hard link is refused, and left as it is", async () => {
  using dir = folder();
  const path = `${dir.path}/device.db`;
  await (await open(path)).close();
  Deno.linkSync(path, `${dir.path}/hard.db`);
  for (const name of ["device.db", "hard.db"]) {
    await assert.rejects(
      open(`${dir.path}/${name}`),
      (e) => e instanceof SyncError && e.code === "in-use" && /has 2 names \(hard links\)/.test(e.message),
    );
  }
  Deno.removeSync(`${dir.path}/hard.db`);
  await using agent = await open(path);
  assert.equal(agent.status().device, "dev-1");
});

for (
  const [what, change] of [
    ["replaced", (path: string) => (writeFileSync(`${path}.new`, ""), renameSync(`${path}.new`, path))],
    ["removed", (path: string) => Deno.removeSync(path)],
  ] as const
) {
  Deno.test(`lifetime: a database that is ${what} under its agent ends it with a sentence, and the next start checks`, async () => {
    using dir = folder();
    const path = `${dir.path}/device.db`;
    const agent = await open(path);
    const waits = agent.flush().catch((error: unknown) => error);
    agent.model("Setting").create({ name: "a" });
    const before = fileIdentity(path);
    change(path);
    assert.notEqual(fileIdentity(path), before);
    const fault = await soon(agent.closed);
    assert.ok(fault instanceof SyncError, String(fault));
    assert.equal(fault.code, "replaced");
    assert.match(fault.message, new RegExp(`device.db" was ${what}`));
    await waits;
    assert.throws(() => agent.status(), (error) => isClosed(error) && /was re/.test((error as Error).message));
    for (const end of ["-wal", "-shm"]) {
      try {
        Deno.removeSync(path + end);
      } catch {
        // SQLite removed it.
      }
    }
    await using next = await open(path);
    assert.equal(next.status().outbox, 0);
  });
}

Deno.test("lifetime: a table that a migration tool makes anew stops all writing at once, and the agent when the tool is done", async () => {
  using dir = folder();
  const path = `${dir.path}/device.db`;
  let aheadMs = 0;
  const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() + aheadMs };
  const agent = await openAgent({
    schema: exampleSchema,
    device: "dev-1",
    account: "acme",
    path,
    mqtt: silent(),
    clock,
  });
  const settings = agent.model("Setting");
  settings.create({ name: "a" });
  const other = new DatabaseSync(path);
  // Tables and columns of its own are an application's affair.
  other.exec("CREATE TABLE mine(v); ALTER TABLE Setting ADD COLUMN mine TEXT");
  settings.create({ name: "b" });
  // Without the pragma SQLite refuses the renaming, for the sake of the views.
  other.exec(`PRAGMA legacy_alter_table = ON; BEGIN; CREATE TABLE _new(id INTEGER PRIMARY KEY, name TEXT, value TEXT);
    INSERT INTO _new(name, value) SELECT name, value FROM Setting; DROP TABLE Setting;
    ALTER TABLE _new RENAME TO Setting; COMMIT; INSERT INTO Setting(name) VALUES ('c')`);
  other.close();
  const isAltered = (error: unknown) => error instanceof SyncError && error.code === "altered";
  assert.throws(() => settings.create({ name: "d" }), isAltered);
  for (let i = 0; i < 200 && !agent.status().problem; i++) await new Promise((resolve) => setTimeout(resolve, 25));
  assert.match(String(agent.status().problem), /dropped or altered .*Setting/);
  aheadMs += 20_000;
  const fault = await soon(agent.closed);
  assert.ok(isAltered(fault), String(fault));
  await using next = await open(path);
  assert.deepEqual(next.store.migration.noticed, [{ model: "Setting", sent: 3, missing: 0 }]);
  assert.deepEqual(next.model("Setting").find().items.map(({ name }) => name), ["a", "b", "c"]);
});

Deno.test("lifetime: who waits while the agent is closed is told, and nothing is thrown from a timer", async () => {
  const agent = await open(":memory:");
  agent.model("Setting").create({ name: "a" });
  const waits = [
    agent.flush(),
    agent.flush({ timeoutMs: 30 }),
    agent.sync({ timeoutMs: 30 }),
    agent.verify({ timeoutMs: 30 }),
  ].map((wait) => wait.then(() => "done", (error: unknown) => error));
  await agent.close();
  for (const wait of waits) {
    const came = await soon(wait);
    assert.ok(isClosed(came), String(came));
  }
  // Timers that were not taken back would fire here, and end this process.
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(await agent.closed, undefined);
});

Deno.test("lifetime: a wait may be as long as anybody says, and what is no time is refused", async () => {
  const agent = await open(":memory:");
  agent.model("Setting").create({ name: "a" });
  for (const timeoutMs of [NaN, -1]) {
    await assert.rejects(() => agent.flush({ timeoutMs }), { name: "RangeError", message: /0 or more is required/ });
  }
  await assert.rejects(() => agent.flush({ timeoutMs: 0 }), { code: "timeout" });
  // A timer of such a time would go off in a millisecond.
  const waits = [2 ** 31, 1e15, Infinity].map((timeoutMs) =>
    agent.flush({ timeoutMs }).catch((error: unknown) => error)
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  await agent.close();
  for (const wait of waits) assert.ok(isClosed(await soon(wait)));
});

Deno.test("lifetime: after the close every call says closed, also on what was taken before", async () => {
  const agent: Agent<typeof exampleSchema> = await open(":memory:");
  const settings = agent.model("Setting"), { rejected } = agent;
  settings.create({ name: "a" });
  await agent.close();
  const calls: Record<string, () => unknown> = {
    status: () => agent.status(),
    model: () => agent.model("Setting"),
    transaction: () => agent.transaction(() => 1),
    watch: () => agent.watch("Setting", () => {}),
    sequence: () => agent.sequence,
    rejected: () => agent.rejected,
    conflicts: () => agent.conflicts,
    list: () => rejected.list(),
    restore: () => rejected.restore(1),
    drop: () => rejected.drop(),
    create: () => settings.create({ name: "b" }),
    get: () => settings.get({ name: "a" }),
    find: () => settings.find(),
    update: () => settings.update({ name: "a", value: "v" }),
    upsert: () => settings.upsert({ name: "a" }),
    remove: () => settings.remove({ name: "a" }),
    count: () => settings.count(),
  };
  for (const [name, call] of Object.entries(calls)) assert.throws(call, isClosed, name);
  for (const wait of [agent.flush(), agent.sync(), agent.verify()]) await assert.rejects(wait, isClosed);
  await agent.close();
});
