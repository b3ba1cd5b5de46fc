/** Failed sign-ins in the audit: each of a few, and of a flood some. */
import assert from "node:assert/strict";
import type { AuditEntry } from "../../../cloud/operations/audit.ts";
import { FailedSignIns } from "../../../cloud/operations/failed_sign_ins.ts";

const minuteMs = 60_000;

/** A place whose clock and timers are the test's. */
function place(options: { fails?: boolean } = {}) {
  let nowMs = Date.UTC(2026, 0, 1);
  const written: AuditEntry[] = [], timers: { atMs: number; then: () => void }[] = [];
  const audit = {
    note: (entry: AuditEntry) =>
      options.fails ? Promise.reject(new Error("away")) : Promise.resolve(void written.push(entry)),
  };
  const failed = new FailedSignIns(audit, () => nowMs, (ms, then) => void timers.push({ atMs: nowMs + ms, then }));
  return {
    failed,
    written,
    pass(ms: number) {
      nowMs += ms;
      for (const timer of timers.filter(({ atMs }) => atMs <= nowMs)) {
        timers.splice(timers.indexOf(timer), 1);
        timer.then();
      }
    },
  };
}

Deno.test("failed sign-ins: who tried, from where and through what", () => {
  const { failed, written } = place();
  failed.failed("api", "203.0.113.7", "a wrong token");
  failed.failed("console", "203.0.113.7", "a wrong token");
  failed.failed("device", undefined, "a wrong code");
  assert.deepEqual(written, [
    { who: "203.0.113.7", via: "api", action: "sign-in", outcome: "a wrong token" },
    { who: "203.0.113.7", via: "console", action: "sign-in", outcome: "a wrong token" },
    { who: "unknown address", via: "device", action: "sign-in", outcome: "a wrong code" },
  ]);
});

Deno.test("failed sign-ins: one address that tries a thousand times is two entries", () => {
  const { failed, written, pass } = place();
  for (let n = 0; n < 1_000; n++) failed.failed("api", "203.0.113.7", "a wrong token");
  pass(minuteMs);
  assert.equal(written.length, 2);
  assert.equal(written[1]!.outcome, "999 more tries within 1 min, from 1 addresses in all");
});

Deno.test("failed sign-ins: a flood from everywhere for a day writes fewer than 400 entries, and counts every try", () => {
  const { failed, written, pass } = place();
  let tries = 0;
  for (let minute = 0; minute < 24 * 60; minute++) {
    for (let n = 0; n < 200; n++, tries++) failed.failed("api", `2001:db8:${minute}:${n}::1`, "a wrong token");
    pass(minuteMs);
  }
  pass(2 * 60 * minuteMs);
  assert.ok(written.length < 400, `${written.length} entries`);
  const counted = written.reduce((sum, { outcome }) => sum + Number(/^(\d+) more/.exec(outcome!)?.[1] ?? 1), 0);
  assert.equal(counted, tries);
  // Afterwards the few of a quiet day are told one by one again.
  pass(3 * 60 * minuteMs);
  const before = written.length;
  for (let n = 0; n < 3; n++) {
    failed.failed("api", "203.0.113.7", "a wrong token");
    pass(3 * 60 * minuteMs);
  }
  assert.equal(written.length, before + 3);
});

Deno.test("failed sign-ins: that the audit can't be written harms nobody", async () => {
  const { failed } = place({ fails: true });
  failed.failed("api", "203.0.113.7", "a wrong token");
  await Promise.resolve();
});
