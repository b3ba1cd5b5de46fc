/**
 * better-sqlite3 on a device's tables: prepared statements, transactions, RETURNING, upserts, pragmas, numbers beyond 2^53.
 *
 * Made after mattn/go-sqlite3#565 (a build whose default in WAL mode is `synchronous = NORMAL`, as this library's is) and
 * nodejs/node#65177 (row numbers beyond 2^53 rounded without a word).
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import process from "node:process";

const [path, folder] = process.argv.slice(2);
const Database = createRequire(`${folder}/`)("better-sqlite3");
const db = new Database(path, { timeout: 5000, fileMustExist: true });
assert.equal(db.pragma("journal_mode", { simple: true }), "wal");
assert.equal(db.pragma("synchronous", { simple: true }), 1, "NORMAL");
db.pragma("synchronous = FULL");

const made = db.prepare("INSERT INTO Setting(name, value) VALUES (?, ?) RETURNING _id, name, deviceId, created").get(
  "better",
  "1",
);
assert.ok(made._id > 0 && made.deviceId === "dev-1" && /^\d{4}-/.test(made.created));
const upsert = db.prepare(
  "INSERT INTO Setting(name, value) VALUES (@name, @value) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
);
db.transaction((rows) => rows.forEach((row) => upsert.run(row)))([
  { name: "better", value: "2" },
  { name: "other", value: "3" },
]);
assert.throws(() =>
  db.transaction(() => {
    upsert.run({ name: "rolled back", value: "x" });
    throw new Error("no");
  })(), /no/);
assert.equal(
  db.prepare("UPDATE Setting SET value = '4' WHERE name = 'better'").run().changes,
  1,
  "triggers count apart",
);
assert.equal(db.prepare("INSERT OR IGNORE INTO Setting(name, value) VALUES ('other', 'x')").run().changes, 0);
assert.equal(db.prepare("DELETE FROM Setting WHERE name = 'other'").run().changes, 1);
// A row number beyond what a double holds, as snowflake ids are.
const row = 9007199254740993n;
db.prepare("INSERT INTO Setting(_id, name, value) VALUES (?, 'large', '5')").run(row);
assert.equal(db.prepare("SELECT _id FROM Setting WHERE name = 'large'").safeIntegers().get()._id, row);
assert.throws(() => db.prepare("INSERT INTO Setting(name, sk) VALUES ('x', 'y')"), /generated column|cannot INSERT/i);
assert.throws(() => db.prepare("INSERT INTO Telemetry(cpu) VALUES ('much')").run(), {
  code: "SQLITE_CONSTRAINT_CHECK",
});
db.close();
console.log("ok");
