import assert from "node:assert/strict";
import { ChannelLog } from "../../../cloud/sync/channel_log.ts";
import type { LogKey } from "../../../cloud/sync/log_items.ts";
import type { Table } from "../../../cloud/table/port.ts";
import { dyingLog, Fixture, withWrite } from "../fixture.ts";

const day = 86_400_000;

function keyNamed(name: string): LogKey {
  return { key: ["d#d1", name], bytes: 1 };
}

function logOf(fixture: Fixture, table: Table = fixture.tables.log, retentionMs?: number): ChannelLog {
  return new ChannelLog(table, {
    now: fixture.now,
    random: fixture.random,
    retentionMs,
    pause: () => Promise.resolve(),
  });
}

async function seqs(log: ChannelLog, after = 0): Promise<number[]> {
  return (await log.read("global", after, 1000)).map(({ seq }) => seq);
}

Deno.test("channel log: an entry comes back as it was appended", async () => {
  await using fixture = new Fixture();
  const keys: LogKey[] = [
    { key: ["h", "1"], bytes: 12 },
    { key: ["h", "2"], bytes: 0, mark: { model: "Plain", version: ["d1#i1", 5] } },
    { key: ["h", "3"], bytes: 0, was: ["d1#i1", 6] },
    { key: ["h", "4"], bytes: 0, removed: true },
    { key: ["h", "5"], bytes: 0, mark: { model: "Plain", version: ["d1#i1", 7] }, was: ["d1#i1", 6] },
    { key: ["h", "6"], bytes: 0, mark: { model: "Plain", version: ["d1#i1", 7] }, removed: true },
  ];
  const { epoch, seq } = await fixture.log.append("global", keys);
  assert.equal(seq, 1);
  assert.deepEqual(await fixture.log.read("global", 0, 10), [{ seq: 1, timeMs: fixture.time, keys }]);
  assert.deepEqual(await fixture.log.state("global"), { epoch, head: 1 });
});

Deno.test("channel log: numbers are contiguous however many workers append at once, and each channel has its own", async () => {
  await using fixture = new Fixture();
  const workers = [1, 2, 3, 4].map(() => logOf(fixture));
  const appends = workers.flatMap((log, w) =>
    Array.from({ length: 40 }, (_, i) => log.append("global", [keyNamed(`${w}-${i}`)]))
  );
  const given = (await Promise.all(appends)).map(({ seq }) => seq).sort((a, b) => a - b);
  const expected = Array.from({ length: 160 }, (_, i) => i + 1);
  assert.deepEqual(given, expected);
  assert.deepEqual(await seqs(fixture.log), expected);
  const names = (await fixture.log.read("global", 0, 1000)).map(({ keys }) => keys[0]!.key[1]);
  assert.equal(new Set(names).size, 160);
  assert.equal((await fixture.log.append("device:d1", [keyNamed("x")])).seq, 1);
});

Deno.test("channel log: a read is the contiguous run, and stops at a gap", async () => {
  await using fixture = new Fixture();
  for (let i = 0; i < 10; i++) await fixture.log.append("global", [keyNamed(String(i))]);
  assert.deepEqual((await fixture.log.read("global", 3, 4)).map(({ seq }) => seq), [4, 5, 6, 7]);
  assert.deepEqual(await seqs(fixture.log, 10), []);
  await fixture.tables.log.write([{ op: "delete", key: ["log#global", "0000000000000006"] }]);
  assert.deepEqual(await seqs(fixture.log, 3), [4, 5]);
  assert.deepEqual(await seqs(fixture.log, 5), []);
  assert.deepEqual(await seqs(fixture.log, 6), [7, 8, 9, 10]);
});

Deno.test("channel log: an emptied log goes on behind where it was, in the same epoch, also for a new worker", async () => {
  await using fixture = new Fixture();
  let last = { epoch: "", seq: 0 };
  for (let i = 0; i < 70; i++) last = await fixture.log.append("global", [keyNamed(String(i))]);
  fixture.time += 8 * day;
  assert.equal(await fixture.tables.sweepExpired(), 70);
  const { epoch, head } = await logOf(fixture).state("global");
  assert.equal(epoch, last.epoch);
  assert.ok(head >= last.seq);
  const next = await logOf(fixture).append("global", [keyNamed("next")]);
  assert.equal(next.seq, head + 1, "a reader that took the head for its cursor misses nothing");
  assert.equal((await fixture.log.append("global", [keyNamed("again")])).seq, head + 2);
  assert.equal(next.epoch, last.epoch);
});

Deno.test("channel log: a reader between an appender's look and its put never gets a head beyond the next entries", async () => {
  await using fixture = new Fixture();
  const reader = logOf(fixture);
  const heads: number[] = [];
  // Looks at the head before each write of the appender.
  const spied = withWrite(fixture.tables.log, async (...parameters) => {
    heads.push((await reader.state("global")).head);
    return await fixture.tables.log.write(...parameters);
  });
  const appender = logOf(fixture, spied);
  const check = async (rounds: number) => {
    for (let i = 0; i < rounds; i++) {
      const { seq } = await appender.append("global", [keyNamed(String(i))]);
      for (const head of heads.splice(0)) assert.ok(head <= seq, `a head of ${head} before entry ${seq}`);
    }
  };
  await check(130);
  // The last entry is about to go, and goes between look and put.
  fixture.time += 7 * day - 60_000;
  await check(1);
  fixture.time += 8 * day;
  await fixture.tables.sweepExpired();
  await check(70);
});

