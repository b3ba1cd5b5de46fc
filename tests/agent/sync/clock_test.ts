/**
 * The device's sense of time, beside what the simulation shows of it: what a fault in between does to it.
 */
import assert from "node:assert/strict";
import { offsetIgnoredMs } from "../../../agent/sync/clock.ts";
import { memoryStore } from "../store_fixture.ts";
import { Scripted, twinCompiled } from "../twin_fixture.ts";

const hourMs = 3_600_000;

/** Makes the database refuse to record a jump, as a full disk does. */
function refuseJumps(device: Scripted): void {
  device.store.db.exec(`CREATE TEMP TRIGGER refuse BEFORE INSERT ON _sync_clock
    BEGIN SELECT RAISE(ABORT, 'no space'); END`);
}

/** The stamps of a model's changes, as sent, ms. */
function stampsMs({ sent }: Scripted): number[] {
  return sent.flatMap((message) =>
    message.type === "up" ? message.changes.map(({ stamp }) => Math.floor(stamp / 1000)) : []
  );
}

for (const where of ["a tick", "a message"] as const) {
  Deno.test(`clock: a jump that could not be recorded at ${where} is found again`, () => {
    using device = new Scripted();
    device.connect();
    device.pass(2000);

    refuseJumps(device);
    device.nowMs -= 4 * hourMs;
    device.aheadMs += 4 * hourMs;
    device.store.db.exec("INSERT INTO Sample(n) VALUES (1)");
    if (where === "a tick") device.twin.tick();
    else device.write({ two: { slot: "s2" } });
    assert.match(String(device.faults[0]), /no space/);
    assert.deepEqual(stampsMs(device), []);

    device.store.db.exec("DROP TRIGGER refuse");
    device.pass(60_000);
    const [stampMs] = stampsMs(device);
    const offMs = stampMs! - (device.nowMs + device.aheadMs);
    assert.ok(Math.abs(offMs) <= 61_000, `the stamp is ${offMs} ms off`);
  });
}

/** The recorded jumps, by segment. */
const jumps = (device: Scripted) =>
  device.rows("SELECT delta FROM _sync_clock ORDER BY segment").map(({ delta }) => delta);

Deno.test("clock: a suspend looks like a jump until the next answer, and is none then", () => {
  using device = new Scripted();
  device.connect();
  device.pass(2000);
  device.disconnect();
  const madeMs = device.nowMs;
  device.store.db.exec(`INSERT INTO Sample(n) VALUES (1); UPDATE _outbox SET time = ${madeMs}`);
  // The machine sleeps: the wall clock goes on, the monotonic one stands still.
  device.nowMs += 4 * hourMs;
  device.pass(2000);
  assert.deepEqual(jumps(device), [4 * hourMs], "so far it may have been set");
  device.connect();
  device.pass(2000);
  assert.deepEqual(jumps(device), [0], "the wall clock was right all the time");
  assert.ok(Math.abs(stampsMs(device)[0]! - madeMs) <= offsetIgnoredMs, "made when it says");
});

for (const hours of [4, -4]) {
  Deno.test(`clock: a clock that is set by ${hours} hours is a jump after the next answer, too`, () => {
    using device = new Scripted();
    device.connect();
    device.pass(2000);
    device.disconnect();
    const madeMs = device.nowMs;
    device.store.db.exec(`INSERT INTO Sample(n) VALUES (1); UPDATE _outbox SET time = ${madeMs}`);
    device.nowMs += hours * hourMs;
    device.aheadMs -= hours * hourMs;
    device.pass(2000);
    device.connect();
    device.pass(2000);
    assert.deepEqual(jumps(device), [hours * hourMs]);
    // In the cloud's time it was made when the device's clock was right.
    assert.ok(Math.abs(stampsMs(device)[0]! - madeMs) <= 2000, `${stampsMs(device)[0]! - madeMs} ms off`);
  });
}

Deno.test("clock: a suspend in which the clock was set as well is a jump", () => {
  using device = new Scripted();
  device.connect();
  device.pass(2000);
  device.disconnect();
  device.nowMs += 4 * hourMs;
  // Of the four hours one passed; the cloud's clock says so.
  device.aheadMs -= 3 * hourMs;
  device.pass(2000);
  device.connect();
  device.pass(2000);
  assert.deepEqual(jumps(device), [4 * hourMs]);
});

for (const hours of [2, -2]) {
  Deno.test(`clock: set by ${hours} hours around a kill, a newer state is no older one (up, one device)`, () => {
    const store = memoryStore({
      schema: twinCompiled,
      identity: { deviceId: "dev-1", accountId: "acme" },
      now: () => Date.UTC(2026, 0, 1),
    });
    const write = (device: Scripted, sql: string) => {
      const head = device.rows("SELECT coalesce(max(seq), 0) AS seq FROM _outbox")[0]!.seq;
      device.store.db.exec(`${sql}; UPDATE _outbox SET time = ${device.nowMs} WHERE seq > ${head}`);
      device.twin.onCommit();
      device.answer();
    };
    const first = new Scripted({ store });
    // The device's clock is behind before, or after.
    first.aheadMs = hours > 0 ? hours * hourMs : 0;
    first.connect();
    first.pass(2000);
    write(first, "INSERT INTO Sample(id, n) VALUES ('a', 1)");
    first.disconnect();
    write(first, "UPDATE Sample SET n = 2 WHERE id = 'a'");
    // Killed; the clock is set; nothing of the jump was noted.
    const next = new Scripted({ store, nowMs: first.nowMs + hours * hourMs + 5000 });
    next.aheadMs = first.aheadMs - hours * hourMs;
    next.connect();
    next.pass(2000);
    const [[before], [after]] = [stampsMs(first), stampsMs(next)];
    assert.ok(after! >= before!, `${before! - after!} ms older`);
    store.close();
  });
}

Deno.test("clock: an answer to an earlier transmission of a batch does not set the clock back", () => {
  using device = new Scripted();
  device.connect();
  device.pass(2000);
  device.swallows = ({ type }) => type === "up";
  device.sql("INSERT INTO Sample(n) VALUES (1)");
  const batch = device.sent.findLast((message) => message.type === "up")!;
  const answeredMs = device.nowMs;
  device.pass(hourMs);
  assert.ok(device.sent.filter((message) => message.type === "up").length > 2, "sent again and again");
  // The first transmission's answer was under way for an hour, and comes right after the last transmission.
  const sent = device.sent.length;
  while (device.sent.length === sent || device.sent.at(-1)!.type !== "up") device.pass(1000);
  device.twin.onMessage({ type: "ack", batch: batch.batch, time: answeredMs, answers: [{ at: 0, code: "clock" }] });
  const behindMs = device.nowMs - device.twin.context.clock.nowMs();
  assert.ok(Math.abs(behindMs) <= offsetIgnoredMs, `the clock is ${behindMs} ms behind`);
});

Deno.test("clock: a later time than the known one is believed, however long the answer took", () => {
  using device = new Scripted();
  device.connect();
  device.pass(2000);
  device.swallows = ({ type }) => type === "up";
  device.sql("INSERT INTO Sample(n) VALUES (1)");
  const batch = device.sent.findLast((message) => message.type === "up")!;
  device.pass(hourMs);
  // Else each transmission is too old for the cloud, and each answer too old for the device.
  const time = device.nowMs + hourMs;
  device.twin.onMessage({ type: "ack", batch: batch.batch, time, answers: [{ at: 0, code: "late" }] });
  const behindMs = time - device.twin.context.clock.nowMs();
  assert.ok(Math.abs(behindMs) <= offsetIgnoredMs, `the clock is ${behindMs} ms behind`);
});
