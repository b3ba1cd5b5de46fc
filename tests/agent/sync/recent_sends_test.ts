/**
 * What was sent lately is remembered in bounded memory, and never forgotten to the harm of a removal.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { RecentSends, transmissionMaxMs } from "../../../agent/sync/recent_sends.ts";

Deno.test("recent sends: a removal never goes before the key's last transmission is too old, however much was forgotten", () => {
  const steps = fc.array(fc.record({ key: fc.nat(60), waitMs: fc.nat(4_000), stamp: fc.nat(1_000) }), {
    maxLength: 200,
  });
  fc.assert(fc.property(steps, (list) => {
    const sends = new RecentSends(0, 0, 20);
    const last = new Map<string, { at: number; stamp: number }>();
    let now = 1_000;
    for (const { key, waitMs, stamp } of list) {
      now += waitMs;
      sends.note(`k${key}`, now, stamp);
      last.set(`k${key}`, { at: now, stamp });
      for (const [name, { at, stamp }] of last) {
        const free = sends.safeFromMs(name, now, now);
        assert.ok(free > Math.min(at + transmissionMaxMs, now - 1), `${name}: free from ${free}, sent at ${at}`);
        if (at + transmissionMaxMs >= now) assert.ok(free > at + transmissionMaxMs);
        const remembered = sends.stampOf(name);
        assert.ok(remembered === undefined || remembered === stamp);
      }
    }
  }));
});

Deno.test("recent sends: the last half of what fits is remembered exactly", () => {
  const sends = new RecentSends(0, 0, 100);
  for (let n = 0; n < 1_000; n++) sends.note(`k${n}`, n, n);
  for (let n = 950; n < 1_000; n++) {
    assert.equal(sends.stampOf(`k${n}`), n);
    assert.equal(sends.safeFromMs(`k${n}`, 1_000, 0), n + transmissionMaxMs + 1);
  }
  assert.equal(sends.stampOf("k0"), undefined);
});

Deno.test("recent sends: noting a key costs the same after a million as after a thousand", () => {
  const sends = new RecentSends(0, 0);
  const timeOf = (from: number, count: number) => {
    const start = performance.now();
    for (let n = from; n < from + count; n++) sends.note(`key-${n}`, n / 20, n);
    return performance.now() - start;
  };
  timeOf(0, 20_000);
  const early = Math.min(...[0, 1, 2].map((i) => timeOf(20_000 + i * 5_000, 5_000)));
  const late = Math.min(...[0, 1, 2].map((i) => timeOf(200_000 + i * 5_000, 5_000)));
  assert.ok(late < early * 10 + 5, `${late} ms after ${early} ms`);
});

Deno.test("recent sends: after a start everything counts as sent when the last batch was", () => {
  const sends = new RecentSends(1_000_000, 500);
  assert.equal(sends.safeFromMs("k", 600, 1_010_000), 500 + transmissionMaxMs + 1);
  assert.equal(new RecentSends(0, 500).safeFromMs("k", 600, 1_010_000), 600);
});
