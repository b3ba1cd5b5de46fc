/** The tailer over a stream in memory: order, positions, leases, loss, polling. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { StreamTailer, type TailerOptions } from "../../../cloud/dynamodb/stream.ts";
import { SyncError } from "../../../schema.ts";
import { FakeStream, MemoryTable, VirtualTime } from "./fixture.ts";

/** What a consumer does with what it gets. */
interface Consumer {
  /** Whether to checkpoint the batch of that number. */
  readonly checkpoint?: (n: number) => boolean;
  /** Awaited while a batch is handled. */
  readonly hold?: Promise<void>;
  readonly onLost?: () => void;
}

/** A world with one stream and one log table, in virtual time. */
function world() {
  const time = new VirtualTime();
  const stream = new FakeStream(time.now);
  const log = new MemoryTable();
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;

  /** Starts a tailer whose consumer notes what it gets. */
  function tail(options: Partial<TailerOptions> & Consumer = {}) {
    const { checkpoint = () => true, hold, onLost, ...more } = options;
    const abort = new AbortController();
    const seen: string[] = [];
    const tailer = new StreamTailer({
      source: stream,
      log,
      table: "fleet",
      now: time.now,
      random,
      sleep: time.sleep,
      ...more,
    });
    let batches = 0, fault: unknown;
    const ended = (async () => {
      for await (const batch of tailer.batches(abort.signal)) {
        if ("lost" in batch) {
          seen.push("LOST");
          onLost?.();
        } else {
          seen.push(...batch.records.map(({ key }) => key[1]));
          await hold;
          if (checkpoint(batches++)) await batch.checkpoint();
        }
      }
    })().catch((error) => fault = error);
    return {
      seen,
      tailer,
      get fault() {
        return fault;
      },
      async stop() {
        abort.abort();
        await ended;
      },
    };
  }
  const positions = () =>
    [...log.items.values()].filter(({ sort }) => String(sort).startsWith("shard#")).map(({ shard, after }) => [
      shard,
      after,
    ]);
  return { time, stream, log, tail, positions };
}

Deno.test("stream: records of several shards arrive, each shard's in order", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.open("b");
  stream.put("a", "a1", "a2", "a3", "a4");
  stream.put("b", "b1", "b2");
  const one = tail();
  await time.until("all are there", () => one.seen.length === 6);
  assert.deepEqual(one.seen.filter((name) => name.startsWith("a")), ["a1", "a2", "a3", "a4"]);
  assert.deepEqual(one.seen.filter((name) => name.startsWith("b")), ["b1", "b2"]);
  await one.stop();
});

Deno.test("stream: who tails says of how many shards, and how long it took between two looks; who waits, that it waits", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.open("b");
  stream.put("a", "a1");
  let release = () => {};
  const hold = new Promise<void>((resolve) => release = resolve);
  const one = tail({ hold, pollMs: 50 });
  await time.until("it is read", () => one.seen.length === 1);
  const two = tail();
  await time.pass(3_000);
  assert.deepEqual(one.tailer.standing(), { tails: true, shards: 2 });
  assert.deepEqual(two.tailer.standing(), { tails: false });
  // What comes is held up: nobody looks meanwhile.
  release();
  stream.put("b", "b1");
  await time.until("the next is read", () => one.seen.length === 2);
  const { pollMs } = one.tailer.standing();
  assert.ok(pollMs !== undefined && pollMs >= 3_000, `${pollMs} ms`);
  await time.pass(500);
  assert.ok(one.tailer.standing().pollMs! < 1_000, "since it was asked last");
  await two.stop();
  await one.stop();
  assert.deepEqual(one.tailer.standing(), { tails: false });
});

