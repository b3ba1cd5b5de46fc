/**
 * Watching what comes from the cloud, live and from where an earlier watch ended.
 */
import assert from "node:assert/strict";
import { type WatchedChange, Watchers } from "../../../agent/api/watchers.ts";
import { SyncError } from "../../../schema.ts";
import { Scripted, twinCompiled } from "../twin_fixture.ts";

const slot = twinCompiled.models.get("Slot")!;
const told = (changes: WatchedChange[]) =>
  changes.map(({ sequence, op, keyProperties, item }) =>
    `${sequence} ${op} ${keyProperties.name} ${item?.slot ?? "-"}`
  );
const microtasks = () => new Promise((resolve) => setTimeout(resolve, 0));

function opened() {
  const device = new Scripted();
  device.connect();
  return { device, watchers: new Watchers(device.store), [Symbol.dispose]: () => device[Symbol.dispose]() };
}

Deno.test("watch: without since it tells what comes from now on, in order, until it is ended", async () => {
  using at = opened();
  at.device.write({ A: { slot: "x" } });
  const changes: WatchedChange[] = [];
  const end = at.watchers.add(slot, (change) => changes.push(change), {});
  at.device.write({ B: { slot: "y" }, A: null });
  at.watchers.wake();
  await microtasks();
  assert.deepEqual(told(changes), ["2 put B y", "3 remove A -"]);
  assert.deepEqual(changes[0]!.key, ["device#dev-1", "slot#B"]);
  end();
  at.device.write({ C: { slot: "z" } });
  at.watchers.wake();
  await microtasks();
  assert.equal(changes.length, 2);
  assert.equal(at.watchers.sequence, 4);
});

Deno.test("watch: with since it goes on where it ended, and tells items as they are now", async () => {
  using at = opened();
  at.device.write({ A: { slot: "x" }, B: { slot: "y" } });
  at.device.write({ A: { slot: "x2" } });
  at.device.write({ B: null });
  const changes: WatchedChange[] = [];
  at.watchers.add(slot, (change) => changes.push(change), { since: 1 });
  await microtasks();
  assert.deepEqual(told(changes), ["2 put B -", "3 put A x2", "4 remove B -"]);
  at.watchers.add(slot, (change) => changes.push(change), { since: 4 });
  at.watchers.add(twinCompiled.models.get("Sample")!, (change) => changes.push(change), { since: 0 });
  await microtasks();
  assert.equal(changes.length, 3);
});

Deno.test("watch: hundreds of changes come in order, and a callback may end its own watch", async () => {
  using at = opened();
  at.device.write(Object.fromEntries(Array.from({ length: 700 }, (_, i) => [`n${i}`, { slot: `${i}` }])));
  const sequences: number[] = [], some: number[] = [];
  at.watchers.add(slot, (change) => sequences.push(change.sequence), { since: 0 });
  const stop = new AbortController();
  at.watchers.add(slot, (change) => {
    some.push(change.sequence);
    if (some.length === 3) stop.abort();
  }, { since: 0, signal: stop.signal });
  await microtasks();
  assert.deepEqual(sequences, Array.from({ length: 700 }, (_, i) => i + 1));
  assert.deepEqual(some, [1, 2, 3]);
  at.watchers.add(slot, () => some.push(0), { since: 0, signal: stop.signal });
  await microtasks();
  assert.equal(some.length, 3);
});

Deno.test("watch: a callback that throws is told the next change, others are told all, and its error is reported", async () => {
  using at = opened();
  const errors: unknown[] = [], changes: WatchedChange[] = [], thrower: string[] = [];
  const report = (event: ErrorEvent) => {
    event.preventDefault();
    errors.push(event.error);
  };
  addEventListener("error", report);
  const fault = new Error("the application's");
  at.watchers.add(slot, ({ keyProperties }) => {
    thrower.push(String(keyProperties.name));
    if (keyProperties.name === "B") throw fault;
  }, {});
  at.watchers.add(slot, (change) => changes.push(change), {});
  at.device.write({ A: { slot: "x" }, B: { slot: "y" }, C: { slot: "z" } });
  at.watchers.wake();
  await microtasks();
  removeEventListener("error", report);
  assert.deepEqual(thrower, ["A", "B", "C"]);
  assert.equal(changes.length, 3);
  assert.deepEqual(errors, [fault]);
});

Deno.test("watch: changes that are no longer kept are refused, not left out", () => {
  using at = opened();
  at.device.write({ A: { slot: "1" }, B: { slot: "2" }, C: { slot: "3" } });
  const { db } = at.device.store;
  const trimmed = (since: number) => () => at.watchers.add(slot, () => {}, { since });
  const refused = (error: unknown) => error instanceof SyncError && error.code === "trimmed";
  db.exec("DELETE FROM _changes WHERE sequence <= 2");
  assert.throws(trimmed(1), refused);
  trimmed(2)()();
  trimmed(3)()();
  assert.throws(trimmed(4), refused, "a number of another database");
  db.exec("DELETE FROM _changes");
  assert.throws(trimmed(2), refused);
  trimmed(3)()();
  assert.throws(trimmed(-1), RangeError);
});
