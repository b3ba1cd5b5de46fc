/** What both halves use of their own: waits that end, maps that are bounded, versions. */
import assert from "node:assert/strict";
import { BoundedMap } from "../../protocol/bounded_map.ts";
import { deviceOf, sameVersion } from "../../protocol/versions.ts";
import { within } from "../../protocol/within.ts";

Deno.test("within: the value, undefined when it is late, the error of the work; no timer is left", async () => {
  assert.equal(await within(60_000, Promise.resolve(7)), 7);
  assert.equal(await within(1, new Promise<number>(() => {})), undefined);
  await assert.rejects(within(60_000, Promise.reject(new Error("no"))), /^Error: no$/);
  const late = Promise.withResolvers<void>();
  await within(1, late.promise);
  // Nobody's: it must not end the process.
  late.reject(new Error("late"));
  await new Promise((resolve) => setTimeout(resolve, 0));
});

Deno.test("bounded map: the entry that was set longest ago gives way", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1).set("b", 2).set("a", 3).set("c", 4);
  assert.deepEqual([...map], [["a", 3], ["c", 4]]);
});

Deno.test("versions: a source is taken apart at its last #, and nothing is the same as nothing", () => {
  assert.equal(deviceOf(["d:1#k3j4", 5]), "d:1");
  assert.equal(deviceOf(["an application", 5]), undefined);
  assert.ok(sameVersion(["d#i", 5], ["d#i", 5]));
  assert.ok(!sameVersion(["d#i", 5], ["d#i", 6]));
  assert.ok(!sameVersion(["d#i", 5], ["d#j", 5]));
  assert.ok(!sameVersion(undefined, undefined));
});
