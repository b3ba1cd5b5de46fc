import assert from "node:assert/strict";
import { metricsHref, metricsView } from "../../../cloud/console/pages/metrics_query.ts";

const minute = 60_000, hour = 60 * minute, now = Date.parse("2026-11-29T01:02:10Z");
const view = (text: string) => metricsView(new URLSearchParams(text), now);

Deno.test("metrics: ranges end with the last whole step, in points and rows that are not too many", () => {
  for (const [range, length, step] of [["1h", hour, 1], ["24h", 24 * hour, 5], ["7d", 168 * hour, 30]] as const) {
    const { fromMs, toMs, stepMs, rowSteps } = view(`range=${range}`);
    assert.deepEqual([toMs - fromMs, stepMs], [length, step * minute]);
    assert.ok(toMs <= now && now - toMs < stepMs + 3_000);
    assert.ok((toMs - fromMs) / stepMs <= 340 && (toMs - fromMs) / stepMs / rowSteps <= 30);
  }
  assert.deepEqual(view(""), view("range=1h"));
});

Deno.test("metrics: a part is what the address says, in steps of its length, and its address is its own", () => {
  const part = view("from=2026-11-28T10:00:20Z&to=2026-11-28T11:30:00Z&whose=worker");
  assert.deepEqual(
    [new Date(part.fromMs).toISOString(), new Date(part.toMs).toISOString(), part.stepMs, part.mine, part.range],
    ["2026-11-28T10:00:00.000Z", "2026-11-28T11:30:00.000Z", minute, true, undefined],
  );
  const { search } = new URL(metricsHref(part), "http://x");
  assert.deepEqual(view(search), part);
  assert.equal(metricsHref(part, { range: "7d", mine: false }), "/metrics-view?range=7d");
  assert.ok(view("from=5&to=6").toMs > view("from=5&to=6").fromMs);
});

Deno.test("metrics: what can't be asked is refused", () => {
  for (
    const text of [
      "range=constructor",
      "range=2h",
      "whose=x",
      "from=1",
      "to=1",
      "from=x&to=y",
      "from=2&to=1",
      "from=9e99&to=9e99",
    ]
  ) assert.throws(() => view(text), { name: "ApiError" }, text);
});