Deno.test("stream: a child is begun only when its parent is read to the end and checkpointed", async () => {
  const { time, stream, tail, positions } = world();
  stream.open("p");
  stream.put("p", "p1", "p2", "p3", "p4", "p5");
  stream.open("c1", "p");
  stream.open("c2", "p");
  stream.put("c1", "c1-1");
  stream.put("c2", "c2-1");
  let release = () => {};
  const hold = new Promise<void>((resolve) => release = resolve);
  const one = tail({ hold });
  await time.pass(10_000);
  assert.deepEqual(one.seen, ["p1", "p2", "p3"], "the consumer has the first page and no other");
  release();
  await time.until("all are there", () => one.seen.length === 7);
  assert.deepEqual(one.seen.slice(0, 5), ["p1", "p2", "p3", "p4", "p5"]);
  await time.until("the parent's place is taken", () => positions().length === 2);
  assert.deepEqual(positions().sort(), [["c1", "000000"], ["c2", "000000"]]);
  await one.stop();
});

Deno.test("stream: a closed shard whose last records were not checkpointed keeps its place", async () => {
  const { time, stream, tail } = world();
  stream.open("p");
  stream.put("p", "p1");
  stream.open("c", "p");
  stream.put("c", "c1");
  const one = tail({ checkpoint: () => false });
  await time.until("it is there", () => one.seen.length === 1);
  await time.pass(60_000);
  await one.stop();
  assert.deepEqual(one.seen, ["p1"]);
  const two = tail();
  await time.until("both are there", () => two.seen.length === 2);
  assert.deepEqual(two.seen, ["p1", "c1"]);
  await two.stop();
});

Deno.test("stream: after a restart it goes on behind the last checkpoint", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.put("a", "1", "2", "3", "4", "5", "6");
  const one = tail({ checkpoint: (n) => n === 0 });
  await time.until("both batches are there", () => one.seen.length === 6);
  await one.stop();
  const two = tail();
  await time.until("the second batch comes again", () => two.seen.length === 3);
  assert.deepEqual(two.seen, ["4", "5", "6"]);
  await two.stop();
});

Deno.test("stream: it asks for more records while pages come full, for fewer after a large page, and pauses at neither", async () => {
  const { time, stream, tail } = world();
  stream.pageRecords = Infinity;
  stream.open("a");
  const names = (count: number) => Array.from({ length: count }, (_, n) => `${n}`);
  stream.put("a", ...names(3000));
  const began = time.now(), one = tail();
  await time.until("all are there", () => one.seen.length === 3000);
  assert.deepEqual(stream.reads.map(({ limit }) => limit).slice(0, 6), [64, 128, 256, 512, 1000, 1000]);
  assert.ok(time.now() - began < 50, "no pause");
  await one.stop();

  // As large as items may be, both images: the first page is what few records are, each further one 2 MB.
  stream.recordBytes = 800_000;
  stream.reads.length = 0;
  stream.put("a", ...names(100));
  const two = tail();
  await time.until("all are there", () => two.seen.length === 100);
  assert.deepEqual(stream.reads.map(({ limit }) => limit).slice(0, 4), [64, 2, 4, 2]);
  await two.stop();
});

Deno.test("stream: an expired iterator is got anew at the position, without a loss or a repetition", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.put("a", "1", "2");
  const one = tail();
  await time.until("both are there", () => one.seen.length === 2);
  stream.expire();
  stream.put("a", "3");
  await time.until("the third is there", () => one.seen.length === 3);
  assert.deepEqual(one.seen, ["1", "2", "3"]);
  await one.stop();
});

Deno.test("stream: a position that was trimmed away long unread is a loss, and reading goes on at the oldest", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.put("a", "1", "2");
  const one = tail();
  await time.until("both are there", () => one.seen.length === 2);
  await one.stop();
  stream.put("a", "3", "4", "5");
  stream.shardMap.get("a")!.kept = 4;
  time.nowMs += 30 * 3600_000;
  const two = tail();
  await time.until("the rest is there", () => two.seen.length === 2);
  assert.deepEqual(two.seen, ["LOST", "5"]);
  await two.stop();
  const three = tail();
  await time.pass(5000);
  assert.deepEqual(three.seen, [], "a settled loss does not come up again");
  await three.stop();
});

