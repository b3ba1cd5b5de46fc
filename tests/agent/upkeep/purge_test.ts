/**
 * Expired rows go by themselves, and what waits to be sent does not go with them (rules A2, A3).
 */
import assert from "node:assert/strict";
import { purgeFrom } from "../../../agent/upkeep/purge.ts";
import { compileSchema, defineSchema } from "../../../schema.ts";
import type { Model, Schema } from "../../../schema/model.ts";
import { compiled, memoryStore } from "../store_fixture.ts";
import { Scripted } from "../twin_fixture.ts";

/** `Slot` as the scripted cloud knows it, with an expiry time. */
function expiring(sync: "both" | "down" | "up"): Schema {
  return compileSchema(defineSchema({
    version: "1.0.0",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { isoDates: true, timestamps: true },
    models: {
      Slot: {
        pk: { type: "string", value: "device#${deviceId}" },
        sk: { type: "string", value: "slot#${name}" },
        deviceId: { type: "string", required: true },
        name: { type: "string", required: true },
        slot: { type: "string", required: true },
        expires: { type: "date", ttl: true },
      },
    },
    process: { Slot: { sync } },
  }));
}

const startMs = Date.UTC(2026, 0, 1);

function deviceOf(sync: "both" | "down" | "up"): Scripted {
  const identity = { deviceId: "dev-1", accountId: "acme" };
  const device: Scripted = new Scripted({
    store: memoryStore({ schema: expiring(sync), identity, now: () => startMs }),
  });
  device.connect();
  return device;
}

const inMs = (ms: number) => new Date(startMs + ms).toISOString();
const names = (device: Scripted) => device.rows("SELECT name FROM Slot ORDER BY name").map(({ name }) => name);
/** The operations that were sent since so many messages. */
const opsSince = (device: Scripted, n: number) =>
  device.sent.slice(n).flatMap((m) => m.type === "up" ? m.changes.map((c) => c.op) : []);

Deno.test("purge: bounded steps, any spelling of a date, nothing older than five years", () => {
  using device = new Scripted({ store: memoryStore() });
  const { store } = device, telemetry = compiled.models.get("Telemetry") as Model;
  store.db.exec(`INSERT INTO Telemetry(id, cpu, expires) VALUES ('old', 1, '2024-01-01T00:00:00.000Z'),
    ('space', 1, '2024-01-02 00:00:00'), ('later', 1, '2124-01-01T00:00:00Z'), ('never', 1, NULL),
    ('zero', 1, '1970-01-01T00:00:00.000Z'), ('ancient', 1, '2018-12-31T00:00:00.000Z')`);
  const field = telemetry.fields.find(({ name }) => name === "expires")!, now = Date.parse("2024-01-02T00:00:00Z");
  const purge = (after: number, scan: number) => purgeFrom(device.twin.context, telemetry, field, now, after, scan);
  assert.deepEqual(purge(0, 1), { removed: 0, last: 1 }, "it waits to be sent");
  store.db.exec("DELETE FROM _outbox");
  assert.deepEqual(purge(0, 1), { removed: 1, last: 1 });
  assert.deepEqual(purge(1, 2), { removed: 1, last: 3 });
  assert.deepEqual(purge(3, 10), { removed: 0 });
  assert.deepEqual(device.rows("SELECT id FROM Telemetry ORDER BY id").map(({ id }) => id), [
    "ancient",
    "later",
    "never",
    "zero",
  ]);
});

Deno.test("purge: rows expire offline after a restart, too, by the time that has passed for certain", () => {
  const store = memoryStore();
  const count = (device: Scripted) => device.rows("SELECT id FROM Telemetry").length;
  const first = new Scripted({ store });
  first.connect();
  first.pass(61_000);
  first.disconnect();
  for (const minutes of [10, 20, 30]) {
    const expires = new Date(first.nowMs + minutes * 60_000).toISOString();
    first.sql(`INSERT INTO Telemetry(id, cpu, expires) VALUES ('${minutes}', 1, '${expires}')`);
  }
  // As if they had been sent.
  first.sql("DELETE FROM _outbox");
  // The clock is wrong by years in either direction, and nobody tells.
  for (const [year, left] of [[1970, "20"], [2040, "30"]] as const) {
    const next = new Scripted({ store });
    next.nowMs = Date.UTC(year);
    next.pass(7 * 60_000);
    assert.equal(count(next), left === "20" ? 3 : 2, "not yet");
    next.pass(6 * 60_000);
    assert.equal(next.rows("SELECT min(id) AS id FROM Telemetry")[0]!.id, left);
  }
  store.close();
});

