/**
 * Everything that SQL can do to a table, from another process, with `recursive_triggers` on and off: the rows end up as
 * SQLite says, and the outbox leads to every key that changed. (`tests/property/capture_test.ts` does the same at random.)
 */
import assert from "node:assert/strict";
import type { Store } from "../../../agent/store/store.ts";
import { SecondProcess } from "../../support/second_process.ts";
import { testWith } from "../../support/tools.ts";
import { StoreFile } from "../store_fixture.ts";

const withShell = testWith("sqlite3");
const withBoth = testWith("sqlite3", "python3");

interface Case {
  readonly what: string;
  /** One statement, or several. */
  readonly sql: string | readonly string[];
  /** `name:slot:value` of the rows afterwards, by name. */
  readonly rows: string;
  /** Names whose rows changed: the outbox must lead to each. */
  readonly changed: string;
}

/** Before each: four rows, `slot` being unique, and nothing in the outbox. */
const setup =
  "INSERT INTO Setting(name, slot, value) VALUES ('a', 1, '1'), ('b', 2, '2'), ('c', 3, '3'), ('d', NULL, '4')";

const cases: readonly Case[] = [
  {
    what: "INSERT OR REPLACE that evicts a row through another unique field",
    sql: "INSERT OR REPLACE INTO Setting(name, slot, value) VALUES ('e', 2, '5')",
    rows: "a:1:1 c:3:3 d::4 e:2:5",
    changed: "b e",
  },
  {
    what: "INSERT OR REPLACE that evicts two rows, one by its key and one by a unique field",
    sql: "REPLACE INTO Setting(name, slot, value) VALUES ('a', 3, '9')",
    rows: "a:3:9 b:2:2 d::4",
    changed: "a c",
  },
  {
    what: "INSERT OR REPLACE that evicts a row by its _id",
    sql: "INSERT OR REPLACE INTO Setting(_id, name) SELECT _id, 'x' FROM Setting WHERE name = 'b'",
    rows: "a:1:1 c:3:3 d::4 x::it's on",
    changed: "b x",
  },
  {
    what: "INSERT OR REPLACE of many rows that evict each other",
    sql: "INSERT OR REPLACE INTO Setting(name, slot) VALUES ('m', 1), ('n', 1), ('o', 1)",
    rows: "b:2:2 c:3:3 d::4 o:1:it's on",
    changed: "a o",
  },
  {
    what: "INSERT OR IGNORE",
    sql: "INSERT OR IGNORE INTO Setting(name, slot, value) VALUES ('a', 9, 'no'), ('z', 2, 'no'), ('f', 6, '6')",
    rows: "a:1:1 b:2:2 c:3:3 d::4 f:6:6",
    changed: "f",
  },
  {
    what: "INSERT OR FAIL, which leaves the rows before the one that fails",
    sql: "INSERT OR FAIL INTO Setting(name, slot) VALUES ('g', 7), ('h', 1), ('i', 8)",
    rows: "a:1:1 b:2:2 c:3:3 d::4 g:7:it's on",
    changed: "g",
  },
  {
    what: "UPSERT on the key's attributes",
    sql: "INSERT INTO Setting(name, value) VALUES ('a', 'x') ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    rows: "a:1:x b:2:2 c:3:3 d::4",
    changed: "a",
  },
  {
    what: "UPSERT on another unique field, which changes the key",
    sql: "INSERT INTO Setting(name, slot) VALUES ('q', 2) ON CONFLICT(slot) DO UPDATE SET name = excluded.name",
    rows: "a:1:1 c:3:3 d::4 q:2:2",
    changed: "b q",
  },
  {
    what: "UPSERT with one clause for each unique index",
    sql: "INSERT INTO Setting(name, slot) VALUES ('r', 3) " +
      "ON CONFLICT(name) DO UPDATE SET value = 'name' ON CONFLICT(slot) DO UPDATE SET value = 'slot'",
    rows: "a:1:1 b:2:2 c:3:slot d::4",
    changed: "c",
  },
  {
    what: "UPDATE of the key",
    sql: "UPDATE Setting SET name = 'A' || name WHERE slot < 3",
    rows: "Aa:1:1 Ab:2:2 c:3:3 d::4",
    changed: "a b Aa Ab",
  },
  {
    what: "UPDATE OR REPLACE of the key onto another row's",
    sql: "UPDATE OR REPLACE Setting SET name = 'b' WHERE name = 'a'",
    rows: "b:1:1 c:3:3 d::4",
    changed: "a b",
  },
  {
    what: "UPDATE OR REPLACE of a unique field onto another row's",
    sql: "UPDATE OR REPLACE Setting SET slot = 2 WHERE name = 'd'",
    rows: "a:1:1 c:3:3 d:2:4",
    changed: "b d",
  },
  {
    what: "UPDATE OR REPLACE of _id onto another row's",
    sql: "UPDATE OR REPLACE Setting SET _id = (SELECT _id FROM Setting WHERE name = 'b') WHERE name = 'c'",
    rows: "a:1:1 c:3:3 d::4",
    changed: "b c",
  },
  {
    what: "UPDATE OR IGNORE",
    sql: "UPDATE OR IGNORE Setting SET slot = 1",
    rows: "a:1:1 b:2:2 c:3:3 d::4",
    changed: "",
  },
  {
    what: "UPDATE … FROM",
    sql: "WITH v(n, x) AS (VALUES ('a', 'p'), ('d', 'q')) UPDATE Setting SET value = v.x FROM v WHERE v.n = name",
    rows: "a:1:p b:2:2 c:3:3 d::q",
    changed: "a d",
  },
  { what: "DELETE without WHERE", sql: "DELETE FROM Setting", rows: "", changed: "a b c d" },
  {
    what: "DELETE and INSERT of the same key in one transaction",
    sql: [
      "BEGIN",
      "DELETE FROM Setting WHERE name = 'a'",
      "INSERT INTO Setting(name, value) VALUES ('a', 'new')",
      "COMMIT",
    ],
    rows: "a::new b:2:2 c:3:3 d::4",
    changed: "a",
  },
  {
    what: "savepoints, one of which is rolled back",
    sql: [
      ...[
        "BEGIN",
        "UPDATE Setting SET value = 'u' WHERE name = 'a'",
        "SAVEPOINT s",
        "DELETE FROM Setting WHERE name = 'b'",
      ],
      ...["SAVEPOINT t", "UPDATE Setting SET value = 'never'", "ROLLBACK TO t", "RELEASE t", "RELEASE s"],
      ...["SAVEPOINT v", "DELETE FROM Setting", "ROLLBACK TO v", "RELEASE v", "COMMIT"],
    ],
    rows: "a:1:u c:3:3 d::4",
    changed: "a b",
  },
  {
    what: "a transaction that is rolled back",
    sql: ["BEGIN", "INSERT OR REPLACE INTO Setting(name, slot) VALUES ('x', 1)", "DELETE FROM Setting", "ROLLBACK"],
    rows: "a:1:1 b:2:2 c:3:3 d::4",
    changed: "",
  },
  {
    what: "INSERT … SELECT and RETURNING",
    sql: "INSERT INTO Setting(name, value) SELECT name || '2', value FROM Setting WHERE slot > 1 RETURNING _id",
    rows: "a:1:1 b:2:2 b2::2 c:3:3 c2::3 d::4",
    changed: "b2 c2",
  },
  {
    what: "a temporary trigger and a temporary table of the application",
    sql: [
      "CREATE TEMP TABLE log(n)",
      "CREATE TEMP TRIGGER t AFTER UPDATE ON Setting BEGIN INSERT INTO log VALUES (1); END",
      "UPDATE Setting SET value = 'w' WHERE name = 'c'",
    ],
    rows: "a:1:1 b:2:2 c:3:w d::4",
    changed: "c",
  },
  {
    what: "VACUUM",
    sql: ["UPDATE Setting SET value = 'v' WHERE name = 'b'", "VACUUM"],
    rows: "a:1:1 b:2:v c:3:3 d::4",
    changed: "b",
  },
];