Deno.test("stream: a loss that was not settled comes up again", async () => {
  const { time, stream, tail, log } = world();
  stream.open("a");
  stream.put("a", "1");
  const one = tail();
  await time.until("it is there", () => one.seen.length === 1);
  await one.stop();
  stream.shardMap.get("a")!.kept = 1;
  time.nowMs += 30 * 3600_000;
  // The table fails while the loss is being handled, so that nothing can be settled.
  const two = tail({ onLost: () => log.fault = new SyncError("unavailable", "down", { retryable: true }) });
  await time.until("the tailer gives up", () => two.fault !== undefined, 60_000);
  assert.deepEqual(two.seen, ["LOST"]);
  log.fault = undefined;
  const three = tail();
  await time.until("the loss is told again", () => three.seen.length === 1, 60_000);
  assert.deepEqual(three.seen, ["LOST"]);
  await three.stop();
});

Deno.test("stream: a position that was trimmed and had been read up to a day ago is no loss", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.put("a", "1", "2");
  // Rarely polled, to make two days short for the test as well.
  const one = tail({ leaseMs: 3600_000, idlePollMs: 600_000 });
  // Idle for two days, while the reader is told each hour that there is nothing.
  await time.until("both are there", () => one.seen.length === 2);
  await time.pass(48 * 3600_000);
  await one.stop();
  stream.shardMap.get("a")!.kept = 2;
  stream.put("a", "3");
  const two = tail();
  await time.until("the new one is there", () => two.seen.length === 1);
  assert.deepEqual(two.seen, ["3"]);
  await two.stop();
});

Deno.test("stream: a shard that is gone with records unread is a loss; its descendants are read", async () => {
  const { time, stream, tail, positions } = world();
  stream.open("a");
  stream.put("a", "1");
  const one = tail();
  await time.until("it is there", () => one.seen.length === 1);
  await one.stop();
  stream.open("b", "a");
  stream.open("c", "b");
  stream.put("c", "c1");
  stream.shardMap.delete("a");
  stream.shardMap.delete("b");
  time.nowMs += 30 * 3600_000;
  const two = tail();
  await time.until("the new one is there", () => two.seen.length === 2);
  assert.deepEqual(two.seen, ["LOST", "c1"]);
  assert.deepEqual(positions().map(([shard]) => shard), ["c"]);
  await two.stop();
});

Deno.test("stream: another stream of the table is a loss, found while running", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.put("a", "1");
  const one = tail();
  await time.until("it is there", () => one.seen.length === 1);
  // Switched off: the shards close without children. Switched on: a new stream with new shards.
  stream.shardMap.get("a")!.closed = true;
  await time.pass(5000);
  stream.shardMap.clear();
  stream.name = "stream-2";
  stream.open("b");
  stream.put("b", "2");
  await time.until("the new stream is read", () => one.seen.length === 3);
  assert.deepEqual(one.seen, ["1", "LOST", "2"]);
  await one.stop();
});

Deno.test("stream: another stream is found by its name, where the shards of the old one never close", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.put("a", "1");
  const one = tail();
  await time.until("it is there", () => one.seen.length === 1);
  stream.name = "stream-2";
  stream.open("b");
  stream.put("b", "2");
  await time.until("the new stream is read", () => one.seen.includes("2"), 60_000);
  assert.equal(one.seen[1], "LOST");
  await one.stop();
});

Deno.test("stream: the stream of a table of another name, with the same log table, is a loss, once", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.put("a", "1");
  const one = tail();
  await time.until("it is there", () => one.seen.length === 1);
  await time.pass(5000);
  await one.stop();
  // Restored under another name: there are no positions under it.
  stream.shardMap.clear();
  stream.name = "stream-of-another-table";
  stream.open("b");
  stream.put("b", "2");
  const two = tail({ table: "fleet-restored" });
  await time.until("the new stream is read", () => two.seen.length === 2);
  assert.deepEqual(two.seen, ["LOST", "2"]);
  await time.pass(5000);
  await two.stop();
  const three = tail({ table: "fleet-restored" });
  await time.pass(5000);
  assert.deepEqual(three.seen, []);
  await three.stop();
});

