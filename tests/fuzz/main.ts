/**
 * `deno task fuzz`: the black-box fuzzer, from the command line. Each round is a random system of real processes, which are
 * written to and disturbed; then every write is accounted for (docs/correctness.md). Exits with 1 where a round found
 * something; its last line is the summary.
 *
 *     deno task fuzz [--rounds N] [--seed S] [--seconds T] [--jobs N] [--steps N] [--only FAULT[,FAULT]] [--keep] [--plant]
 *
 * Rounds have the seeds S, S + 1, …: of a seed everything follows but timing. With `--seconds` rounds are begun until the
 * time is up. `--steps` is how many transactions each application makes. `--only` leaves out all other faults (`none`: all).
 * The folder of a round that failed is kept: logs, files, the journal; with `--keep` of every round. With `--plant`, losses
 * are planted in the files of each round that held, and a loss that nobody notices fails it.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { badDiskMissing } from "../support/bad_disk.ts";
import { type Emulator, emulators } from "../support/dynamo.ts";
import { missingTools } from "../support/tools.ts";
import {
  described,
  type FaultKind,
  faultKinds,
  type Means,
  type Plan,
  planRound,
  type TableKind,
} from "./blackbox/plan.ts";
import { type Planted, plantLosses } from "./blackbox/plant.ts";
import { abandonRounds, type Result, runRound } from "./blackbox/round.ts";
import type { System } from "./blackbox/system.ts";

const usage =
  `deno task fuzz [--rounds N] [--seed S] [--seconds T] [--jobs N] [--steps N] [--only FAULT[,FAULT]|none] [--keep] [--plant]
faults: ${faultKinds.join(", ")}`;

/** What is shown of a round's findings: the rest stands in its folder. */
const shownMax = 8;

interface Options {
  readonly rounds: number;
  readonly seed: number;
  readonly seconds: number | undefined;
  readonly jobs: number;
  readonly steps: number;
  readonly only: readonly FaultKind[] | undefined;
  readonly keep: boolean;
  readonly plant: boolean;
}

function optionsOf(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: "string" },
      seed: { type: "string" },
      seconds: { type: "string" },
      jobs: { type: "string", default: "1" },
      steps: { type: "string", default: "40" },
      only: { type: "string" },
      keep: { type: "boolean", default: false },
      plant: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const seconds = values.seconds === undefined ? undefined : whole(values.seconds);
  const only = values.only === "none" ? [] : values.only?.split(",");
  for (const name of only ?? []) {
    if (!faultKinds.includes(name as FaultKind)) throw new TypeError(`there is no fault "${name}"`);
  }
  return {
    rounds: values.rounds !== undefined ? whole(values.rounds) : seconds === undefined ? 1 : Infinity,
    seed: values.seed === undefined ? crypto.getRandomValues(new Uint32Array(1))[0]! % 1_000_000 : whole(values.seed),
    ...{ seconds, jobs: Math.max(1, whole(values.jobs)), steps: whole(values.steps), keep: values.keep },
    plant: values.plant,
    only: only as FaultKind[] | undefined,
  };
}

function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new TypeError(`"${text}" is no whole number`);
  return Number(text);
}

/** Emulators, each started when a round first needs it. */
class Emulators {
  readonly #running = new Map<TableKind, Promise<Emulator>>();

  of(kind: TableKind): Promise<Emulator> | undefined {
    if (kind === "embedded") return undefined;
    const running = this.#running.get(kind) ??
      emulators().then((kinds) => kinds.find(({ name }) => name === kind)!.start());
    this.#running.set(kind, running);
    return running;
  }

