import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Summary } from "../../../cloud/operations/summary.ts";

function of(values: readonly number[]): Summary {
  const summary = new Summary();
  for (const value of values) summary.add(value);
  return summary;
}

function exactP95(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.ceil(0.95 * values.length) - 1]!;
}

Deno.test("summary: p95 of measurements is within 1% of the nearest rank", () => {
  const values = Array.from({ length: 1000 }, (_, i) => 20 + (i * 7919 % 1000) / 100);
  const { p95, count, min, max, average } = of(values).values()!;
  assert.ok(Math.abs(p95 / exactP95(values) - 1) <= 0.0101, `${p95} for ${exactP95(values)}`);
  assert.deepEqual([count, min, Math.round(max * 100), Math.round(average * 1000)], [1000, 20, 2999, 24995]);
});

Deno.test("summary: values of both signs, zeros among them, stand in their order", () => {
  const negative = of([-100, -10, -1, 0, 0].flatMap((value) => Array<number>(20).fill(value))).values()!;
  assert.equal(negative.p95, 0);
  const below = Array.from({ length: 100 }, (_, i) => -1 - i / 10);
  assert.ok(Math.abs(of(below).values()!.p95 / exactP95(below) - 1) <= 0.0201);
  assert.equal(new Summary().values(), undefined);
});

Deno.test("summary: whatever the numbers are, it stays small, and p95's error is that of its level", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ noNaN: true, min: -1e30, max: 1e30 }), { minLength: 1, maxLength: 400 }),
      (values) => {
        const summary = of(values), stored = summary.stored(), [, , , , level, , below, above] = stored;
        assert.ok(below.length + above.length <= 160);
        const wanted = exactP95(values), { p95 } = summary.values()!, growth = 1.02 ** 2 ** level;
        const error = Math.abs(p95 - wanted), allowed = Math.abs(wanted) * (growth - 1) / (growth + 1) * (1 + 1e-9);
        assert.ok(error <= allowed + 1e-300, `${p95} for ${wanted} at level ${level}`);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("summary: parts that are stored, read and merged come to what all together do", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -1_000_000, max: 1_000_000 }), { minLength: 2, maxLength: 300 }),
      (values) => {
        const at = Math.floor(values.length / 3), joined = new Summary();
        for (const part of [values.slice(0, at), values.slice(at)]) {
          joined.merge(Summary.of(JSON.parse(JSON.stringify(of(part).stored()))));
        }
        const { p95: _p95, ...whole } = of(values).values()!, { p95, ...sum } = joined.values()!;
        assert.deepEqual({ ...sum, average: 0 }, { ...whole, average: 0 });
        const growth = 1.02 ** 2 ** joined.stored()[4], wanted = exactP95(values);
        assert.ok(Math.abs(p95 - wanted) <= Math.abs(wanted) * (growth - 1) / (growth + 1) * (1 + 1e-9));
      },
    ),
    { numRuns: 200 },
  );
});
