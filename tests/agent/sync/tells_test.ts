import assert from "node:assert/strict";
import { Tells } from "../../../agent/sync/tells.ts";
import { decodePresence, encodeAt } from "../../../protocol.ts";
import { Scripted } from "../twin_fixture.ts";

class Watch {
  nowMs = 10_000;
  seq: number | undefined = 4;
  readonly told: Record<string, number>[] = [];
  readonly tells = new Tells(
    () => this.nowMs,
    () => ({ "device:d": { seq: this.seq }, global: {} }),
    (at) => this.told.push(at) > 0,
  );

  ask(seq: number): void {
    this.tells.ask("device:d", seq);
    this.tells.answer();
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.tells.answer();
  }
}

Deno.test("tells: the device answers at once, and at most once a second by the cursors of then", () => {
  const watch = new Watch();
  watch.ask(4);
  assert.deepEqual(watch.told, [{ "device:d": 4 }]);
  for (watch.seq = 5; watch.seq <= 40; watch.seq++) {
    watch.ask(watch.seq);
    watch.pass(10);
  }
  assert.equal(watch.told.length, 1);
  assert.equal(watch.tells.dueMs, 11_000);
  watch.pass(1_000);
  assert.deepEqual(watch.told.slice(1), [{ "device:d": 41 }]);
  watch.pass(5_000);
  assert.deepEqual([watch.told.length, watch.tells.dueMs], [2, Infinity]);
});

Deno.test("tells: an entry that is not applied yet is told again when it is, and not for ever", () => {
  const watch = new Watch();
  watch.ask(7);
  watch.pass(3_000);
  watch.seq = 6;
  watch.pass(1_000);
  assert.deepEqual(watch.told, [{ "device:d": 4 }]);
  watch.seq = 7;
  watch.pass(10);
  watch.pass(10_000);
  assert.deepEqual(watch.told, [{ "device:d": 4 }, { "device:d": 7 }]);
  watch.ask(9);
  watch.pass(60_000);
  watch.seq = 9;
  watch.pass(10);
  assert.equal(watch.told.length, 3);
  watch.ask(11);
  watch.tells.disconnected();
  watch.seq = 12;
  watch.pass(5_000);
  assert.equal(watch.told.length, 4, "another connection's question");
});

Deno.test("tells: a device tells of an entry when its rows are committed; without the question it tells nothing", () => {
  using device = new Scripted();
  device.connect();
  device.write({ a: { slot: "1" } });
  assert.equal(device.told.length, 0);
  device.asks = true;
  device.write({ b: { slot: "2" } });
  const [first] = device.told;
  assert.deepEqual([device.told.length, first?.rows], [1, 2]);
  // The question alone: no entry is skipped, no worker is back.
  device.pass(2_000);
  const sent = device.sent.length;
  device.ask();
  assert.deepEqual([device.told.map(({ seq }) => seq), device.sent.length], [[first?.seq, first?.seq], sent]);
  // It says nothing of workers: what waits for an answer waits on.
  device.swallows = () => true;
  device.twin.resync();
  const asked = device.sent.length;
  device.pass(1_000);
  device.ask();
  device.pass(1_000);
  assert.equal(device.sent.length, asked);
  device.swallows = () => false;
  device.pass(30_000);
  device.asks = false;
  device.write({ c: { slot: "3" } });
  assert.equal(device.rows("SELECT * FROM Slot").length, 3);
});

Deno.test("tells: to older workers the answer is a presence that says nothing new", () => {
  const { online, report, at } = decodePresence(encodeAt({ "device:d": 4, global: 12 }));
  assert.deepEqual([online, report, at], [true, undefined, { "device:d": 4, global: 12 }]);
});
