/**
 * After an unclean end the file is checked: damage refuses it, what SQLite merely dislikes does not. Both at once is damage.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { openDatabase } from "../../../agent/sqlite/driver.ts";
import { complaintsText, findDamage } from "../../../agent/store/damage.ts";
import { canonicalDateSql } from "../../../agent/store/sql.ts";
import { SyncError } from "../../../schema.ts";
import { testWith } from "../../support/tools.ts";
import { StoreFile } from "../store_fixture.ts";

/** What applications leave in the file that another SQLite, or another process, complains about. */
const complaints: Record<string, { readonly python: string; readonly says: RegExp }> = {
  "a CHECK that the writer ignored or judged otherwise": {
    python: `db.executescript("""CREATE TABLE mine(v INTEGER CHECK (v > 0)); PRAGMA ignore_check_constraints = ON;
      INSERT INTO mine VALUES (-1)""")`,
    says: /CHECK constraint failed in mine/,
  },
  "a NOT NULL that came later": {
    python: `db.executescript("""CREATE TABLE mine(v TEXT); INSERT INTO mine VALUES (NULL);
      PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE mine(v TEXT NOT NULL)' WHERE name = 'mine'""")`,
    says: /NULL value in mine\.v/,
  },
  "a collation of the application's": {
    python: `db.create_collation("mine", lambda a, b: (a > b) - (a < b))
db.executescript("""CREATE TABLE names(v TEXT COLLATE mine); CREATE INDEX by_name ON names(v); INSERT INTO names VALUES ('a'), ('b')""")`,
    says: /no such collation sequence: mine/,
  },
  "an index with a collation of the application's on a model's table": {
    python: `db.create_collation("mine", lambda a, b: (a > b) - (a < b))
db.execute("CREATE INDEX by_value ON Setting(value COLLATE mine)")
db.execute("INSERT INTO Setting(name, value) VALUES ('x', 'y')")`,
    says: /no such collation sequence: mine/,
  },
  "a function of the application's": {
    python: `db.create_function("mine", 1, lambda v: 1, deterministic=True)
db.executescript("""CREATE TABLE named(v TEXT CHECK (mine(v))); INSERT INTO named VALUES ('a')""")`,
    says: /unknown function: mine/,
  },
};

const withPython = testWith("python3");

for (const [what, { python, says }] of Object.entries(complaints)) {
  withPython(`damage: ${what} is none: the agent starts, and says so`, () => {
    using file = new StoreFile();
    file.open().close();
    file.python(python);
    const store = file.open({ check: true });
    assert.match(complaintsText(store.complaints), says);
    store.close();
    // The next start checks again by itself.
    assert.match(complaintsText(file.open().complaints), says);
  });

  withPython(`damage: a broken page beside ${what} is damage`, () => {
    using file = new StoreFile();
    file.open().close();
    file.python(python);
    breakPage(file);
    assert.throws(
      () => file.open({ check: true }),
      (error) => error instanceof SyncError && error.code === "corrupt" && /is damaged/.test(error.message),
    );
  });
}

/** Writes over a page in the middle of a table that is new. */
function breakPage(file: StoreFile): void {
  const db = openDatabase(file.path);
  db.exec(`CREATE TABLE filler(v TEXT);
    WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 2000)
    INSERT INTO filler SELECT hex(zeroblob(100)) FROM i; PRAGMA wal_checkpoint(TRUNCATE)`);
  const { root } = db.prepare("SELECT rootpage AS root FROM sqlite_master WHERE name = 'filler'").get()!;
  db.close();
  // No connection of this process is open on it.
  using disk = Deno.openSync(file.path, { write: true });
  disk.seekSync((Number(root) + 4) * 4096, Deno.SeekMode.Start);
  disk.writeSync(new Uint8Array(4096).fill(0xee));
}

