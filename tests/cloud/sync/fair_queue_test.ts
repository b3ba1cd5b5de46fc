import assert from "node:assert/strict";
import fc from "fast-check";
import { FairQueue, type FairQueueOptions } from "../../../cloud/sync/fair_queue.ts";

const roomy = { slots: 1, deviceTasksMax: 1000, deviceBytesMax: 1e9, tasksMax: 1e6, bytesMax: 1e9 };

/** A queue whose running tasks end when the test says so. */
class Bench {
  now = 0;
  readonly started: string[] = [];
  readonly #ends: (() => void)[] = [];
  readonly queue: FairQueue;

  constructor(options: Partial<FairQueueOptions> = {}) {
    this.queue = new FairQueue({ ...roomy, now: () => this.now, ...options });
  }

  task(deviceId: string, name: string, more: { dear?: boolean; bytes?: number } = {}) {
    const run = () => {
      this.started.push(`${deviceId}${name}`);
      return new Promise<void>((resolve) => this.#ends.push(resolve));
    };
    return { deviceId, bytes: 10, ...more, run };
  }

  push(deviceId: string, name: string, more: { dear?: boolean; bytes?: number } = {}): boolean {
    return this.queue.push(this.task(deviceId, name, more));
  }

  async end(count = 1): Promise<void> {
    for (let i = 0; i < count; i++) {
      this.#ends.shift()!();
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    }
  }
}

Deno.test("fair queue: each device in turn, whatever one of them has sent", async () => {
  const bench = new Bench();
  for (let i = 0; i < 5; i++) bench.push("a", String(i));
  for (const device of ["b", "c"]) for (let i = 0; i < 2; i++) bench.push(device, String(i));
  await bench.end(8);
  assert.deepEqual(bench.started, ["a0", "a1", "b0", "c0", "a2", "b1", "c1", "a3", "a4"]);
});

Deno.test("fair queue: cheap ones first, a dear one each fourth start, and never more than half of the slots", async () => {
  const bench = new Bench();
  bench.push("x", "0");
  for (let i = 0; i < 3; i++) bench.push(`d${i}`, "", { dear: true });
  for (let i = 0; i < 7; i++) bench.push(`c${i}`, "");
  await bench.end(10);
  assert.deepEqual(bench.started, ["x0", "c0", "c1", "d0", "c2", "c3", "c4", "d1", "c5", "c6", "d2"]);
  const wide = new Bench({ slots: 4 });
  for (let i = 0; i < 4; i++) wide.push(`d${i}`, "", { dear: true });
  assert.equal(wide.started.length, 2, "two slots are left for what is cheap");
  wide.push("c", "");
  assert.equal(wide.started.length, 3);
});

Deno.test("fair queue: a device that has all the slots that it may have leaves the others free", async () => {
  const bench = new Bench({ slots: 4, deviceSlots: 2 });
  for (let i = 0; i < 6; i++) bench.push("a", String(i));
  assert.deepEqual(bench.started, ["a0", "a1"]);
  // Behind tasks of that device, which can't run: at once, though nothing has ended.
  for (const device of ["b", "c"]) bench.push(device, "0");
  assert.deepEqual(bench.started, ["a0", "a1", "b0", "c0"]);
  bench.push("d", "0");
  await bench.end(7);
  assert.deepEqual(bench.started.toSorted(), ["a0", "a1", "a2", "a3", "a4", "a5", "b0", "c0", "d0"]);
});

Deno.test("fair queue: bounds of a device and of all; a single large task is taken alone", () => {
  const bench = new Bench({ deviceTasksMax: 2, deviceBytesMax: 100, tasksMax: 4, bytesMax: 200 });
  assert.ok(bench.push("run", ""));
  assert.ok(bench.push("a", "0") && bench.push("a", "1"));
  assert.equal(bench.push("a", "2"), false, "tasks of a device");
  assert.ok(bench.push("b", "0", { bytes: 90 }));
  assert.equal(bench.push("b", "1", { bytes: 20 }), false, "bytes of a device");
  assert.equal(bench.push("c", "0", { bytes: 100 }), false, "bytes of all");
  assert.ok(bench.push("c", "1"));
  assert.equal(bench.push("d", "0"), false, "tasks of all");
  const large = new Bench({ deviceBytesMax: 100, bytesMax: 100 });
  assert.ok(large.push("a", "") && large.push("a", "", { bytes: 5000 }));
  assert.equal(large.push("b", ""), false);
});

Deno.test("fair queue: a task in another's place has its turn, and one taken away leaves none", async () => {
  const bench = new Bench();
  const [first, second] = [bench.task("a", "old"), bench.task("b", "gone")];
  bench.push("x", "");
  bench.queue.push(first);
  bench.queue.push(second);
  bench.push("c", "");
  bench.queue.replace(first, bench.task("a", "new"));
  bench.queue.replace(second);
  assert.deepEqual([bench.queue.waiting, bench.queue.waitingBytes], [2, 20]);
  await bench.end(2);
  assert.deepEqual(bench.started, ["x", "anew", "c"]);
});

Deno.test("fair queue: how long one will wait follows from how fast tasks end", async () => {
  const bench = new Bench();
  for (let i = 0; i < 101; i++) bench.push(`d${i}`, "");
  assert.equal(bench.queue.waitMs(), 0, "nothing is known yet");
  for (let i = 0; i < 50; i++) {
    bench.now += 20;
    await bench.end();
  }
  assert.equal(bench.queue.waiting, 50);
  assert.ok(Math.abs(bench.queue.waitMs() - 1000) < 20, String(bench.queue.waitMs()));
});

Deno.test("fair queue: whatever is pushed, each task runs once, no device waits for more than one task of each other", async () => {
  const pushes = fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.boolean()), { maxLength: 40 });
  await fc.assert(fc.asyncProperty(pushes, fc.integer({ min: 1, max: 4 }), async (list, slots) => {
    const bench = new Bench({ slots });
    list.forEach(([device, dear], i) => assert.ok(bench.push(device, String(i), { dear })));
    await bench.end(list.length);
    assert.equal(new Set(bench.started).size, list.length);
    assert.deepEqual([bench.queue.waiting, bench.queue.waitingBytes], [0, 0]);
    for (const device of ["a", "b", "c", "d"]) {
      for (const dear of [true, false]) {
        const own = list.flatMap(([d, isDear], i) => d === device && isDear === dear ? [`${d}${i}`] : []);
        const order = bench.started.filter((name) => own.includes(name));
        assert.deepEqual(order, own, "a device's tasks of a class keep their order");
      }
    }
  }));
});
