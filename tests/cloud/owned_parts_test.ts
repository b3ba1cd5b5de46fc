import assert from "node:assert/strict";
import { OwnedParts } from "../../cloud/owned_parts.ts";

Deno.test("owned parts: one device's first parts, however many, cost another's nothing", () => {
  let nowMs = 0;
  const parts = new OwnedParts(() => nowMs);
  parts.add("victim", "large");
  for (let n = 0; n < 5_000; n++) parts.add("hostile", `part-${n}`);
  assert.equal(parts.dropped, 5_000 - 64);
  assert.equal(parts.take("hostile", "part-0"), false);
  assert.equal(parts.take("hostile", "part-4999"), true);
  assert.equal(parts.take("victim", "large"), true);
  assert.equal(parts.take("victim", "large"), false);
  // What is never ended is forgotten in time, and so is whoever began it.
  for (let n = 0; n < 1_000; n++) parts.add(`d${n}`, "x");
  nowMs = 61_000;
  parts.add("late", "x");
  assert.equal(parts.devices, 1);
});
