/**
 * Planted bugs of what shares a device's file: rows from before, their dates and counters, other programs' tools. The simulation
 * does not look there: each names the test that must fail.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

/** The planted bugs. */
export const field: readonly Mutant[] = [
  guarded(
    "a local time taken for UTC",
    "a date text without a zone is read by the schema's rule, or refused",
    "tests/agent/migration/foreign_dates_test.ts",
    "agent/migration/foreign_dates.ts",
    `if (rule?.zone === undefined) throw new AmbiguousDate("names no zone");`,
    `if (rule?.zone === undefined) return undefined;`,
  ),
  guarded(
    "seconds taken for milliseconds",
    "a number that stands for a date is read by the schema's rule, or refused",
    "tests/agent/migration/foreign_dates_test.ts",
    "agent/migration/foreign_dates.ts",
    `if (rule?.unit === undefined) throw new AmbiguousDate("is a number without a unit");`,
    `if (rule?.unit === undefined) return undefined;`,
  ),
  guarded(
    "an hour that comes twice, the second",
    "of an hour that clocks show twice, the first is meant",
    "tests/agent/migration/foreign_dates_test.ts",
    "agent/migration/foreign_dates.ts",
    `Math.min(...shown)`,
    `Math.max(...shown)`,
  ),
  guarded(
    "plan ends at the first refusal",
    "schema onboard names every table that a start would refuse",
    "tests/cli/schema_test.ts#cli: schema onboard",
    "cli/schema_onboard.ts",
    `if (model === undefined || refusals.has(model)) return`,
    `if (model === undefined || refusals.has(model) || error.details) return`,
  ),
  guarded(
    "blind triggers unnoticed",
    "what was written while no trigger could see it is found at the next start",
    "tests/field/recovered_test.ts#rows of _sync_flag",
    "agent/migration/bypass.ts",
    `if (isBlind) lost.push("_sync_flag");`,
    `if (isBlind) return { models: new Set(), tables: new Set(), missing: [] };`,
  ),
  guarded(
    "a counter without a generator",
    "schema init: an application that inserts without an id can go on",
    "tests/cli/schema_test.ts#cli: schema init makes a counter",
    "schema/propose.ts",
    `field: { type: "string", generate: "ulid" },
      note: "a counter`,
    `field: { type: "number", required: true },
      note: "a counter`,
  ),
  guarded(
    "the former time returned",
    "UPDATE … RETURNING gives the time that the row has then",
    "tests/agent/store/capture_test.ts#RETURNING",
    "agent/store/triggers.ts",
    `  return [
    before,
    trigger(model, "update",`,
    `  return [
    trigger(model, "update",`,
  ),
  guarded(
    "an ignored UPDATE moves the time",
    "an UPDATE that is ignored for another row's sake leaves no trace in the row",
    "tests/agent/store/capture_test.ts#RETURNING",
    "agent/store/triggers.ts",
    'const when = `${isLeft} AND NOT ${rekeyedSql(model)}${clashes.join("")}`;',
    "const when = `${isLeft} AND NOT ${rekeyedSql(model)}`;",
  ),
  guarded(
    "a time of its own is not captured",
    "an UPDATE that sets updated itself is captured as any other",
    "tests/agent/store/capture_test.ts#RETURNING",
    "agent/store/triggers.ts",
    `    trigger(model, "updated", \`AFTER UPDATE OF \${column}\`, undefined, [entry]),`,
    ``,
  ),
  guarded(
    "one look at what is covered",
    "updates between which inserts were ignored are one change before anything is refused",
    "tests/agent/upkeep/coalesce_test.ts",
    "agent/upkeep/capacity.ts",
    `const coalesceRounds = 3;`,
    `const coalesceRounds = 1;`,
  ),
  guarded(
    "the lost key of a row that came back",
    "4.1: a row that had another key meanwhile, or was made anew, says no more that the cloud may have the key",
    "tests/agent/upkeep/coalesce_test.ts#whatever was written",
    "agent/upkeep/coalesce.ts",
    ` && moved.hasKept(entry));`,
    `);`,
  ),
];
