/**
 * Rules of the device (rules §2 and §6) whose planted bugs no seed of the simulation shows (`mutants.ts --unseen`), each by the
 * shortest schedule that needs it. Messages are handed in one by one: the fixture's cloud answers only where it is asked to.
 */
import assert from "node:assert/strict";
import type { Current, Entry, FromDevice, Key, Version } from "../../../protocol.ts";
import { Scripted, twinCompiled } from "../twin_fixture.ts";

const key: Key = ["device#dev-1", "slot#a"];
const channel = "device:dev-1", epoch = "e";

/** A device that is caught up at 0 and whose messages nobody answers from here on. */
function silent(): Scripted {
  const device = new Scripted();
  device.connect();
  // The fixture drops what it is asked while it takes itself for cut; the twin goes on.
  device.connected = false;
  device.sent.length = 0;
  return device;
}

function say(device: Scripted, seq: number, ...entries: Entry[]): void {
  device.twin.onMessage({ type: "changes", channel, epoch, seq, entries, time: device.nowMs });
}

/** An application's write; the link takes what follows. */
function write(device: Scripted, sql: string): void {
  device.connected = true;
  device.store.db.exec(sql);
  device.twin.onCommit();
  device.connected = false;
}

function sent<T extends FromDevice["type"]>(device: Scripted, type: T): Extract<FromDevice, { type: T }>[] {
  return device.sent.filter((message): message is Extract<FromDevice, { type: T }> => message.type === type);
}

function item(slot: string, version: Version): Current {
  return { model: "Slot", item: { name: "a", slot }, version };
}

/** What the device sent of `a` last, as a version. */
function versionSent(device: Scripted): Version {
  const { batch, changes } = sent(device, "up").at(-1)!;
  return [`dev-1#${batch.slice(0, batch.lastIndexOf("/"))}`, changes[0]!.stamp];
}

const slots = (device: Scripted) => device.rows("SELECT name, slot FROM Slot");

Deno.test("rules: a two-way model is sent only when every channel is caught up", () => {
  using device = new Scripted();
  device.connect();
  device.disconnect();
  device.store.db.exec("INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  device.sent.length = 0;
  device.connected = true;
  device.twin.onConnected();
  device.twin.tick();
  assert.equal(sent(device, "sync").length, 1);
  assert.deepEqual(sent(device, "up"), []);
  device.answer();
  assert.equal(sent(device, "up").length, 1);
});

Deno.test("rules: what is made anew gets a stamp above the removed version's", () => {
  using device = silent();
  const gone = (device.nowMs + 3_000) * 1000;
  say(device, 1, { key, current: item("s1", ["other#1", device.nowMs * 1000]) });
  say(device, 2, { key, was: ["other#1", gone] });
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  device.pass(5_000);
  assert.ok(versionSent(device)[1] > gone);
});

Deno.test("rules: a hint for an item that is as the table has it sends nothing", () => {
  using device = silent();
  say(device, 1, { key, current: item("s1", ["other#1", device.nowMs * 1000]) });
  const number = device.store.number(twinCompiled.models.get("Slot")!);
  write(
    device,
    `INSERT INTO _outbox(model, row, kind, time, segment) SELECT ${number}, _id, 2, 0, segment FROM Slot, _sync_flag`,
  );
  device.twin.tick();
  assert.deepEqual(sent(device, "up"), []);
  assert.deepEqual(device.rows("SELECT count(*) AS n FROM _outbox"), [{ n: 0 }]);
});

Deno.test("rules: the own version, removed and back in one entry, is removed again", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  const version = versionSent(device);
  device.twin.onMessage({ type: "ack", batch: sent(device, "up")[0]!.batch, time: device.nowMs, answers: [] });
  say(device, 1, { key, mark: { model: "Slot", version }, was: version });
  assert.deepEqual(slots(device), []);
});

Deno.test("rules: a change that came and went before its answer is not sent again", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  say(device, 1, { key, was: versionSent(device) });
  device.connected = true;
  for (let n = 0; n < 60; n++) {
    device.nowMs += 1000;
    device.monotonicMs += 1000;
    device.twin.tick();
  }
  assert.deepEqual(sent(device, "up").map(({ changes }) => changes.map(({ op }) => op)), [["create"]]);
});