Deno.test("purge: a row with a pending update stays, and its purge is no removal", () => {
  using device = deviceOf("both");
  device.sql(`INSERT INTO Slot(name, slot, expires) VALUES ('A', 'a', '${inMs(120_000)}')`);
  device.pass(3_000);
  device.disconnect();
  device.sql("UPDATE Slot SET slot = 'b' WHERE name = 'A'");
  device.pass(400_000);
  assert.deepEqual(names(device), ["A"]);
  const n = device.sent.length;
  device.connect();
  device.pass(150_000);
  assert.deepEqual(opsSince(device, n), ["update"]);
  assert.deepEqual(names(device), [], "once it is sent, it goes");
  assert.deepEqual(device.rows("SELECT * FROM _sync_items WHERE base IS NOT NULL"), []);
});

Deno.test("purge: a row that is created again after its purge is a create", () => {
  using device = deviceOf("both");
  device.sql(`INSERT INTO Slot(name, slot, expires) VALUES ('A', 'a', '${inMs(120_000)}')`);
  device.pass(3_000);
  device.disconnect();
  device.pass(400_000);
  assert.deepEqual(names(device), []);
  const n = device.sent.length;
  device.sql(`INSERT INTO Slot(name, slot, expires) VALUES ('A', 'c', '${inMs(9_000_000)}')`);
  device.table.clear();
  device.connect();
  device.pass(5_000);
  assert.deepEqual(opsSince(device, n), ["create"]);
});

Deno.test("purge: a measurement that expires unsent is sent all the same", () => {
  using device = deviceOf("up");
  device.pass(3_000);
  device.disconnect();
  device.sql(`INSERT INTO Slot(name, slot, expires) VALUES ('A', 'a', '${inMs(120_000)}')`);
  device.pass(400_000);
  device.connect();
  device.pass(150_000);
  assert.deepEqual(opsSince(device, 0), ["create"]);
  assert.deepEqual(names(device), []);
});

for (const sync of ["both", "down"] as const) {
  Deno.test(`purge: what the table never expires stays, in a model that syncs ${sync}`, () => {
    using device = deviceOf(sync);
    const seconds = startMs / 1000;
    device.write({
      soon: { slot: "s", expires: seconds + 60 },
      // Milliseconds taken for seconds lie far ahead; a text is not a time to DynamoDB; nor is what is over five years old.
      ms: { slot: "s", expires: startMs + 60_000 },
      text: { slot: "s", expires: inMs(60_000) },
      zero: { slot: "s", expires: 0 },
      fiveYears: { slot: "s", expires: seconds - 6 * 366 * 86_400 },
    });
    device.pass(500_000);
    assert.deepEqual(names(device), ["fiveYears", "ms", "text", "zero"]);
    assert.deepEqual(device.rows("SELECT expires FROM Slot WHERE name = 'ms'"), [
      { expires: "9999-12-31T23:59:59.999Z" },
    ]);
    assert.deepEqual(device.faults, []);
    if (sync !== "both") return;
    // What the device did not touch goes back as it came.
    device.sql("UPDATE Slot SET slot = 't' WHERE name = 'ms'");
    device.pass(5_000);
    assert.equal(device.table.get("device#dev-1 slot#ms")!.item.expires, startMs + 60_000);
  });
}

Deno.test("purge: a row that a trigger of an application keeps stays, and holds up no other", () => {
  using device = deviceOf("both");
  for (const name of ["A", "B"]) {
    device.sql(`INSERT INTO Slot(name, slot, expires) VALUES ('${name}', 'a', '${inMs(120_000)}')`);
  }
  device.sql(`CREATE TRIGGER mine BEFORE DELETE ON Slot WHEN old.name = 'A' BEGIN SELECT RAISE(ABORT, 'mine'); END`);
  device.pass(400_000);
  assert.deepEqual(names(device), ["A"]);
  assert.deepEqual(device.faults, []);
});
