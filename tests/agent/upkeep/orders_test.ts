import assert from "node:assert/strict";
import type { Order, Ordered } from "../../../protocol.ts";
import { askVerify, keepReport, orderedReport, verifyReport } from "../../../agent/verify/report.ts";
import { Scripted } from "../twin_fixture.ts";

let number = 0;

function give(device: Scripted, content: Omit<Order, "type" | "order">, order = `o/${++number}`): string {
  device.twin.onMessage({ type: "order", order, ...content });
  return order;
}

function answersTo(device: Scripted, order: string): Ordered[] {
  return device.sent.filter((message): message is Ordered => message.type === "ordered" && message.order === order);
}

/** Passes time until the order is done. */
function outcome(device: Scripted, order: string): Ordered {
  for (let i = 0; i < 100; i++) {
    const last = answersTo(device, order).at(-1);
    if (last && last.state !== "running") return last;
    device.pass(1_000);
  }
  throw new Error(`the order ${order} is not done`);
}

/** Keeps rejected changes of slots. */
function keep(device: Scripted, count: number, from = 0): void {
  for (let i = from; i < from + count; i++) {
    device.store.db.prepare(
      "INSERT INTO _rejected(model, key, op, item, code, reason, stamp, time) VALUES ('Slot', ?, 'create', ?, 'invalid', 'too high', 1, 1)",
    ).run(JSON.stringify({ name: `r${i}` }), JSON.stringify({ name: `r${i}`, slot: `s${i}`, kind: "a" }));
  }
}

Deno.test("orders: rejected changes are put back in portions, as local writes that are sent, and it is told how far it is", () => {
  using device = new Scripted();
  device.connect();
  keep(device, 120);
  // One that its table can't take holds up no other.
  device.store.db.exec(
    `INSERT INTO _rejected(model, key, op, item, code, stamp, time) VALUES ('Slot', '{"name":"bad"}', 'create', '{"name":"bad","slot":"s1"}', 'invalid', 1, 1)`,
  );
  const order = give(device, { do: "retry", table: "rejected" });
  const { state, report } = outcome(device, order);
  assert.deepEqual([state, report.done, report.failed], ["done", 120, 1]);
  assert.match(String((report.reasons as string[])[0]), /121: /);
  assert.deepEqual(answersTo(device, order).map((told) => told.state).at(0), "running");
  assert.equal(device.rows("SELECT name FROM Slot").length, 120);
  assert.equal(device.rows("SELECT id FROM _rejected").length, 1);
  device.pass(5_000);
  assert.equal([...device.table.keys()].length, 120);
});

Deno.test("orders: one that comes again is answered from what is remembered, also by the next start, and not done again", () => {
  using device = new Scripted();
  device.connect();
  keep(device, 1);
  const order = give(device, { do: "retry", table: "rejected", id: 1 });
  assert.equal(outcome(device, order).report.done, 1);
  keep(device, 1, 1);
  // The same id as before: SQLite gives the number of the last row again.
  const before = device.rows("SELECT id FROM _rejected").length;
  give(device, { do: "retry", table: "rejected", id: 1 }, order);
  assert.deepEqual([answersTo(device, order).length, device.rows("SELECT id FROM _rejected").length], [2, before]);
  using next = new Scripted({ store: device.store });
  next.connect();
  give(next, { do: "retry", table: "rejected", id: 1 }, order);
  assert.deepEqual([outcome(next, order).report, next.rows("SELECT id FROM _rejected").length], [
    { done: 1, failed: 0 },
    before,
  ]);
});

Deno.test("orders: what a crash left half done goes on at the next start", () => {
  using device = new Scripted();
  keep(device, 3);
  device.store.db.exec(
    `INSERT INTO _sync_orders(id, content, state, time) VALUES
     ('o/900', '{"type":"order","order":"o/900","do":"retry","table":"rejected"}', 'running', 1),
     ('o/901', '{"type":"order","order":"o/901","do":"retry","table":"rejected","id":99}', 'running', 1)`,
  );
  using next = new Scripted({ store: device.store });
  next.connect();
  assert.equal(outcome(next, "o/900").report.done, 3);
  // Its kept version was put back just before the crash.
  assert.deepEqual(outcome(next, "o/901").state, "done");
});

