/**
 * Rows as other programs may write them: numbers of 64 bits, texts that are no UTF-8. Each is sent and answered like any other,
 * or rejected alone and by name; none is taken for another.
 */
import assert from "node:assert/strict";
import type { Up } from "../../../protocol.ts";
import { Scripted } from "../twin_fixture.ts";

const table = (device: Scripted) =>
  [...device.table].map(([key, { item }]) => [key.split("#").at(-1), item.slot]).sort();
const rejected = (device: Scripted) => device.rows("SELECT model, reason FROM _rejected ORDER BY id");

Deno.test("odd rows: numbers beyond 2^53, and below zero, go up, come down, are updated, removed, swept", () => {
  using device = new Scripted();
  device.connect();
  const ids = ["9007199254740993", "9007199254740994", "9223372036854775807", "-7", "-9223372036854775807"];
  for (const [i, id] of ids.entries()) device.sql(`INSERT INTO Slot(_id, name, slot) VALUES (${id}, 'n${i}', 's${i}')`);
  assert.deepEqual(table(device), ids.map((_, i) => [`n${i}`, `s${i}`]));
  device.sql("UPDATE Slot SET slot = slot || 'x'");
  assert.deepEqual(table(device), ids.map((_, i) => [`n${i}`, `s${i}x`]));
  assert.equal(device.twin.drained, true);
  device.write({ n0: { slot: "cloud0" }, n3: { slot: "cloud3" } });
  const stored = device.rows("SELECT CAST(_id AS TEXT) AS id, slot FROM Slot ORDER BY name");
  assert.deepEqual(stored.map(({ id }) => id), ids, "each row keeps its number");
  assert.deepEqual([stored[0]!.slot, stored[3]!.slot], ["cloud0", "cloud3"]);
  device.sql(`DELETE FROM Slot WHERE _id IN (${ids[1]}, ${ids[4]})`);
  // A removal waits until no copy of the creation can still arrive.
  device.pass(60_000);
  assert.deepEqual(table(device).map(([name]) => name), ["n0", "n2", "n3"]);
  // Gone from the table unseen: a snapshot finds out.
  device.disconnect();
  for (const key of [...device.table.keys()]) if (/n[03]$/.test(key)) device.table.delete(key);
  device.store.db.exec("UPDATE _sync_channels SET seq = NULL");
  device.twin.downlink.restart();
  device.connect();
  device.pass(30_000);
  assert.deepEqual(device.rows("SELECT name FROM Slot"), [{ name: "n2" }]);
  assert.deepEqual(rejected(device), []);
  assert.deepEqual(device.faults, []);
});

Deno.test("odd rows: a key that is no UTF-8 is rejected by its row; nothing of another key is touched, and its removal means nothing", () => {
  using device = new Scripted();
  device.connect();
  device.sql("INSERT INTO Slot(name, slot) VALUES ('B\ufffdro', 'whole')");
  device.sql(
    "INSERT INTO Slot(_id, name, slot) VALUES (77, CAST(x'42fc726f' AS TEXT), 'broken'), (78, 'after', 'fine')",
  );
  assert.deepEqual(table(device), [["B\ufffdro", "whole"], ["after", "fine"]]);
  const [{ model, reason } = {}, ...others] = rejected(device);
  assert.equal(model, "Slot");
  assert.match(String(reason), /row 77 of Slot: its key is not UTF-8 \(its bytes: x'.*42fc726f'/);
  assert.deepEqual(others, []);
  device.sql("DELETE FROM Slot WHERE _id = 77");
  device.pass(60_000);
  assert.deepEqual(table(device), [["B\ufffdro", "whole"], ["after", "fine"]], "the item that it looks like stays");
  assert.equal(device.twin.drained, true);
  device.sql("DELETE FROM Slot WHERE name = 'B\ufffdro'");
  device.pass(60_000);
  assert.deepEqual(table(device), [["after", "fine"]]);
});

Deno.test("odd rows: a value that is no UTF-8 is rejected by name and never sent as another; what is mended goes up", () => {
  using device = new Scripted();
  device.connect();
  device.sql("INSERT INTO Slot(name, slot) VALUES ('a', CAST(x'42fc726f' AS TEXT)), ('b', '\ufeffbom\ufffd')");
  assert.deepEqual(table(device), [["b", "\ufeffbom\ufffd"]]);
  assert.match(String(rejected(device)[0]!.reason), /slot is not UTF-8 \(its bytes: x'42fc726f'/);
  device.sql("UPDATE Slot SET slot = 'B\u00fcro' WHERE name = 'a'");
  assert.deepEqual(table(device), [["a", "B\u00fcro"], ["b", "\ufeffbom\ufffd"]]);
  device.store.db.sql("INSERT INTO Slot(name, slot) VALUES (?, ?)").run("\ufeffc", "\ufeffe\0f");
  device.twin.onCommit();
  device.answer();
  assert.deepEqual(table(device).at(-1), ["\ufeffc", "\ufeffe\0f"], "a BOM and a NUL survive");
  assert.equal(rejected(device).length, 1);
  const sent = device.sent.filter((message): message is Up => message.type === "up").flatMap(({ changes }) => changes);
  assert.ok(!sent.some(({ item }) => item?.slot === "B\ufffdro"), "what was altered on the way was never sent");
});
