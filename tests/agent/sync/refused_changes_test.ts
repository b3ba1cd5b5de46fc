/** What is refused on its way up: too large for a table, no row by the schema, a refused stamp, a key of a newer schema. */
import assert from "node:assert/strict";
import { Scripted } from "../twin_fixture.ts";

const rejected = (device: Scripted) =>
  device.rows("SELECT key ->> '$.name' AS name, op, code, reason FROM _rejected ORDER BY id");
const rows = (device: Scripted) => device.rows("SELECT name, slot FROM Slot ORDER BY name");
const large = "x".repeat(5_000);

Deno.test("refused: a new row too large for a table goes to _rejected and is no row any more; the others are sent", () => {
  using device = new Scripted({ limits: { changeBytesMax: 2_000 } });
  device.connect();
  device.sql(`INSERT INTO Slot(name, slot) VALUES ('a', '${large}'), ('b', 's-b')`);
  const [{ reason, ...kept }, ...more] = rejected(device) as [Record<string, unknown>];
  assert.deepEqual([kept, more], [{ name: "a", op: "create", code: "too-large" }, []]);
  assert.match(String(reason), /bytes as JSON; an item of a DynamoDB table holds 400 KB/);
  assert.deepEqual(rows(device), [{ name: "b", slot: "s-b" }]);
  assert.deepEqual([...device.table.values()].map(({ item }) => item.name), ["b"]);
  assert.ok(device.twin.drained);
});

Deno.test("refused: an update too large for a table goes to _rejected, and the row is what the table has", () => {
  using device = new Scripted({ limits: { changeBytesMax: 2_000 } });
  device.connect();
  device.sql("INSERT INTO Slot(name, slot) VALUES ('a', 's-a')");
  device.sql(`UPDATE Slot SET slot = '${large}' WHERE name = 'a'`);
  assert.deepEqual(rejected(device).map(({ op, code }) => [op, code]), [["update", "too-large"]]);
  assert.deepEqual(rows(device), [{ name: "a", slot: "s-a" }]);
  // What comes after it is sent as ever.
  device.sql("UPDATE Slot SET slot = 's-2' WHERE name = 'a'");
  assert.deepEqual([...device.table.values()].map(({ item }) => item.slot), ["s-2"]);
});

Deno.test("refused: a row that is none by the schema goes to _rejected by name, and holds up nothing", () => {
  using device = new Scripted();
  device.connect();
  device.sql(
    "PRAGMA ignore_check_constraints = ON; INSERT INTO Slot(name, slot, code) VALUES ('a', 's-a', 9e999), " +
      "('b', 's-b', 1); PRAGMA ignore_check_constraints = OFF",
  );
  const [{ name, code, reason }] = rejected(device) as [Record<string, unknown>];
  assert.deepEqual([name, code], ["a", "invalid"]);
  assert.match(String(reason), /code/);
  assert.deepEqual([...device.table.values()].map(({ item }) => item.name), ["b"]);
  assert.ok(device.twin.drained);
});

Deno.test("refused: a change whose stamp was refused is sent again with another one, once, and a newer write goes with it", () => {
  using device = new Scripted();
  const stamps: number[] = [];
  device.judge = (change, at) => {
    stamps.push(change.stamp);
    return stamps.length === 1 ? { at, code: "clock" } : undefined;
  };
  device.connect();
  device.sql("INSERT INTO Slot(name, slot) VALUES ('a', 's-a')");
  device.pass(2_000);
  device.sql("UPDATE Slot SET slot = 's-2' WHERE name = 'a'");
  device.pass(5_000);
  assert.ok(stamps.length >= 2 && new Set(stamps).size === stamps.length, `${stamps}`);
  assert.deepEqual([...device.table.values()].map(({ item }) => item.slot), ["s-2"]);
  assert.deepEqual(rejected(device), []);
  assert.deepEqual(device.rows("SELECT count(*) AS n FROM _conflicts"), [{ n: 0 }]);
  assert.ok(device.twin.drained);
});