Deno.test("stream: a crash between a child's position and its parent's removal repeats nothing of the other child", async () => {
  const { time, stream, tail, log } = world();
  stream.open("p");
  stream.put("p", "p1");
  stream.open("c", "p");
  stream.open("d", "c");
  stream.put("c", "c1");
  stream.put("d", "d1");
  const one = tail();
  await time.until("all are there", () => one.seen.length === 3);
  await time.pass(5000);
  await one.stop();
  // As a late write of an ousted tailer would leave it: the parent's position beside the grandchild's.
  const hash = "stream#fleet";
  log.items.set(`${hash}\nshard#p`, {
    hash,
    sort: "shard#p",
    shard: "p",
    stream: "stream-1",
    after: "000000",
    at: time.nowMs,
    term: 1,
  });
  const two = tail();
  await time.pass(5000);
  assert.deepEqual(two.seen, []);
  await two.stop();
});

Deno.test("stream: a second tailer stands by, and takes over at once when the first one stops", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  stream.put("a", "1");
  const one = tail(), two = tail();
  await time.until("one of them has it", () => one.seen.length + two.seen.length === 1);
  await time.pass(60_000);
  assert.equal(one.seen.length + two.seen.length, 1);
  const [active, standby] = one.seen.length === 1 ? [one, two] : [two, one];
  await active.stop();
  stream.put("a", "2");
  await time.until("the other has the next", () => standby.seen.includes("2"), 3000);
  assert.deepEqual(standby.seen, ["2"]);
  await standby.stop();
});

Deno.test("stream: two readings of one tailer don't both get the records", async () => {
  const { time, stream, log } = world();
  stream.open("a");
  stream.put("a", "1");
  const random = () => 0.5 + Math.random() / 2;
  const tailer = new StreamTailer({ source: stream, log, table: "fleet", now: time.now, random, sleep: time.sleep });
  const abort = new AbortController();
  let batches = 0;
  const read = async () => {
    for await (const _ of tailer.batches(abort.signal)) batches++;
  };
  const readings = [read(), read()];
  await time.pass(60_000);
  assert.equal(batches, 1);
  abort.abort();
  await Promise.all(readings);
});

Deno.test("stream: a silent tailer is replaced after its lease, and can't move the position back", async () => {
  const { time, stream, tail, positions, log } = world();
  stream.open("a");
  stream.put("a", "1", "2", "3");
  let release = () => {};
  const hold = new Promise<void>((resolve) => release = resolve);
  // The first hangs while it handles its batch, and its beats get lost as well: a machine that was suspended.
  const frozen = new VirtualTime();
  const one = tail({ hold, now: frozen.now, sleep: frozen.sleep });
  await time.until("the first has its batch", () => one.seen.length === 3, 0).catch(() => {});
  assert.deepEqual(one.seen, ["1", "2", "3"]);
  const two = tail();
  await time.until("the second takes over", () => two.seen.length === 3, 10_000);
  stream.put("a", "4");
  await time.until("the second goes on", () => two.seen.length === 4);
  release();
  await one.stop();
  assert.deepEqual(positions(), [["a", "000003"]], "the first one's late checkpoint changed nothing");
  assert.equal([...log.items.values()].find(({ sort }) => sort === "lease")!.term, 2);
  await two.stop();
});

Deno.test("stream: polls within 100 ms while busy and for minutes after, then backs off to a second, and wakes", async () => {
  const { time, stream, tail } = world();
  stream.open("a");
  const one = tail();
  const gaps = () => stream.reads.slice(1).map(({ at }, i) => at - stream.reads[i]!.at);
  await time.pass(4 * 60_000);
  assert.ok(Math.max(...gaps()) <= 100, `${Math.max(...gaps())} ms between two reads`);
  await time.pass(4 * 60_000);
  stream.reads.length = 0;
  await time.pass(60_000);
  assert.ok(stream.reads.length <= 62, `${stream.reads.length} reads in an idle minute`);
  stream.put("a", "1");
  one.tailer.wake();
  await time.until("it is there", () => one.seen.length === 1, 5);
  stream.reads.length = 0;
  await time.pass(60_000);
  assert.ok(Math.max(...gaps()) <= 100);
  await one.stop();
});

