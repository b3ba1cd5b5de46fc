/**
 * The contract of the database port, run over each driver: the runtime's SQLite; the system's over FFI; SQLCipher over FFI, its
 * files encrypted (`TWINTABLE_SQLCIPHER` names the library; CI builds one); and `jsr:@db/sqlite` where `TWINTABLE_DB_SQLITE` names it.
 */
import assert from "node:assert/strict";
import { type Driver, faultOf, openDatabase, pagesOf } from "../../../agent/sqlite/driver.ts";
import { ffiDriver } from "../../../agent/sqlite/driver_ffi.ts";
import { dbSqlite } from "../../support/db_sqlite.ts";
import { sqlcipher, systemSqlite } from "../../support/libraries.ts";
import { TempDir } from "../../support/temp_dir.ts";

const drivers: [string, Driver][] = [
  ["built-in", openDatabase],
  ...(systemSqlite ? [["FFI", ffiDriver()] as [string, Driver]] : []),
  ...(sqlcipher
    ? [["SQLCipher", ffiDriver({ library: sqlcipher, key: new TextEncoder().encode("a key") })] as [string, Driver]]
    : []),
  ...(dbSqlite ? [["@db/sqlite", dbSqlite] as [string, Driver]] : []),
];

for (const [name, driver] of drivers) {
  Deno.test(`driver ${name}: whole numbers are INTEGER, others REAL, each value comes back as it is`, () => {
    const db = driver(":memory:");
    db.exec("CREATE TABLE t(_id INTEGER PRIMARY KEY, v ANY) STRICT");
    const reals = [
      0.5,
      1e300,
      2 ** 53,
      -(2 ** 53),
      2 ** 60,
      2 ** 63,
      -(2 ** 63),
      2 ** 64,
      1e19,
      1e100,
      Number.MAX_VALUE,
      5e-324,
    ];
    // The runtime reads a text to its first NUL: columns.ts knows.
    const cut = name === "built-in" ? [] : ["a\0b", "\0"];
    const texts = ["", "é😀", ...cut, "\ufeffmark", "x".repeat(100_000)];
    const blobs = [new Uint8Array([0, 1]), new Uint8Array(), new Uint8Array(70_000).fill(7)];
    const values = [0, -0, 7, 2 ** 31, 2 ** 53 - 1, -(2 ** 53) + 1, ...reals, ...texts, null, ...blobs];
    const insert = db.prepare("INSERT INTO t(v) VALUES (?)");
    for (const [i, value] of values.entries()) {
      assert.equal(insert.changes(value), 1);
      assert.equal(db.sql("SELECT last_insert_rowid() AS id").get()!.id, i + 1);
    }
    const rows = db.sql("SELECT v, typeof(v) AS type FROM t ORDER BY _id").all();
    assert.deepEqual(rows.map((row) => row.v), values.map((value) => value === 0 ? 0 : value));
    const types = [["integer", 6], ["real", reals.length], ["text", texts.length], ["null", 1], [
      "blob",
      blobs.length,
    ]] as const;
    assert.deepEqual(rows.map((row) => row.type), types.flatMap(([type, times]) => Array(times).fill(type)));
    db.close();
    db.close();
  });

  Deno.test(`driver ${name}: integers beyond 2^53 come as bigint where they are asked for`, () => {
    const db = driver(":memory:");
    const statement = db.prepare("SELECT 9223372036854775807 AS big, 7 AS small");
    assert.deepEqual({ ...statement.get() }, { big: 9223372036854775807n, small: 7 });
    assert.deepEqual(statement.all().map((row) => ({ ...row })), [{ big: 9223372036854775807n, small: 7 }]);
    assert.deepEqual(db.sql("SELECT ? AS v").get(2 ** 53 - 1)!.v, 2 ** 53 - 1);
    db.close();
  });

  Deno.test(`driver ${name}: a text beyond ASCII is prepared whole, a cached statement is the same one`, () => {
    const db = driver(":memory:");
    const text = "SELECT 'ééé語語😀' AS v WHERE 1 = 1 AND 'é' = ?";
    assert.equal(db.sql(text).get("é")!.v, "ééé語語😀");
    assert.equal(db.sql(text), db.sql(text));
    assert.notEqual(db.prepare(text), db.prepare(text));
    db.close();
  });

  Deno.test(`driver ${name}: it knows whether a transaction is open`, () => {
    const db = driver(":memory:");
    assert.equal(db.inTransaction, false);
    db.exec("BEGIN");
    assert.equal(db.inTransaction, true);
    db.exec("ROLLBACK");
    assert.equal(db.inTransaction, false);
    db.close();
  });
}

