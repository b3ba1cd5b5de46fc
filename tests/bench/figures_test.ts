/**
 * The benchmarks' own arithmetic: what is judged, and what is shown.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { collect, keeps, type Row } from "../../bench/measure.ts";
import { median, percentile, short } from "../../bench/stats.ts";
import { barChart } from "../../bench/svg.ts";
import { tableOf } from "../../bench/table.ts";

Deno.test("figures: repeats of a row become one result with all samples, in the order of the rows", () => {
  const repeat = (a: number, b: number): Row[] => [
    { name: "a", unit: "ms", value: a, goal: { atMost: 5 } },
    { name: "b", unit: "ms", value: b },
  ];
  const results = collect("bench", [repeat(1, 4), repeat(2, 5), repeat(9, 6)]);
  assert.deepEqual(results.map(({ name, samples }) => [name, samples]), [["a", [1, 2, 9]], ["b", [4, 5, 6]]]);
});

Deno.test("figures: the median is judged, so that one bad repeat alone decides nothing", () => {
  assert.equal(keeps([1, 2, 900], { atMost: 2 }), true);
  assert.equal(keeps([1, 3, 900], { atMost: 2 }), false);
  assert.equal(keeps([1, 3], { atLeast: 2 }), true);
  assert.equal(keeps([], { atLeast: 0 }), false);
  assert.equal(keeps([], { atMost: 9 }), false);
});

/** What a clock or a counter gives: of two infinities there is no middle. */
const measured = fc.double({ min: -1e15, max: 1e15, noNaN: true });

Deno.test("figures: a percentile is one of the values, and as many lie below it as it says", () => {
  fc.assert(
    fc.property(fc.array(measured, { minLength: 1 }), fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
      const value = percentile(values, share);
      assert.ok(values.includes(value));
      assert.ok(values.filter((other) => other <= value).length >= share * values.length - 1e-9);
      assert.ok(median(values) >= Math.min(...values) && median(values) <= Math.max(...values));
    }),
  );
});

Deno.test("figures: numbers are shown with about three digits", () => {
  assert.deepEqual([28_432, 999, 14.26, 0.964, NaN].map(short), ["28,400", "999", "14.3", "0.96", "–"]);
});

Deno.test("figures: a table names what was missed, and a chart escapes its labels", () => {
  const result = { bench: "x", name: "up", unit: "items/s", samples: [10, 20, 30], goal: { atLeast: 25 } };
  assert.match(tableOf("Title", [result], false), /up\s+20\.0 \(10\.0–30\.0\)\s+items\/s\s+≥ 25\.0\s+MISSED/);
  const svg = barChart("a < b", "ms", [{ label: "x & y", value: 1, min: 1, max: 2, goal: 3, kind: "ours" }]);
  assert.ok(svg.includes("a &lt; b (ms)") && svg.includes("x &amp; y") && !svg.includes("NaN"));
});