Deno.test("stream: unwanted records alone keep the pace, and cost a position each ten seconds", async () => {
  const { time, stream, tail, log } = world();
  stream.open("a");
  stream.unwanted = (name) => name.startsWith("u");
  const one = tail();
  const positions = () => [...log.items.values()].find(({ sort }) => sort === "shard#a")?.after;
  let writes = 0, last = positions();
  for (let second = 0; second < 8 * 60; second++) {
    stream.put("a", `u${second}`);
    await time.pass(1_000);
    if (positions() !== last) writes++;
    last = positions();
  }
  const gaps = stream.reads.slice(1).map(({ at }, i) => at - stream.reads[i]!.at);
  assert.ok(Math.max(...gaps) <= 100, `${Math.max(...gaps)} ms between two reads`);
  assert.ok(writes >= 40 && writes <= 50, `the position was stored ${writes} times in eight minutes`);
  assert.deepEqual(one.seen, []);
  stream.put("a", "wanted");
  await time.until("it is there", () => one.seen.length === 1);
  await one.stop();
  const two = tail();
  await time.pass(10_000);
  assert.deepEqual(two.seen, []);
  await two.stop();
});

Deno.test("stream: a table that can't be reached ends the batches with an error, and nothing was lost", async () => {
  const { time, stream, tail, log } = world();
  stream.open("a");
  stream.put("a", "1");
  const one = tail();
  await time.until("it is there", () => one.seen.length === 1);
  log.fault = new SyncError("unavailable", "down", { retryable: true });
  stream.put("a", "2");
  await time.until("it gives up", () => one.fault !== undefined, 60_000);
  assert.equal((one.fault as SyncError).code, "unavailable");
  log.fault = undefined;
  const two = tail();
  await time.until("the second record comes again", () => two.seen.length > 0, 60_000);
  assert.deepEqual(two.seen, ["2"]);
  await two.stop();
});

Deno.test("stream: whatever the lineage, and wherever it is restarted, each record comes, in order along the lineage", async () => {
  const shardPlan = fc.record({ parent: fc.nat(), records: fc.nat(5) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(shardPlan, { minLength: 1, maxLength: 8 }),
      fc.array(fc.record({ steps: fc.integer({ min: 1, max: 6 }), skip: fc.boolean() }), { maxLength: 4 }),
      async (plan, restarts) => {
        const { time, stream, tail } = world();
        const parents = new Map<string, string>();
        let total = 0;
        plan.forEach(({ parent, records }, i) => {
          // Every third is a root; the others continue one of those before them.
          const of = i === 0 || i % 3 === 2 ? undefined : `s${parent % i}`;
          if (of !== undefined) parents.set(`s${i}`, of);
          stream.open(`s${i}`, of);
          stream.put(`s${i}`, ...Array.from({ length: records }, (_, n) => `s${i}:${n}`));
          total += records;
        });
        const first: string[] = [];
        const note = (seen: string[]) => {
          for (const name of seen) if (!first.includes(name)) first.push(name);
        };
        for (const { steps, skip } of restarts) {
          const part = tail({ checkpoint: (n) => !skip || n < steps - 1 });
          await time.pass(steps * 90);
          await part.stop();
          note(part.seen);
        }
        const rest = tail();
        await time.until("all came", () => new Set([...first, ...rest.seen]).size === total, 120_000);
        await rest.stop();
        note(rest.seen);
        assert.ok(!first.includes("LOST"));
        for (const [i, name] of first.entries()) {
          const [shard, n] = name.split(":") as [string, string];
          const before = first.slice(0, i);
          if (Number(n) > 0) assert.ok(before.includes(`${shard}:${Number(n) - 1}`), `${name} came too early`);
          for (let parent = parents.get(shard); parent; parent = parents.get(parent)) {
            const records = stream.shardMap.get(parent)!.records.map(({ key }) => key[1]);
            assert.ok(records.every((one) => before.includes(one)), `${name} came before all of ${parent}`);
          }
        }
      },
    ),
    { numRuns: 40 },
  );
});
