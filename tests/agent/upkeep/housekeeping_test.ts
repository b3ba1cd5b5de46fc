/**
 * What the agent keeps for people and for itself does not grow for ever: each of its own tables has a bound.
 */
import assert from "node:assert/strict";
import { Scripted } from "../twin_fixture.ts";

const count = (device: Scripted, what: string) => Number(device.rows(`SELECT count(*) AS n FROM ${what}`)[0]!.n);
const many = (n: number) => `WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ${n})`;

Deno.test("history: of what is kept for people the newest stay, and a change's number is never used again", () => {
  using device = new Scripted({ limits: { historyMax: 10, rejectedMax: 10 } });
  device.connect();
  device.sql(`${many(25)} INSERT INTO _rejected(model) SELECT 'Sample' FROM i`);
  device.sql(`${many(25)} INSERT INTO _conflicts(model) SELECT 'Sample' FROM i`);
  for (let i = 0; i < 25; i++) device.write({ [`k${i}`]: { slot: `s${i}` } });
  device.pass(61_000);
  for (const [table, id] of [["_rejected", "id"], ["_conflicts", "id"], ["_changes", "sequence"]] as const) {
    assert.deepEqual(device.rows(`SELECT min(${id}) AS first, max(${id}) AS last FROM ${table}`), [
      { first: 16, last: 25 },
    ], table);
  }
  device.sql("DELETE FROM _changes");
  device.write({ another: { slot: "x" } });
  assert.deepEqual(device.rows("SELECT sequence FROM _changes"), [{ sequence: 26 }]);
});

Deno.test("history: what goes from _rejected unseen is told before and after, and counted", () => {
  using device = new Scripted({ limits: { rejectedMax: 10 } });
  device.connect();
  const put = (n: number) => device.sql(`${many(n)} INSERT INTO _rejected(model) SELECT 'Sample' FROM i`);
  const status = () => device.rows("SELECT problem, rejected, rejected_trimmed AS trimmed FROM _status")[0]!;
  put(7);
  device.pass(61_000);
  assert.match(String(status().problem), /^7 changes were refused and are in _rejected \(the last of Sample: /);
  put(2);
  device.pass(62_000);
  assert.match(String(status().problem), /^9 refused changes are in _rejected, and the oldest are dropped/);
  put(5);
  device.pass(62_000);
  assert.deepEqual({ ...status(), problem: null }, { problem: null, rejected: 10, trimmed: 4 });
  assert.match(String(status().problem), /4 were dropped since/);
  device.sql("DELETE FROM _rejected");
  device.pass(62_000);
  assert.deepEqual(status(), { problem: null, rejected: 0, trimmed: 4 });
});

Deno.test("history: large items are kept up to a number of bytes, the newest whatever its size", () => {
  using device = new Scripted({ limits: { historyBytesMax: 10_000, rejectedBytesMax: 10_000 } });
  const put = (table: string, bytes: number, rows: number) =>
    device.sql(`${many(rows)} INSERT INTO ${table}(model, item) SELECT 'Sample', '${"é".repeat(bytes / 2)}' FROM i`);
  const ids = (table: string) => device.rows(`SELECT id FROM ${table} ORDER BY id`).map(({ id }) => id);
  put("_rejected", 3_000, 5);
  put("_conflicts", 20_000, 2);
  device.sql("INSERT INTO _conflicts(model) VALUES ('Sample')");
  device.pass(61_000);
  assert.deepEqual([ids("_rejected"), ids("_conflicts")], [[3, 4, 5], [3]]);
  put("_conflicts", 20_000, 1);
  device.pass(61_000);
  assert.deepEqual(ids("_conflicts"), [4]);
});

Deno.test("history: a clock that jumps for years leaves no more than the jumps that what waits was recorded before", () => {
  using device = new Scripted();
  const jump = (n: number) => {
    for (let i = 0; i < n; i++) {
      device.nowMs += 3_600_000;
      device.pass(2_000);
    }
  };
  const madeMs = device.nowMs;
  // The triggers record the machine's own time.
  device.sql(`INSERT INTO Sample(n) VALUES (1); UPDATE _outbox SET time = ${madeMs}`);
  device.pass(2_000);
  jump(20);
  device.pass(61_000);
  assert.equal(count(device, "_sync_clock"), 20, "the change that waits was made before all of them");
  // The device was right at the end: at its first connection the change is given the time of when it was made.
  device.connect();
  device.pass(61_000);
  assert.equal(count(device, "_outbox"), 0);
  const stamp = [...device.table.values()][0]!.version![1];
  const sinceMs = device.nowMs - stamp / 1000;
  assert.ok(Math.abs(sinceMs - (device.nowMs - madeMs - 20 * 3_600_000)) < 5_000, `made ${sinceMs} ms ago`);
  jump(20);
  device.pass(61_000);
  assert.equal(count(device, "_sync_clock"), 0);
  const [{ segment }] = device.rows("SELECT segment FROM _sync_flag") as [{ segment: number }];
  assert.equal(segment, 41, "segments count on");
});
