/**
 * Tables that were there before Twintable: whatever their form, their rows are taken in; what is no table of rows, or is
 * somebody else's, is refused with what to do, and the file stays as it was.
 */
import assert from "node:assert/strict";
import { openDatabase } from "../../../agent/sqlite/driver.ts";
import { resetDatabase } from "../../../agent/migration/reset.ts";
import { SyncError } from "../../../schema.ts";
import { compiled, StoreFile } from "../store_fixture.ts";
import { testWith } from "../../support/tools.ts";

const withShell = testWith("sqlite3");

/** Makes the file's content by SQL alone, as somebody did who knew nothing of Twintable. */
function made(file: StoreFile, sql: string): void {
  const db = openDatabase(file.path);
  db.exec(sql);
  db.close();
}

const taken: Record<string, { sql: string; rows: string; kept?: string }> = {
  "without a rowid": {
    sql:
      "CREATE TABLE Setting(name TEXT PRIMARY KEY, value) WITHOUT ROWID; INSERT INTO Setting VALUES ('b', 2), ('a', 1)",
    rows: "1:a:1 2:b:2",
  },
  "with an _id that is no integer": {
    sql: "CREATE TABLE Setting(_id TEXT PRIMARY KEY, name, value); INSERT INTO Setting VALUES ('q', 'a', 1)",
    rows: "1:a:1",
    kept: "1:_id:q",
  },
  "with an integer _id, in capitals": {
    sql: "CREATE TABLE Setting(_ID INTEGER PRIMARY KEY, name, value); INSERT INTO Setting VALUES (7, 'a', 1)",
    rows: "7:a:1",
  },
  "with a column named rowid": {
    sql: "CREATE TABLE Setting(rowid TEXT, name, value); INSERT INTO Setting VALUES ('zz', 'a', 1)",
    rows: "1:a:1",
    kept: "1:rowid:zz",
  },
  "with columns of every name of a rowid": {
    sql: "CREATE TABLE Setting(rowid, oid, _rowid_, name, value); INSERT INTO Setting VALUES (1, 2, NULL, 'a', 1)",
    rows: "1:a:1",
    kept: "1:oid:2 1:rowid:1",
  },
  "with computed columns, and columns named as the key's": {
    sql:
      "CREATE TABLE Setting(name, value, twice AS (value * 2), pk, sk); INSERT INTO Setting(name, value) VALUES ('a', 1)",
    rows: "1:a:1",
  },
  "with an index and a trigger of its own": {
    sql: "CREATE TABLE Setting(name TEXT PRIMARY KEY, value) WITHOUT ROWID; INSERT INTO Setting VALUES ('a', 1); " +
      "CREATE TABLE log(x); CREATE INDEX mine ON Setting(value); " +
      "CREATE TRIGGER told AFTER INSERT ON Setting BEGIN INSERT INTO log VALUES (new.name); END",
    rows: "1:a:1",
  },
};

for (const [what, { sql, rows, kept = "" }] of Object.entries(taken)) {
  Deno.test(`onboard: the rows of a table ${what} are taken in`, () => {
    using file = new StoreFile();
    made(file, sql);
    const store = file.open();
    const list = (sql: string) => store.db.prepare(sql).all().map((row) => Object.values(row).join(":")).join(" ");
    assert.equal(list("SELECT _id, name, value FROM Setting ORDER BY _id"), rows);
    assert.equal(list("SELECT row, name, value FROM _sync_kept ORDER BY name"), kept);
    const waiting = list("SELECT row FROM _outbox ORDER BY row");
    assert.equal(waiting, rows.replace(/:\S*/g, ""), "each is sent");
    if (!what.includes("trigger")) return;
    store.db.exec("INSERT INTO Setting(name) VALUES ('b')");
    assert.equal(list("SELECT x FROM log"), "b");
    assert.equal(list("SELECT count(*) FROM sqlite_master WHERE name = 'mine'"), "1");
  });
}

const refused: Record<string, { sql: string; message: RegExp }> = {
  "a view": {
    sql: "CREATE TABLE x(name, value); CREATE VIEW Setting AS SELECT * FROM x",
    message: /^Setting is a view, not a table$/,
  },
  "a virtual table": {
    sql: "CREATE VIRTUAL TABLE Setting USING fts5(name, value)",
    message: /^Setting is a virtual table, not a table$/,
  },
  "texts in UTF-16": {
    sql: "PRAGMA encoding = 'UTF-16'; CREATE TABLE Setting(name, value); INSERT INTO Setting VALUES ('é', '12')",
    message: /^The file's texts are UTF-16le, not UTF-8$/,
  },
  "rows without a key": {
    sql: "CREATE TABLE Setting(name, value); INSERT INTO Setting VALUES ('a', 1), (NULL, 2), (NULL, 3)",
    message: /NOT NULL constraint failed: Setting\.name \(rows 2, 3\)$/,
  },
  "rows of one key": {
    sql: "CREATE TABLE Setting(name, value); INSERT INTO Setting VALUES ('a', 1), ('a', 2)",
    message: /must be unique, and the rows 1, 2 share a value$/,
  },
  "a table of another owner under the outbox's name": {
    sql: "CREATE TABLE _outbox(x); INSERT INTO _outbox VALUES (1)",
    message: /^The table _outbox is not Twintable's, which needs that name$/,
  },
  "a view of another owner under the status' name": {
    sql: "CREATE VIEW _STATUS AS SELECT 1 AS x",
    message: /^The view _STATUS is not Twintable's/,
  },
};