Deno.test("channel log: a worker that slept past the log's whole life does not fill in old numbers", async () => {
  await using fixture = new Fixture();
  const sleeper = logOf(fixture), busy = logOf(fixture);
  await sleeper.append("global", [keyNamed("a")]);
  for (let i = 0; i < 5; i++) await busy.append("global", [keyNamed(String(i))]);
  fixture.time += 8 * day;
  await fixture.tables.sweepExpired();
  await busy.append("global", [keyNamed("b")]);
  const { head } = await busy.state("global");
  assert.equal((await sleeper.append("global", [keyNamed("c")])).seq, head + 1);
});

Deno.test("channel log: a new epoch of one channel is its own, one of all is everybody's, and numbers go on", async () => {
  await using fixture = new Fixture();
  const first = await fixture.log.append("global", [keyNamed("a")]);
  const device = await fixture.log.append("device:d1", [keyNamed("a")]);
  await fixture.log.beginEpoch("global");
  const second = await fixture.log.append("global", [keyNamed("b")]);
  assert.equal(second.seq, 2);
  assert.notEqual(second.epoch, first.epoch);
  assert.equal(await fixture.log.epoch("device:d1"), device.epoch);
  const neighbour = logOf(fixture);
  assert.equal(await neighbour.epoch("global"), second.epoch);
  await fixture.log.beginEpoch();
  const third = await fixture.log.append("global", [keyNamed("c")]);
  assert.notEqual(third.epoch, second.epoch);
  assert.notEqual(await fixture.log.epoch("device:d1"), device.epoch);
  fixture.time += 5_000;
  assert.equal(await neighbour.epoch("global"), third.epoch, "another worker learns of it within seconds");
});

Deno.test("channel log: the head of a minute ago is the last entry that is older, or what the log begins behind", async () => {
  await using fixture = new Fixture();
  const { log } = fixture;
  assert.equal(await log.headBefore("global", 0, 60_000), 0);
  for (let i = 0; i < 150; i++) {
    await log.append("global", [keyNamed(String(i))]);
    fixture.time += 500;
  }
  const { head } = await log.state("global");
  const before = await log.headBefore("global", head, 60_000);
  assert.equal(before, 30);
  await fixture.tables.log.write([{ op: "delete", key: ["log#global", "0000000000000100"] }]);
  assert.equal(await log.headBefore("global", head, 60_000), 100);
  fixture.time += 60_001;
  assert.equal(await log.headBefore("global", head, 60_000), 150);
});

Deno.test("channel log: a throttled table is an outage that passes", async () => {
  await using fixture = new Fixture();
  const table = withWrite(fixture.tables.log, () => Promise.resolve([{ outcome: "throttled" }]));
  await assert.rejects(logOf(fixture, table).append("global", [keyNamed("a")]), {
    code: "unavailable",
    retryable: true,
  });
  assert.throws(() => logOf(fixture, table, 1000), RangeError);
});

Deno.test("channel log: a put that stalled until others' entries were gone by age gives no number twice", async () => {
  await using fixture = new Fixture();
  const { log } = fixture.tables;
  let stall: (() => Promise<void>) | undefined;
  const stalling = withWrite(log, async (...args) => {
    await stall?.();
    return await log.write(...args);
  });
  const slow = logOf(fixture, stalling, 240_000), other = logOf(fixture, log, 240_000);
  for (const name of ["a", "b"]) await slow.append("global", [keyNamed(name)]);
  stall = async () => {
    stall = undefined;
    await other.append("global", [keyNamed("c")]);
    fixture.time += 250_000;
    for (const seq of [1, 2, 3]) {
      await log.write([{ op: "delete", key: ["log#global", String(seq).padStart(16, "0")] }]);
    }
  };
  const { seq } = await slow.append("global", [keyNamed("d")]);
  assert.ok(seq > 3, `the number ${seq} was given before`);
  assert.equal((await slow.state("global")).head, seq);
});

Deno.test("channel log: a number whose appender died between floor and entry is for whoever comes next", async () => {
  await using fixture = new Fixture();
  const { log } = fixture.tables;
  await logOf(fixture).append("global", [keyNamed("a")]);
  // Everything is gone by age: the next appender has to raise the floor.
  fixture.time += 8 * day;
  await fixture.tables.sweepExpired();
  const dying = dyingLog(log);
  await assert.rejects(logOf(fixture, dying.table).append("global", [keyNamed("b")]), /the process is gone/);
  assert.equal(dying.writes(), 2);
  const state = await fixture.log.state("global");
  assert.equal(state.opening, true);
  assert.equal((await logOf(fixture).append("global", [keyNamed("c")])).seq, state.head);
});