  async stop(): Promise<void> {
    for (const running of this.#running.values()) await (await running).stop();
  }
}

async function meansHere(): Promise<Means> {
  const kinds = (await emulators()).filter(({ missing }) => missing === undefined).map(({ name }) => name);
  const mosquitto = missingTools("mosquitto"), faketime = missingTools("faketime");
  const disk = await badDiskMissing();
  for (const reason of [mosquitto, faketime, disk]) if (reason) console.log(`skipped: ${reason}`);
  return { tables: ["embedded", ...kinds], mosquitto: !mosquitto, faketime: !faketime, disk: !disk };
}

function again({ plan }: Result, { steps, only }: Options): string {
  const more = only === undefined ? "" : ` --only ${only.join(",") || "none"}`;
  return `deno task fuzz --seed ${plan.seed}${steps === 40 ? "" : ` --steps ${steps}`}${more} --keep`;
}

const listed = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts).sort(([a], [b]) => a < b ? -1 : 1).map(([name, n]) => `${n} ${name}`).join(", ");

function show(result: Result, options: Options, dir: string): void {
  const { plan, findings, fates, counts, seconds } = result;
  const verdict = findings.length === 0 ? "holds" : "FAILED";
  console.log(
    `seed ${plan.seed} ${verdict} in ${seconds.toFixed(0)} s: ${described(plan)}; ${listed(counts)}; fates: ${
      listed(fates)
    }`,
  );
  if (findings.length === 0) return;
  Deno.writeTextFileSync(`${dir}/findings.json`, JSON.stringify(findings, null, 1));
  for (const { kind, sentence } of findings.slice(0, shownMax)) console.log(`  ${kind}: ${sentence}`);
  if (findings.length > shownMax) console.log(`  and ${findings.length - shownMax} more in findings.json`);
  console.log(`  again: ${again(result, options)}\n  folder: ${dir}`);
}

async function main(options: Options): Promise<number> {
  const missing = missingTools("sqlite3", "python3");
  if (missing !== undefined) {
    console.log(`skipped: ${missing}\nfuzz: 0 rounds, 0 failed`);
    return 0;
  }
  const means = await meansHere(), sources = new Emulators();
  const endMs = options.seconds === undefined ? Infinity : performance.now() + options.seconds * 1000;
  let next = 0, rounds = 0, failed = 0, commits = 0, blind = 0;
  const job = async () => {
    while (next < options.rounds && (next === 0 || performance.now() < endMs)) {
      const plan: Plan = planRound(options.seed + next++, means, options.only, options.steps);
      const dir = Deno.makeTempDirSync({ prefix: `twintable-fuzz-${plan.seed}-` });
      const held: Planted[] = [];
      const inspect = async (system: System) => void held.push(await plantLosses(system));
      const plant = options.plant ? inspect : undefined;
      const result = await runRound(plan, dir, means, await sources.of(plan.table), plant);
      for (const { names, unnoticed } of held) {
        console.log(
          `seed ${plan.seed}: planted ${names.join(", ") || "nothing"}; unnoticed: ${unnoticed.join(", ") || "none"}`,
        );
        blind += unnoticed.length;
      }
      rounds++;
      commits += Object.values(result.fates).reduce((sum, n) => sum + n, 0);
      if (result.findings.length > 0) failed++;
      show(result, options, dir);
      if (result.findings.length === 0 && !options.keep) Deno.removeSync(dir, { recursive: true });
    }
  };
  const interrupted = async () => {
    abandonRounds();
    await sources.stop();
    console.log("fuzz: interrupted; its processes were ended, and the folders of its rounds are kept");
    Deno.exit(130);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, interrupted);
  try {
    await Promise.all(Array.from({ length: options.jobs }, job));
  } finally {
    await sources.stop();
  }
  const planted = options.plant ? `, ${blind} planted losses unnoticed` : "";
  console.log(`fuzz: ${rounds} rounds, ${failed} failed, ${commits} writes accounted for${planted}`);
  return failed + blind > 0 ? 1 : 0;
}

if (import.meta.main) {
  try {
    const options = optionsOf(Deno.args);
    if (!options) console.log(usage);
    Deno.exit(options ? await main(options) : 0);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.error(`fuzz: ${error.message}\n${usage}`);
    Deno.exit(2);
  }
}