for (const [what, { sql, message }] of Object.entries(refused)) {
  withShell(`onboard: ${what}: refused, and the file is as it was`, () => {
    using file = new StoreFile();
    made(file, sql);
    const before = file.shell(".dump");
    for (let i = 0; i < 2; i++) {
      assert.throws(
        () => file.open(),
        (error) =>
          error instanceof SyncError && error.code === "migration" && message.test(error.message) &&
          /^Nothing was changed\. \S/.test(error.hint!),
      );
    }
    assert.equal(file.shell(".dump"), before);
    assert.equal(file.shell("PRAGMA application_id"), "0");
  });
}

withShell(
  "onboard: after a reset the file is taken in again, with what is kept for people; with its rows, nothing is left in it",
  () => {
    using file = new StoreFile();
    const keep = () =>
      file.shell(`INSERT INTO Setting(name, value) VALUES ('a', 'secret');
    INSERT INTO _rejected(model, item) VALUES ('Setting', 'secret');
    INSERT INTO _verify(model, key, mended) VALUES ('Setting', '{"name":"secret"}', 0);
    INSERT INTO _sync_kept(model, value) VALUES ('Setting', 'secret')`);
    const reset = (rows: boolean) => {
      const db = openDatabase(file.path);
      resetDatabase(db, { rows });
      db.close();
    };
    file.open().close();
    keep();
    reset(false);
    assert.equal(file.shell("SELECT name FROM Setting"), "a");
    file.open().close();
    assert.equal(file.shell("SELECT count(*) FROM _rejected"), "1");
    assert.equal(file.shell("SELECT count(*) FROM _pending"), "1");
    reset(true);
    assert.equal(file.shell("SELECT name FROM sqlite_master WHERE name <> 'sqlite_sequence'"), "");
    assert.equal(file.shell("PRAGMA application_id"), "0");
    const models = [...compiled.models.values()].filter((model) => model.onDevice).map(({ name }) => name);
    assert.deepEqual(file.open().migration.created.sort(), models.sort());
  },
);

withShell(
  "onboard: a file that its application marked (a GeoPackage, say) is taken in, keeps its mark, and is known again",
  () => {
    using file = new StoreFile();
    const geoPackage = "1196444487";
    file.shell(`PRAGMA application_id = ${geoPackage}; PRAGMA user_version = 10300;
    CREATE TABLE gpkg_contents(table_name TEXT PRIMARY KEY, data_type TEXT);
    INSERT INTO gpkg_contents VALUES ('Setting', 'attributes');
    CREATE TABLE Setting(name TEXT PRIMARY KEY, value TEXT); INSERT INTO Setting VALUES ('a', 'v')`);
    file.open().close();
    assert.equal(file.shell("SELECT name, value FROM Setting"), "a|v");
    assert.equal(file.shell("PRAGMA application_id; PRAGMA user_version"), `${geoPackage}\n10300`);
    assert.deepEqual(file.open().migration, { created: [], rebuilt: [], restored: [], noticed: [] });
    // One that is marked later, as migration tools and GIS programs do, is still this device's.
    file.shell("PRAGMA application_id = 7");
    assert.deepEqual(file.open().migration, { created: [], rebuilt: [], restored: [], noticed: [] });
    const db = openDatabase(file.path);
    db.exec("INSERT INTO _rejected(model) VALUES ('Setting')");
    resetDatabase(db, { rows: false });
    db.close();
    assert.equal(file.shell("PRAGMA application_id"), "7");
    file.open().close();
    assert.equal(file.shell("SELECT count(*) FROM _rejected; SELECT count(*) FROM _pending"), "1\n1");
  },
);

Deno.test("onboard: a row is as old as its `updated` says, and never from the future", () => {
  using file = new StoreFile();
  made(
    file,
    "CREATE TABLE Setting(name TEXT PRIMARY KEY, value, updated); INSERT INTO Setting VALUES " +
      "('a', 1, '2020-01-02T03:04:05.678Z'), ('b', 2, '2999-01-01T00:00:00.000Z'), ('c', 3, NULL)",
  );
  const beforeMs = Date.now(), store = file.open(), afterMs = Date.now();
  const times = store.db.prepare(
    "SELECT name, time FROM _outbox AS o JOIN Setting AS s ON s._id = o.row ORDER BY name",
  ).all().map(({ time }) => Number(time));
  assert.equal(times[0], Date.UTC(2020, 0, 2, 3, 4, 5, 678));
  for (const time of times.slice(1)) assert.ok(time >= beforeMs && time <= afterMs, `${time}`);
});
