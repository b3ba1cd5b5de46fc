/**
 * `deno task bench [name…] [--quick] [--repeats N] [--json FILE] [--docs] [--profile DIR]`: measures, prints a table, and
 * exits with 1 where a goal (or, in a quick run, a gate) is missed or a benchmark failed. The last line is the summary.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benches } from "./benches.ts";
import { type Bench, collect, type Context, keeps, type Result, type Row } from "./measure.ts";
import { writeDocs } from "./docs.ts";
import { machine, type Report } from "./report.ts";
import { tableOf } from "./table.ts";

const repeatsUsual = 5;

const usage = `deno task bench [name…] [--quick] [--repeats N] [--json FILE] [--docs] [--profile DIR]

  name        of ${benches.map((bench) => bench.name).join(", ")}; default all
  --quick     less work and one repeat, at most two minutes; only ratios and sizes are judged
  --repeats   default ${repeatsUsual}, less for those that take minutes
  --json      writes what was measured
  --docs      writes docs/performance.md and its charts
  --profile   processes that end by themselves leave a .cpuprofile in this folder
`;

interface Options {
  readonly names: readonly string[];
  readonly quick: boolean;
  readonly repeats: number | undefined;
  readonly json: string | undefined;
  readonly docs: boolean;
  readonly profile: string | undefined;
}

function optionsOf(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      repeats: { type: "string" },
      json: { type: "string" },
      docs: { type: "boolean", default: false },
      profile: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    Deno.exit(0);
  }
  const unknown = positionals.find((name) => !benches.some((bench) => bench.name === name));
  if (unknown !== undefined) throw new RangeError(`there is no benchmark "${unknown}"`);
  const repeats = values.repeats === undefined ? undefined : Number(values.repeats);
  if (repeats !== undefined && !(Number.isInteger(repeats) && repeats >= 1)) {
    throw new RangeError(`--repeats is a whole number of 1 or more, not "${values.repeats}"`);
  }
  return {
    names: positionals,
    quick: values.quick,
    repeats,
    json: values.json,
    docs: values.docs,
    profile: values.profile,
  };
}

async function repeat(bench: Bench, options: Options): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), "twintable-bench-"));
  const context: Context = {
    quick: options.quick,
    dir,
    child: options.profile ? { profileDir: options.profile } : {},
    log: (text) => console.error(`  ${text}`),
  };
  try {
    return await bench.run(context);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function runBench(bench: Bench, options: Options): Promise<{ results: Result[]; failure?: string }> {
  const times = options.repeats ?? (options.quick ? 1 : bench.repeats ?? repeatsUsual);
  const repeats: Row[][] = [];
  try {
    for (let n = 0; n < times; n++) repeats.push(await repeat(bench, options));
  } catch (error) {
    console.error(`${bench.name} failed: ${(error as Error).stack}`);
    return { results: collect(bench.name, repeats), failure: bench.name };
  }
  return { results: collect(bench.name, repeats) };
}

/** What is judged: goals in a full run, gates in a quick one. */
function missedOf(results: readonly Result[], quick: boolean): Result[] {
  return results.filter(({ samples, goal, gate }) => {
    const bound = quick ? gate : goal;
    return bound !== undefined && !keeps(samples, bound);
  });
}

async function main(args: string[]): Promise<number> {
  let options: Options;
  try {
    options = optionsOf(args);
  } catch (error) {
    console.error(`bench: ${(error as Error).message}`);
    return 2;
  }
  const chosen = benches.filter((bench) =>
    options.names.length > 0 ? options.names.includes(bench.name) : !options.quick || bench.quick
  );
  const start = performance.now(), about = machine();
  const results: Result[] = [], failures: string[] = [];
  for (const bench of chosen) {
    console.error(`${bench.name}: ${bench.title}`);
    const { results: own, failure } = await runBench(bench, options);
    results.push(...own);
    if (failure !== undefined) failures.push(failure);
    console.log(tableOf(bench.title, own, options.quick));
    // After each: a long run that is ended early leaves what it has measured.
    const report: Report = { machine: about, quick: options.quick, results };
    if (options.json !== undefined) await Deno.writeTextFile(options.json, `${JSON.stringify(report, undefined, 1)}\n`);
    if (options.docs) await writeDocs(report);
  }
  const missed = missedOf(results, options.quick);
  for (const { bench, name } of missed) console.log(`missed: ${bench}: ${name}`);
  for (const name of failures) console.log(`failed: ${name}`);
  const seconds = Math.round((performance.now() - start) / 1000);
  console.log(`${results.length} figures in ${seconds} s, ${missed.length} missed, ${failures.length} failed`);
  return missed.length + failures.length > 0 ? 1 : 0;
}

Deno.exit(await main(Deno.args));
