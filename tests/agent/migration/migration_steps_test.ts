/**
 * A crash in each step of a migration: before and after every single statement the files are copied as they lie on the
 * disk, which is what `kill -9` leaves there. Each copy, once opened, is the old file or the new one, whole; and the next
 * start ends in the new one. SQLite keeps next to nothing in memory here, so that the WAL is written all along.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
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

/**
 * The bytes of a database as they lie on the disk, file and WAL. What it opens stays open until it is disposed of: to close
 * any descriptor on the file would drop the locks of this process's SQLite.
 */
class OnDisk implements Disposable {
  readonly #opened = new Map<string, Deno.FsFile>();
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  read(): { readonly file: Buffer; readonly wal: Buffer } {
    return { file: this.#bytes(this.#path), wal: this.#bytes(`${this.#path}-wal`) };
  }

  #bytes(path: string): Buffer {
    const { ino, size } = Deno.statSync(path), key = `${path} ${ino}`;
    const opened = this.#opened.get(key) ?? Deno.openSync(path);
    this.#opened.set(key, opened);
    const bytes = Buffer.alloc(size);
    opened.seekSync(0, Deno.SeekMode.Start);
    for (let at = 0, count: number | null; (count = opened.readSync(bytes.subarray(at))) !== null && at < size;) {
      at += count;
    }
    return bytes;
  }

  [Symbol.dispose](): void {
    for (const opened of this.#opened.values()) opened.close();
  }
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
    // Of the steps that leave the same bytes, one is tried.
    const taken: { path: string; sql: string; file: Buffer; wal: Buffer; steps: number }[] = [];
    {
      using disk = new OnDisk(file.path);
      const driver = watched((sql) => {
        const bytes = disk.read(), last = taken.at(-1);
        if (last?.file.equals(bytes.file) && last.wal.equals(bytes.wal)) return void last.steps++;
        taken.push({ path: `${file.folder}/${taken.length}.db`, sql, ...bytes, steps: 1 });
      });
      openStore({ ...options, path: file.path, schema: to, driver }).close();
    }
    const newContents = look(file.path, contents);
    assert.notEqual(newContents, oldContents);

    const found = { old: 0, new: 0, uncommitted: 0 };
    for (const { path, sql, file: bytes, wal, steps } of taken) {
      Deno.writeFileSync(path, bytes);
      Deno.writeFileSync(`${path}-wal`, wal);
      const [check, state] = look(path, (db) => [db.prepare("PRAGMA integrity_check").get(), contents(db)]);
      assert.deepEqual({ ...check as object }, { integrity_check: "ok" });
      assert.ok(state === oldContents || state === newContents, `neither the old file nor the new one before: ${sql}`);
      if (state === newContents) found.new += steps;
      else {
        found.old += steps;
        // Frames of the migration's own transaction, without its commit.
        if (wal.length > taken[0]!.wal.length) found.uncommitted += steps;
        // The old binary goes on, too.
        openStore({ ...options, path, schema: from }).close();
        assert.equal(look(path, contents), oldContents);
      }
      openStore({ ...options, path, schema: to }).close();
      assert.equal(look(path, contents), newContents, `the next start after a crash before: ${sql}`);
      Deno.removeSync(path);
    }
    const steps = found.old + found.new;
    console.log(
      `migration ${what}: a crash at each of ${steps} steps, ${taken.length} states: ${JSON.stringify(found)}`,
    );
    assert.ok(found.old > 50 && found.new > 0 && found.uncommitted > 50, JSON.stringify(found));
  });
}
