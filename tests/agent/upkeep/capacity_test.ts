/**
 * A device that is offline for months: the outbox has a cap, the policy at it is told, and a full disk is waited out.
 */
import assert from "node:assert/strict";
import { toSyncError } from "../../../agent/store/faults.ts";
import { SyncError } from "../../../schema.ts";
import { Scripted } from "../twin_fixture.ts";

const status = (device: Scripted) => device.rows("SELECT * FROM _status")[0]!;
const count = (device: Scripted, what: string) => Number(device.rows(`SELECT count(*) AS n FROM ${what}`)[0]!.n);
const many = (n: number) => `WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ${n})`;

Deno.test("capacity: at the cap writes to synced models fail with a clear SQL error, until changes have been sent", () => {
  using device = new Scripted({ limits: { outboxMax: 100 } });
  device.sql(`${many(99)} INSERT INTO Sample(n) SELECT x FROM i`);
  device.pass(2_000);
  device.sql("INSERT INTO Sample(n) VALUES (100)");
  device.pass(2_000);
  assert.deepEqual([status(device).full, status(device).outbox], [1, 100]);
  assert.match(String(status(device).problem), /the outbox is full/);
  let fault: unknown;
  try {
    device.store.db.exec("INSERT INTO Sample(n) VALUES (101)");
  } catch (error) {
    fault = error;
  }
  assert.match(String(fault), /refused by Twintable: the outbox is full/);
  const { code, retryable } = toSyncError(fault, "Writing");
  assert.deepEqual([code, retryable], ["full", true]);
  assert.throws(() => device.store.db.exec("UPDATE Sample SET n = 0"), /the outbox is full/);
  assert.throws(
    () => device.store.db.exec("INSERT OR REPLACE INTO Slot(name, slot) VALUES ('a', 'x')"),
    /outbox is full/,
  );
  // Deleting is how an application makes room.
  device.store.db.exec("DELETE FROM Sample WHERE n = 1");
  assert.equal(count(device, "Sample"), 99);

  device.connect();
  device.write({ A: { slot: "x" } });
  assert.equal(count(device, "Slot"), 1, "what comes from the cloud is applied all the same");
  device.pass(3_000);
  assert.deepEqual([status(device).full, status(device).problem, status(device).outbox], [0, null, 0]);
  device.sql("INSERT INTO Sample(n) VALUES (101)");
  assert.equal(device.table.size, 101);
});

Deno.test("capacity: what was refused at the cap stays refused until a tenth of it is free", () => {
  using device = new Scripted({ limits: { outboxMax: 100 } });
  device.sql(`${many(100)} INSERT INTO Slot(name, slot) SELECT x, x FROM i`);
  device.pass(2_000);
  assert.equal(status(device).full, 1);
  // As when the first of them have been acknowledged.
  const left = (entries: number) => {
    device.sql(`DELETE FROM _outbox WHERE seq <= (SELECT max(seq) FROM _outbox) - ${entries}`);
    device.pass(2_000);
    return [status(device).outbox, status(device).full];
  };
  assert.deepEqual(left(95), [95, 1]);
  assert.deepEqual(left(90), [90, 1]);
  assert.deepEqual(left(89), [89, 0]);
});

Deno.test("capacity: models that keep their newest lose the oldest rows that were not sent, counted, and are never refused", () => {
  using device = new Scripted({ limits: { outboxMax: 3_000 } });
  device.sql("INSERT INTO Sample(n) VALUES (1)");
  for (let i = 0; i < 10; i++) {
    device.sql(`${many(1_000)} INSERT INTO Reading(n) SELECT ${i} * 1000 + x FROM i`);
    device.pass(1_000);
  }
  assert.ok(Number(status(device).outbox) <= 3_000, `${status(device).outbox} entries`);
  const { low, high, n } = device.rows("SELECT min(n) AS low, max(n) AS high, count(*) AS n FROM Reading")[0]!;
  assert.equal(high, 10_000);
  assert.equal(Number(high) - Number(low) + 1, n, "the newest are there, without a hole");
  assert.equal(Number(status(device).dropped), 10_000 - Number(n));
  assert.deepEqual([status(device).full, count(device, "Sample")], [0, 1]);
  device.connect();
  device.pass(5_000);
  assert.equal(device.table.size, Number(n) + 1);
  assert.equal(status(device).outbox, 0);
});

Deno.test("capacity: what is in flight is not dropped, and other models that fill the outbox are refused", () => {
  using device = new Scripted({ limits: { outboxMax: 1_000 } });
  device.connect();
  // The cloud is silent: the batches stay in flight.
  device.twin.options.transport.send = () => true;
  device.sql(`${many(300)} INSERT INTO Reading(n) SELECT x FROM i`);
  device.disconnect();
  device.sql(`${many(1_000)} INSERT INTO Reading(n) SELECT 1000 + x FROM i`);
  device.pass(2_000);
  assert.equal(count(device, "Reading WHERE n <= 300"), 300);
  assert.ok(count(device, "_outbox") <= 1_000);
  device.sql(`${many(2_000)} INSERT INTO Sample(n) SELECT x FROM i`);
  device.pass(2_000);
  assert.equal(status(device).full, 1);
  assert.throws(() => device.store.db.exec("INSERT INTO Sample(n) VALUES (0)"), /the outbox is full/);
  device.store.db.exec("INSERT INTO Reading(n) VALUES (0)");
});