Deno.test("rules: an item that was fetched before its key was marked again is not believed", () => {
  using device = silent();
  const at = device.nowMs * 1000, mark = (stamp: number) => ({ model: "Slot", version: ["dev-1#x", stamp] as Version });
  say(device, 1, { key, current: item("s1", ["other#1", at]) });
  say(device, 2, { key, mark: mark(at + 1) });
  const [fetch] = sent(device, "fetch");
  say(device, 3, { key, mark: mark(at + 2) });
  const answer = { type: "items" as const, time: device.nowMs };
  const old: Entry = { key, current: item("s2", ["dev-1#x", at + 1]) };
  device.twin.onMessage({ ...answer, request: fetch!.request, entries: [old] });
  const again = sent(device, "fetch").at(-1)!;
  assert.notEqual(again.request, fetch!.request);
  assert.deepEqual(again.keys, [key]);
  const fresh: Entry = { key, current: item("s3", ["dev-1#x", at + 2]) };
  device.twin.onMessage({ ...answer, request: again.request, entries: [fresh] });
  assert.deepEqual(slots(device), [{ name: "a", slot: "s3" }]);
});

Deno.test("rules: a page that was asked for before an answer does not take back what was answered", () => {
  using device = silent();
  const before: Version = ["other#1", device.nowMs * 1000];
  say(device, 1, { key, current: item("s1", before) });
  write(device, "UPDATE Slot SET slot = 's2'");
  const [up] = sent(device, "up");
  // A gap: the page is asked for while the change is in flight, and made before it was written.
  say(device, 3);
  const { request } = sent(device, "sync").at(-1)!;
  // The change lost to one of another device, which the page does not know of either.
  const current = item("s3", ["other#2", up!.changes[0]!.stamp + 1]);
  device.twin.onMessage({
    ...{ type: "ack", batch: up!.batch, time: device.nowMs },
    answers: [{ at: 0, code: "stale", current }],
  });
  assert.deepEqual(slots(device), [{ name: "a", slot: "s3" }]);
  device.twin.onMessage({
    ...{ type: "page", request, channel, epoch, from: 1, to: 3, more: false, time: device.nowMs },
    entries: [{ key, current: item("s1", before) }],
  });
  assert.deepEqual(slots(device), [{ name: "a", slot: "s3" }]);
  assert.deepEqual(sent(device, "fetch").at(-1)?.keys, [key]);
});

Deno.test("rules: what was written after a change that lost is judged by its own time", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  const [up] = sent(device, "up");
  write(device, "UPDATE Slot SET slot = 's2'");
  // Written in the cloud later than both.
  const current = item("s3", ["other#2", (device.nowMs + 60_000) * 1000]);
  device.twin.onMessage({
    ...{ type: "ack", batch: up!.batch, time: device.nowMs },
    answers: [{ at: 0, code: "stale", current }],
  });
  waitAMinute(device);
  const second = sent(device, "up").flatMap(({ changes }) => changes).find(({ item }) => item?.slot === "s2");
  assert.ok(second!.stamp < current.version![1], `${second!.stamp}`);
});

Deno.test("rules: entries in flight under the key that a row had before do not hold up its present key", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  assert.equal(sent(device, "up").length, 1);
  write(device, "DELETE FROM Slot");
  // SQLite gives the row's number again.
  const other = (slot: string, stamp: number): Entry => ({
    key: ["device#dev-1", "slot#b"],
    current: { model: "Slot", item: { name: "b", slot }, version: ["other#1", device.nowMs * 1000 + stamp] },
  });
  say(device, 1, other("s2", 1));
  assert.deepEqual(device.rows("SELECT _id, slot FROM Slot"), [{ _id: 1, slot: "s2" }]);
  say(device, 2, other("s3", 2));
  assert.deepEqual(device.rows("SELECT _id, slot FROM Slot"), [{ _id: 1, slot: "s3" }]);
});

