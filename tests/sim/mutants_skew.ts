/**
 * Planted bugs of schemas that differ (rules E1–E3): each is a wrong idea that the executable model has refuted.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const waits = "tests/skew/waits_test.ts", matrix = "tests/skew/matrix_test.ts";

/** The planted bugs, in the order of the rules. */
export const skew: readonly Mutant[] = [
  guarded(
    "other schema rejected",
    "E1: a difference of schema versions makes changes wait",
    waits,
    "cloud/sync/ingest.ts",
    `const differs = theirs !== undefined &&`,
    `const differs = false && theirs !== undefined &&`,
  ),
  guarded(
    "all models wait",
    "E1: its model alone pauses",
    waits,
    "agent/sync/waits.ts",
    `const begins = !this.#waits.has(model);`,
    `const begins = !this.#waits.has(model);
    for (const other of begins ? this.store.schema.models.values() : []) {
      if (other !== model) this.#hold({ model: other, cloud, own: modelDigest(this.store.schema, other), reason });
    }`,
  ),
  guarded(
    "never asks again",
    "E2: without probes a quiet device hears of no other schema, and later changes don't go",
    waits,
    "agent/sync/uplink.ts",
    `if (this.context.waits.any) this.#askAgain();`,
    ``,
  ),
  guarded(
    "the same key asks",
    "E2: each time another key, for after a roll-back only later changes fit",
    waits,
    "agent/sync/outbox.ts",
    `if (asking.size === 0) lane.begin();`,
    `lane.begin();`,
  ),
  guarded(
    "one at a time",
    "E2: what is accepted is followed by twice as many, lest one that does not fit holds up thousands",
    waits,
    "agent/sync/waits.ts",
    `wait.width = Math.min(wait.width * 2, widthMax);
      wait.waitMs = waitMinMs;
      wait.dueMs = this.clock.monotonicMs();`,
    `wait.width = 1;
      wait.dueMs = this.#after(wait.waitMs);`,
  ),
  guarded(
    "released by nothing",
    "E2: another schema on either side releases",
    waits,
    "agent/sync/waits.ts",
    `wait.freed = true;`,
    `wait.freed = false;`,
  ),
  guarded(
    "older worker forgotten",
    "E1: a worker of another version may have written what one of this version refused",
    waits,
    "agent/sync/answers.ts",
    `record.prior = [...record.prior ?? [], ...stamps].slice(-priorMax);`,
    `record.prior = undefined;`,
  ),
  guarded(
    "no value is no news",
    "E3: a NULL that waits is sent when its field is back, like any value",
    "tests/skew/flight_test.ts#NULL that waited",
    "agent/migration/rebuild.ts",
    `OR EXISTS (SELECT 1 FROM _outbox AS o WHERE o.model = \${number} AND o.row = n._id)`,
    ``,
  ),
  guarded(
    "acknowledged is a conflict",
    "E3: what was under way when its field went, and was acknowledged, is no conflict when the field is back",
    "tests/skew/flight_test.ts#acknowledged after its column went",
    "agent/migration/unsent.ts",
    `: isKnown(field, value, base) || giveWay(`,
    `: giveWay(`,
  ),
  guarded(
    "back without a snapshot",
    "E3: what changed while the cloud lacked a model entered no log",
    waits,
    "agent/sync/downlink.ts",
    `isBack = this.#lacks.note(channel, page) || cursor.againMs === 0;`,
    `this.#lacks.note(channel, page);`,
  ),
  guarded(
    "other keys written",
    "E1: where the keys differ, a change would go to another item",
    waits,
    "cloud/sync/ingest.ts",
    `if (model && differs && !haveEqualKeys(theirs, modelDigest(schema, model))) {`,
    `if (model && differs && haveEqualKeys(theirs, "")) {`,
  ),
  guarded(
    "default demanded",
    "a required field with a default may be missing: older devices can't know it",
    waits,
    "schema/check.ts",
    `field.required && !isIdentity && field.default === undefined`,
    `field.required && !isIdentity`,
  ),
  guarded(
    "defaults taken for differences",
    "a verification names no row that was given a default",
    `${matrix}#a required field with a default is added`,
    "cloud/sync/compare.ts",
    `const asRow = probe.defaults ?`,
    `const asRow = probe.defaults && false ?`,
  ),
];
