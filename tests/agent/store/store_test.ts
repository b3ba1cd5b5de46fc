/**
 * Opening a database: whose it is, what it was, and what it becomes; transactions and their failures.
 */
import assert from "node:assert/strict";
import { beforeRows } from "../../../agent/sqlite/driver.ts";
import { openDatabase } from "../../../agent/sqlite/driver.ts";
import { openStore } from "../../../agent/store/store.ts";
import { compileSchema, SyncError } from "../../../schema.ts";
import { compiled, exampleSchema, identity, memoryStore, StoreFile } from "../store_fixture.ts";
import { testWith } from "../../support/tools.ts";

const withShell = testWith("sqlite3");

const code = (wanted: string, message?: RegExp) => (error: unknown) =>
  error instanceof SyncError && error.code === wanted && (message === undefined || message.test(error.message));

/** The example with other fields in Setting. */
function withSetting(fields: Record<string, unknown>) {
  const { value: _value, ...rest } = exampleSchema.models.Setting;
  const models = { ...exampleSchema.models, Setting: { ...rest, ...fields } };
  return compileSchema({ ...exampleSchema, models });
}

Deno.test("store: a new file is its owner's alone, in WAL mode, and opens again unchanged", () => {
  using file = new StoreFile();
  const path = `${file.folder}/sub/dir/device.db`;
  const store = openStore({ path, schema: compiled, identity, now: Date.now });
  assert.equal(store.migration.created.length, 5);
  store.db.exec("INSERT INTO Setting(name) VALUES ('a')");
  // Stat by path opens nothing.
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  assert.equal(Deno.statSync(`${path}-wal`).mode! & 0o777, 0o600);
  assert.equal(Deno.statSync(`${file.folder}/sub/dir`).mode! & 0o777, 0o700);
  assert.equal(store.db.prepare("PRAGMA journal_mode").get()!.journal_mode, "wal");
  assert.equal(store.db.prepare("PRAGMA synchronous").get()!.synchronous, 2);
  assert.equal(store.db.prepare("PRAGMA foreign_keys").get()!.foreign_keys, 0);
  store.close();
  const again = openStore({ path, schema: compiled, identity, synchronous: "normal", now: Date.now });
  assert.deepEqual(again.migration, { created: [], rebuilt: [], restored: [], noticed: [] });
  assert.equal(again.db.prepare("PRAGMA synchronous").get()!.synchronous, 1);
  assert.equal(again.db.sql("SELECT name FROM Setting").get()!.name, "a");
  again.close();
});

