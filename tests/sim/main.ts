/**
 * `deno task sim`: runs of the simulation, from the command line. Exits with 1 where an invariant was violated; its last
 * line is the summary.
 *
 *     deno task sim [--seeds A..B] [--family F[,G]|every] [--minutes M] [--jobs N]
 *     deno task sim --seed N [--family F] [--trace] [--steps 3,8,12-20]
 *
 * A seed says everything, the family of schedules too; with `--family` it is run in each of those, whatever it says. With
 * `--minutes` seeds are run from A on until the time is up. `--trace` tells every step, message, commit and change of the
 * table. `--steps` keeps only these steps of a seed's schedule, as a minimised failure names them.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { Step } from "./actions.ts";
import { families, familyOf, plan } from "./families.ts";
import { runShare } from "./jobs.ts";
import { minimise } from "./minimise.ts";
import { run } from "./run.ts";
import { withScratch } from "./scratch.ts";
import { faultLines, summary } from "./tally.ts";

const usage = `deno task sim [--seeds A..B] [--family F[,G]|every] [--minutes M] [--jobs N]
deno task sim --seed N [--family F] [--trace] [--steps 3,8,12-20]
families: ${Object.keys(families).join(", ")}`;

/** How long a failure is minimised, of real time. */
const minimiseMs = 30_000;
/** Failures that are minimised and shown in full. */
const shownMax = 3;

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seeds: { type: "string", default: "1..1000" },
      seed: { type: "string" },
      family: { type: "string" },
      minutes: { type: "string" },
      jobs: { type: "string", default: "1" },
      steps: { type: "string" },
      trace: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const names = values.family === "every" ? Object.keys(families) : values.family?.split(",");
  for (const name of names ?? []) if (!families[name]) throw new TypeError(`there is no family "${name}"`);
  if (values.seed !== undefined) {
    const seed = wholeOf(values.seed);
    return await replay(names ?? [familyOf(seed)], seed, values.steps, values.trace);
  }
  const [from, to] = rangeOf(values.seeds);
  const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
  if (minutes !== undefined && !(minutes > 0)) throw new TypeError(`--minutes ${values.minutes} is not a time`);
  const began = performance.now();
  const { tally, failures } = await runShare({
    families: names,
    from,
    to: minutes === undefined ? to : Infinity,
    budgetMs: minutes === undefined ? Infinity : minutes * 60_000,
    jobs: Math.max(1, wholeOf(values.jobs)),
    // A mutant needs no second failure.
    failuresMax: values.quick ? 1 : 20,
    shows: !values.quick,
  });
  failures.sort((a, b) => a.seed - b.seed);
  for (const { family, seed, message } of failures.slice(0, values.quick ? 1 : shownMax)) {
    await show(family, seed, message, values.quick);
  }
  for (const line of faultLines(tally)) console.log(line);
  console.log(summary(tally, performance.now() - began));
  return tally.failures > 0 ? 1 : 0;
}

/** One seed, as it is or in part. */
async function replay(names: readonly string[], seed: number, kept: string | undefined, trace: boolean) {
  let failed = 0;
  for (const name of names) {
    const whole = plan(name, seed);
    const steps = kept === undefined ? whole.steps : indexesOf(kept).map((i) => whole.steps[i]!);
    const told = trace ? (line: string) => console.log(line) : undefined;
    const { failure } = await withScratch((folder) => run(whole, { folder, steps, trace: told }));
    if (failure !== undefined) failed++;
    console.log(`${name} ${seed}: ${failure ?? "holds"}`);
  }
  console.log(`sim: ${names.length} runs, ${failed} violations`);
  return failed > 0 ? 1 : 0;
}

/** A failure, made short, with the command that shows it again. */
async function show(family: string, seed: number, message: string, quick: boolean): Promise<void> {
  console.log(`\nfamily ${family}, seed ${seed}: ${message}`);
  if (quick) return;
  const whole = plan(family, seed);
  const budgetMs = minimiseMs, nowMs = () => performance.now();
  const { steps, failure } = await withScratch((folder) => minimise(whole, message, { folder, budgetMs, nowMs }));
  const indexes = steps.map((step) => whole.steps.indexOf(step));
  console.log(`minimised to ${steps.length} of ${whole.steps.length} steps: ${failure.split("\n")[0]}`);
  console.log(steps.map(([action]: Step, i) => `  ${indexes[i]} ${action}`).join("\n"));
  console.log(`setup ${JSON.stringify(whole.setup)}\nsteps ${JSON.stringify(steps)}`);
  console.log(`replay: deno task sim --family ${family} --seed ${seed} --trace --steps ${indexes.join(",") || "none"}`);
}

function wholeOf(text: string): number {
  if (!/^\d+$/.test(text)) throw new TypeError(`"${text}" is not a whole number`);
  return Number(text);
}

function rangeOf(text: string): [number, number] {
  const [from, to = from] = text.split("..");
  return [wholeOf(from!), wholeOf(to!)];
}

/** `3,8,12-20`; `none` for none at all. */
function indexesOf(text: string): number[] {
  if (text === "none") return [];
  return text.split(",").flatMap((part) => {
    const [from, to] = part.split("-").map(wholeOf) as [number, number?];
    return Array.from({ length: (to ?? from) - from + 1 }, (_, i) => from + i);
  });
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof RangeError)) throw error;
    console.error(`sim: ${error.message}\n${usage}`);
    Deno.exit(2);
  }
}
