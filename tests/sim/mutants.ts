/**
 * `deno task sim:mutants`: a simulation that can't see planted bugs proves nothing. Each mutant is applied to a copy of the
 * tree and run until an invariant is violated: with the seed that found it last (`mutant_seeds.json`), then in its own
 * families, then in all. One that survives fails the run, and so does one whose text is no longer found: a mutant must not
 * rot.
 *
 *     deno task sim:mutants [--unseen] [--only NAME[,NAME]] [--jobs N] [--seconds S] [--check] [--note]
 *
 * Run are those whose seed is written down; `--unseen` searches for seeds of the others, and `--note` writes down what is
 * found. A mutant without a seed counts for nothing: the rule that it breaks is guarded by other tests, if at all.
 *
 * @module
 */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { families, plan } from "./families.ts";
import { type Mutant, mutants } from "./mutant_list.ts";
import { run } from "./run.ts";
import { withScratch } from "./scratch.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** What a simulation is made of. */
const parts = [
  "agent",
  "cloud",
  "mqtt",
  "protocol",
  "schema",
  "tests/sim",
  "protocol.ts",
  "schema.ts",
  "deno.json",
  "deno.lock",
];

const notes = `${root}/tests/sim/mutant_seeds.json`;
/** By mutant, the family and seed that found it last. */
export const noted: Record<string, [family: string, seed: number]> = JSON.parse(readFileSync(notes, "utf8"));

/** A violation that a mutant caused. */
interface Catch {
  readonly family: string;
  readonly seed: number;
  readonly message: string;
  /** Runs until then. */
  readonly runs: number;
}

interface Verdict {
  readonly mutant: Mutant;
  /** Undefined: it survived. */
  readonly caught?: Catch;
  /** Why nothing can be said of it. */
  readonly flawed?: string;
}

/** Why a mutant can't be applied; undefined where it can. */
export function rotten({ patches }: Mutant): string | undefined {
  for (const { file, find } of patches) {
    const count = readFileSync(`${root}/${file}`, "utf8").split(find).length - 1;
    if (count !== 1) return `${file} has ${count} times: ${find}`;
  }
  return undefined;
}

/** Applies a mutant to a copy of the tree; returns what takes it back. */
function apply(tree: string, { patches }: Mutant): () => void {
  const before = new Map<string, string>();
  for (const { file, find, replace } of patches) {
    const path = `${tree}/${file}`, text = readFileSync(path, "utf8");
    if (!before.has(path)) before.set(path, text);
    writeFileSync(path, text.replace(find, () => replace));
  }
  return () => before.forEach((text, path) => writeFileSync(path, text));
}

/** The simulation of a copy of the tree. */
async function simulate(tree: string, args: readonly string[]): Promise<{ code: number; stdout: string }> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `${tree}/tests/sim/main.ts`, ...args],
    cwd: tree,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  });
  const { code, stdout, stderr } = await command.output();
  if (code > 1) throw new Error(`the simulation broke: ${new TextDecoder().decode(stderr)}`);
  return { code, stdout: new TextDecoder().decode(stdout) };
}

/** Runs a copy until it fails: these seeds, or for so long. */
async function attempt(tree: string, names: readonly string[], which: readonly string[]): Promise<Catch | undefined> {
  const { stdout } = await simulate(tree, ["--quick", "--family", names.join(","), ...which]);
  const found = /^family (\w+), seed (\d+): (.*)$/m.exec(stdout);
  if (!found) return undefined;
  const runs = Number(/^sim: ([\d,]+) runs/m.exec(stdout)![1]!.replaceAll(",", ""));
  return { family: found[1]!, seed: Number(found[2]), message: found[3]!, runs };
}

async function judge(tree: string, folder: string, mutant: Mutant, seconds: number): Promise<Verdict> {
  const restore = apply(tree, mutant), time = ["--minutes", String(seconds / 60)];
  const [family, seed] = noted[mutant.name] ?? [];
  try {
    const caught = (family && await attempt(tree, [family], ["--seeds", `${seed}..${seed}`])) ||
      await attempt(tree, mutant.families, time) || await attempt(tree, Object.keys(families), time);
    if (caught) {
      const { failure } = await run(plan(caught.family, caught.seed), { folder });
      if (failure) return { mutant, flawed: `seed ${caught.seed} of ${caught.family} fails without any mutant` };
    }
    return { mutant, caught };
  } finally {
    restore();
  }
}

function copyTree(to: string): string {
  for (const part of parts) {
    mkdirSync(dirname(`${to}/${part}`), { recursive: true });
    cpSync(`${root}/${part}`, `${to}/${part}`, { recursive: true });
  }
  return to;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      jobs: { type: "string", default: "2" },
      seconds: { type: "string", default: "60" },
      check: { type: "boolean", default: false },
      note: { type: "boolean", default: false },
      unseen: { type: "boolean", default: false },
    },
  });
  const chosen = mutants.filter(({ name }) =>
    (values.only?.split(",").some((part) => name.includes(part)) ?? true) && values.unseen === !noted[name]
  );
  const rot = chosen.flatMap((mutant) => rotten(mutant) ?? []);
  for (const line of rot) console.log(line);
  if (rot.length > 0 || values.check) {
    console.log(`sim:mutants: ${chosen.length} mutants, ${rot.length} can't be applied`);
    return rot.length > 0 ? 1 : 0;
  }
  const verdicts: Verdict[] = [], queue = [...chosen];
  await withScratch(async (folder) => {
    await Promise.all(Array.from({ length: Number(values.jobs) }, async (_, i) => {
      const tree = copyTree(`${folder}/${i}`);
      for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
        const verdict = await judge(tree, folder, mutant, Number(values.seconds));
        verdicts.push(verdict);
        if (values.note) note(verdict);
        console.log(lineOf(verdict));
      }
    }));
  });
  console.log("\n| mutant | breaks | caught by | after |\n|---|---|---|---|");
  for (const mutant of chosen) {
    const { caught } = verdicts.find((verdict) => verdict.mutant === mutant)!;
    const by = caught ? `\`${caught.family}\` ${caught.seed}: ${caught.message.split(" ", 1)[0]}` : "**nothing**";
    console.log(`| ${mutant.name} | ${mutant.breaks} | ${by} | ${caught ? `${caught.runs} runs` : ""} |`);
  }
  const survived = verdicts.filter(({ caught }) => caught === undefined).length;
  console.log(`sim:mutants: ${verdicts.length} mutants, ${survived} survived`);
  return survived > 0 ? 1 : 0;
}

function note({ mutant, caught }: Verdict): void {
  if (caught) noted[mutant.name] = [caught.family, caught.seed];
  const sorted = mutants.flatMap(({ name }) =>
    noted[name] ? [`  ${JSON.stringify(name)}: ${pairOf(noted[name])}`] : []
  );
  writeFileSync(notes, `{\n${sorted.join(",\n")}\n}\n`);
}

function pairOf([family, seed]: readonly [string, number]): string {
  return `["${family}", ${seed}]`;
}

function lineOf({ mutant, caught, flawed }: Verdict): string {
  if (flawed !== undefined) return `FLAWED   ${mutant.name}: ${flawed}`;
  if (!caught) return `SURVIVED ${mutant.name}`;
  return `caught   ${mutant.name}: ${caught.family} ${caught.seed}: ${caught.message}`.slice(0, 160);
}

if (import.meta.main) Deno.exit(await main());
