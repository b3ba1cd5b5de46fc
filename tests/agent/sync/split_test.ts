/** Refused batches: halves under new ids, the change at fault alone in `_rejected`, the others through (rules D2, D3). */
import assert from "node:assert/strict";
import type { FromDevice, Up } from "../../../protocol.ts";
import { halve } from "../../../agent/sync/split.ts";
import { Scripted } from "../twin_fixture.ts";

/** A device whose batches somebody else answers. */
function silent(): Scripted {
  const device = new Scripted();
  device.connect();
  device.connected = false;
  device.sent.length = 0;
  return device;
}

function write(device: Scripted, sql: string): void {
  device.connected = true;
  device.store.db.exec(sql);
  device.twin.onCommit();
  device.connected = false;
}

const isUp = (message: FromDevice): message is Up => message.type === "up";

/** Answers every batch that was sent: refused where it has one of the names, else accepted. @returns the batches */
function answerAll(device: Scripted, poison: ReadonlySet<string>): Up[] {
  const answered: Up[] = [];
  for (let round = 0; round < 200; round++) {
    const ups = device.sent.splice(0).filter(isUp);
    if (ups.length === 0) return answered;
    answered.push(...ups);
    device.connected = true;
    for (const { batch, changes } of ups) {
      const isRefused = changes.some(({ item }) => poison.has(String(item?.name)));
      device.twin.onMessage(
        isRefused
          ? { type: "refused", batch, time: device.nowMs, reason: "unreadable" }
          : { type: "ack", batch, time: device.nowMs, answers: [] },
      );
    }
    device.connected = false;
  }
  throw new Error("the device never stops sending");
}

const rejected = (device: Scripted) =>
  device.rows("SELECT key ->> '$.name' AS name, code, reason FROM _rejected ORDER BY id");

Deno.test("split: of a refused batch all but the change at fault go through, at the cost of 2·p·log2 n + 1 batches", () => {
  using device = silent();
  const names = Array.from({ length: 64 }, (_, i) => `n${i}`);
  write(device, `INSERT INTO Slot(name, slot) VALUES ${names.map((name) => `('${name}', 's-${name}')`).join(", ")}`);
  const batches = answerAll(device, new Set(["n7", "n40"]));
  assert.deepEqual(rejected(device), [
    { name: "n7", code: "invalid", reason: "unreadable" },
    { name: "n40", code: "invalid", reason: "unreadable" },
  ]);
  assert.ok(batches.length <= 2 * 2 * 6 + 1, `${batches.length} batches`);
  assert.equal(new Set(batches.map(({ batch }) => batch)).size, batches.length, "every batch has an id of its own");
  assert.equal(device.twin.drained, true);
  // Each change was sent with one and the same stamp, whatever batch it was in.
  const stamps = new Map<string, Set<number>>();
  for (const { item, stamp } of batches.flatMap(({ changes }) => changes)) {
    const name = String(item!.name);
    stamps.set(name, (stamps.get(name) ?? new Set()).add(stamp));
  }
  assert.ok([...stamps.values()].every((set) => set.size === 1));
});

Deno.test("split: a second copy of a refusal does nothing", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1'), ('b', 's2')");
  const [up] = device.sent.splice(0).filter(isUp);
  const refusal = { type: "refused" as const, batch: up!.batch, time: device.nowMs, reason: "unreadable" };
  device.connected = true;
  device.twin.onMessages([refusal, refusal, refusal]);
  device.connected = false;
  assert.deepEqual(rejected(device), []);
  assert.deepEqual(device.sent.filter(isUp).map(({ changes }) => changes.length), [1, 1]);
});

Deno.test("split: a newer write, or a removal, of the key that is rejected stays and is sent", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  write(device, "UPDATE Slot SET slot = 's2' WHERE name = 'a'");
  answerAll(device, new Set(["b"]));
  write(device, "INSERT INTO Slot(name, slot) VALUES ('b', 's3')");
  const [up] = device.sent.splice(0).filter(isUp);
  write(device, "UPDATE Slot SET slot = 's4' WHERE name = 'b'");
  device.connected = true;
  device.twin.onMessage({ type: "refused", batch: up!.batch, time: device.nowMs, reason: "unreadable" });
  device.connected = false;
  assert.deepEqual(device.rows("SELECT name, slot FROM Slot ORDER BY name"), [{ name: "a", slot: "s2" }, {
    name: "b",
    slot: "s4",
  }]);
  const [again] = device.sent.splice(0).filter(isUp);
  assert.deepEqual(again!.changes.map(({ item }) => item!.slot), ["s4"]);
});

Deno.test("split: halves survive a start", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1'), ('b', 's2'), ('c', 's3')");
  const [batch] = device.twin.context.inFlight.batches.values();
  assert.equal(halve(device.twin.context, batch!), true);
  const stored = device.rows("SELECT json_array_length(payload, '$.flights') AS n FROM _inflight ORDER BY serial");
  assert.deepEqual(stored, [{ n: 2 }, { n: 1 }]);
  device.twin.context.inFlight.restart();
  assert.deepEqual([...device.twin.context.inFlight.batches.values()].map(({ flights }) => flights.length), [2, 1]);
  const [first, second] = device.twin.context.inFlight.batches.values();
  assert.equal(halve(device.twin.context, second!), false);
  assert.equal(halve(device.twin.context, first!), true);
});
