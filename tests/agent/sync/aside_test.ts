/**
 * Applying is tolerant: what a table can't take now waits in the open, delays nothing else, and goes in as soon as it can.
 */
import assert from "node:assert/strict";
import type { Entry, Key } from "../../../protocol.ts";
import { Scripted } from "../twin_fixture.ts";

const slots = "SELECT name, slot FROM Slot ORDER BY name";
const list = (device: Scripted) => device.rows(slots).map((row) => `${row.name}=${row.slot}`).join(" ");
const asides = (device: Scripted) => device.rows("SELECT sort FROM _sync_aside ORDER BY sort").map((row) => row.sort);

/** Changes rows as the agent does: without capture. */
function silently({ store }: Scripted, sql: string): void {
  store.tx(() =>
    store.applying(() => {
      store.aim(store.schema.models.get("Slot"));
      store.db.exec(sql);
    })
  );
}

/** A connected device with rows A=x, B=y, C=z that the cloud has too. */
function opened(): Scripted {
  const device = new Scripted();
  device.connect();
  device.write({ A: { slot: "x" }, B: { slot: "y" }, C: { slot: "z" } });
  silently(device, "UPDATE Slot SET note = 'my ' || name");
  return device;
}

Deno.test("aside: a swap inside one page is applied at once, rows keep their _id and what is the device's own", () => {
  using device = opened();
  const before = device.rows("SELECT _id, name, note FROM Slot ORDER BY name");
  device.write({ A: { slot: "y" }, B: { slot: "x" } });
  assert.equal(list(device), "A=y B=x C=z");
  assert.deepEqual(asides(device), []);
  assert.deepEqual(device.rows("SELECT _id, name, note FROM Slot ORDER BY name"), before);
  assert.deepEqual(device.rows("SELECT * FROM _outbox"), []);
  assert.deepEqual(
    device.rows("SELECT json_extract(key, '$.name') AS name FROM _changes ORDER BY sequence").map((row) => row.name),
    ["A", "B", "C", "B", "A"],
    "each change is told once, when it is in its table",
  );
});

Deno.test("aside: chains and rings inside one page are applied whatever their order", () => {
  using device = opened();
  device.write({ A: { slot: "y" }, B: { slot: "z" }, C: { slot: "w" } });
  assert.equal(list(device), "A=y B=z C=w");
  device.write({ C: { slot: "y" }, B: { slot: "w" }, A: { slot: "z" } });
  assert.equal(list(device), "A=z B=w C=y");
  device.write({ A: { slot: "w", code: 1 }, D: { slot: "z" }, B: { slot: "y", code: 2 }, C: null });
  assert.equal(list(device), "A=w B=y D=z");
  device.write({ A: { slot: "y", code: 2 }, B: { slot: "w", code: 1 } });
  assert.equal(list(device), "A=y B=w D=z");
  assert.deepEqual(asides(device), []);
  assert.deepEqual(device.faults, []);
});

Deno.test("aside: an application's own columns come through a swap unharmed", () => {
  using device = opened();
  device.store.db.exec("ALTER TABLE Slot ADD COLUMN big INTEGER; UPDATE Slot SET big = 9223372036854775807");
  device.twin.onCommit();
  device.answer();
  device.write({ A: { slot: "y" }, B: { slot: "x" } });
  assert.equal(list(device), "A=y B=x C=z");
  assert.deepEqual(
    device.rows("SELECT count(*) AS n FROM Slot WHERE big = 9223372036854775807 AND typeof(big) = 'integer'")[0]!.n,
    3,
  );
});

Deno.test("aside: an item that breaks a constraint waits, is shown, delays nothing, and leaves when superseded or removed", () => {
  using device = opened();
  device.write({ A: { slot: "x2", kind: "wrong" }, B: { slot: "y2" } });
  assert.equal(list(device), "A=x B=y2 C=z");
  assert.equal(device.rows("SELECT aside FROM _status")[0]!.aside, 1);
  assert.match(String(device.rows("SELECT error FROM _sync_aside")[0]!.error), /kind must be one of a, b/);
  device.write({ A: { slot: "x3", kind: "a" } });
  assert.equal(list(device), "A=x3 B=y2 C=z");
  assert.deepEqual(asides(device), []);

  device.write({ N: { slot: "n", kind: "wrong" } });
  assert.deepEqual(asides(device), ["slot#N"]);
  device.write({ N: null });
  assert.deepEqual(asides(device), []);
  assert.equal(list(device), "A=x3 B=y2 C=z");
});

Deno.test("aside: a value that is taken by a row of the device goes in when that row has gone", () => {
  using device = opened();
  device.disconnect();
  device.sql("INSERT INTO Slot(name, slot) VALUES ('mine', 'n')");
  device.connect();
  device.write({ A: { slot: "n" }, D: { slot: "x" }, E: { slot: "e" } });
  assert.deepEqual(asides(device), ["slot#A", "slot#D"], "D waits for A, which waits for the device's own row");
  assert.equal(list(device), "A=x B=y C=z E=e mine=n");
  device.sql("UPDATE Slot SET slot = 'm' WHERE name = 'mine'");
  assert.equal(list(device), "A=n B=y C=z D=x E=e mine=m");
  assert.deepEqual(asides(device), []);
});

Deno.test("aside: without any message it is tried again every minute", () => {
  using device = opened();
  device.write({ A: { slot: "y" } });
  assert.deepEqual(asides(device), ["slot#A"]);
  silently(device, "DELETE FROM Slot WHERE name = 'B'");
  device.pass(61_000);
  assert.equal(list(device), "A=y C=z");
});