withPython("damage: lines about content, however many, hide none about structure", () => {
  using file = new StoreFile();
  file.open().close();
  file.python(`db.executescript("""CREATE TABLE mine(v INTEGER CHECK (v > 0)); PRAGMA ignore_check_constraints = ON;
    WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 3000) INSERT INTO mine SELECT -x FROM i""")`);
  const store = file.open({ check: true });
  assert.ok(store.complaints.length > 500);
  assert.match(complaintsText(store.complaints), /; and \d+ more$/);
  store.close();
  breakPage(file);
  assert.throws(() => file.open({ check: true }), /is damaged/);
});

withPython("damage: a full-text index out of step is rebuilt, and nothing is left to complain about", () => {
  using file = new StoreFile();
  const store = file.open();
  file.python(`db.executescript("""CREATE VIRTUAL TABLE page_text USING fts5(body);
    INSERT INTO page_text VALUES ('one'), ('two'); UPDATE page_text_content SET c0 = 'three' WHERE id = 1""")`);
  assert.match(findDamage(store.db).complaints.join(), /fts5/i);
  store.close();
  const again = file.open({ check: true });
  assert.deepEqual(again.complaints, []);
  assert.equal(again.db.prepare("SELECT rowid FROM page_text WHERE page_text MATCH 'three'").get()!.rowid, 1);
  assert.equal(again.getMeta("complaints"), undefined);
});

Deno.test("damage: what is healed is not told any longer", () => {
  using file = new StoreFile();
  const store = file.open();
  store.db.exec(`CREATE TABLE mine(v INTEGER CHECK (v > 0)); PRAGMA ignore_check_constraints = ON;
    INSERT INTO mine VALUES (-1)`);
  store.close();
  assert.equal(file.open({ check: true }).complaints.length, 1);
  const healing = file.open();
  assert.equal(healing.complaints.length, 1);
  healing.db.exec("DELETE FROM mine");
  healing.close();
  assert.deepEqual(file.open().complaints, []);
  assert.deepEqual(file.open().complaints, []);
});

const dates = fc.oneof(
  fc.date({ min: new Date("0000-01-01T00:00:00Z"), max: new Date("9999-12-31T23:59:59Z"), noInvalidDate: true })
    .map((date) => date.toISOString()),
  fc.tuple(...[9999, 19, 39, 29, 69, 69, 999].map((max) => fc.nat(max))).map(([y, mo, d, h, mi, s, ms]) => {
    const two = (n?: number) => String(n).padStart(2, "0");
    return `${String(y).padStart(4, "0")}-${two(mo)}-${two(d)}T${two(h)}:${two(mi)}:${two(s)}.${
      String(ms).padStart(3, "0")
    }Z`;
  }),
  fc.constantFrom("2026-02-30T12:00:00.000Z", "2024-02-29T00:00:00.000Z", "2100-02-29T00:00:00.000Z", "2026-01-01", ""),
);

withPython("dates: a key's date is judged alike by every SQLite, and as JavaScript does", () => {
  const sql = `SELECT ${canonicalDateSql("v")} AS ok FROM (SELECT ? AS v)`;
  const db = openDatabase(":memory:");
  const sample = fc.sample(dates, 3_000);
  const isDate = (text: string) => {
    const date = new Date(text);
    return !Number.isNaN(date.getTime()) && date.toISOString() === text;
  };
  for (const text of sample) assert.equal(db.prepare(sql).get(text)!.ok, isDate(text) ? 1 : 0, text);
  db.close();
  using file = new StoreFile();
  Deno.writeTextFileSync(`${file.folder}/dates.json`, JSON.stringify(sample));
  const other = file.python(`import json
print(json.dumps([db.execute(${JSON.stringify(sql)}, (text,)).fetchone()[0] for text in json.load(open(${
    JSON.stringify(`${file.folder}/dates.json`)
  }))]))`);
  assert.deepEqual(JSON.parse(other), sample.map((text) => isDate(text) ? 1 : 0));
});
