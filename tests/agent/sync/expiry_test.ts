/**
 * Expiry on the device: an expired base is none (rule A2), and an expired item that comes down is an absence (rule A5).
 */
import assert from "node:assert/strict";
import { compileSchema, defineSchema } from "../../../schema.ts";
import type { Change } from "../../../protocol.ts";
import { memoryStore } from "../store_fixture.ts";
import { Scripted } from "../twin_fixture.ts";

const startMs = Date.UTC(2026, 0, 1), startS = startMs / 1000;

function deviceOf(conflict: string): Scripted {
  const schema = compileSchema(defineSchema(
    {
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
      process: { Slot: { sync: "both", conflict } },
    } as never,
  ));
  const identity = { deviceId: "dev-1", accountId: "acme" };
  const device: Scripted = new Scripted({ store: memoryStore({ schema, identity, now: () => startMs }) });
  device.connect();
  return device;
}

const inMs = (ms: number) => new Date(startMs + ms).toISOString();
const table = (device: Scripted) => device.table.get("device#dev-1 slot#A")?.item.slot;
const rows = (device: Scripted) => device.rows("SELECT slot FROM Slot").map(({ slot }) => slot);

/** A device with a row that expires in a minute, cut off; in the cloud it has been swept since: updates of it are `gone`. */
function swept(conflict: string): { device: Scripted; ops: string[] } {
  const device = deviceOf(conflict), ops: string[] = [];
  device.sql(`INSERT INTO Slot(name, slot, expires) VALUES ('A', 'a', '${inMs(60_000)}')`);
  device.pass(3_000);
  device.disconnect();
  device.table.clear();
  device.judge = ({ op }: Change, at) => {
    ops.push(op);
    return op === "update" && !device.table.has("device#dev-1 slot#A") ? { at, code: "gone" } : undefined;
  };
  return { device, ops };
}

for (const conflict of ["newest", "cloud", "device", "merge"]) {
  Deno.test(`expiry: a row that is prolonged while its old copy is swept lives on, under ${conflict}`, () => {
    const { device, ops } = swept(conflict);
    device.sql(`UPDATE Slot SET slot = 'b', expires = '${inMs(9_000_000)}'`);
    device.pass(120_000);
    device.connect();
    device.pass(5_000);
    assert.deepEqual(ops, ["update", "create"]);
    assert.deepEqual([table(device), rows(device)], ["b", ["b"]]);
    assert.deepEqual(device.rows("SELECT * FROM _conflicts"), []);
    device.store.close();
  });
}

Deno.test("expiry: gone before the base has expired is a removal, as ever", () => {
  const { device, ops } = swept("newest");
  device.sql(`UPDATE Slot SET slot = 'b', expires = '${inMs(9_000_000)}'`);
  device.connect();
  device.pass(5_000);
  assert.deepEqual(ops, ["update"]);
  assert.deepEqual(rows(device), []);
  assert.deepEqual(device.rows("SELECT why FROM _conflicts"), [{ why: "gone" }]);
  device.store.close();
});

Deno.test("expiry: what waits behind a change that has run out is not given up with it", () => {
  const { device, ops } = swept("newest");
  // The base lives long as far as the device knows: what it sent itself expires.
  device.sql(`UPDATE Slot SET slot = 'b', expires = '${inMs(9_000_000)}'`);
  device.sql("UPDATE _sync_items SET base = json_set(base, '$.expires', 9e9)");
  device.sql(`UPDATE Slot SET slot = 'c', expires = '${inMs(70_000)}'`);
  device.pass(30_000);
  const judge = device.judge;
  device.judge = (change, at) => {
    if (ops.length === 0) {
      device.nowMs += 60_000;
      device.monotonicMs += 60_000;
      device.store.db.exec(`UPDATE Slot SET slot = 'd', expires = '${inMs(9_000_000)}'`);
    }
    return judge(change, at);
  };
  device.connect();
  device.pass(5_000);
  assert.deepEqual(ops, ["update", "create"]);
  assert.deepEqual([table(device), rows(device)], ["d", ["d"]]);
  device.store.close();
});

Deno.test("expiry: an expired item that comes down is an absence, live, fetched and in a snapshot", () => {
  const device = deviceOf("newest");
  device.write({ A: { slot: "a", expires: startS + 1000 } });
  assert.deepEqual(rows(device), ["a"]);
  device.write({ A: { slot: "b", expires: startS - 5 } });
  assert.deepEqual(rows(device), []);
  assert.deepEqual(device.rows("SELECT * FROM _sync_items WHERE base IS NOT NULL"), []);
  device.epoch = "f";
  device.disconnect();
  device.connect();
  assert.deepEqual(rows(device), []);
  assert.deepEqual(device.rows("SELECT * FROM _conflicts"), []);
  device.store.close();
});

Deno.test("expiry: an own dead version that comes back below what is known to be removed is no removal", () => {
  const device = deviceOf("newest"), ops: string[] = [];
  device.sql(`INSERT INTO Slot(name, slot, expires) VALUES ('A', 'a', '${inMs(60_000)}')`);
  device.pass(3_000);
  const key = ["device#dev-1", "slot#A"] as const, current = device.table.get(key.join(" "))!;
  device.tell([{ key, was: current.version! }]);
  device.judge = ({ op }) => void ops.push(op);
  device.pass(100_000);
  device.tell([{ key, current }]);
  device.pass(60_000);
  assert.deepEqual(ops, []);
  device.store.close();
});