for (const [name, driver] of drivers) {
  Deno.test(`driver ${name}: columns of any name, and values bound as they were given`, () => {
    const db = driver(":memory:");
    const names = ['a"b', "a\\b", "${x}", "`", "constructor", "toString", "a b", "é"];
    const columns = names.map((one) => `1 AS "${one.replaceAll('"', '""')}"`).join();
    for (const row of [db.prepare(`SELECT ${columns}`).get()!, ...db.prepare(`SELECT ${columns}`).all()]) {
      assert.deepEqual({ ...row }, Object.fromEntries(names.map((one) => [one, 1])));
    }
    const echo = db.prepare("SELECT ? AS a, ? AS b");
    const first = echo.get(1, "x")!, second = echo.get(2, "y")!;
    assert.deepEqual(
      [{ ...first }, { ...second }],
      [{ a: 1, b: "x" }, { a: 2, b: "y" }],
      "rows are objects of their own",
    );
    assert.deepEqual({ ...echo.get(3) }, { a: 3, b: null }, "nothing is left of the values before");
    assert.throws(() => echo.get(1, 2, 3));
    db.exec("CREATE TABLE t(x)");
    assert.equal(db.prepare("INSERT INTO t SELECT value FROM json_each('[1,2,3]')").changes(), 3);
    db.prepare("INSERT INTO t VALUES (4) RETURNING x").run();
    assert.equal(db.prepare("SELECT count(*) AS n FROM t").get()!.n, 4);
    const json = db.prepare("SELECT json_object('a', 1) AS v").get()!.v;
    assert.equal(json, '{"a":1}', "JSON is text");
    db.close();
  });

  Deno.test(`driver ${name}: an error leaves the statement ready, and is told by its kind`, () => {
    using dir = new TempDir();
    const path = dir.file("x.db");
    const db = driver(path), other = driver(path, { busyTimeoutMs: 0 });
    db.exec("CREATE TABLE t(x INTEGER UNIQUE) STRICT; INSERT INTO t VALUES (1)");
    const insert = db.prepare("INSERT INTO t VALUES (?)");
    for (const value of [1, "text"]) {
      assert.throws(() => insert.run(value), (error) => faultOf(error) === "constraint");
    }
    insert.run(2);
    assert.throws(() => db.prepare("SELECT no_such FROM t"), /no such column/);
    assert.throws(() => db.exec("SELECT 1; nonsense"), /syntax error/);
    // A read error in the middle of a list is no end of it.
    assert.throws(
      () =>
        db.prepare("SELECT CASE value WHEN 3 THEN abs(-9223372036854775807 - 1) END AS v FROM json_each('[1,2,3,4]')")
          .all(),
      /overflow/,
    );
    db.exec("BEGIN IMMEDIATE");
    assert.throws(() => other.exec("BEGIN IMMEDIATE"), (error) => faultOf(error) === "busy");
    db.exec("COMMIT");
    other.exec("BEGIN IMMEDIATE; COMMIT");
    const readOnly = driver(path, { readOnly: true });
    assert.throws(() => readOnly.exec("DELETE FROM t"), (error) => faultOf(error) === "readonly");
    assert.throws(() => driver(dir.file("none.db"), { readOnly: true }), (error) => faultOf(error) === "io");
    for (const one of [db, other, readOnly]) one.close();
    assert.throws(() => db.prepare("SELECT 1"), /closed/);
    assert.equal(db.inTransaction, false);
  });

  Deno.test(`driver ${name}: a copy is whole while others write, also over a database that is there`, async () => {
    using dir = new TempDir();
    const db = driver(dir.file("from.db")), there = driver(dir.file("to.db"));
    db.exec("CREATE TABLE t(x); INSERT INTO t SELECT value FROM json_each('[1,2,3]')");
    there.exec("CREATE TABLE other(y)");
    there.close();
    await db.copyTo(dir.file("to.db"));
    db.exec("INSERT INTO t VALUES (4)");
    const copy = driver(dir.file("to.db"));
    assert.deepEqual(copy.prepare("SELECT x FROM t").all().map(({ x }) => x), [1, 2, 3]);
    assert.equal(copy.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
    copy.close();
    db.close();
  });

  Deno.test(`driver ${name}: statements by the thousand are freed, pages of a list come in order`, () => {
    const db = driver(":memory:");
    db.exec("CREATE TABLE t(_id INTEGER PRIMARY KEY); INSERT INTO t SELECT value FROM json_each('[1,2,3,4,5,6,7]')");
    for (let n = 0; n < 5_000; n++) db.prepare("SELECT ? AS x").get(n);
    const page = db.sql("SELECT _id FROM t WHERE _id > ? ORDER BY _id LIMIT ?");
    const rows = [...pagesOf((after, size) => page.all(after?._id ?? 0, size), 3)];
    assert.deepEqual(rows.map((row) => row._id), [1, 2, 3, 4, 5, 6, 7]);
    db.close();
  });
}

Deno.test("driver: SQLite's messages are told apart by what can be done about them", () => {
  const messages: [string, ReturnType<typeof faultOf>][] = [
    ["database is locked", "busy"],
    ["database or disk is full", "full"],
    ["UNIQUE constraint failed: t.x", "constraint"],
    ["cannot store TEXT value in INTEGER column t.x", "constraint"],
    ["attempt to write a readonly database", "readonly"],
    ["file is not a database", "not-a-database"],
    ["database disk image is malformed", "corrupt"],
    ["disk I/O error", "io"],
    ["no such table: t", "other"],
  ];
  for (const [message, fault] of messages) assert.equal(faultOf(new Error(message)), fault, message);
});

Deno.test("driver: a list is read page by page to its end, and a page that can't be read is an error", () => {
  const numbers = (page: (after: number, size: number) => { n: number }[], size: number) =>
    [...pagesOf((after, size) => page(Number(after?.n ?? 0), size), size)].map(({ n }) => n);
  const upTo = (most: number) => (after: number, size: number) =>
    Array.from({ length: Math.min(size, most - after) }, (_, i) => ({ n: after + i + 1 }));
  for (const most of [0, 1, 2, 3, 4, 5]) {
    assert.deepEqual(numbers(upTo(most), 2), Array.from({ length: most }, (_, i) => i + 1));
  }
  const broken = (after: number, size: number) => {
    if (after > 0) throw new Error("disk I/O error");
    return upTo(9)(after, size);
  };
  assert.throws(() => numbers(broken, 2), /I\/O error/);
});

Deno.test("driver: a list that can't be read to its end throws", () => {
  const folder = Deno.makeTempDirSync(), path = `${folder}/t.db`;
  try {
    const db = openDatabase(path);
    db.exec(`CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT);
      WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 5000)
      INSERT INTO t SELECT x, printf('%0100d', x) FROM i`);
    db.close();
    using file = Deno.openSync(path, { read: true, write: true });
    file.seekSync(40 * 4096, Deno.SeekMode.Start);
    file.writeSync(new Uint8Array(4096).fill(255));
    const again = openDatabase(path), list = again.prepare("SELECT id, a FROM t WHERE id > ? ORDER BY id LIMIT ?");
    assert.throws(() => again.prepare("SELECT * FROM t").all(), /malformed/);
    assert.throws(() => [...pagesOf((after, size) => list.all(after?.id ?? 0, size))], /malformed/);
    again.close();
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("driver: what is wrong with a row's content is no damage of the file, whose faults hold everything up", () => {
  const db = openDatabase(":memory:");
  for (const sql of ["SELECT json('{')", "SELECT json_extract('[', '$')"]) {
    assert.throws(() => db.prepare(sql).get(), (error) => faultOf(error) === "other", sql);
  }
  const messages = [
    ["database disk image is malformed", "corrupt"],
    ["malformed database schema (t)", "corrupt"],
    ["malformed JSON", "other"],
    ['malformed MATCH expression: ["]', "other"],
  ] as const;
  for (const [message, fault] of messages) assert.equal(faultOf(new Error(message)), fault, message);
  db.close();
});