function rowsOf(store: Store): string {
  return store.db.sql("SELECT name, slot, value FROM Setting ORDER BY name").all()
    .map(({ name, slot, value }) => `${name}:${slot ?? ""}:${value}`).join(" ");
}

/** The names that the outbox leads to. */
function hinted(store: Store): Set<string> {
  const byRow = store.db.sql("SELECT name FROM Setting WHERE _id IN (SELECT row FROM _outbox WHERE key IS NULL)").all();
  const byKey = store.db.sql("SELECT json_extract(key, '$.name') AS name FROM _outbox WHERE key IS NOT NULL").all();
  return new Set([...byRow, ...byKey].map(({ name }) => String(name)));
}

for (const process of ["sqlite3", "python3"] as const) {
  for (const recursive of ["OFF", "ON"]) {
    withBoth(
      `sql: every kind of statement of ${process} is captured with recursive_triggers ${recursive}`,
      async () => {
        using file = new StoreFile();
        await using second = new SecondProcess();
        const store = file.open();
        for (const { what, sql, rows, changed } of cases) {
          store.db.exec(`DELETE FROM Setting; ${setup}; DELETE FROM _outbox`);
          const errors = await second.run(process, file.path, [`PRAGMA recursive_triggers = ${recursive}`, sql].flat());
          // What fails is a constraint, as the case wants it; never the script or a trigger.
          for (const error of errors) assert.match(error, /UNIQUE constraint failed/, what);
          assert.equal(rowsOf(store), rows, what);
          const names = hinted(store);
          for (const name of changed.split(" ")) {
            if (name !== "") assert.ok(names.has(name), `${what}: nothing leads to ${name}, only to ${[...names]}`);
          }
          if (changed === "") {
            // A hint too many (a REPLACE or IGNORE that came to nothing) is looked at and dropped; it must be no insert.
            const inserts = store.db.sql("SELECT count(*) AS n FROM _outbox WHERE kind = 1").get()!.n;
            assert.equal(inserts, 0, what);
          }
          assert.equal(store.db.sql("SELECT applying FROM _sync_flag").get()!.applying, 0, what);
        }
      },
    );
  }
}

