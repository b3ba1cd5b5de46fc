/**
 * Triggers of applications that keep the agent from deleting: a row that can't go stays, holds up no other row and no other
 * work, and stands in `_status.problem`. With `RAISE(IGNORE)` nothing fails: only the row that is still there tells.
 */
import assert from "node:assert/strict";
import { memoryStore } from "../store_fixture.ts";
import { compileSchema } from "../../../schema.ts";
import { Scripted, twinSchema } from "../twin_fixture.ts";

const status = (device: Scripted) => device.rows("SELECT * FROM _status")[0]!;
const count = (device: Scripted, what: string) => Number(device.rows(`SELECT count(*) AS n FROM ${what}`)[0]!.n);
const many = (n: number) => `WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ${n})`;

/** What an application's trigger may do to a deletion. */
const refusals: Record<string, string> = {
  "raises": "SELECT RAISE(ABORT, 'not this one')",
  "calls a function that the agent does not have": "SELECT my_function(old._id)",
  "ignores it": "SELECT RAISE(IGNORE)",
};

for (const [what, body] of Object.entries(refusals)) {
  Deno.test(`stuck: at the cap rows whose trigger ${what} stay with their entries, the others give way, and sending goes on`, () => {
    using device = new Scripted({ limits: { outboxMax: 1_000 } });
    device.store.db.exec(
      `CREATE TRIGGER keeper BEFORE DELETE ON Reading WHEN old.n % 10 = 0 BEGIN ${body}; END`,
    );
    device.sql(`${many(1_500)} INSERT INTO Reading(n) SELECT x FROM i`);
    device.pass(3_000);
    assert.deepEqual(device.faults, []);
    // What the trigger calls is looked for before the first row: then none can go.
    const isAll = body.includes("my_function");
    assert.equal(Number(status(device).outbox) <= 1_000, !isAll);
    assert.equal(count(device, "Reading WHERE n % 10 = 0"), 150);
    assert.equal(
      count(device, "Reading AS r WHERE NOT EXISTS (SELECT 1 FROM _outbox WHERE row = r._id)"),
      0,
      "what stays still waits to be sent",
    );
    assert.match(
      String(status(device).problem),
      /1?[15][05]0 rows of Reading that should be dropped at the cap can't be deleted: /,
    );
    device.connect();
    device.pass(3_000);
    assert.equal(status(device).outbox, 0);
    assert.equal(device.table.size, count(device, "Reading"));
  });

  Deno.test(`stuck: a removal that a trigger ${what} is set aside, and an item that comes is in its row or set aside`, () => {
    using device = new Scripted();
    device.connect();
    device.write({ A: { slot: "a" }, B: { slot: "b" } });
    device.store.db.exec(`CREATE TRIGGER keeper BEFORE DELETE ON Slot WHEN old.name = 'A' BEGIN ${body}; END;
      CREATE TRIGGER bouncer BEFORE INSERT ON Slot WHEN new.name = 'C' BEGIN ${body.replace("old.", "new.")}; END;
      CREATE TRIGGER freezer BEFORE UPDATE ON Slot WHEN new.name = 'B' BEGIN ${body.replace("old.", "new.")}; END`);
    device.write({ A: null, B: { slot: "b2" }, C: { slot: "c" }, D: { slot: "d" } });
    assert.deepEqual(device.faults, []);
    // What the trigger calls is looked for before its condition: then no row of the table can be written.
    const isAll = body.includes("my_function");
    assert.deepEqual(device.rows("SELECT name, slot FROM Slot ORDER BY name"), [
      { name: "A", slot: "a" },
      { name: "B", slot: "b" },
      ...(isAll ? [] : [{ name: "D", slot: "d" }]),
    ]);
    assert.equal(status(device).aside, isAll ? 4 : 3);
    const base = device.store.db.prepare("SELECT base FROM _sync_items WHERE sort = 'slot#B'").get()!.base;
    assert.match(String(base), /"b"/, "the base is what the row was made from, not what was skipped");
    device.store.db.exec("DROP TRIGGER keeper; DROP TRIGGER bouncer; DROP TRIGGER freezer");
    device.pass(61_000);
    assert.equal(status(device).aside, 0);
    assert.deepEqual(device.rows("SELECT name, slot FROM Slot ORDER BY name"), [
      { name: "B", slot: "b2" },
      { name: "C", slot: "c" },
      { name: "D", slot: "d" },
    ]);
  });
}

const ttlSchema = compileSchema({
  ...twinSchema,
  models: {
    Reading: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "reading#${id}" },
      deviceId: { type: "string", required: true },
      id: { type: "string", generate: "ulid" },
      n: { type: "number" },
      expires: { type: "date", ttl: true },
    },
  },
  process: { Reading: { sync: "none" } },
});

Deno.test("stuck: a trigger that rolls the whole transaction back stops the purge alone, neither history nor the WAL watch", () => {
  const store = memoryStore({ schema: ttlSchema, identity: { deviceId: "dev-1", accountId: "acme" } });
  using device = new Scripted({ store, limits: { historyMax: 10 } });
  device.connect();
  device.sql(`INSERT INTO Reading(n, expires) VALUES (1, '2025-12-01'), (2, '2025-12-01')`);
  device.sql(`CREATE TRIGGER killer BEFORE DELETE ON Reading BEGIN SELECT RAISE(ROLLBACK, 'all of it'); END`);
  device.sql(`${many(30)} INSERT INTO _conflicts(model) SELECT 'x' FROM i`);
  const syncs = () => device.sent.filter(({ type }) => type === "sync").length, before = syncs();
  device.pass(121_000);
  assert.equal(syncs(), before, "the connection is not begun anew, as after a fault of the disk");
  assert.equal(count(device, "_conflicts"), 10);
  assert.equal(count(device, "Reading"), 2);
  assert.match(String(status(device).last_error), /all of it/);
  assert.deepEqual(device.rows("SELECT problem FROM _status"), [{ problem: null }], "the storage is as it should be");
  assert.equal(device.store.db.prepare("SELECT applying FROM _sync_flag").get()!.applying, 0);
  device.sql("DROP TRIGGER killer");
  device.pass(61_000);
  assert.equal(count(device, "Reading"), 0);
});
