import assert from "node:assert/strict";
import { SharedRead } from "../../../cloud/sync/shared_read.ts";

/** A value that changes, and reads of it that take a while. */
class Source {
  now = 0;
  value = 0;
  reads = 0;
  readonly pauses: (() => void)[] = [];
  readonly #ends: (() => void)[] = [];
  readonly shared = new SharedRead(
    async () => {
      this.reads++;
      const { value } = this;
      await new Promise<void>((resolve) => this.#ends.push(resolve));
      return value;
    },
    () => this.now,
    (ms) =>
      new Promise((resolve) =>
        this.pauses.push(() => {
          this.now += ms;
          resolve();
        })
      ),
  );

  async end(): Promise<void> {
    await settle();
    this.#ends.shift()!();
    await settle();
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

Deno.test("shared read: who asks while one is under way gets the next, never that one", async () => {
  const source = new Source();
  const first = source.shared.get();
  await settle();
  source.value = 1;
  const others = [source.shared.get(), source.shared.get(), source.shared.get()];
  await source.end();
  assert.equal(await first, 0);
  await source.end();
  assert.deepEqual(await Promise.all(others), [1, 1, 1]);
  assert.equal(source.reads, 2);
});

Deno.test("shared read: a few go at once, then 50 a second, however many ask", async () => {
  const source = new Source();
  for (let i = 0; i < 20; i++) {
    const asked = source.shared.get();
    await source.end();
    await asked;
  }
  assert.equal(source.pauses.length, 0);
  const asked = Array.from({ length: 1000 }, () => source.shared.get());
  await settle();
  assert.equal(source.pauses.length, 1);
  source.value = 7;
  source.pauses.shift()!();
  await source.end();
  assert.ok((await Promise.all(asked)).every((value) => value === 7));
  assert.equal(source.reads, 21);
  assert.ok(source.now >= 19 && source.now <= 21, String(source.now));
});

Deno.test("shared read: a fault is told to those who waited for that read, and the next is another", async () => {
  let fails = true;
  const read = () => fails ? Promise.reject(new Error("away")) : Promise.resolve(1);
  const shared = new SharedRead(read, () => 0, () => Promise.resolve());
  const both = [shared.get(), shared.get()];
  for (const one of both) await assert.rejects(one, /away/);
  fails = false;
  assert.equal(await shared.get(), 1);
});