/** Virtual time passes with a link that takes what is sent; nobody answers. */
function waitAMinute(device: Scripted): void {
  device.connected = true;
  for (let n = 0; n < 60; n++) {
    device.nowMs += 1000;
    device.monotonicMs += 1000;
    device.twin.tick();
  }
  device.connected = false;
}

function acknowledge(device: Scripted): void {
  device.twin.onMessage({ type: "ack", batch: sent(device, "up")[0]!.batch, time: device.nowMs, answers: [] });
}

/** Answers what is asked by name with this, until nothing more is asked. */
function find(device: Scripted, current?: Current): void {
  for (let request = ""; sent(device, "fetch").at(-1)?.request !== request;) {
    request = sent(device, "fetch").at(-1)!.request;
    device.twin.onMessage({ type: "items", request, entries: [{ key, current }], time: device.nowMs });
  }
}

/** What somebody who writes no version has put in the item's place. */
const bare: Current = { model: "Slot", item: { name: "a", slot: "s2" } };

Deno.test("rules: a change that was overwritten without a version, before its answer, is not sent again", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  say(device, 1, { key, current: bare, over: versionSent(device) });
  say(device, 2, { key, removed: true });
  waitAMinute(device);
  assert.equal(sent(device, "up").length, 1);
  find(device);
  assert.deepEqual(slots(device), []);
});

Deno.test("rules: an update of what was overwritten unseen is made from what was written", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  const version = versionSent(device);
  write(device, "UPDATE Slot SET slot = 's3'");
  say(device, 1, { key, current: bare, over: version });
  waitAMinute(device);
  const { changes: [update] } = sent(device, "up").at(-1)!;
  assert.equal(update!.op, "update");
  assert.deepEqual(update!.base?.version, version);
});

Deno.test("rules: what was overwritten without a version went with what was there after, whatever its removal says", () => {
  for (const removal of [{ key }, { key, removed: true }]) {
    using device = silent();
    write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
    const version = versionSent(device);
    acknowledge(device);
    say(device, 1, { key, current: bare, over: version });
    find(device, bare);
    assert.deepEqual(slots(device), [{ name: "a", slot: "s2" }]);
    say(device, 2, removal);
    assert.deepEqual(slots(device), []);
    // A late copy of the create.
    say(device, 3, { key, current: item("s1", version) });
    assert.deepEqual(slots(device), []);
    assert.deepEqual(device.rows("SELECT why FROM _conflicts"), [{ why: "revived" }]);
  }
});

Deno.test("rules: what was overwritten, and put back by whoever did it, stays", () => {
  using device = silent();
  write(device, "INSERT INTO Slot(name, slot) VALUES ('a', 's1')");
  const version = versionSent(device);
  acknowledge(device);
  say(device, 1, { key, current: bare, over: version });
  find(device, bare);
  say(device, 2, { key, current: item("s1", version) });
  waitAMinute(device);
  assert.deepEqual(slots(device), [{ name: "a", slot: "s1" }]);
  assert.equal(sent(device, "up").length, 1);
});

Deno.test("rules: a removal whose own entry is not read yet waits for it: only it names the item", () => {
  using device = new Scripted({ limits: { batchChangesMax: 1 } });
  device.connect();
  const ids = Array.from({ length: 12 }, (_, i) => `s${String(i).padStart(2, "0")}`);
  for (const id of ids) device.store.db.prepare("INSERT INTO Sample(id, n) VALUES (?, 1)").run(id);
  device.twin.onCommit();
  device.answer();
  device.pass(60_000);
  device.answer();
  // No copy of what was sent is under way any more. All are read, as many are sent as may be in flight, and one waits.
  device.store.db.exec("UPDATE Sample SET n = 2");
  device.twin.onCommit();
  device.store.db.exec(`DELETE FROM Sample WHERE id = '${ids.at(-1)}'`);
  device.answer();
  device.pass(60_000);
  device.answer();
  const removals = sent(device, "up").flatMap(({ changes }) => changes).filter(({ op }) => op === "remove");
  assert.deepEqual(removals.map(({ key }) => key), [{ id: ids.at(-1) }]);
});
