/**
 * When a device has everything that the cloud had: `sync()` and an order to sync end then, and not a moment before
 * (rules 6.10). Also who is asked for by name while others wait.
 */
import assert from "node:assert/strict";
import { compileSchema, defineSchema } from "../../../schema.ts";
import { memoryStore } from "../store_fixture.ts";
import { Scripted, twinSchema } from "../twin_fixture.ts";

const text = (name: string) => `device#dev-1 slot#${name}`;
const names = (device: Scripted) => device.rows("SELECT name FROM Slot ORDER BY name").map(({ name }) => name);

/** Its next question is answered by a snapshot. */
function snapshot(device: Scripted): void {
  device.epoch += "'";
  device.disconnect();
  device.connect();
}

Deno.test("arrived: not while an item that the cloud could not read is asked for again", () => {
  using device = new Scripted();
  device.connect();
  device.write({ a: { slot: "1" }, b: { slot: "2" } });
  device.pass(2_000);
  assert.ok(device.twin.downlink.arrived);
  device.table.delete(text("a"));
  device.unread.add(text("a"));
  snapshot(device);
  assert.deepEqual(names(device), ["a", "b"]);
  assert.ok(device.twin.downlink.caughtUp);
  assert.ok(!device.twin.downlink.arrived, "the row is there, and its item is gone");
  device.unread.clear();
  device.pass(30_000);
  assert.deepEqual(names(device), ["b"]);
  assert.ok(device.twin.downlink.arrived);
});

Deno.test("arrived: not while many rows that the cloud's list lacks are asked for slowly", () => {
  using device = new Scripted();
  device.connect();
  const many = Array.from({ length: 1_200 }, (_, i) => `n${i}`);
  device.write(Object.fromEntries(many.map((name) => [name, { slot: name }])));
  device.pass(2_000);
  for (const name of many) device.table.delete(text(name));
  snapshot(device);
  for (let s = 0; s < 100 && names(device).length > 0; s++) {
    assert.ok(!device.twin.downlink.arrived, `${names(device).length} rows are to go yet`);
    device.pass(1_000);
  }
  assert.deepEqual(names(device), []);
  assert.ok(device.twin.downlink.arrived);
});

const other = { Spot: { ...twinSchema.models.Slot, sk: { type: "string", value: "spot#${name}" } } } as const;
const two = compileSchema(
  defineSchema({
    ...twinSchema,
    models: { ...twinSchema.models, ...other },
    process: { ...twinSchema.process, Spot: { sync: "both" } },
  }),
);

Deno.test("arrived: items of a model whose changes wait for another schema keep nobody from being asked for", () => {
  const identity = { deviceId: "dev-1", accountId: "acme" };
  using device = new Scripted({ store: memoryStore({ schema: two, identity, now: () => Date.UTC(2026, 0, 1) }) });
  device.connect();
  const many = Array.from({ length: 500 }, (_, i) => `n${i}`);
  device.write(Object.fromEntries(many.map((name) => [name, { slot: name }])));
  device.pass(2_000);
  // The cloud's schema differs in Slot: its changes wait, and what comes from the cloud meanwhile is looked at later.
  device.judge = (_, at) => ({ at, code: "schema", reason: "another schema" });
  device.sql("UPDATE Slot SET slot = 'mine ' || name");
  device.write(Object.fromEntries(many.map((name) => [name, { slot: `theirs ${name}` }])));
  device.pass(5_000);
  const { records, store } = device.twin.context;
  assert.equal(records.rechecks(1000).length, 500);
  assert.ok(device.twin.downlink.arrived, "it says so: items with an unsent change are asked for later");
  const record = records.open(store.schema.models.get("Spot")!, ["device#dev-1", "spot#s"]);
  records.mark(record);
  records.save(record);
  assert.ok(!device.twin.downlink.arrived);
  device.sent.length = 0;
  device.twin.downlink.fetch();
  device.twin.onCommit();
  assert.deepEqual(device.sent.flatMap((m) => m.type === "fetch" ? m.keys : []), [["device#dev-1", "spot#s"]]);
});
