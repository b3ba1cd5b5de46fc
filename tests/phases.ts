/**
 * Which test files run side by side, and which alone. Most wait for timers and other processes more than they compute: four at
 * once on two cores take half the time. Alone run those that measure, that set variables of the process (test files share it),
 * or that fill the machine by themselves.
 *
 * @module
 */

/** Files that run together. Folders, or files. */
const together = [
  "tests/agent",
  "tests/bench",
  "tests/cli",
  "tests/cloud",
  "tests/examples",
  "tests/fuzz",
  "tests/golden",
  "tests/property",
  "tests/protocol",
  "tests/schema",
  "tests/support",
];
/** Of these, what runs alone: it sets `AWS_*`, counts requests while nothing else moves, measures, or writes for a day. */
const alone = [
  "tests/agent/store/capture_test.ts",
  "tests/agent/sync/recent_sends_test.ts",
  "tests/protocol/log_test.ts",
  "tests/schema/growth_test.ts",
  "tests/cloud/cost_test.ts",
  "tests/cloud/dynamodb/client_test.ts",
  "tests/cloud/publishers/publishers_test.ts",
  "tests/property/day_test.ts",
];
/** Of these, what takes long: left out of the quick run. */
const slow = [
  "tests/agent/migration/migration_kill_test.ts",
  "tests/agent/migration/migration_steps_test.ts",
  "tests/agent/verify/verify_test.ts",
  "tests/cloud/broker",
  "tests/cloud/dynamodb/tables_test.ts",
  "tests/cloud/embedded_test.ts",
  "tests/cloud/onetable_test.ts",
  "tests/cloud/row_fidelity_test.ts",
  "tests/cloud/worker_test.ts",
  "tests/cli/device_commands_test.ts",
  "tests/schema/onetable_test.ts",
];
/** Test files at once: half of them wait. */
const jobs = "4";

/** One run of `deno test`. */
export interface Phase {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** What `deno task test` runs where it is given no files. */
export function wholeSuite(files: readonly string[]): Phase[] {
  const parallel = files.filter((file) => isIn(file, together) && !alone.includes(file));
  const rest = files.filter((file) => !parallel.includes(file));
  return [{ args: ["--parallel", ...parallel], env: { DENO_JOBS: jobs } }, { args: rest }];
}

/** What `deno task test:quick` runs: a minute on two cores. */
export function quickNet(files: readonly string[]): Phase[] {
  const folders = ["tests/agent", "tests/cloud", "tests/golden", "tests/protocol", "tests/schema", "tests/support"];
  const unit = files.filter((file) => isIn(file, folders) && !isIn(file, [...alone, ...slow]));
  const more = ["tests/rules_test.ts", "tests/sim/mutants_test.ts", "tests/sim/seeds_test.ts", "tests/sim/sim_test.ts"];
  return [{ args: ["--parallel", ...unit, ...more], env: { DENO_JOBS: jobs, SIM_SEEDS: "60" } }];
}

function isIn(file: string, places: readonly string[]): boolean {
  return places.some((place) => file === place || file.startsWith(`${place}/`));
}