Deno.test("capacity: what gives way on the device is not removed in the cloud", () => {
  using device = new Scripted({ limits: { outboxMax: 1_000, windowBatches: 1, batchChangesMax: 10 } });
  device.connect();
  device.sql(`${many(200)} INSERT INTO Reading(n) SELECT x FROM i`);
  assert.equal(device.table.size, 200);
  const { transport } = device.twin.options;
  const send = transport.send;
  transport.send = () => true;
  // Ten are under way; the others were read, and wait in memory.
  device.sql("UPDATE Reading SET n = n + 1000");
  device.sql(`${many(2_000)} INSERT INTO Reading(n) SELECT 10000 + x FROM i`);
  device.pass(2_000);
  assert.equal(count(device, "Reading WHERE n < 10000"), 10);
  transport.send = send;
  // A removal waits for 30 s before it is sent.
  device.pass(60_000);
  assert.equal(status(device).outbox, 0);
  assert.equal([...device.table.values()].filter(({ item }) => Number(item.n) < 10_000).length, 200);
});

Deno.test("capacity: the bytes of the database have a cap, too, and a restart keeps the refusal", () => {
  using device = new Scripted({ limits: { databaseBytesMax: 2_000_000 } });
  for (let i = 0; i < 10 && status(device).full === 0; i++) {
    device.sql(
      `${many(500)} INSERT INTO Slot(name, slot, note) SELECT 'n${i}-' || x, 's${i}-' || x, hex(zeroblob(400)) FROM i`,
    );
    device.pass(1_000);
  }
  assert.equal(status(device).full, 1);
  using again = new Scripted({ store: device.store, limits: { databaseBytesMax: 2_000_000 } });
  assert.equal(again.twin.capacity.full, true);
  again.pass(2_000);
  assert.match(String(status(again).problem), /the database has reached its size limit/);
  assert.throws(() => again.store.db.exec("INSERT INTO Sample(n) VALUES (0)"), /reached its size limit; delete rows/);
  again.store.db.exec("DELETE FROM Slot; DELETE FROM _outbox");
  again.pass(2_000);
  assert.deepEqual([status(again).full, status(again).problem], [0, null]);
});

Deno.test("capacity: at the cap of bytes rows of models that keep their newest give way though they were sent", () => {
  using device = new Scripted({ limits: { databaseBytesMax: 1_000_000 } });
  device.connect();
  for (let i = 0; i < 40; i++) {
    device.sql(`${many(500)} INSERT INTO Reading(n) SELECT ${i * 500} + x FROM i`);
    device.pass(1_000);
  }
  assert.equal(device.table.size, 20_000, "all were sent");
  assert.ok(count(device, "Reading") < 20_000);
  assert.equal(Number(device.rows("SELECT max(n) AS n FROM Reading")[0]!.n), 20_000, "the newest are there");
  device.sql("INSERT INTO Sample(id, n) VALUES ('s', 1)");
  assert.ok(device.table.has("device#dev-1 sample#s"));
  assert.deepEqual([status(device).full, status(device).problem, status(device).dropped], [0, null, 0]);
  device.pass(120_000);
  assert.equal(device.table.size, 20_001, "nothing was removed in the cloud");
});

Deno.test("capacity: a full disk is told, and syncing goes on by itself when there is space", () => {
  using device = new Scripted();
  device.connect();
  const { db } = device.store;
  const pages = Number(db.prepare("PRAGMA page_count").get()!.page_count);
  db.exec(`PRAGMA max_page_count = ${pages}`);
  device.write(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`n${i}`, { slot: "x".repeat(500) + i }])));
  assert.equal(count(device, "Slot"), 0);
  assert.ok(device.faults.every((error) => error instanceof SyncError && error.code === "full"), String(device.faults));
  assert.ok(device.faults.length > 0);
  device.pass(1);
  assert.match(String(status(device).problem), /the disk is full/);
  assert.match(String(status(device).last_error), /disk is full/);
  assert.match(String(status(device).last_error_at), /^2026-01-01T/);
  device.pass(5_000);
  assert.ok(device.faults.length < 20, `${device.faults.length} tries`);
  db.exec("PRAGMA max_page_count = 1000000");
  device.pass(60_000);
  assert.equal(count(device, "Slot"), 500);
  assert.equal(status(device).problem, null);
});

Deno.test("capacity: _status tells since when the oldest change waits", () => {
  using device = new Scripted();
  assert.deepEqual([status(device).oldest, status(device).lag_ms], [null, null]);
  device.sql("INSERT INTO Sample(n) VALUES (1)");
  device.store.db.exec("UPDATE _outbox SET time = time - 90000");
  assert.ok(Math.abs(Number(status(device).lag_ms) - 90_000) < 5_000);
  assert.ok(Math.abs(Date.parse(String(status(device).oldest)) - (Date.now() - 90_000)) < 5_000);
});