Deno.test("orders: versions that lost are restored and dropped, a comparison is made, every channel is asked for", () => {
  using device = new Scripted();
  device.connect();
  device.write({ a: { slot: "1" } });
  for (let i = 0; i < 2; i++) {
    device.store.db.exec(
      `INSERT INTO _conflicts(model, key, op, item, why, stamp, time) VALUES ('Slot', '{"name":"a"}', 'update', '{"name":"a","slot":"9"}', 'stale', 1, 1)`,
    );
  }
  assert.equal(outcome(device, give(device, { do: "restore", table: "conflicts", id: 1 })).report.done, 1);
  assert.equal(device.rows("SELECT slot FROM Slot")[0]!.slot, "9");
  assert.deepEqual(outcome(device, give(device, { do: "drop", table: "conflicts" })).report, { done: 1 });
  assert.equal(outcome(device, give(device, { do: "restore", table: "conflicts", id: 1 })).state, "failed");
  const { state, report } = outcome(device, give(device, { do: "verify" }));
  assert.deepEqual([state, report.differences], ["done", 0]);
  const asked = device.sent.filter(({ type }) => type === "sync").length;
  assert.equal(outcome(device, give(device, { do: "sync" })).state, "done");
  assert.ok(device.sent.filter(({ type }) => type === "sync").length > asked);
  assert.equal(outcome(device, give(device, { do: "drop", table: "aside" })).state, "failed");
  assert.equal(outcome(device, give(device, { do: "retry", table: "aside" })).state, "done");
});

Deno.test("orders: a comparison's outcome has the models and the first differences, as far as the cloud stores them", () => {
  using device = new Scripted();
  const { db } = device.store, id = askVerify(db, {});
  const insert = db.prepare(
    "INSERT INTO _verify(model, key, what, detail, mended, time) VALUES ('Slot', ?, 'differs', ?, 0, 1)",
  );
  for (let at = 0; at < 100; at++) {
    insert.run(JSON.stringify({ name: `n${at}` }), `slot “${"é".repeat(40)}” on the device`);
  }
  const models = { Slot: { rows: 500, differences: 100, mended: 0 } };
  const sums = { differences: 100, mended: 0, unsettled: 1 };
  keepReport(device.store, id, { state: "done", ...sums, models });
  const told = orderedReport(db, verifyReport(db, id));
  assert.deepEqual([told.rows, told.models, told.differences], [500, models, 100]);
  assert.ok(told.found!.length > 5 && told.found!.length < 50);
  assert.deepEqual(told.found![0], {
    model: "Slot",
    key: { name: "n0" },
    what: "differs",
    detail: `slot “${"é".repeat(40)}” on the device`,
    mended: false,
  });
  const bytes = new TextEncoder().encode(JSON.stringify(told)).length;
  assert.ok(bytes > 2_500 && bytes < 4_096 - 300, `${bytes} bytes`);
  // Of very many models the sums alone.
  const many = Object.fromEntries(Array.from({ length: 90 }, (_, at) => [`Model${at}`, models.Slot]));
  keepReport(device.store, id, { state: "done", ...sums, models: many });
  assert.deepEqual(orderedReport(db, verifyReport(db, id)), { rows: 45_000, ...sums });
  // Under way there are the sums alone, too.
  keepReport(device.store, id, { state: "running", ...sums, models });
  assert.deepEqual(orderedReport(db, verifyReport(db, id)), { rows: 500, ...sums });
});

Deno.test("orders: what is kept is listed with the row as it is now, in pages that fit a message", () => {
  using device = new Scripted();
  device.connect();
  device.write({ r1: { slot: "now" } });
  keep(device, 3);
  const { report } = outcome(device, give(device, { do: "kept", table: "rejected", limit: 2 }));
  const rows = report.rows as unknown as {
    id: number;
    now: { slot: string } | null;
    lost: { slot: string };
    reason: string;
  }[];
  assert.deepEqual(rows.map(({ id, lost, now }) => [id, lost.slot, now?.slot]), [[1, "s0", undefined], [
    2,
    "s1",
    "now",
  ]]);
  assert.deepEqual([report.next, rows[0]!.reason], [2, "too high"]);
  const rest = outcome(device, give(device, { do: "kept", table: "rejected", limit: 2, after: 2 })).report;
  assert.deepEqual([(rest.rows as unknown[]).length, rest.next], [1, undefined]);
  device.store.db.prepare("UPDATE _rejected SET item = ?").run(JSON.stringify({ name: "x", slot: "y".repeat(50_000) }));
  const large = outcome(device, give(device, { do: "kept", table: "rejected" })).report;
  assert.deepEqual([(large.rows as unknown[]).length, large.next], [1, 1]);
  assert.deepEqual(outcome(device, give(device, { do: "kept", table: "aside" })).report.rows, []);
});
