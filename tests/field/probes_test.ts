/**
 * What applications, tools and operators do to a device's file in the field, each a script of Python's standard library that
 * names the public report that it was made after. Each works beside an open agent; then the agent's side is looked at.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openDatabase } from "../../agent/sqlite/driver.ts";
import { openStore } from "../../agent/store/store.ts";
import { compileSchema } from "../../schema.ts";
import { compiled, exampleSchema, StoreFile } from "../agent/store_fixture.ts";
import { identity, Twinned, type TwinnedOptions } from "../property/twinned.ts";
import { SkippingClock } from "../support/clock.ts";
import { missingTools, skipped, toolsMissing } from "../support/tools.ts";

const ignore = toolsMissing("python3");

function python(script: string, path: string, program = "python3"): void {
  const file = fileURLToPath(new URL(`probes/${script}`, import.meta.url));
  const { success, stdout, stderr } = new Deno.Command(program, {
    args: [file, path],
    stdout: "piped",
    stderr: "piped",
  })
    .outputSync();
  assert.ok(success && new TextDecoder().decode(stdout).trim() === "ok", new TextDecoder().decode(stderr));
}

async function settings(twinned: Twinned): Promise<Record<string, unknown>> {
  const items = (await twinned.items()).filter((item) => item._type === "Setting");
  return Object.fromEntries(items.map(({ name, value }) => [name, value]));
}

const count = (twinned: Twinned, table: string) =>
  Number(twinned.store.db.prepare(`SELECT count(*) AS n FROM ${table}`).get()!.n);

function field(
  name: string,
  fn: (twinned: Twinned, run: (script: string) => void) => Promise<void>,
  options: TwinnedOptions = {},
): void {
  Deno.test({
    name: `field: ${name}`,
    ignore,
    async fn() {
      await using twinned = new Twinned(compiled, options);
      await twinned.settle();
      await fn(twinned, (script) => python(script, twinned.path));
    },
  });
}

/** Opens the file once more as after a power cut: with every check. */
function checked(twinned: Twinned): readonly string[] {
  twinned.closeDevice();
  const store = openStore({ path: twinned.path, schema: compiled, identity, now: Date.now, check: true });
  const { complaints } = store;
  store.close();
  twinned.openDevice();
  return complaints;
}

field("odd_date.py: no check of any SQLite calls the file damaged", async (twinned, run) => {
  run("odd_date.py");
  await twinned.settle();
  assert.deepEqual(checked(twinned), []);
  assert.deepEqual(await settings(twinned), { dated: "1" });
});

field(
  "fts_out_of_step.py: a full-text index of the application's is no damage, and nothing stands still",
  async (twinned, run) => {
    run("fts_out_of_step.py");
    checked(twinned);
    await twinned.settle();
    assert.deepEqual(await settings(twinned), { kept: "1" });
  },
);

field("snowflake.py: row numbers of 64 bits arrive, and are removed", async (twinned, run) => {
  run("snowflake.py");
  await twinned.settle();
  assert.deepEqual(await settings(twinned), {
    n0: String(2n ** 53n + 1n),
    n1: String(2n ** 63n - 1n),
    n2: String(-(2n ** 63n)),
  });
});

field("not_utf8.py: what is no UTF-8 is rejected by name, what is odd arrives as it is", async (twinned, run) => {
  run("not_utf8.py");
  await twinned.settle();
  assert.deepEqual(await settings(twinned), { bom: "\ufeffb", nul: "a\0b", replacement: "\ufffd" });
  const reasons = twinned.store.db.prepare("SELECT reason FROM _rejected").all().map(({ reason }) => String(reason));
  assert.equal(reasons.length, 2);
  for (const reason of reasons) assert.match(reason, /UTF-8/);
});

field(
  "raise_on_delete.py: what an application won't let go stays alone; the others expire, and are sent",
  async (twinned, run) => {
    run("raise_on_delete.py");
    await twinned.settle();
    for (let i = 0; i < 5; i++) await twinned.settle();
    assert.deepEqual(await settings(twinned), { after: "1" });
  },
);

field(
  "raise_ignore.py: a skipped row was not written, here or there, and verify removes nothing for it",
  async (twinned, run) => {
    run("raise_ignore.py");
    await twinned.settle();
    assert.deepEqual(await settings(twinned), { written: "1" });
    // The cloud's item of that name can't be applied: it is set aside, and stays.
    const model = compiled.models.get("Setting")!;
    await twinned.tables.data.write([{
      op: "put",
      item: {
        pk: "device#dev-1",
        sk: "setting#skipped",
        _type: model.name,
        deviceId: "dev-1",
        name: "skipped",
        value: "c",
      },
    }]);
    await twinned.settle();
    assert.equal(count(twinned, "_sync_aside"), 1);
    assert.deepEqual(await settings(twinned), { skipped: "c", written: "1" });
  },
);

field(
  "sequelize_alter.py: what was written without triggers is sent at the next start, and nothing is taken back",
  async (twinned, run) => {
    twinned.store.db.exec("INSERT INTO Setting(name, value) VALUES ('a', '1'), ('b', '1')");
    await twinned.settle();
    run("sequelize_alter.py");
    assert.notDeepEqual(twinned.store.altered(), []);
    twinned.closeDevice();
    twinned.openDevice();
    await twinned.settle();
    assert.deepEqual(await settings(twinned), { a: "meanwhile", b: "1", new: "meanwhile" });
  },
);

field("dropped_tables.py: what waited in a dropped outbox is found by comparing", async (twinned, run) => {
  twinned.store.db.exec("INSERT INTO Setting(name, value) VALUES ('a', '1')");
  await twinned.settle();
  run("dropped_tables.py");
  assert.throws(() => twinned.store.tx(() => undefined), { code: "altered" });
  twinned.closeDevice();
  twinned.openDevice();
  await twinned.settle();
  assert.deepEqual(await settings(twinned), { a: "1", unsent: "1" });
});

