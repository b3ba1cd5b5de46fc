/**
 * The device's sense of time, beside what the simulation shows of it: what a fault in between does to it.
 */
import assert from "node:assert/strict";
import { Scripted } from "../twin_fixture.ts";

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
