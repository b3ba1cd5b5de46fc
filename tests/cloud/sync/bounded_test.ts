import assert from "node:assert/strict";
import { mapBounded, Semaphore } from "../../../cloud/sync/bounded.ts";

Deno.test("semaphore: no more than its limit run at once, in the order in which they came", async () => {
  const semaphore = new Semaphore(2);
  let running = 0, most = 0;
  const order: number[] = [];
  await Promise.all([1, 2, 3, 4, 5].map((n) =>
    semaphore.run(async () => {
      order.push(n);
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
      if (n === 2) throw new Error("a task that fails gives its slot back");
    }).catch(() => {})
  ));
  assert.equal(most, 2);
  assert.deepEqual(order, [1, 2, 3, 4, 5]);
  assert.throws(() => new Semaphore(0), RangeError);
});

Deno.test("mapBounded: results are in order; a failure stops what has not begun, and waits for what has", async () => {
  assert.deepEqual(await mapBounded([3, 1, 2], 2, (n) => Promise.resolve(n * 2)), [6, 2, 4]);
  const begun: number[] = [], ended: number[] = [];
  await assert.rejects(
    mapBounded([1, 2, 3, 4], 2, async (n) => {
      begun.push(n);
      if (n === 1) throw new Error("first");
      await new Promise((resolve) => setTimeout(resolve, 1));
      ended.push(n);
    }),
    /first/,
  );
  assert.deepEqual([begun, ended], [[1, 2], [2]]);
});