withShell("store: what is not this device's database is refused, with the way out, and left as it is", () => {
  using file = new StoreFile();
  file.open().close();
  const other = (patch: object) => () =>
    openStore({ path: file.path, schema: compiled, identity: { ...identity, ...patch }, now: Date.now });
  assert.throws(
    other({ deviceId: "dev-2" }),
    (error) =>
      error instanceof SyncError && error.code === "foreign-database" &&
      /belongs to the device "dev-1", not to "dev-2"/.test(error.message) &&
      /--device dev-1/.test(error.hint!),
  );
  assert.throws(other({ accountId: "evil" }), code("foreign-database", /belongs to the account "acme"/));
  file.shell("UPDATE _sync SET value = 99 WHERE name = 'format'");
  assert.throws(other({}), code("newer-format", /newer Twintable/));

  const text = `${file.folder}/text`;
  Deno.writeTextFileSync(text, "no database\n".repeat(1000));
  assert.throws(() => openStore({ path: text, schema: compiled, identity, now: Date.now }), code("not-a-database"));
  assert.equal(Deno.readTextFileSync(text), "no database\n".repeat(1000));

  const foreign = `${file.folder}/foreign.db`;
  const db = openDatabase(foreign);
  db.exec("PRAGMA application_id = 0x7474626c; CREATE TABLE t(x)");
  db.close();
  assert.throws(
    () => openStore({ path: foreign, schema: compiled, identity, now: Date.now }),
    code("foreign-database", /a cloud's embedded table/),
  );
  const noFolder = `${file.path}/x/device.db`;
  assert.throws(
    () => openStore({ path: noFolder, schema: compiled, identity, now: Date.now }),
    code("io", /Opening the database/),
  );
  assert.throws(() => openStore({ path: file.folder, schema: compiled, identity, now: Date.now }), code("io"));
});

Deno.test("store: a transaction that throws leaves nothing, nested ones join, a promise is refused", () => {
  const store = memoryStore();
  assert.throws(() =>
    store.tx(() => {
      store.tx(() => store.setMeta("x", 1));
      throw new Error("no");
    }), /no/);
  assert.equal(store.getMeta("x"), undefined);
  assert.equal(store.tx(() => store.tx(() => 7)), 7);
  assert.throws(() => store.tx(() => Promise.resolve(1)), TypeError);
  assert.throws(() => store.applying(() => 1), TypeError);
  store.tx(() => {
    store.setMeta("text", "t");
    store.setMeta("number", 1700000000123);
    store.setMeta("gone", 1);
    store.setMeta("gone", undefined);
  });
  assert.deepEqual([store.getMeta("text"), store.getMeta("number"), store.getMeta("gone")], [
    "t",
    1700000000123,
    undefined,
  ]);
  store.close();
});

Deno.test("store: a lock that another process holds is a retryable fault, a full disk too, and both leave the store usable", () => {
  using file = new StoreFile();
  const store = file.open();
  store.db.exec("PRAGMA busy_timeout = 50");
  const other = openDatabase(file.path);
  other.exec("BEGIN IMMEDIATE");
  assert.throws(() => store.tx(() => 1), (error) => code("busy")(error) && (error as SyncError).retryable);
  other.exec("ROLLBACK");
  other.close();
  const pages = Number(store.db.prepare("PRAGMA page_count").get()!.page_count);
  store.db.exec(`PRAGMA max_page_count = ${pages + 2}`);
  const setting = compiled.models.get("Setting")!;
  const big = { name: "big", value: "x".repeat(100_000) };
  assert.throws(
    () => store.tx(() => store.applying(() => store.rows(setting).put(["device#dev-1", "setting#big"], big))),
    (error) => code("full")(error) && (error as SyncError).retryable,
  );
  store.db.exec("PRAGMA max_page_count = 1000000");
  store.tx(() => store.applying(() => store.rows(setting).put(["device#dev-1", "setting#big"], big)));
  assert.equal(store.db.sql("SELECT applying FROM _sync_flag").get()!.applying, 0);
  assert.equal(store.db.sql("SELECT count(*) AS n FROM _outbox").get()!.n, 0);
});

withShell("store: a new schema keeps rows, _ids, the outbox and what an application made on the tables", () => {
  using file = new StoreFile();
  file.open().close();
  file.shell(`
    INSERT INTO Setting(_id, name, slot, value, note) VALUES (5, 'a', 1, 'v', 'n'), (9, 'b', NULL, NULL, NULL);
    CREATE INDEX mine ON Setting(note);
    CREATE VIEW all_settings AS SELECT name FROM Setting;
    CREATE TRIGGER audit AFTER DELETE ON Setting BEGIN SELECT 1; END;`);
  const schema = withSetting({
    unit: { type: "string", default: "C" },
    level: { type: "number", required: true, default: 3 },
  });
  const store = file.open({ schema });
  assert.deepEqual(store.migration, { created: [], rebuilt: ["Setting"], restored: [], noticed: [] });
  assert.equal(store.getMeta("resnapshot"), 1);
  assert.deepEqual(
    store.db.prepare("SELECT _id, name, slot, note, unit, level FROM Setting").all().map((row) => ({ ...row })),
    [
      { _id: 5, name: "a", slot: 1, note: "n", unit: null, level: 3 },
      { _id: 9, name: "b", slot: null, note: null, unit: null, level: 3 },
    ],
  );
  assert.deepEqual({ ...store.db.prepare("SELECT * FROM _sync_kept").get() }, {
    model: "Setting",
    row: 5,
    name: "value",
    value: "v",
    key: '{"name":"a"}',
    base: "null",
  });
  assert.equal(file.shell("SELECT count(*) FROM _outbox"), "2");
  assert.equal(file.shell("SELECT group_concat(name) FROM all_settings"), "a,b");
  assert.equal(file.shell("SELECT count(*) FROM sqlite_master WHERE name = 'audit'"), "1");
  file.shell("INSERT INTO Setting(name) VALUES ('c'); UPDATE Setting SET unit = 'F' WHERE name = 'a'");
  assert.equal(file.shell("SELECT unit FROM Setting WHERE name = 'c'"), "C");
  assert.equal(file.shell("SELECT count(*) FROM _outbox"), "4");
  assert.equal(store.db.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
});

withShell("store: a schema that the rows don't fit is refused with the reason and changes nothing", () => {
  using file = new StoreFile();
  file.open().close();
  file.shell("INSERT INTO Setting(name, value) VALUES ('a', 'x')");
  const before = file.shell(".dump");
  assert.throws(
    () => file.open({ schema: withSetting({ must: { type: "string", required: true } }) }),
    code("migration", /rows of Setting don't fit the new schema: NOT NULL constraint failed/),
  );
  assert.throws(
    () => file.open({ schema: withSetting({ value: { type: "string", enum: ["y"] } }) }),
    code("migration", /value must be one of y/),
  );
  assert.equal(file.shell(".dump"), before);
  file.shell("CREATE INDEX mine ON Setting(value)");
  assert.throws(
    () => file.open({ schema: withSetting({}) }),
    code("migration", /CREATE INDEX mine ON Setting\(value\)/),
  );
  file.open();
});

withShell("store: a new model gets a table, a removed one keeps its rows without triggers, numbers stay", () => {
  using file = new StoreFile();
  const first = file.open();
  const numbers = [...compiled.models.values()].map((model) => [model.name, first.number(model)]);
  first.close();
  file.shell("INSERT INTO Scratch(id) VALUES ('s'); INSERT INTO Setting(name) VALUES ('a')");
  const { Setting: _1, ...models } = exampleSchema.models;
  const { Setting: _2, ...process } = exampleSchema.process;
  const fewer = file.open({ schema: compileSchema({ ...exampleSchema, models, process }) });
  assert.equal(fewer.modelByNumber(Number(numbers.find(([name]) => name === "Setting")![1])), undefined);
  fewer.close();
  // What waited is found in the table when the model is back, with what was written meanwhile.
  assert.equal(file.shell("SELECT count(*) FROM _outbox"), "0");
  file.shell("INSERT INTO Setting(name) VALUES ('b')");
  assert.equal(file.shell("SELECT count(*) FROM _outbox"), "0");
  const back = file.open();
  assert.equal(file.shell("SELECT count(*) FROM _outbox"), "2");
  assert.deepEqual([...compiled.models.values()].map((model) => [model.name, back.number(model)]), numbers);
  assert.equal(file.shell("SELECT count(*) FROM Setting"), "2");
});

Deno.test("store: rows of a table that was there before Twintable are taken in", () => {
  using file = new StoreFile();
  const db = openDatabase(file.path);
  db.exec(`CREATE TABLE setting(name TEXT, value TEXT, extra REAL);
    INSERT INTO setting VALUES ('a', 'x', 1.5), ('b', NULL, NULL)`);
  db.close();
  const store = file.open();
  assert.deepEqual(store.migration.rebuilt, ["Setting"]);
  const setting = compiled.models.get("Setting")!;
  assert.deepEqual(store.db.sql("SELECT model, row, kind FROM _outbox").all().map((row) => ({ ...row })), [
    { model: store.number(setting), row: 1, kind: 2 },
    { model: store.number(setting), row: 2, kind: 2 },
  ]);
  assert.deepEqual(store.rows(setting).byId(1)!.item, { name: "a", value: "x" });
  assert.equal(store.db.sql("SELECT value FROM _sync_kept WHERE name = 'extra'").get()!.value, 1.5);
});

Deno.test("store: a page of unseen rows goes on behind the last one, whatever was deleted in between", () => {
  const store = memoryStore();
  const setting = compiled.models.get("Setting")!;
  const rows = store.rows(setting);
  store.tx(() =>
    store.applying(() => {
      for (let i = 0; i < 25; i++) rows.put(["device#dev-1", `setting#${i}`], { name: `${i}` });
      for (let i = 0; i < 25; i += 2) {
        store.db.sql("INSERT INTO _sync_seen(channel, hash, sort) VALUES ('device:dev-1', 'device#dev-1', ?)").run(
          `setting#${i}`,
        );
      }
    })
  );
  const found: string[] = [];
  for (let after = beforeRows;;) {
    const page = rows.unseen("device:dev-1", after, 5);
    for (const { id, key } of page) {
      found.push(key[1]);
      after = id;
      store.tx(() => store.applying(() => rows.remove(key)));
    }
    if (page.length < 5) break;
  }
  assert.deepEqual(found, Array.from({ length: 12 }, (_, i) => `setting#${2 * i + 1}`));
  assert.equal(rows.unseen("global", -1, 100).length, 13);
  store.close();
});

Deno.test("store: timestamps are set in the column's form", () => {
  const store = memoryStore();
  const rows = store.rows(compiled.models.get("Telemetry")!);
  store.db.exec("INSERT INTO Telemetry(id, cpu) VALUES ('never', 1)");
  const key = ["device#dev-1", "telemetry#never"] as const;
  const { id } = rows.byKey(key)!;
  store.tx(() => store.applying(() => rows.setTimestamps(id, { created: 1700000000123, updated: 1700000000124 })));
  const { created, updated } = rows.byKey(key)!.item;
  assert.deepEqual([created, updated], ["2023-11-14T22:13:20.123Z", "2023-11-14T22:13:20.124Z"]);
  store.close();
});