Deno.test("aside: what the device writes to a waiting key is made from the version it has, and settles what waits", () => {
  using device = opened();
  const had = device.table.get("device#dev-1 slot#A")!.version;
  device.write({ A: { slot: "y", code: 7 } });
  assert.deepEqual(asides(device), ["slot#A"]);
  device.sql("UPDATE Slot SET note = 'only mine' WHERE name = 'A'");
  assert.deepEqual(asides(device), ["slot#A"], "a field that never leaves the device is no change");
  device.sql("UPDATE Slot SET slot = 'x9' WHERE name = 'A'");
  assert.deepEqual(asides(device), []);
  assert.equal(list(device), "A=x9 B=y C=z");
  assert.equal(device.table.get("device#dev-1 slot#A")!.item.slot, "x9");
  const up = device.sent.filter((message) => message.type === "up").at(-1)!;
  assert.deepEqual(up.changes[0]!.base!.version, had);
});

Deno.test("aside: where several want what another gives up, one gets it and the others wait", () => {
  using device = opened();
  device.write({ A: { slot: "y" }, B: { slot: "x" }, C: { slot: "y", code: 3 }, D: { slot: "y" } });
  assert.deepEqual(asides(device).length, 2);
  const rows = device.rows("SELECT name FROM Slot WHERE slot = 'y'");
  assert.equal(rows.length, 1);
  assert.equal(device.rows("SELECT slot FROM Slot WHERE name = 'B'")[0]!.slot, "x");
  device.write({ [String(rows[0]!.name)]: { slot: "free" } });
  assert.equal(asides(device).length, 1);
});

Deno.test("aside: a local write that is under way to a waiting key is not overwritten", () => {
  using device = opened();
  device.write({ A: { slot: "y" } });
  const { transport } = device.twin.options;
  const send = transport.send;
  transport.send = () => true;
  device.sql("UPDATE Slot SET slot = 'mine' WHERE name = 'A'");
  transport.send = send;
  device.write({ B: { slot: "w" } });
  assert.equal(list(device), "A=mine B=w C=z");
  assert.deepEqual(asides(device), ["slot#A"]);
  device.pass(20_000);
  assert.equal(list(device), "A=mine B=w C=z");
  assert.deepEqual(asides(device), []);
});

Deno.test("aside: a snapshot without the item ends its waiting", () => {
  using device = opened();
  device.write({ A: { slot: "y" }, N: { slot: "z" } });
  assert.deepEqual(asides(device), ["slot#A", "slot#N"]);
  device.disconnect();
  device.table.delete("device#dev-1 slot#N");
  device.store.db.exec("DELETE FROM _sync_channels");
  const { store } = device;
  using later = new Scripted({ store });
  for (const [text, current] of device.table) later.table.set(text, current);
  later.connect();
  assert.deepEqual(asides(later), ["slot#A"]);
  assert.equal(list(later), "A=x B=y C=z");
});

Deno.test("aside: thousands that never fit keep every other change moving", () => {
  using device = opened();
  const never = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`N${i}`, { slot: `n${i}`, kind: "wrong" }]));
  device.write(never);
  const start = performance.now();
  for (let i = 0; i < 20; i++) device.write({ A: { slot: `a${i}` } });
  const perChangeMs = (performance.now() - start) / 20;
  assert.equal(device.rows("SELECT slot FROM Slot WHERE name = 'A'")[0]!.slot, "a19");
  assert.equal(asides(device).length, 3000);
  assert.ok(perChangeMs < 100, `${perChangeMs} ms a change`);
});

Deno.test("aside: after a refused write of its key the item is tried again, though no echo comes", () => {
  using device = opened();
  device.write({ A: { slot: "y" } });
  assert.deepEqual(asides(device), ["slot#A"]);
  // The device's own write is refused: what the cloud has stands, and still does not fit.
  const current = device.table.get("device#dev-1 slot#A")!;
  device.judge = ({ op }, at) => op === "update" ? { at, code: "stale", current } : undefined;
  device.sql("UPDATE Slot SET code = 9 WHERE name = 'A'");
  device.judge = () => undefined;
  assert.deepEqual(asides(device), ["slot#A"]);
  device.sql("UPDATE Slot SET slot = 'free' WHERE name = 'B'");
  device.pass(61_000);
  assert.deepEqual(asides(device), []);
  assert.equal(list(device), "A=y B=free C=z");
});

Deno.test("aside: an entry that can't be read is set aside by its key; its row stays, the others are applied, the cursor goes on", () => {
  using device = new Scripted();
  device.connect();
  device.write({ a: { slot: "s1" }, b: { slot: "s2" } });
  const key = (name: string): Key => ["device#dev-1", `slot#${name}`];
  const fine: Entry = {
    key: key("c"),
    current: { model: "Slot", item: { name: "c", slot: "s3" }, version: ["x#1", 5] },
  };
  device.tell([{ key: key("a"), unreadable: "it makes no sense" }, fine]);
  const rows = () => device.rows("SELECT name, slot FROM Slot ORDER BY name");
  const wanted = [{ name: "a", slot: "s1" }, { name: "b", slot: "s2" }, { name: "c", slot: "s3" }];
  assert.deepEqual(rows(), wanted);
  assert.deepEqual(device.rows("SELECT sort, item, error FROM _sync_aside"), [
    { sort: "slot#a", item: null, error: "it makes no sense" },
  ]);
  device.pass(120_000);
  assert.deepEqual(rows(), wanted, "it is no removal that waits");
  device.write({ a: { slot: "s4" } });
  assert.deepEqual(rows()[0], { name: "a", slot: "s4" });
  assert.deepEqual(device.rows("SELECT count(*) AS n FROM _sync_aside"), [{ n: 0 }]);
});
