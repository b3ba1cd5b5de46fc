/**
 * The contract of the database port, run over each driver. The FFI driver's module can't be fetched everywhere: it runs here
 * over a double with the documented API, and that module's known quirk, that it hands SQLite a text's length in UTF-16 units.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { type Driver, faultOf, openDatabase, pagesOf, type SqlRow } from "../../../agent/sqlite/driver.ts";
import { ffiDriver, type FfiModule } from "../../../agent/sqlite/driver_ffi.ts";

type Bindable = null | number | bigint | string | Uint8Array;

const moduleDouble: FfiModule = {
  Database: class {
    readonly #db: DatabaseSync;
    open = true;

    constructor(path: string, options: { int64: boolean }) {
      assert.equal(options.int64, true);
      this.#db = new DatabaseSync(path, { enableForeignKeyConstraints: false });
    }

    get inTransaction(): boolean {
      return this.#db.isTransaction;
    }

    exec(sql: string): number {
      this.#db.exec(sql);
      return 0;
    }

    prepare(sql: string) {
      const cut = new TextDecoder().decode(new TextEncoder().encode(sql).slice(0, sql.length));
      const statement = this.#db.prepare(cut);
      statement.setReadBigInts(true);
      const narrow = (row: unknown) => {
        const entries = Object.entries(row as SqlRow).map(([k, v]) =>
          [k, typeof v === "bigint" && Number.isSafeInteger(Number(v)) ? Number(v) : v] as const
        );
        return Object.fromEntries(entries) as SqlRow;
      };
      return {
        run: (...values: unknown[]) => Number(statement.run(...values as Bindable[]).changes),
        get: (...values: unknown[]) => {
          const row = statement.get(...values as Bindable[]);
          return row && narrow(row);
        },
        all: (...values: unknown[]) => statement.all(...values as Bindable[]).map(narrow),
      };
    }

    close(): void {
      assert.ok(this.open, "closed twice");
      this.open = false;
      this.#db.close();
    }
  },
};

const drivers: [string, Driver][] = [["built-in", openDatabase], ["FFI", ffiDriver(moduleDouble)]];

for (const [name, driver] of drivers) {
  Deno.test(`driver ${name}: whole numbers are INTEGER, others REAL, each value comes back as it is`, () => {
    const db = driver(":memory:");
    db.exec("CREATE TABLE t(_id INTEGER PRIMARY KEY, v ANY) STRICT");
    const values = [0, -0, 7, -(2 ** 53) + 1, 0.5, 1e300, "", "é😀", null, new Uint8Array([0, 1]), new Uint8Array()];
    const insert = db.prepare("INSERT INTO t(v) VALUES (?)");
    for (const [i, value] of values.entries()) {
      assert.equal(insert.changes(value), 1);
      assert.equal(db.sql("SELECT last_insert_rowid() AS id").get()!.id, i + 1);
    }
    const rows = db.sql("SELECT v, typeof(v) AS type FROM t ORDER BY _id").all();
    assert.deepEqual(rows.map((row) => row.v), values.map((value) => value === 0 ? 0 : value));
    assert.deepEqual(rows.map((row) => row.type), [
      ...["integer", "integer", "integer", "integer", "real", "real", "text", "text", "null", "blob", "blob"],
    ]);
    db.close();
    db.close();
  });

  Deno.test(`driver ${name}: integers beyond 2^53 come as bigint where they are asked for`, () => {
    const db = driver(":memory:");
    const statement = db.prepare("SELECT 9223372036854775807 AS big, 7 AS small", { bigints: true });
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
