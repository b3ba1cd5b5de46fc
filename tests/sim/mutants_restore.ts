/**
 * Planted bugs of restored tables (rules B1–B8): each is a wrong idea that the executable model has refuted.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const test = "tests/skew/restore_test.ts";

/** The planted bugs, in the order of the rules. */
export const restore: readonly Mutant[] = [
  guarded(
    "answers of any epoch",
    "B1: an answer of the restored table removes rows before the device knows of the restore",
    test,
    "agent/sync/restores.ts",
    `return epoch === undefined || this.#epoch === undefined || epoch === this.#epoch;`,
    `return epoch !== "";`,
  ),
  guarded(
    "the last restore alone",
    "B2: away during two restores, the second alone would not ask for what the first lost",
    test,
    "cloud/sync/epochs.ts",
    `return times.length === 0 ? undefined : Math.min(...times);`,
    `return times.at(-1);`,
  ),
  guarded(
    "lost by its stamp",
    "B3: a row written offline before the restored time, and acknowledged after it, has a stamp from before",
    test,
    "agent/sync/restores.ts",
    `const known = atMs ?? Math.floor(`,
    `const known = Math.floor(`,
  ),
  guarded(
    "all is lost",
    "B3: what was learnt before the restored time, and is not there, was removed",
    test,
    "agent/sync/restores.ts",
    `return known >= this.#sinceMs - marginMs;`,
    `return known >= 0;`,
  ),
  guarded(
    "nothing is offered",
    "B4: what a restored table lacks is offered",
    test,
    "agent/sync/heal.ts",
    `if (goesUp(record.model) && hasRow && wins(`,
    `if (false && hasRow && wins(`,
  ),
  guarded(
    "everything is offered",
    "B4: what was written since the restore stays",
    test,
    "agent/sync/heal.ts",
    `if (shown.version) return shown.version[1] < version[1] && !isLater;
  return updated !== undefined && updated < ms;`,
    `return !isLater || true;`,
  ),
  guarded(
    "offered with a new stamp",
    "B5: with a new stamp the holder of the older version, who comes last, wins",
    test,
    "agent/sync/uplink.ts",
    `const stamp = offer?.stamp ?? this.#stamp(candidate, record);`,
    `const stamp = this.#stamp(candidate, { ...record, offer: undefined });`,
  ),
  guarded(
    "an offer by the policy",
    "B5: under device, the older version would be sent over the newer",
    test,
    "agent/sync/answers.ts",
    `} else if (offered && (answer.code === "stale" || answer.code === "gone")) {`,
    `} else if (offered && answer.code === "gone") {`,
  ),
  guarded(
    "an update goes with its base",
    "B6: gone with a lost base is no removal",
    test,
    "agent/sync/answers.ts",
    `} else if (hasLost && offersAgain(flight, baseVersion, answer)) {`,
    `} else if (false && offersAgain(flight, baseVersion, answer)) {`,
  ),
  guarded(
    "removals forgotten",
    "B7: what a device knows to be removed is removed again, whoever wrote it",
    test,
    "agent/sync/answers.ts",
    `(isOwn || isForgotten);`,
    `isOwn;`,
  ),
  guarded(
    "read only, and lost",
    "B8: what a device can't offer is kept before the table's is taken",
    test,
    "agent/sync/incoming.ts",
    `if (this.restoring && record.model.sync === "down") this.#keepRow(record, entry);`,
    ``,
  ),
  guarded(
    "up only, and lost",
    "B8: what never comes down no snapshot asks for",
    test,
    "agent/sync/downlink.ts",
    `if (restores.meet(epoch, sinceMs, open)) offerWhatOnlyGoesUp(this.context);`,
    `restores.meet(epoch, sinceMs, open);`,
  ),
  guarded(
    "another table of another name",
    "B2: a stream of another table is noticed, whatever its name",
    "tests/cloud/dynamodb/stream_test.ts#of another name",
    "cloud/dynamodb/frontier.ts",
    `if (last !== undefined && last !== this.#stream) this.lost = true;`,
    ``,
  ),
  guarded(
    "a deleted table is served",
    "B2: what is written to a deleted file is gone with the process",
    "tests/cloud/embedded_test.ts#while it is served",
    "cloud/embedded/engine.ts",
    `if (fileId(this.path) !== this.#fileId) return`,
    `if (false) return`,
  ),
  guarded(
    "a removed lock",
    "B2: a removed lock file lets no second process in",
    "tests/cloud/embedded_test.ts#lock file",
    "cloud/embedded/engine.ts",
    `if (fileId(\`\${this.path}-lock\`) === this.#lockId) return true;`,
    `if (this.#lockId !== "") return true;`,
  ),
];
