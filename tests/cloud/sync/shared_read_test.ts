import assert from "node:assert/strict";
import { Moments, SharedRead } from "../../../cloud/sync/shared_read.ts";

/** A value that changes, and reads of it that take a while. */
class Source {
  now = 0;
  value = 0;
  reads = 0;
  readonly pauses: (() => void)[] = [];
  readonly moments = new Moments();
  readonly #ends: (() => void)[] = [];
  readonly shared = new SharedRead(
    async () => {
      this.reads++;
      const { value } = this;
      await new Promise<void>((resolve) => this.#ends.push(resolve));
      return value;
    },
    {
      moments: this.moments,
      now: () => this.now,
      pause: (ms) =>
        new Promise<void>((resolve) =>
          this.pauses.push(() => {
            this.now += ms;
            resolve();
          })
        ),
    },
  );

  /** A question that arrives now and has its turn at once. */
  get(): Promise<number> {
    return this.shared.get(this.moments.next());
  }

  async end(): Promise<void> {
    await settle();
    this.#ends.shift()!();
    await settle();
  }

  /** Takes what goes at once. */
  async exhaust(): Promise<void> {
    for (let i = 0; i < 20; i++) {
      const asked = this.get();
      await this.end();
      await asked;
    }
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

Deno.test("shared read: who asks while one is under way gets the next, never that one", async () => {
  const source = new Source();
  const first = source.get();
  await settle();
  source.value = 1;
  const others = [source.get(), source.get(), source.get()];
  await source.end();
  assert.equal(await first, 0);
  await source.end();
  assert.deepEqual(await Promise.all(others), [1, 1, 1]);
  assert.equal(source.reads, 2);
});

Deno.test("shared read: a question that waited for its turn takes a read that began meanwhile; one that came later does not", async () => {
  const source = new Source();
  const arrived = Array.from({ length: 100 }, () => source.moments.next());
  const first = source.get();
  await source.end();
  await first;
  source.value = 1;
  for (const moment of arrived) assert.equal(await source.shared.get(moment), 0);
  assert.equal(source.reads, 1);
  // What is under way serves those before it as well.
  const later = source.moments.next(), running = source.get();
  await settle();
  const joined = source.shared.get(later), after = source.get();
  await source.end();
  assert.deepEqual([await running, await joined], [1, 1]);
  source.value = 2;
  await source.end();
  assert.equal(await after, 1, "it began before the value changed, and after the question");
  assert.equal(source.reads, 3);
});

Deno.test("shared read: nobody takes one that is older than 10 s", async () => {
  const source = new Source();
  const arrived = source.moments.next(), first = source.get();
  await source.end();
  await first;
  source.now += 10_000;
  source.value = 1;
  const again = source.shared.get(arrived);
  await source.end();
  assert.equal(await again, 1);
});

Deno.test("shared read: a few go at once, then one a second, however many ask; who waits can know it before", async () => {
  const source = new Source();
  assert.equal(source.shared.ready(source.moments.next()), undefined);
  await source.exhaust();
  assert.equal(source.pauses.length, 0);
  const moments = Array.from({ length: 1000 }, () => source.moments.next());
  const ready = moments.map((moment) => source.shared.ready(moment));
  let waiting = ready.filter((one) => one !== undefined).length;
  assert.equal(waiting, 1000);
  for (const one of ready) void one!.then(() => waiting--);
  await settle();
  assert.equal(source.pauses.length, 1);
  assert.equal(waiting, 1000);
  source.value = 7;
  source.pauses.shift()!();
  await source.end();
  await settle();
  assert.equal(waiting, 0);
  assert.ok((await Promise.all(moments.map((moment) => source.shared.get(moment)))).every((value) => value === 7));
  assert.equal(source.reads, 21);
  assert.ok(source.now >= 990 && source.now <= 1010, String(source.now));
});

Deno.test("shared read: a fault is told to those who waited for that read, and the next is another", async () => {
  let fails = true;
  const read = () => fails ? Promise.reject(new Error("away")) : Promise.resolve(1);
  const moments = new Moments(), time = { moments, now: () => 0, pause: () => Promise.resolve() };
  const shared = new SharedRead(read, time);
  const early = moments.next(), both = [shared.get(moments.next()), shared.get(moments.next())];
  for (const one of both) await assert.rejects(one, /away/);
  fails = false;
  assert.equal(await shared.get(early), 1);
});