field(
  "geopackage.py: another's mark in the header is left, and says nothing of whose file it is",
  async (twinned, run) => {
    run("geopackage.py");
    twinned.closeDevice();
    twinned.openDevice();
    await twinned.settle();
    assert.deepEqual(await settings(twinned), { marked: "1" });
    assert.equal(twinned.store.db.prepare("PRAGMA application_id").get()!.application_id, 0x47504B47);
  },
);

const clock = new SkippingClock();
field("many_updates.py: 1,100 updates of a row are one change, and are never refused", async (twinned, run) => {
  twinned.disconnect();
  // The agent looks at the cap now and then, as it does beside a running application.
  run("many_updates.py");
  clock.skip(1_100);
  twinned.twin.tick();
  twinned.store.db.exec("INSERT INTO Setting(name, value) VALUES ('more', '1')");
  assert.ok(count(twinned, "_outbox") < 1_000, `${count(twinned, "_outbox")}`);
  assert.equal(count(twinned, "_pending"), 2);
  twinned.connect();
  await twinned.settle();
  assert.deepEqual(await settings(twinned), { busy: "1100", more: "1" });
}, { limits: { outboxMax: 1_000 }, clock });

field("replace.py: rows that REPLACE evicts are removed in the cloud, too", async (twinned, run) => {
  run("replace.py");
  await twinned.settle();
  assert.deepEqual(await settings(twinned), { b: "5", d: "4" });
});

field("linked.py: what is written by a symbolic link is seen", async (twinned, run) => {
  run("linked.py");
  await twinned.settle();
  assert.deepEqual(await settings(twinned), { linked: "1" });
});

field(
  "maintenance.py: VACUUM, ANALYZE, checkpoints and the like change nothing for the agent",
  async (twinned, run) => {
    run("maintenance.py");
    await twinned.settle();
    assert.deepEqual(twinned.store.altered(), []);
    assert.deepEqual(await settings(twinned), { before: "1", after: "1" });
    assert.deepEqual(checked(twinned), []);
  },
);

field("savepoints.py: what was rolled back is not sent, what was committed is", async (twinned, run) => {
  run("savepoints.py");
  await twinned.settle();
  assert.deepEqual(await settings(twinned), { x: "1", y: "2!" });
});

/** A logger's own table, as its program made it. */
const logged = {
  ...exampleSchema,
  process: {
    ...exampleSchema.process,
    Telemetry: {
      sync: "up" as const,
      dates: { expires: { zone: "Europe/Brussels", unit: "s" as const } },
    },
  },
};

Deno.test({
  name:
    "field: local_times.py: a logger's counted rows and local times are taken in, and its program goes on inserting",
  ignore,
  fn() {
    using file = new StoreFile();
    python("local_times.py", file.path);
    assert.throws(() => file.open(), /row 1: expires = 2023-10-29 02:30:00 names no zone/);
    const store = file.open({ schema: compileSchema(logged) });
    const rows = store.db.prepare("SELECT _id, id, cpu, expires FROM Telemetry ORDER BY _id").all();
    assert.deepEqual(rows.map((row) => [row._id, row.id, row.cpu, row.expires]), [
      [1, "1", 20.5, "2023-10-29T00:30:00.000Z"],
      [2, "2", 21.5, "2023-10-29T02:30:00+01:00"],
      [3, "3", 22.5, "2023-11-14T22:13:20.000Z"],
    ]);
    store.close();
    // The program's own statement, from Python and from the shell.
    const db = openDatabase(file.path);
    db.exec("INSERT INTO Telemetry(cpu) VALUES (23.5)");
    db.close();
    file.python("db.execute('INSERT INTO Telemetry(cpu) VALUES (24.5)')");
    const again = file.open({ schema: compileSchema(logged) });
    const fresh = again.db.prepare("SELECT id, _id FROM Telemetry WHERE cpu > 23 ORDER BY _id").all();
    assert.deepEqual(fresh.map(({ _id }) => _id), [4, 5]);
    for (const { id } of fresh) assert.match(String(id), /^[0-9A-Z]{26}$/);
    assert.equal(again.db.prepare("SELECT count(DISTINCT row) AS n FROM _outbox").get()!.n, 5);
  },
});

/** Debian's own Python has its packages. */
const withPackages = "/usr/bin/python3";

function missingPeewee(): string | undefined {
  const tool = missingTools("python3");
  if (tool !== undefined) return tool;
  try {
    const { success } = new Deno.Command(withPackages, { args: ["-c", "import peewee"], stderr: "null" }).outputSync();
    return success ? undefined : `this machine's ${withPackages} has no peewee`;
  } catch {
    return `this machine has no ${withPackages}`;
  }
}

Deno.test({
  name: "field: counter_orm.py: an ORM goes on inserting without an id into a table whose rows SQLite counted",
  ignore: skipped(missingPeewee()),
  fn() {
    using file = new StoreFile();
    python("local_times.py", file.path);
    const schema = compileSchema(logged);
    file.open({ schema }).close();
    python("counter_orm.py", file.path, withPackages);
    const store = file.open({ schema });
    const rows = store.db.prepare("SELECT _id, id, cpu FROM Telemetry WHERE cpu > 30 ORDER BY _id").all();
    assert.deepEqual(rows.map(({ _id, cpu }) => [_id, cpu]), [[4, 30.5], [5, 32.5]]);
    for (const { id } of rows) assert.match(String(id), /^[0-9A-Z]{26}$/);
    assert.equal(store.db.prepare("SELECT count(DISTINCT row) AS n FROM _outbox").get()!.n, 5);
  },
});
