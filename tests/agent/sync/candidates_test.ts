/**
 * What a snapshot's list lacks is asked for by name before its row goes (rule C2), and an answer that leaves a key out says
 * nothing about it.
 */
import assert from "node:assert/strict";
import { Scripted } from "../twin_fixture.ts";

const text = (name: string) => `device#dev-1 slot#${name}`;
const names = (device: Scripted) => device.rows("SELECT name FROM Slot ORDER BY name").map(({ name }) => name);
const swept = (device: Scripted) =>
  device.rows("SELECT item ->> 'name' AS name, why FROM _conflicts ORDER BY id").map(({ name, why }) =>
    `${why} ${name}`
  );

/** A connected device with these rows from the cloud. */
function holding(...names: string[]): Scripted {
  const device = new Scripted();
  device.connect();
  device.write(Object.fromEntries(names.map((name) => [name, { slot: `of ${name}`, unknown: 1 }])));
  device.pass(2_000);
  return device;
}

/** Its next question is answered by a snapshot. */
function snapshot(device: Scripted): void {
  device.epoch += "'";
  device.disconnect();
  device.connect();
}

Deno.test("candidates: a row that the list hides is fetched by name and stays, one that is gone goes with a copy", () => {
  using device = holding("a", "b", "c");
  device.hidden.add(text("a"));
  device.table.delete(text("b"));
  snapshot(device);
  assert.deepEqual(names(device), ["a", "c"]);
  assert.deepEqual(swept(device), ["swept b"]);
  const [{ item }] = device.rows("SELECT item FROM _conflicts") as [{ item: string }];
  assert.equal(JSON.parse(item).unknown, 1, "the copy is whole");
  assert.ok(device.twin.settled);
});

Deno.test("candidates: a key that the answer leaves out is asked for again, later, and its row stays meanwhile", () => {
  using device = holding("a", "b");
  device.table.delete(text("a"));
  device.table.delete(text("b"));
  device.unread.add(text("a"));
  snapshot(device);
  assert.deepEqual(names(device), ["a"], "b was answered for");
  const asked = () => device.sent.filter(({ type }) => type === "fetch").length;
  const before = asked();
  device.pass(4_000);
  assert.ok(asked() - before <= 1, "no busy loop");
  device.pass(30_000);
  assert.ok(asked() - before >= 2 && asked() - before < 10, `${asked() - before} times`);
  assert.deepEqual(names(device), ["a"]);
  device.unread.clear();
  device.pass(15_000);
  assert.deepEqual(names(device), []);
  assert.deepEqual(swept(device), ["swept b", "swept a"]);
});

Deno.test("candidates: the marks outlast a kill", () => {
  const device = holding("a", "b");
  device.table.delete(text("a"));
  device.unread.add(text("a")).add(text("b"));
  device.hidden.add(text("b"));
  snapshot(device);
  assert.deepEqual(names(device), ["a", "b"]);
  // A new process on the same database, and a cloud that has nothing new to tell.
  using next = new Scripted({ store: device.store });
  next.epoch = device.epoch;
  next.table.set(text("b"), device.table.get(text("b"))!);
  next.tell([]);
  next.connect();
  assert.deepEqual(names(next), ["b"]);
});

Deno.test("candidates: a local change of a key that the list lacks is judged by the cloud, not swept", () => {
  using device = holding("a");
  device.disconnect();
  device.sql("UPDATE Slot SET slot = 'mine' WHERE name = 'a'");
  device.table.delete(text("a"));
  snapshot(device);
  device.pass(5_000);
  // The scripted cloud takes every change.
  assert.deepEqual(device.rows("SELECT name, slot FROM Slot"), [{ name: "a", slot: "mine" }]);
  assert.deepEqual(swept(device), []);
});

Deno.test("candidates: suspiciously many are told, and asked for slowly; the others are not held up", () => {
  using device = holding(...Array.from({ length: 1500 }, (_, i) => `n${i}`));
  device.write({ other: { slot: "x" } });
  const lost = [...device.table.keys()].filter((key) => key !== text("other"));
  for (const key of lost) device.hidden.add(key);
  device.table.delete(lost[0]!);
  snapshot(device);
  device.pass(2_000);
  const problem = () => device.rows("SELECT problem FROM _status")[0]!.problem as string | null;
  assert.match(problem()!, /lacks 1500 of 1501 rows of Slot/);
  const left = () => Number(device.rows("SELECT count(*) AS n FROM _sync_items WHERE swept = 1")[0]!.n);
  assert.ok(left() >= 1300, `${left()} left`);
  device.pass(10_000);
  assert.ok(left() >= 1100 && left() <= 1300, `${left()} left`);
  // A minute after an epoch changed the list is read once more, and marks them again.
  device.pass(150_000);
  assert.equal(left(), 0);
  assert.equal(names(device).length, 1500);
  assert.deepEqual(swept(device).length, 1);
  device.pass(6_000);
  assert.equal(problem(), null);
});

Deno.test("candidates: what waits aside and the list lacks is asked for, not dropped", () => {
  using device = holding("a");
  device.sql("UPDATE _outbox SET time = time");
  device.write({ b: { slot: "of a" } });
  const aside = () => device.rows("SELECT sort FROM _sync_aside").map(({ sort }) => sort);
  assert.deepEqual(aside(), ["slot#b"]);
  device.hidden.add(text("b"));
  snapshot(device);
  assert.deepEqual(aside(), ["slot#b"], "the table has it");
  device.table.delete(text("b"));
  snapshot(device);
  assert.deepEqual(aside(), []);
});

Deno.test("candidates: what an index that lags missed, and the device lacks, is found by a comparison a minute later", () => {
  using device = holding("a", "b");
  device.lags = true;
  device.hidden.add(text("c"));
  device.disconnect();
  device.table.set(text("c"), { model: "Slot", item: { name: "c", slot: "of c" }, version: ["other#1", 9] });
  device.table.delete(text("b"));
  snapshot(device);
  assert.deepEqual(names(device), ["a"]);
  assert.ok(device.twin.listCheck.pending);
  // A minute after the epoch changed the list is read once more, and misses it again.
  device.pass(65_000);
  assert.deepEqual(names(device), ["a"], "not yet");
  device.hidden.clear();
  // A list that lags may lack what the device has, too: it is asked for by name.
  device.hidden.add(text("a"));
  const compares = () => device.sent.filter(({ type }) => type === "compare").length;
  device.pass(62_000);
  assert.deepEqual(names(device), ["a", "c"]);
  assert.deepEqual(swept(device), ["swept b"]);
  assert.equal(compares(), 1);
  assert.deepEqual(device.rows("SELECT * FROM _sync_seen"), []);
  device.pass(120_000);
  assert.equal(device.twin.listCheck.pending, false);
});

Deno.test("candidates: a comparison that is due outlasts a kill, and one that got no answer is asked again", () => {
  const device = holding("a");
  device.lags = true;
  snapshot(device);
  using next = new Scripted({ store: device.store, nowMs: device.nowMs });
  next.epoch = device.epoch;
  next.lags = true;
  next.table.set(text("a"), device.table.get(text("a"))!);
  next.table.set(text("c"), { model: "Slot", item: { name: "c", slot: "of c" }, version: ["other#1", 9] });
  next.tell([]);
  next.connect();
  const { transport } = next.twin.options, send = transport.send;
  let lost = 0;
  transport.send = (message) => message.type === "compare" && lost++ < 2 ? true : send(message);
  next.pass(180_000);
  assert.equal(lost >= 3, true);
  assert.deepEqual(names(next), ["a", "c"]);
});
