/**
 * The planted bugs can be planted: `deno task sim:mutants` runs them.
 */
import assert from "node:assert/strict";
import { mutants } from "./mutant_list.ts";
import { isKnown, noted, rotten } from "./mutants.ts";

Deno.test("mutants: each can be applied to the code as it is, and what finds it is known for most", () => {
  assert.deepEqual(mutants.flatMap((mutant) => rotten(mutant) ?? []), []);
  const names = mutants.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length, "two have the same name");
  // CI runs those with a guard or a seed: most, and more than the dozen that must be.
  assert.ok(mutants.filter(isKnown).length >= 55);
  assert.deepEqual(Object.keys(noted).filter((name) => !names.includes(name)), []);
});
