/**
 * Which test files run together, which side by side, and which alone. To load the modules that a file tests costs most of a
 * second, more than most files take: files of a group are loaded as one, and each group has a process. Most wait for timers
 * and other processes more than they compute, so several groups run at once. Alone run those that measure, or that fill the
 * machine by themselves.
 *
 * @module
 */

/** Unit tests. Folders, or files. */
const units = [
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
/** Of these, what has a process of its own: it sets `AWS_*`, or measures what its process takes. */
const apart = [
  "tests/cloud/dynamodb/client_test.ts",
  "tests/cloud/publishers/publishers_test.ts",
  "tests/schema/growth_test.ts",
  "tests/schema/pattern/pattern_test.ts",
];
/** Of these, what takes long, or concerns neither sync nor its tables: left out of the quick run. */
const slow = [
  "tests/agent/lifetime_test.ts",
  "tests/agent/migration/bypass_test.ts",
  "tests/agent/migration/migration_kill_test.ts",
  "tests/agent/migration/migration_steps_test.ts",
  "tests/agent/offline_test.ts",
  "tests/agent/upkeep/coalesce_test.ts",
  "tests/agent/verify",
  "tests/cloud/api",
  "tests/cloud/broker",
  "tests/cloud/console",
  "tests/cloud/dynamodb/tables_test.ts",
  "tests/cloud/embedded_test.ts",
  "tests/cloud/identity",
  "tests/cloud/notify",
  "tests/cloud/onetable_test.ts",
  "tests/cloud/operations",
  "tests/cloud/row_fidelity_test.ts",
  "tests/cloud/sync/lru_test.ts",
  "tests/cloud/sync/storm_test.ts",
  "tests/cloud/worker_test.ts",
  "tests/cli/device_commands_test.ts",
  "tests/schema/onetable_test.ts",
];
/** What takes long by itself has a process of its own, too. */
const longest = [
  "tests/e2e/matrix_test.ts",
  "tests/sim/sim_test.ts",
  "tests/fuzz/blackbox_test.ts",
  "tests/cloud/cost_test.ts",
  "tests/sim/policies_test.ts",
  "tests/property/day_test.ts",
  "tests/e2e/workers_test.ts",
  "tests/e2e/kill_test.ts",
  "tests/console/pages_test.ts",
];
/** What waits for most of its long time: begun first, it leaves the machine to the others. */
const waiting = ["tests/hostile", "tests/agent/verify"];
/** What measures, or fills the machine by itself: it runs at the end, beside nothing. */
const last = [
  "tests/agent/store/capture_test.ts",
  "tests/agent/sync/recent_sends_test.ts",
  "tests/console/fleet_test.ts",
  "tests/e2e/cost_test.ts",
  "tests/e2e/storm_agents_test.ts",
  "tests/e2e/storm_test.ts",
  "tests/hostile/connections_test.ts",
  "tests/hostile/floods_test.ts",
  "tests/protocol/log_test.ts",
];
/**
 * What CI runs with every fourth commit, each of these lists with another one: it takes long, and what it guards is guarded
 * by something quicker, too, or seldom changes. Of all else nothing is left out.
 */
const byTurns: readonly (readonly string[])[] = [
  [
    "tests/cli/arm64_test.ts",
    "tests/console/compare_test.ts",
    "tests/console/data_select_test.ts",
    "tests/console/graph_test.ts",
    "tests/console/pages_test.ts",
    "tests/e2e/outage_test.ts",
    "tests/e2e/released_test.ts",
  ],
  [
    "tests/cli/key_rotate_test.ts",
    "tests/compose_test.ts",
    "tests/console/device_changes_test.ts",
    "tests/console/history_test.ts",
    "tests/console/jobs_test.ts",
    "tests/containers_test.ts",
    "tests/e2e/size_test.ts",
    "tests/sim/policies_test.ts",
  ],
  [
    "tests/cli/download_test.ts",
    "tests/cloud/cost_test.ts",
    "tests/console/fleet_past_test.ts",
    "tests/console/paste_test.ts",
    "tests/e2e/chaos_test.ts",
    "tests/e2e/matrix_test.ts",
    "tests/e2e/offline_test.ts",
    "tests/e2e/workers_test.ts",
  ],
  [
    "tests/console/elsewhere_test.ts",
    "tests/e2e/cost_test.ts",
    "tests/e2e/storm_agents_test.ts",
    "tests/fuzz/blackbox_test.ts",
    "tests/hostile/floods_test.ts",
    "tests/property/day_test.ts",
  ],
];

/**
 * What is left out of a run.
 *
 * @param turn how many commits there are; undefined: it is not CI that runs them, and nothing is left out
 */
export function leftOut(turn: number | undefined): readonly string[] {
  return turn === undefined ? [] : byTurns.filter((_, at) => at !== turn % byTurns.length).flat();
}

/** Processes at once: they start others and wait for them. */
export const lanes = 5;
/** Files of a group, at most. */
const groupMax = 8;

/** One run of `deno test`: files that are loaded as one, in this order. */
export interface Run {
  /** Of a group, what is printed beside its tests. */
  readonly name: string;
  readonly files: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs that have no order, {@link lanes} at once; a phase begins when the one before it has ended. */
export type Phase = readonly Run[];

/** What `deno task test` runs where it is given no files. */
export function wholeSuite(files: readonly string[]): Phase[] {
  const alone = [...apart, ...longest, ...last],
    singles = (list: readonly string[]) => list.filter((file) => files.includes(file)).map(single);
  const together = files.filter((file) => !isIn(file, alone)), rest = together.filter((file) => !isIn(file, waiting));
  const isConsole = (file: string) => file.startsWith("tests/console/");
  const others = rest.filter((file) => !isIn(file, units));
  return [
    // What takes longest is begun first, so that it is not left alone at the end.
    [
      ...groups(together.filter((file) => isIn(file, waiting))),
      ...groups(others.filter(isConsole)),
      ...singles(longest),
      ...groups(others.filter((file) => !isConsole(file))),
      ...groups(rest.filter((file) => isIn(file, units))),
      ...singles(apart),
    ],
    ...singles(last).map((run) => [run]),
  ];
}

/** What `deno task test:quick` runs: a minute on two cores. */
export function quickNet(files: readonly string[]): Phase[] {
  const folders = ["tests/agent", "tests/cloud", "tests/golden", "tests/protocol", "tests/schema", "tests/support"];
  const unit = files.filter((file) => isIn(file, folders) && !isIn(file, [...apart, ...longest, ...last, ...slow]));
  const more = ["tests/rules_test.ts", "tests/sim/mutants_test.ts", "tests/sim/seeds_test.ts"];
  const sim = { ...single("tests/sim/sim_test.ts"), env: { SIM_SEEDS: "60" } };
  return [[sim, ...more.map(single), ...groups(unit)]];
}

const single = (file: string): Run => ({ name: file, files: [file] });

/** Files of one folder together, in groups of much the same size. */
export function groups(files: readonly string[]): Run[] {
  const folders = Map.groupBy(files, (file) => file.slice(0, file.lastIndexOf("/")));
  return [...folders].flatMap(([folder, own]) => {
    const count = Math.ceil(own.length / groupMax);
    return Array.from({ length: count }, (_, index) => ({
      name: count === 1 ? folder : `${folder} ${index + 1} of ${count}`,
      files: own.filter((_, at) => at % count === index),
    }));
  });
}

function isIn(file: string, places: readonly string[]): boolean {
  return places.some((place) => file === place || file.startsWith(`${place}/`));
}