withBoth("sql: a database that is attached to another one is written like any", () => {
  using file = new StoreFile();
  const store = file.open();
  file.shell(`
    ATTACH ':memory:' AS mine; CREATE TABLE mine.incoming(n, v); INSERT INTO mine.incoming VALUES ('a', 1), ('b', 2);
    INSERT INTO main.Setting(name, value) SELECT n, v FROM mine.incoming;`);
  assert.equal(rowsOf(store), "a::1 b::2");
  const other = `${file.folder}/application.db`;
  file.python(`
app = sqlite3.connect(${JSON.stringify(other)}, isolation_level=None)
app.execute("ATTACH ? AS device", (sys.argv[1],))
app.executescript("""
  CREATE TABLE Setting(x);
  BEGIN;
  INSERT INTO Setting VALUES (1);
  INSERT OR REPLACE INTO device.Setting(name, slot) VALUES ('a', 5);
  UPDATE device.Setting SET name = 'c' WHERE name = 'b';
  COMMIT;
""")`);
  assert.equal(rowsOf(store), "a:5:it's on c::2");
  assert.deepEqual([...hinted(store)].sort(), ["a", "b", "c"]);
});

withShell("sql: .import of the sqlite3 shell fills a table by way of a temporary one", () => {
  using file = new StoreFile();
  const store = file.open();
  const csv = `${file.folder}/in.csv`;
  Deno.writeTextFileSync(csv, 'name,slot,value\na,1,"it\'s, quoted"\nb,,é😀\n');
  file.shell(`.import --csv --schema temp ${csv} incoming
    INSERT INTO Setting(name, slot, value) SELECT name, CAST(nullif(slot, '') AS INTEGER), value FROM temp.incoming;`);
  assert.equal(rowsOf(store), "a:1:it's, quoted b::é😀");
  assert.deepEqual([...hinted(store)], ["a", "b"]);
  // Straight into the table the shell counts the generated columns in, and says so: nothing half done is left.
  assert.throws(() => file.shell(`.import --csv --skip 1 ${csv} Setting`), /columns but|expected/);
  assert.equal(rowsOf(store), "a:1:it's, quoted b::é😀");
});

withShell("sql: VACUUM keeps rows, _ids, the outbox and the mark of whose file it is", () => {
  using file = new StoreFile();
  const store = file.open();
  file.shell("INSERT INTO Setting(_id, name) VALUES (7, 'a'), (9, 'b'); DELETE FROM Setting WHERE _id = 7; VACUUM");
  assert.equal(file.shell("SELECT _id, name FROM Setting"), "9|b");
  assert.deepEqual([...hinted(store)].sort(), ["a", "b"]);
  store.close();
  assert.deepEqual(file.open().migration, { created: [], rebuilt: [], restored: [], noticed: [] });
});
