import assert from "node:assert/strict";
import fc from "fast-check";
import { decodePresence, type DeviceReport, encodePresence, ProtocolError } from "../../protocol.ts";

const text = fc.string({ unit: "grapheme", maxLength: 600 });
const count = fc.option(fc.maxSafeInteger(), { nil: undefined });
const report: fc.Arbitrary<DeviceReport> = fc.record({
  agent: text,
  schema: text,
  sqlite: text,
  runtime: text,
  problem: text,
  error: text,
  outbox: count,
  oldest: count,
  rejected: count,
  db: count,
  skew: count,
  at: fc.dictionary(fc.string({ minLength: 1, maxLength: 130 }).filter((s) => s !== "__proto__"), fc.nat(), {
    maxKeys: 5,
    noNullPrototype: true,
  }),
}, { requiredKeys: [] });

Deno.test("report: a presence with any report fits into a kilobyte, and what counts most stays", () => {
  fc.assert(fc.property(report, (given) => {
    const payload = encodePresence(true, given);
    assert.ok(payload.length <= 1024, `${payload.length} bytes`);
    const { online, report: got } = decodePresence(payload);
    assert.equal(online, true);
    assert.equal(got?.outbox, given.outbox);
    assert.equal(got?.rejected, given.rejected);
    if (given.problem) assert.ok(got?.problem && given.problem.startsWith(got.problem.slice(0, -1)));
  }));
});

Deno.test("report: a small one comes out as it went in", () => {
  const given: DeviceReport = {
    agent: "0.1.0",
    outbox: 3,
    oldest: 1_795_884_387_969,
    at: { "device:d-1": 1204, global: 7 },
    problem: "the disk is full",
    skew: -40,
  };
  assert.deepEqual(decodePresence(encodePresence(true, given)), { online: true, report: given });
  assert.deepEqual(decodePresence(encodePresence(false)), { online: false });
});

Deno.test("report: fields of other types and unknown ones are left out; what is not a map is refused", () => {
  const payload = (r: unknown) => new TextEncoder().encode(JSON.stringify({ v: 1, online: true, r }));
  const odd = { agent: 7, outbox: "many", at: { a: "x", b: 2 }, rejected: 1.5, later: true, conflicts: 2 };
  assert.deepEqual(decodePresence(payload(odd)).report, { at: { b: 2 }, conflicts: 2 });
  assert.throws(() => decodePresence(payload(7)), ProtocolError);
});
