import assert from "node:assert/strict";
import { Budget } from "../../cloud/budget.ts";
import { DecodeLane } from "../../cloud/decode_lane.ts";
import { Decoder, encode, ProtocolError } from "../../protocol.ts";
import { deflated } from "../../protocol/deflate.ts";
import { askLimits, batchLimits } from "../../protocol/message_limits.ts";
import { until } from "../support/until.ts";

const payload = new Uint8Array(10);
const rate = (perSecond: number, burst: number) => ({ perSecond, burst });
const budgets = (ms: number) => ({
  devicePackets: rate(1e9, 1e9),
  deviceBytes: rate(1e9, 1e9),
  accountBytes: rate(1e9, 1e9),
  deviceMs: rate(ms, ms),
  accountMs: rate(ms, ms),
});

Deno.test("budget: who takes more than there is waits for the rest, and a burst is free after a rest", () => {
  const budget = new Budget(rate(10, 20));
  assert.equal(budget.take("a", 20, 0), 0);
  assert.equal(budget.take("a", 5, 0), 500);
  assert.equal(budget.waitMs("a", 250), 250);
  assert.equal(budget.waitMs("b", 250), 0);
  assert.equal(budget.take("a", 0, 500), 0);
  assert.equal(budget.take("a", 20, 60_000), 0);
  // A clock that steps back gives nothing.
  assert.ok(budget.take("a", 1, 0) > 0);
});

Deno.test("decode lane: who takes long waits for his next, in order, and nobody else does", async () => {
  let now = 0;
  const lane = new DecodeLane((deviceId) => deviceId.slice(0, 1), budgets(100), () => now);
  const done: string[] = [];
  const work = (name: string, ms: number) => () => {
    now += ms;
    done.push(name);
    return { bytes: 10 };
  };
  lane.take("a1", payload, work("slow", 160));
  for (const n of [1, 2, 3]) lane.take("a1", payload, work(`own ${n}`, 1));
  // Of the same account: it waits, too.
  lane.take("a2", payload, work("neighbour", 1));
  lane.take("b1", payload, work("other", 1));
  assert.deepEqual(done, ["slow", "other"]);
  assert.equal(lane.counters.delayed, 4);
  const clock = setInterval(() => now += 50, 5);
  await until("all are done", () => done.length === 6);
  clearInterval(clock);
  assert.deepEqual(done.filter((name) => name.startsWith("own")), ["own 1", "own 2", "own 3"]);
  lane.close();
});

Deno.test("decode lane: what is no message costs its sender ten times its bytes", () => {
  const delayed = (malformed: boolean) => {
    const lane = new DecodeLane(undefined, { ...budgets(1e9), deviceBytes: rate(100, 100) }, () => 0);
    for (const _ of [1, 2]) lane.take("a", payload, () => ({ bytes: 50, malformed }));
    lane.close();
    return lane.counters.delayed;
  };
  assert.equal(delayed(false), 0);
  assert.equal(delayed(true), 1);
});

Deno.test("decode lane: what waits of a device is bounded, and a message that waits is its own copy", async () => {
  let now = 0;
  const lane = new DecodeLane(undefined, budgets(100), () => now);
  const got: number[] = [];
  lane.take("a", payload, () => {
    now += 10_000;
    return { bytes: 0 };
  });
  const shared = new Uint8Array([1]);
  for (let n = 0; n < 1_000; n++) lane.take("a", shared, ([byte]) => ({ bytes: got.push(byte!) }));
  shared[0] = 2;
  assert.equal(lane.counters.dropped, 1_000 - 64);
  now += 1_000_000;
  await until("they are done", () => got.length === 64);
  assert.deepEqual([...new Set(got)], [1]);
  lane.close();
});

Deno.test("message limits: a bomb of each kind is refused before it is taken apart, and what a device may send is not", () => {
  const decoder = new Decoder({ now: () => 0 });
  const utf8 = new TextEncoder();
  const bombs: [string, string, typeof askLimits][] = [
    ["blanks in a question", `{"v":1,${" ".repeat(8e6)}"type":"sync"}`, askLimits],
    ["brackets in a batch", `{"v":1,"type":"up","y":[${"[],".repeat(6e5)}[]]}`, batchLimits],
    ["numbers in a batch", `{"v":1,"type":"up","y":[${"1,".repeat(6e5)}1]}`, batchLimits],
    ["16 MB in a batch", `{"v":1,"type":"up","y":"${"y".repeat(16e6)}"}`, batchLimits],
  ];
  for (const [what, text, limits] of bombs) {
    const bomb = deflated(utf8.encode(text));
    const begun = performance.now();
    assert.throws(() => decoder.accept(bomb, "up", "d", limits), ProtocolError, what);
    // Far below what it takes to read one (seconds); inflating 8 MB is most of it.
    assert.ok(performance.now() - begun < 1_000, what);
  }
  // The largest item of many members that DynamoDB takes, with its base.
  const list = Array.from({ length: 130_000 }, () => null);
  const item = { id: "x", list };
  const up = {
    type: "up" as const,
    batch: "k/1",
    sent: 1,
    changes: [{ model: "M", op: "update" as const, stamp: 1, item, base: { item } }],
  };
  const [whole] = encode(up, { maxBytes: 16 * 1024 * 1024, deflate: true });
  assert.equal(decoder.accept(whole!, "up", "d", batchLimits)?.type, "up");
  const keys = Array.from({ length: 100 }, (_, n) => [`${n}`.padEnd(2048, "h"), "s".repeat(1024)] as const);
  const [fetch] = encode({ type: "fetch", request: "k/1", keys }, { maxBytes: 16 * 1024 * 1024 });
  assert.equal(decoder.accept(fetch!, "up", "d", askLimits)?.type, "fetch");
});
