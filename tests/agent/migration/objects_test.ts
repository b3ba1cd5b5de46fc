/**
 * What somebody dropped or altered in a device's file is there again after the next start: triggers first of all, without
 * which changes go unnoticed.
 */
import assert from "node:assert/strict";
import { SyncError } from "../../../schema.ts";
import { modelApi } from "../../../agent/api/models.ts";
import { Twinned } from "../../property/twinned.ts";
import { compiled, type exampleSchema, StoreFile } from "../store_fixture.ts";
import { testWith } from "../../support/tools.ts";

const withShell = testWith("sqlite3");

const objects = (file: StoreFile) =>
  file.shell("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name");

withShell("objects: each trigger, index and view that was dropped is made anew, and is named", () => {
  using file = new StoreFile();
  file.open().close();
  const before = objects(file);
  const own = file.shell("SELECT type || ' ' || name FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'table'")
    .split("\n");
  assert.ok(own.length > 20);
  for (const line of own) {
    const [type, name] = line.split(" ") as [string, string];
    // The agent's own indexes but the outbox's by row come and go with their tables.
    if (/^_sync_(items|outbox_key|kept)/.test(name)) continue;
    file.shell(`DROP ${type} "${name}"`);
    const { migration } = file.open();
    const table = name.replace(/^_sync_/, "").split(".")[0]!;
    assert.ok(migration.restored.includes(type === "index" && table !== "outbox_row" ? table : name), `${line}`);
    assert.equal(objects(file), before, line);
    assert.deepEqual(file.open().migration, { created: [], rebuilt: [], restored: [], noticed: [] });
  }
});

withShell("objects: a trigger that was altered is as it was, an application's own objects and columns stay", () => {
  using file = new StoreFile();
  file.open().close();
  const before = objects(file);
  file.shell(`DROP TRIGGER "_sync_Setting.delete";
    CREATE TRIGGER "_sync_Setting.delete" AFTER DELETE ON Setting BEGIN SELECT 1; END`);
  assert.deepEqual(file.open().migration.restored, ["_sync_Setting.delete"]);
  assert.equal(objects(file), before);
  file.shell(`ALTER TABLE Setting ADD COLUMN mine TEXT; CREATE INDEX by_mine ON Setting(mine); CREATE TABLE other(x);
    CREATE TRIGGER told AFTER INSERT ON Setting BEGIN INSERT INTO other VALUES (new.mine); END;
    INSERT INTO Setting(name, mine) VALUES ('a', 'm')`);
  assert.deepEqual(file.open().migration, { created: [], rebuilt: [], restored: [], noticed: [] });
  file.shell(`DROP TRIGGER "_sync_Setting.update"`);
  assert.deepEqual(file.open().migration.restored, ["_sync_Setting.update"]);
  assert.equal(file.shell("SELECT name, mine FROM Setting"), "a|m");
});

withShell(
  "objects: a unique index is not made anew over rows that share its value; a renamed column is kept aside",
  () => {
    using file = new StoreFile();
    file.open().close();
    file.shell(`DROP INDEX "_sync_Setting.unique.slot"; INSERT INTO Setting(name, slot) VALUES ('a', 1), ('b', 1)`);
    const refused = (error: unknown) =>
      error instanceof SyncError && error.code === "migration" && /"slot" must be unique/.test(error.message);
    for (let i = 0; i < 2; i++) assert.throws(() => file.open(), refused);
    file.shell("DELETE FROM Setting WHERE name = 'b'");
    assert.deepEqual(file.open().migration.rebuilt, ["Setting"]);
    file.shell("UPDATE Setting SET value = 'v'; ALTER TABLE Setting RENAME COLUMN value TO worth");
    assert.ok(file.open().migration.rebuilt.includes("Setting"));
    assert.equal(file.shell("SELECT name, value FROM Setting"), "a|");
    assert.equal(file.shell("SELECT name, value FROM _sync_kept"), "worth|v");
  },
);

withShell("objects: a file made of a dump is this device's", () => {
  using file = new StoreFile();
  file.open().close();
  file.shell("INSERT INTO Setting(name, value) VALUES ('a', 'v')");
  const before = objects(file), dump = file.shell(".dump");
  for (const end of ["", "-wal", "-shm"]) {
    try {
      Deno.removeSync(file.path + end);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  file.shell(dump);
  assert.equal(file.shell("PRAGMA application_id"), "0");
  const store = file.open();
  assert.equal(objects(file), before);
  assert.deepEqual(store.migration.rebuilt, []);
  assert.equal(store.rows(compiled.models.get("Setting")!).byId(1)!.item.value, "v");
  assert.equal(file.shell("SELECT count(*) FROM _pending"), "1");
});

Deno.test("objects: a table that was dropped comes back empty, and what the cloud has comes again", async () => {
  await using twinned = new Twinned(compiled);
  twinned.store.db.exec("INSERT INTO Setting(name, value) VALUES ('a', '1'), ('b', '2')");
  await twinned.settle();
  await twinned.settle();
  twinned.store.db.exec("UPDATE Setting SET value = 'unsent' WHERE name = 'b'; DROP TABLE Setting");
  const setting = modelApi<typeof exampleSchema, "Setting">(twinned.store, "Setting");
  for (const read of [() => setting.get({ name: "a" }), () => setting.find(), () => setting.count()]) {
    assert.throws(read, (error) => error instanceof SyncError && error.code === "sql");
  }
  twinned.closeDevice();
  twinned.openDevice(compiled);
  assert.deepEqual(twinned.store.migration.created, ["Setting"]);
  await twinned.settle();
  await twinned.settle();
  const rows = twinned.store.db.prepare("SELECT name, value FROM Setting ORDER BY name").all().map((r) => ({ ...r }));
  assert.deepEqual(rows, [{ name: "a", value: "1" }, { name: "b", value: "2" }], "nothing was removed in the cloud");
  assert.equal((await twinned.items()).length, 2);
  assert.deepEqual(twinned.store.db.prepare("SELECT * FROM _outbox").all(), []);
});
