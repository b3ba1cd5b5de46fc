/**
 * Triggers of an application on synced tables: what they refuse waits in the open and stops nothing else, what they write
 * is a change like any other.
 */
import assert from "node:assert/strict";
import { Scripted } from "../twin_fixture.ts";

const list = (device: Scripted) =>
  device.rows("SELECT name, slot FROM Slot ORDER BY name").map((row) => `${row.name}=${row.slot}`).join(" ");
const asides = (device: Scripted) => device.rows("SELECT sort, error FROM _sync_aside ORDER BY sort");

function opened(trigger: string): Scripted {
  const device = new Scripted();
  device.connect();
  device.write({ A: { slot: "x" }, B: { slot: "y" } });
  device.store.db.exec(trigger);
  return device;
}

const refusals: [what: string, trigger: string, error: RegExp][] = [
  ["RAISE", "SELECT RAISE(ABORT, 'too high')", /too high/],
  [
    "a write to a model that syncs up while its outbox is full",
    "INSERT INTO Sample(n) VALUES (1)",
    /the outbox is full/,
  ],
];

for (const [what, statement, error] of refusals) {
  Deno.test(`application triggers: an item that one refuses (${what}) waits in the open, the others come`, () => {
    using device = opened(
      `CREATE TRIGGER app BEFORE INSERT ON Slot WHEN new.slot = 'high' BEGIN ${statement}; END;
       UPDATE _sync_flag SET "full" = ${what.includes("full") ? 1 : 0}`,
    );
    device.write({ C: { slot: "high" }, D: { slot: "low" } });
    device.write({ E: { slot: "e" } });
    assert.equal(list(device), "A=x B=y D=low E=e");
    assert.deepEqual(asides(device).map(({ sort }) => sort), ["slot#C"]);
    assert.match(String(asides(device)[0]!.error), error);
    assert.deepEqual(device.faults, []);
    device.store.db.exec("DROP TRIGGER app");
    device.pass(61_000);
    assert.equal(list(device), "A=x B=y C=high D=low E=e");
    assert.deepEqual(asides(device), []);
  });
}

Deno.test("application triggers: one that is broken keeps a table from new rows, and nothing else from anything", () => {
  using device = opened("CREATE TRIGGER app BEFORE INSERT ON Slot BEGIN INSERT INTO log VALUES (1); END");
  device.write({ C: { slot: "z" }, A: { slot: "x2" } });
  device.sql("INSERT INTO Sample(id) VALUES ('s')");
  assert.equal(list(device), "A=x2 B=y");
  assert.ok(device.table.has("device#dev-1 sample#s"));
  assert.match(String(asides(device)[0]!.error), /no such table: main\.log/);
  assert.deepEqual(device.faults, []);
  device.store.db.exec("DROP TRIGGER app");
  device.pass(61_000);
  assert.equal(list(device), "A=x2 B=y C=z");
});

Deno.test("application triggers: a removal that one refuses waits, and is made when it no longer is", () => {
  using device = opened("CREATE TRIGGER app BEFORE DELETE ON Slot BEGIN SELECT RAISE(ABORT, 'kept'); END");
  device.write({ A: null, B: { slot: "y2" } });
  device.write({ C: { slot: "z" } });
  assert.equal(list(device), "A=x B=y2 C=z");
  assert.deepEqual(asides(device).map(({ sort }) => sort), ["slot#A"]);
  assert.deepEqual(device.faults, []);
  device.store.db.exec("DROP TRIGGER app; DELETE FROM _changes");
  device.pass(61_000);
  assert.equal(list(device), "B=y2 C=z");
  assert.deepEqual(asides(device), []);
  assert.deepEqual(device.rows("SELECT op, key FROM _changes"), [{ op: "remove", key: '{"name":"A"}' }]);
  // It comes again: nothing of the removal is left.
  device.write({ A: { slot: "x" } });
  assert.equal(list(device), "A=x B=y2 C=z");
  assert.deepEqual(device.rows("SELECT * FROM _outbox"), []);
});

Deno.test("application triggers: what one writes into another model while the cloud's item is applied is sent", () => {
  using device = opened(
    "CREATE TRIGGER app AFTER INSERT ON Slot BEGIN INSERT INTO Sample(id, n) VALUES (new.name, 7); END",
  );
  device.write({ C: { slot: "z" } });
  device.answer();
  assert.equal(list(device), "A=x B=y C=z");
  assert.deepEqual(device.table.get("device#dev-1 sample#C")?.item.n, 7);
  assert.ok(
    ![...device.sent].some((message) => message.type === "up" && message.changes.some((c) => c.model === "Slot")),
  );
  assert.equal(device.rows("SELECT applying FROM _sync_flag")[0]!.applying, 0);
  assert.deepEqual(device.rows("SELECT * FROM _pending"), []);
});
