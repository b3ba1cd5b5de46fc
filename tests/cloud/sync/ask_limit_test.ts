/** The limit against a table of limited speed, in virtual time. */
import assert from "node:assert/strict";
import { AskLimit } from "../../../cloud/sync/ask_limit.ts";

/** A table that does one request after the other, and questions that send three at once and then one more. */
class Rig {
  nowMs = 0;
  readonly limit = new AskLimit(() => this.nowMs);
  /** How long each request waited, of those that were not a question's. */
  readonly liveMs: number[] = [];
  answered = 0;
  /** Questions that wait; Infinity: as many as there may be. */
  waiting = 0;
  mostAtOnce = 0;
  #freeMs = 0;
  #running = 0;
  readonly #events: { atMs: number; go: () => void }[] = [];

  constructor(public serviceMs: number, readonly latencyMs: number) {}

  #at(atMs: number, go: () => void): void {
    this.#events.push({ atMs, go });
    this.#events.sort((a, b) => a.atMs - b.atMs);
  }

  #request(done: (tookMs: number) => void): void {
    const sentMs = this.nowMs;
    this.#freeMs = Math.max(this.nowMs, this.#freeMs) + this.serviceMs;
    this.#at(this.#freeMs + this.latencyMs, () => {
      const tookMs = this.nowMs - sentMs;
      this.limit.took(tookMs, this.#running);
      done(tookMs);
    });
  }

  #fill(): void {
    while (this.waiting > 0 && this.#running < this.limit.slots) {
      this.waiting--;
      this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#running);
      let left = 3;
      const last = () =>
        this.#request(() => {
          this.#running--;
          this.answered++;
          this.#fill();
        });
      for (let i = 0; i < 3; i++) this.#request(() => --left === 0 && last());
    }
  }

  /** Lets time pass, with a live request each `everyMs`. */
  run(ms: number, everyMs = 20): void {
    this.liveMs.length = this.answered = this.mostAtOnce = 0;
    const end = this.nowMs + ms;
    const live = () => {
      if (this.nowMs >= end) return;
      this.#request((tookMs) => this.liveMs.push(tookMs));
      this.#at(this.nowMs + everyMs, live);
    };
    live();
    this.#fill();
    while (this.#events.length > 0 && this.#events[0]!.atMs <= end) {
      const { atMs, go } = this.#events.shift()!;
      this.nowMs = atMs;
      go();
    }
    this.nowMs = end;
  }

  get liveMean(): number {
    return this.liveMs.reduce((sum, ms) => sum + ms, 0) / this.liveMs.length;
  }

  get liveP99(): number {
    return this.liveMs.toSorted((a, b) => a - b)[Math.floor(this.liveMs.length * 0.99)]!;
  }
}

/** At 80 a second two questions, the fewest, are six requests of 12.5 ms before a live one. */
const speeds = [[500, 5, 20, 2], [2_000, 10, 20, 2], [80, 5, 50, 4]] as const;
for (const [requests, latencyMs, everyMs, timesMax] of speeds) {
  Deno.test(`ask limit: at ${requests} requests a second, ${latencyMs} ms each, live requests take ${timesMax} times as long in a storm at most, and the table is used`, () => {
    const rig = new Rig(1000 / requests, latencyMs);
    rig.run(10_000, everyMs);
    const quietMean = rig.liveMean, quietP99 = rig.liveP99;
    rig.waiting = Infinity;
    for (let minute = 0; minute < 5; minute++) {
      rig.run(60_000, everyMs);
      const { liveMean, liveP99 } = rig;
      assert.ok(liveMean <= timesMax * quietMean, `minute ${minute}: ${liveMean} ms, quiet ${quietMean} ms`);
      assert.ok(liveP99 <= 1.7 * timesMax * quietP99, `minute ${minute}: ${liveP99} ms, quiet ${quietP99} ms`);
      const used = (4 * rig.answered + rig.liveMs.length) / (requests * 60);
      assert.ok(used > 0.8, `minute ${minute}: ${used} of the table`);
    }
  });
}

Deno.test("ask limit: a table that is fast whatever is asked gets many questions at once", () => {
  const rig = new Rig(0.01, 5);
  rig.run(10_000);
  rig.waiting = Infinity;
  rig.run(20_000);
  assert.equal(rig.limit.slots, 32);
});

Deno.test("ask limit: a worker that starts into a storm learns what the table can do by itself", () => {
  const rig = new Rig(2, 5);
  rig.waiting = Infinity;
  rig.run(60_000);
  assert.ok(rig.liveP99 <= 3 * 12, String(rig.liveP99));
  assert.ok((4 * rig.answered + rig.liveMs.length) / (500 * 60) > 0.8);
});

Deno.test("ask limit: a table that becomes slow in a storm gets fewer questions, and more when it is fast again", () => {
  const rig = new Rig(0.5, 5);
  rig.run(10_000);
  rig.waiting = Infinity;
  rig.run(40_000);
  const before = rig.limit.slots;
  rig.serviceMs = 20;
  rig.run(40_000, 100);
  const slow = rig.limit.slots;
  rig.serviceMs = 0.5;
  rig.run(60_000);
  assert.ok(slow < before / 2, `${before} → ${slow}`);
  assert.ok(rig.limit.slots > 2 * slow, `${slow} → ${rig.limit.slots}`);
});

Deno.test("ask limit: a question that never ends holds up the others for as long as a probe at most", () => {
  let nowMs = 0, heldMs = 0, longestMs = 0;
  const limit = new AskLimit(() => nowMs);
  while (nowMs < 300_000) {
    nowMs += 20;
    limit.took(5, 2);
    heldMs = limit.slots === 1 ? heldMs + 20 : 0;
    longestMs = Math.max(longestMs, heldMs);
  }
  assert.ok(longestMs > 0 && longestMs < 2_500, String(longestMs));
});
