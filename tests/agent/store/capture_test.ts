/**
 * Capture: what other processes write, by every kind of statement, is in the outbox, and nothing else is. The processes are
 * real: the `sqlite3` shell and Python's `sqlite3`, neither of which knows of Twintable.
 */
import assert from "node:assert/strict";
import type { Store } from "../../../agent/store/store.ts";
import { testWith } from "../../support/tools.ts";
import { compiled, StoreFile } from "../store_fixture.ts";

const withShell = testWith("sqlite3");
const withBoth = testWith("sqlite3", "python3");

type Entry = [model: string, kind: number, rowOrKey: number | string];

const setting = compiled.models.get("Setting")!;

/** The outbox: an insert or update by its row, a lost key by its JSON. */
function entries(store: Store): Entry[] {
  return store.db.sql("SELECT model, kind, row, key FROM _outbox ORDER BY seq").all().map((entry) => [
    store.modelByNumber(Number(entry.model))!.name,
    Number(entry.kind),
    entry.key === null ? Number(entry.row) : String(entry.key),
  ]);
}

function clear(store: Store): void {
  store.tx(() => store.db.exec("DELETE FROM _outbox"));
}

/** What may be lost from the table must be hinted at: the keys of kind 3. */
function goneKeys(store: Store): string[] {
  return [...new Set(entries(store).filter(([, kind]) => kind === 3).map(([, , key]) => String(key)))].sort();
}

