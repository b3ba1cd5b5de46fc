/**
 * Planted bugs of what somebody who writes no version overwrites (rule 5.8).
 *
 * @module
 */
import { guarded, type Mutant, one } from "./mutant.ts";

const incoming = "agent/sync/incoming.ts", items = "agent/sync/items.ts", rules = "tests/agent/sync/rules_test.ts";
const fanOut = "cloud/sync/fan_out.ts",
  entries = "cloud/sync/entries.ts",
  fanOutTest = "tests/cloud/sync/fan_out_test.ts";

/** The planted bugs. */
export const usurped: readonly Mutant[] = [
  one(
    "overwriting untold",
    "5.8: an entry tells the version that a write without one replaced",
    "usurped",
    fanOut,
    `const over = superseded(before, version);`,
    `const over = undefined;`,
  ),
  // Each of these two mends what the other lets pass, but for a copy in `_conflicts`: no seed shows one alone.
  guarded(
    "overwritten and sent again",
    "5.8: a change in flight that was overwritten is settled",
    `${rules}#before its answer, is not sent again`,
    incoming,
    `if (flight && entry.over && !flight.settled) this.#cameAndWent(flight, record, entry.over);`,
    ``,
  ),
  guarded(
    "overwritten and never gone",
    "5.8: what was overwritten went with what was there after it",
    `${rules}#whatever its removal says`,
    incoming,
    `if (!this.#context.restores.hasLost(record)) record.gone = Math.max(record.gone ?? 0, superseded);`,
    ``,
  ),
  guarded(
    "overwritten is gone at once",
    "5.8: what was overwritten does not count as removed while something stands in its place",
    `${rules}#put back by whoever did it`,
    incoming,
    `if (!current && !mark && named === undefined && !foreign) this.#supersededIsGone(record);`,
    `this.#supersededIsGone(record);`,
  ),
  guarded(
    "overwritten as memory knows",
    "5.8: the device stores what was overwritten",
    `${rules}#whatever its removal says`,
    items,
    `superseded ?? null,`,
    `null,`,
  ),
  guarded(
    "overwritten then removed unsaid",
    "5.8: of an overwriting and a removal in one run the removal is that of the overwritten version",
    `${fanOutTest}#went with what was removed after it`,
    entries,
    `isRemoval ? before.over : undefined)`,
    `undefined)`,
  ),
  guarded(
    "each write tells what it replaced",
    "5.8: only where the version that is there now does not tell so: it would cost each change 50 bytes",
    `${fanOutTest}#with an earlier one, is told`,
    fanOut,
    `if (!before || (version && version[1] > before[1])) return undefined;`,
    `if (!before) return undefined;`,
  ),
  guarded(
    "a column that no file misses",
    "migration: a column that came later is in the text by which a file knows what it lacks",
    "tests/agent/store/ddl_test.ts#a column that came later",
    "agent/store/tables.ts",
    `era INTEGER, at INTEGER, offer TEXT, superseded INTEGER,`,
    `era INTEGER, at INTEGER, offer TEXT,`,
  ),
];
