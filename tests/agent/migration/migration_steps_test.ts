/**
 * A crash in each step of a migration: before and after every single statement the files are copied as they lie on the
 * disk, which is what `kill -9` leaves there. Each copy, once opened, is the old file or the new one, whole; and the next
 * start ends in the new one. SQLite keeps next to nothing in memory here, so that the WAL is written all along.
 */
import assert from "node:assert/strict";
import { type Database, type Driver, openDatabase, type Statement } from "../../../agent/sqlite/driver.ts";
import { openStore } from "../../../agent/store/store.ts";
import { compileSchema, type Schema } from "../../../schema.ts";
import { identity, StoreFile } from "../store_fixture.ts";
import { contents } from "../store/file_contents.ts";

const pk = { type: "string", value: "d#${deviceId}" };
const deviceId = { type: "string", required: true };
const id = { type: "string", required: true };

function schemaOf(models: Record<string, Record<string, unknown>>, process: Record<string, { sync: string }>): Schema {
  const keyed = Object.entries(models).map(([name, fields]) =>
    [name, { pk, sk: { type: "string", value: `${name}#\${id}` }, deviceId, id, ...fields }] as const
  );
  return compileSchema({
    format: "onetable:1.1.0",
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { timestamps: true, isoDates: true },
    models: Object.fromEntries(keyed),
    process,
  });
}

const before = schemaOf(
  {
    Setting: {
      value: { type: "string" },
      level: { type: "number" },
      secret: { type: "string", sync: "none" },
      old: { type: "string" },
    },
    Leaving: { text: { type: "string" } },
    Note: { text: { type: "string" } },
    Quiet: { text: { type: "string" } },
    Order: { text: { type: "string" } },
  },
  {
    Setting: { sync: "both" },
    Leaving: { sync: "both" },
    Note: { sync: "none" },
    Quiet: { sync: "up" },
    Order: { sync: "down" },
  },
);

/** Every kind of change at once. */
const after = schemaOf(
  {
    Setting: {
      // Another type, a name by map, a field that begins to travel, one that is gone, new ones, a unique one.
      value: { type: "number", unique: true },
      height: { type: "number", map: "level" },
      secret: { type: "string" },
      unit: { type: "string", required: true, default: "C" },
      note: { type: "string" },
    },
    Note: { text: { type: "string" } },
    Quiet: { text: { type: "string" } },
    Order: { text: { type: "string" }, done: { type: "boolean" } },
    Arriving: { text: { type: "string" } },
  },
  {
    Setting: { sync: "both" },
    Note: { sync: "up" },
    Quiet: { sync: "none" },
    Order: { sync: "both" },
    Arriving: { sync: "down" },
  },
);

/** After every so many steps the next start is made, too: it takes longest. */
const startsEach = 10;

/** A driver that tells before each statement that writes, and after each script. */
function watched(step: (sql: string) => void): Driver {
  const tell = (sql: string) => /^\s*(SELECT|PRAGMA \w+$)/i.test(sql) || step(sql);
  return (path, options) => {
    const db = openDatabase(path, options);
    db.exec("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; PRAGMA wal_autocheckpoint = 1");
    const statement = (sql: string, inner: Statement): Statement => ({
      run: (...values) => (tell(sql), inner.run(...values)),
      changes: (...values) => (tell(sql), inner.changes(...values)),
      get: (...values) => (tell(sql), inner.get(...values)),
      all: (...values) => (tell(sql), inner.all(...values)),
    });
    return {
      // One by one: a script of several is several steps.
      exec(sql) {
        for (const one of statements(sql)) {
          tell(one);
          db.exec(one);
        }
        tell(`behind ${sql}`);
      },
      prepare: (sql) => statement(sql, db.prepare(sql)),
      sql: (sql) => statement(sql, db.sql(sql)),
      get inTransaction() {
        return db.inTransaction;
      },
      copyTo: (path) => db.copyTo(path),
      close: () => db.close(),
    } satisfies Database;
  };
}

/** The statements of a script: what begins a trigger goes on to its END. */
function statements(script: string): string[] {
  if (/CREATE TRIGGER/.test(script)) return [script];
  return script.split(";").map((sql) => sql.trim()).filter((sql) => sql !== "");
}

/** Copies the files as they are. By another process: this one would drop SQLite's locks. */
function copyFiles(from: string, to: string): void {
  const script = 'cp "$1" "$2"; if [ -e "$1-wal" ]; then cp "$1-wal" "$2-wal"; fi';
  const { success } = new Deno.Command("sh", { args: ["-c", script, "sh", from, to] }).outputSync();
  assert.ok(success);
}

function look<T>(path: string, use: (db: Database) => T): T {
  const db = openDatabase(path, { synchronous: "normal" });
  try {
    return use(db);
  } finally {
    db.close();
  }
}

const directions: [what: string, from: Schema, to: Schema][] = [["forth", before, after], ["back", after, before]];

for (const [what, from, to] of directions) {
  Deno.test(`migration: a crash in each step of it, ${what}, leaves the old file or the new one`, () => {
    using file = new StoreFile();
    if (from === after) file.open({ schema: before }).close();
    file.open({ schema: before }).db.exec(`
      INSERT INTO Setting(id, value, level, secret, old) VALUES ('a', '1.5', 1, 's', 'o'), ('b', '7', 2, NULL, 'o');
      WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 60)
        INSERT INTO Setting(id, value, old) SELECT 'n' || n, 1000 + n, printf('%200d', n) FROM c;
      INSERT INTO Leaving(id) VALUES ('a'), ('b'); DELETE FROM Leaving WHERE id = 'b';
      INSERT INTO Note(id, text) VALUES ('n', 'mine'); INSERT INTO Quiet(id) VALUES ('q')`);
    file.open({ schema: from }).close();

    const options = { identity, now: Date.now, synchronous: "normal" as const };
    const oldContents = look(file.path, contents);
    const taken: { path: string; sql: string; walBytes: number }[] = [];
    const driver = watched((sql) => {
      const path = `${file.folder}/${taken.length}.db`;
      copyFiles(file.path, path);
      taken.push({ path, sql, walBytes: Deno.statSync(`${path}-wal`).size });
    });
    openStore({ ...options, path: file.path, schema: to, driver }).close();
    const newContents = look(file.path, contents);
    assert.notEqual(newContents, oldContents);

    const found = { old: 0, new: 0, uncommitted: 0 };
    for (const [i, { path, sql, walBytes }] of taken.entries()) {
      const [check, state] = look(path, (db) => [db.prepare("PRAGMA integrity_check").get(), contents(db)]);
      assert.deepEqual({ ...check as object }, { integrity_check: "ok" });
      assert.ok(state === oldContents || state === newContents, `neither the old file nor the new one before: ${sql}`);
      if (state === newContents) found.new++;
      else {
        found.old++;
        // Frames of the migration's own transaction, without its commit.
        if (walBytes > taken[0]!.walBytes) found.uncommitted++;
      }
      if (i % startsEach === 0 || i === taken.length - 1) {
        if (state === oldContents) {
          // The old binary goes on, too.
          openStore({ ...options, path, schema: from }).close();
          assert.equal(look(path, contents), oldContents);
        }
        openStore({ ...options, path, schema: to }).close();
        assert.equal(look(path, contents), newContents, `the next start after a crash before: ${sql}`);
      }
      Deno.removeSync(path);
    }
    console.log(`migration ${what}: a crash at each of ${taken.length} steps left ${JSON.stringify(found)}`);
    assert.ok(found.old > 50 && found.new > 0 && found.uncommitted > 50, JSON.stringify(found));
  });
}