for (const process of ["sqlite3", "python3"] as const) {
  const testIt = testWith(...new Set(["sqlite3", process]));
  const run = (file: StoreFile, sql: string) =>
    process === "sqlite3" ? file.shell(sql) : file.python(`db.executescript(${JSON.stringify(sql)})`);

  testIt(`capture: INSERT, UPDATE and DELETE by ${process} are recorded with row, time and key`, () => {
    using file = new StoreFile();
    const store = file.open();
    const before = Date.now();
    run(file, "INSERT INTO Setting(name) VALUES ('a'); UPDATE Setting SET value = 'x'; DELETE FROM Setting");
    assert.deepEqual(entries(store), [
      ["Setting", 1, 1],
      ["Setting", 2, 1],
      ["Setting", 3, '{"name":"a"}'],
    ]);
    const { time, segment, hash, sort } = store.db.sql("SELECT * FROM _outbox WHERE kind = 3").get()!;
    assert.ok(Number(time) >= before - 1 && Number(time) <= Date.now() + 1, `recorded at ${time}`);
    assert.deepEqual([segment, hash, sort], [1, "device#dev-1", "setting#a"]);
  });

  testIt(`capture: REPLACE by ${process} records the rows that it evicts`, () => {
    using file = new StoreFile();
    const store = file.open();
    run(file, "INSERT INTO Setting(name, slot) VALUES ('a', 1), ('b', 2), ('c', 3)");
    clear(store);
    run(file, "INSERT OR REPLACE INTO Setting(name, slot) VALUES ('a', 2)");
    assert.deepEqual(goneKeys(store), ['{"name":"a"}', '{"name":"b"}']);
    const id = store.rows(setting).idByKey(["device#dev-1", "setting#a"])!;
    assert.deepEqual(entries(store).at(-1), ["Setting", 1, id]);
    clear(store);
    run(file, "UPDATE OR REPLACE Setting SET slot = 2 WHERE name = 'c'");
    assert.deepEqual(goneKeys(store), ['{"name":"a"}']);
    clear(store);
    run(file, `INSERT OR REPLACE INTO Setting(_id, name) SELECT _id, 'd' FROM Setting WHERE name = 'c'`);
    assert.deepEqual(goneKeys(store), ['{"name":"c"}']);
    assert.equal(file.shell("SELECT group_concat(name) FROM Setting"), "d");
  });

  testIt(`capture: an UPSERT by ${process} on the named attributes updates the row in place`, () => {
    using file = new StoreFile();
    const store = file.open();
    run(file, "INSERT INTO Setting(name, note) VALUES ('a', 'kept')");
    clear(store);
    run(
      file,
      "INSERT INTO Setting(name, value) VALUES ('a', 'new') ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    );
    assert.deepEqual(entries(store).at(-1), ["Setting", 2, 1]);
    assert.equal(file.shell("SELECT value, note FROM Setting"), "new|kept");
    clear(store);
    run(file, "INSERT OR IGNORE INTO Setting(name) VALUES ('a')");
    assert.deepEqual(entries(store).filter(([, kind]) => kind !== 3), []);
  });

  testIt(`capture: a change of a key attribute by ${process} is the old key lost and the row updated`, () => {
    using file = new StoreFile();
    const store = file.open();
    run(file, "INSERT INTO Setting(name) VALUES ('a')");
    clear(store);
    run(file, "UPDATE Setting SET name = 'b'");
    // The row itself is told twice: once more where `updated` is set behind its back.
    assert.deepEqual(entries(store).slice(0, 2), [["Setting", 3, '{"name":"a"}'], ["Setting", 2, 1]]);
    assert.deepEqual(entries(store).slice(2), [["Setting", 2, 1]]);
    assert.deepEqual(store.rows(setting).keyById(1), ["device#dev-1", "setting#b"]);
    clear(store);
    run(file, "UPDATE Setting SET _id = 9");
    assert.deepEqual(entries(store).slice(0, 2), [["Setting", 3, '{"name":"b"}'], ["Setting", 2, 9]]);
    assert.deepEqual(entries(store).slice(2), [["Setting", 2, 9]]);
  });

  testIt(`capture: UPDATE … RETURNING by ${process} gives the time that the row has then, and is one entry`, () => {
    using file = new StoreFile();
    const store = file.open();
    const old = "2020-01-01T00:00:00.000Z";
    const age = () => {
      store.tx(() =>
        store.applying(() => {
          store.aim(setting);
          store.db.exec(`UPDATE Setting SET updated = '${old}'`);
        })
      );
      clear(store);
    };
    const updated = (name = "a") => file.shell(`SELECT updated FROM Setting WHERE name = '${name}'`);
    // What the statement returns stands in a table of its own: both processes can say that, in one way.
    file.shell("INSERT INTO Setting(name, slot) VALUES ('a', 1), ('b', 2); CREATE TABLE told(at)");
    const returned = (sql: string) =>
      process === "sqlite3"
        ? file.shell(sql)
        : file.python(`print("\\n".join(row[0] for row in db.execute(${JSON.stringify(sql)}).fetchall()))`);
    for (
      const sql of [
        "UPDATE Setting SET value = 'x' WHERE name = 'a' RETURNING updated",
        "UPDATE Setting SET slot = 7 WHERE name = 'a' RETURNING updated",
        "INSERT INTO Setting(name, value) VALUES ('a', 'y') ON CONFLICT(name) DO UPDATE SET value = 'y' RETURNING updated",
        "UPDATE Setting SET value = s.value FROM (SELECT 'z' AS value) AS s WHERE name = 'a' RETURNING updated",
      ]
    ) {
      age();
      const time = returned(sql);
      assert.equal(time, updated(), sql);
      assert.notEqual(time, old, sql);
      assert.deepEqual(entries(store).filter(([, kind]) => kind === 2), [["Setting", 2, 1]], sql);
    }
    // What the application sets is what it gets, and is one entry, too.
    age();
    const own = "2021-02-03T04:05:06.000Z";
    assert.equal(
      returned(`UPDATE Setting SET value = 'q', updated = '${own}' WHERE name = 'a' RETURNING updated`),
      own,
    );
    assert.equal(updated(), own);
    assert.deepEqual(entries(store), [["Setting", 2, 1]]);
    // A statement that is ignored moves no time.
    age();
    assert.equal(returned("UPDATE OR IGNORE Setting SET slot = 2 WHERE name = 'a' RETURNING updated"), "");
    assert.equal(returned("UPDATE OR IGNORE Setting SET name = 'b' WHERE name = 'a' RETURNING updated"), "");
    assert.deepEqual([updated("a"), updated("b")], [old, old]);
    // One that evicts another row does, if not by what it returns.
    returned("UPDATE OR REPLACE Setting SET slot = 2 WHERE name = 'a' RETURNING updated");
    assert.notEqual(updated(), old);
    assert.deepEqual(entries(store).filter(([, kind]) => kind === 2).at(-1), ["Setting", 2, 1]);
  });
}

withBoth("capture: 10,000 rows in one transaction of Python are 10,000 entries, a rolled-back one is none", () => {
  using file = new StoreFile();
  const store = file.open();
  file.python(`
db.execute("BEGIN")
db.executemany("INSERT INTO Telemetry(cpu) VALUES (?)", [(i / 7,) for i in range(10000)])
db.execute("ROLLBACK")
db.execute("BEGIN")
db.executemany("INSERT INTO Telemetry(cpu) VALUES (?)", [(i / 7,) for i in range(10000)])
db.execute("COMMIT")
`);
  assert.deepEqual(store.db.sql("SELECT count(*) AS n, min(kind) AS low, max(kind) AS high FROM _outbox").get(), {
    n: 10_000,
    low: 1,
    high: 1,
  });
  assert.equal(store.db.sql("SELECT count(DISTINCT sk) AS n FROM Telemetry").get()!.n, 10_000);
});

withShell("capture: DELETE without WHERE and UPDATE … FROM record each row", () => {
  using file = new StoreFile();
  const store = file.open();
  file.shell(`
    INSERT INTO Setting(name) VALUES ('a'), ('b'), ('c');
    DELETE FROM _outbox;
    UPDATE Setting SET value = v.value FROM (SELECT 'a' AS name, 'x' AS value UNION SELECT 'b', 'y') AS v WHERE v.name = Setting.name;`);
  assert.deepEqual(entries(store).map(([, kind]) => kind), [2, 2]);
  clear(store);
  file.shell("DELETE FROM Setting");
  assert.deepEqual(goneKeys(store), ['{"name":"a"}', '{"name":"b"}', '{"name":"c"}']);
});

withShell("capture: with recursive triggers nothing loops, nothing is missed", () => {
  using file = new StoreFile();
  const store = file.open();
  file.shell(`
    PRAGMA recursive_triggers = ON;
    INSERT INTO Setting(name, slot, updated) VALUES ('a', 1, '2020-01-01T00:00:00.000Z'), ('b', 2, NULL);
    UPDATE Setting SET value = 'x' WHERE name = 'a';
    INSERT OR REPLACE INTO Setting(name, slot) VALUES ('c', 2);`);
  assert.deepEqual(goneKeys(store), ['{"name":"b"}']);
  assert.ok(entries(store).length < 10);
  const updated = String(store.db.sql("SELECT updated FROM Setting WHERE name = 'a'").get()!.updated);
  assert.ok(Math.abs(Date.parse(updated) - Date.now()) < 60_000, updated);
});

withShell("capture: a change of nothing but attributes that never leave the device is not recorded", () => {
  using file = new StoreFile();
  const store = file.open();
  file.shell("INSERT INTO Setting(name, updated) VALUES ('a', '2020-01-01T00:00:00.000Z'); DELETE FROM _outbox;");
  file.shell("UPDATE Setting SET note = 'local'");
  assert.deepEqual(entries(store), []);
  assert.equal(file.shell("SELECT updated FROM Setting"), "2020-01-01T00:00:00.000Z");
});

withShell("capture: an UPDATE sets updated, unless it gives one itself", () => {
  using file = new StoreFile();
  file.open();
  file.shell("INSERT INTO Setting(name, updated) VALUES ('a', '2020-01-01T00:00:00.000Z')");
  file.shell("UPDATE Setting SET value = 'x'");
  assert.ok(file.shell("SELECT updated > '2021' FROM Setting") === "1");
  file.shell("UPDATE Setting SET updated = '2019-01-01T00:00:00.000Z', value = 'y'");
  assert.equal(file.shell("SELECT updated FROM Setting"), "2019-01-01T00:00:00.000Z");
});

withShell("capture: what the agent applies is not recorded, and no other connection sees the flag", () => {
  using file = new StoreFile();
  const store = file.open();
  const rows = store.rows(setting);
  store.tx(() =>
    store.applying(() => {
      rows.put(["device#dev-1", "setting#a"], { name: "a", value: "1" });
      rows.put(["device#dev-1", "setting#a"], { name: "a", value: "2" });
      rows.put(["device#dev-1", "setting#b"], { name: "b" });
      rows.remove(["device#dev-1", "setting#b"]);
      assert.equal(file.shell("SELECT applying FROM _sync_flag"), "0");
    })
  );
  assert.deepEqual(entries(store), []);
  assert.throws(() =>
    store.tx(() =>
      store.applying(() => {
        throw new Error("out");
      })
    )
  );
  store.tx(() => {
    try {
      store.applying(() => {
        rows.put(["device#dev-1", "setting#d"], { name: "d" });
        throw new Error("caught inside the transaction");
      });
    } catch {
      // The transaction goes on and commits: with the flag reset.
    }
  });
  file.shell("INSERT INTO Setting(name) VALUES ('c')");
  assert.equal(entries(store).length, 1);
});

withBoth("capture: a model that only comes down is read-only for everyone but the agent", () => {
  using file = new StoreFile();
  const store = file.open();
  const message = /Command is read-only on the device \(its sync is "down"\)/;
  assert.throws(() => file.shell("INSERT INTO Command(id) VALUES ('1')"), message);
  const command = compiled.models.get("Command")!;
  store.tx(() =>
    store.applying(() => store.rows(command).put(["device#dev-1", "command#1"], { id: "1", interval: 5 }))
  );
  assert.throws(() => file.python("db.execute('UPDATE Command SET interval = 1')"), message);
  assert.throws(() => file.shell("DELETE FROM Command"), message);
  assert.equal(file.shell("SELECT interval FROM Command"), "5");
  assert.deepEqual(entries(store), []);
});

withShell(
  "capture: a row of another device or account is refused where the key names it, and is data elsewhere",
  () => {
    using file = new StoreFile();
    file.open();
    assert.throws(
      () => file.shell("INSERT INTO Setting(deviceId, name) VALUES ('dev-2', 'a')"),
      /rows of deviceId dev-1 only/,
    );
    assert.throws(
      () => file.shell("INSERT INTO Scratch(deviceId, id) VALUES ('dev-2', 'a')"),
      /rows of deviceId dev-1 only/,
    );
    file.shell("INSERT INTO Setting(deviceId, name) VALUES ('dev-1', 'a')");
    assert.throws(() => file.shell("UPDATE Setting SET deviceId = 'dev-2'"), /rows of deviceId dev-1 only/);
    assert.throws(
      () => file.shell("INSERT INTO Thing(accountId, kind, n) VALUES ('x', 'a', 1)"),
      /rows of accountId acme only/,
    );
    file.shell("INSERT INTO Thing(deviceId, kind, n) VALUES ('dev-2', 'a', 1)");
    assert.equal(file.shell("SELECT deviceId FROM Thing"), "dev-2");
  },
);

withShell("capture: entries of a key are found through indexes, bulk inserts of measurements touch none", () => {
  using file = new StoreFile();
  const store = file.open();
  const plan = (sql: string) => store.db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all().map((row) => row.detail).join("\n");
  const number = store.number(setting);
  assert.match(plan(`SELECT 1 FROM _outbox WHERE model = ${number} AND row = 5 AND seq > 3`), /INDEX _sync_outbox_row/);
  assert.match(plan("SELECT 1 FROM _outbox WHERE hash = ? AND sort = ? AND seq > ?"), /INDEX _sync_outbox_key/);
  file.shell("INSERT INTO Telemetry(cpu) VALUES (1), (2)");
  for (const index of ["_sync_outbox_row", "_sync_outbox_key"]) {
    const counted = index === "_sync_outbox_row"
      ? store.db.prepare(`SELECT count(*) AS n FROM _outbox INDEXED BY ${index} WHERE model = ${number}`)
      : store.db.prepare(`SELECT count(*) AS n FROM _outbox INDEXED BY ${index} WHERE hash IS NOT NULL`);
    assert.equal(counted.get()!.n, 0);
  }
});

Deno.test("capture: _pending of one model costs nothing for what waits of others", () => {
  using file = new StoreFile();
  const store = file.open();
  const ask = () => {
    const began = performance.now();
    assert.deepEqual(store.db.prepare("SELECT model, key FROM _pending WHERE model = 'Setting' ORDER BY key").all(), [
      { model: "Setting", key: '{"name":"a"}' },
      { model: "Setting", key: '{"name":"b"}' },
    ]);
    return performance.now() - began;
  };
  store.db.exec("INSERT INTO Setting(name) VALUES ('a'), ('b'); DELETE FROM Setting WHERE name = 'b'");
  store.db.exec(
    "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 100000) INSERT INTO Telemetry(cpu) SELECT n FROM i",
  );
  const own = Math.min(ask(), ask(), ask());
  const began = performance.now();
  assert.equal(store.db.prepare("SELECT count(*) AS n FROM _pending").get()!.n, 100_002);
  const all = performance.now() - began;
  assert.ok(own < all / 20, `${own} ms for two keys, ${all} ms for all`);
});

withShell("capture: _pending shows each key that waits, _status the counts", () => {
  using file = new StoreFile();
  file.open();
  file.shell(
    "INSERT INTO Setting(name) VALUES ('a'), ('b'); DELETE FROM Setting WHERE name = 'b'; UPDATE Setting SET value = 1",
  );
  assert.equal(
    file.shell("SELECT model, key FROM _pending ORDER BY key"),
    'Setting|{"name":"a"}\nSetting|{"name":"b"}',
  );
  assert.equal(file.shell("SELECT device, account, connected, outbox FROM _status"), "dev-1|acme|0|4");
});
