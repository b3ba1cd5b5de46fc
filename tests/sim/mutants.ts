/**
 * `deno task sim:mutants`: tests that can't see planted bugs prove nothing. Each mutant is applied to a copy of the tree. One
 * that the simulation must find is run until an invariant is violated: with the seed that found it last
 * (`mutant_seeds.json`), then in its own families, then in all. One that names a test file as its guard must make a test of
 * this file fail, by an assertion: not by a module that can't be loaded. One that survives fails the run, and so does one
 * whose text is no longer found: a mutant must not rot. A guard that fails at its second run only is told: it hangs on timing.
 *
 *     deno task sim:mutants [--unseen] [--only NAME[,NAME]] [--jobs N] [--seconds S] [--check] [--note] [--tested] [--minutes M]
 *
 * It runs those with a guard or a recorded seed. A guard is first run without any mutant, which must pass, unless `--tested` says
 * that all tests have just passed. `--unseen` searches for seeds of the others, and `--note` records what it
 * finds. `--minutes` ends it after that time: it begins with another one for each commit, so that all have their turn, and says how
 * many it did not come to. A mutant without either counts for nothing: the rule that it breaks is guarded by other tests, if at all.
 *
 * @module
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { families, plan } from "./families.ts";
import type { GuardedMutant, Mutant, SimMutant } from "./mutant.ts";
import { mutants } from "./mutant_list.ts";
import { run } from "./run.ts";
import { withScratch } from "./scratch.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** What is no part of the tree: history, and what tasks make. */
const left = [".git", ".twintable", "coverage", "dist", "node_modules"];
/** A guard that runs longer than this hangs, which is no verdict. */
const guardMsMax = 180_000;
/** How long a guard that is under way when the time is over may still take, in ms. */
const graceMs = 20_000;

const notes = `${root}/tests/sim/mutant_seeds.json`;
/** By mutant, the family and seed that found it last. */
export const noted: Record<string, [family: string, seed: number]> = JSON.parse(readFileSync(notes, "utf8"));

/** A violation that a mutant caused. */
interface Violation {
  readonly family: string;
  readonly seed: number;
  readonly message: string;
  /** Runs until then. */
  readonly runs: number;
}

/** What found a mutant: the simulation, or the tests of its guard that failed. */
type Catch = Violation | { readonly failed: readonly string[]; readonly again?: true };

interface Verdict {
  readonly mutant: Mutant;
  /** Undefined: it survived. */
  readonly caught?: Catch;
  /** Why nothing can be said of it. */
  readonly flawed?: string;
}

/** Whether CI runs it: what must find it is known. */
export function isKnown(mutant: Mutant): boolean {
  return "guard" in mutant || noted[mutant.name] !== undefined;
}

/** Why a mutant can't be applied; undefined where it can. */
export function rotten(mutant: Mutant): string | undefined {
  const { patches } = mutant;
  if ("guard" in mutant && !existsSync(`${root}/${mutant.guard}`)) return `${mutant.guard} is not here`;
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
async function attempt(
  tree: string,
  names: readonly string[],
  which: readonly string[],
): Promise<Violation | undefined> {
  const { stdout } = await simulate(tree, ["--quick", "--family", names.join(","), ...which]);
  const found = /^family (\w+), seed (\d+): (.*)$/m.exec(stdout);
  if (!found) return undefined;
  const runs = Number(/^sim: ([\d,]+) runs/m.exec(stdout)![1]!.replaceAll(",", ""));
  return { family: found[1]!, seed: Number(found[2]), message: found[3]!, runs };
}

async function simulated(tree: string, folder: string, mutant: SimMutant, seconds: number): Promise<Verdict> {
  const time = ["--minutes", String(seconds / 60)], [family, seed] = noted[mutant.name] ?? [];
  const caught = (family && await attempt(tree, [family], ["--seeds", `${seed}..${seed}`])) ||
    await attempt(tree, mutant.families, time) || await attempt(tree, Object.keys(families), time);
  if (caught) {
    const { failure } = await run(plan(caught.family, caught.seed), { folder });
    if (failure) return { mutant, flawed: `seed ${caught.seed} of ${caught.family} fails without any mutant` };
  }
  return { mutant, caught };
}

/** The tests of a guard that fail; or why the run says nothing; undefined: it had not ended when the time was `over`. */
async function failing(
  tree: string,
  { guard, filter }: GuardedMutant,
  over: AbortSignal,
): Promise<readonly string[] | string | undefined> {
  const hangs = AbortSignal.timeout(guardMsMax);
  const command = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", "--fail-fast", ...(filter === undefined ? [] : ["--filter", filter]), guard],
    cwd: tree,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
    signal: AbortSignal.any([hangs, over]),
  });
  const { stdout, stderr } = await command.output();
  // Asked to end, a run of tests counts those under way as failed, and ends as if by itself.
  if (over.aborted) return undefined;
  if (hangs.aborted) return `${guard} did not end within ${guardMsMax / 1000} s`;
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  const [, passed, failed] = /^(?:ok|FAILED) \| (\d+) passed.*? \| (\d+) failed/m.exec(text) ?? [];
  if (passed === undefined) return `${guard} can't be run:\n${text}`;
  if (/\(uncaught error\)/.test(text)) return `${guard} fails outside of its tests:\n${text}`;
  if (Number(passed) + Number(failed) === 0) return `${guard} has no test that runs${filter ? `: ${filter}` : ""}`;
  const names = [...text.matchAll(/^(\S.*) \.\.\. FAILED/gm)].map(([, name]) => name!);
  // The line of a test that prints, or runs for longer than a minute, is broken in two: the count still says that it failed.
  return names.length === 0 && Number(failed) > 0 ? [`${failed} of ${guard}`] : names;
}

/** By guard, why it says nothing: it fails without any mutant, or runs nothing. */
const unfit = new Map<string, Promise<string | undefined>>();

async function guardedBy(
  tree: string,
  mutant: GuardedMutant,
  { tested, over }: Limits,
): Promise<Verdict | undefined> {
  const text = `${mutant.guard}#${mutant.filter ?? ""}`;
  // As long as one tree has the mutant, the other may try the guard without: the original tree is never altered.
  let why = tested ? Promise.resolve(undefined) : unfit.get(text);
  if (!why) {
    why = failing(root, mutant, over).then((result) =>
      typeof result === "object"
        ? (result.length > 0 ? `${text} fails without any mutant: ${result[0]}` : undefined)
        : result
    );
    unfit.set(text, why);
  }
  const first = await failing(tree, mutant, over), again = first?.length === 0;
  const failed = again ? await failing(tree, mutant, over) : first;
  const flawed = await why ?? (typeof failed === "string" ? failed : undefined);
  if (flawed !== undefined) return { mutant, flawed };
  if (failed === undefined) return undefined;
  if (failed.length === 0) return { mutant };
  return { mutant, caught: { failed: failed as readonly string[], ...(again ? { again } : {}) } };
}

/** What bounds a trial. */
interface Limits {
  /** Of each search by the simulation. */
  readonly seconds: number;
  /** All tests have just passed without any mutant. */
  readonly tested: boolean;
  /** Ends the guards that are under way. */
  readonly over: AbortSignal;
}

/** Tries a mutant; undefined: its guard had not ended when the time was over. */
async function judge(tree: string, folder: string, mutant: Mutant, limits: Limits): Promise<Verdict | undefined> {
  const restore = apply(tree, mutant);
  try {
    return "guard" in mutant
      ? await guardedBy(tree, mutant, limits)
      : await simulated(tree, folder, mutant, limits.seconds);
  } finally {
    restore();
  }
}

function copyTree(to: string): string {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(root)) {
    if (!left.includes(name)) cpSync(`${root}/${name}`, `${to}/${name}`, { recursive: true });
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
      tested: { type: "boolean", default: false },
      minutes: { type: "string", default: "Infinity" },
    },
  });
  const chosen = mutants.filter((mutant) =>
    (values.only?.split(",").some((part) => mutant.name.includes(part)) ?? true) && values.unseen === !isKnown(mutant)
  );
  const rot = chosen.flatMap((mutant) => rotten(mutant) ?? []);
  for (const line of rot) console.log(line);
  if (rot.length > 0 || values.check) {
    console.log(`sim:mutants: ${chosen.length} mutants, ${rot.length} can't be applied`);
    return rot.length > 0 ? 1 : 0;
  }
  const minutes = Number(values.minutes), endMs = performance.now() + minutes * 60_000;
  // A guard that waits in vain may take minutes: what is under way a while after the end is given up, and said.
  const over = minutes === Infinity ? new AbortController().signal : AbortSignal.timeout(minutes * 60_000 + graceMs);
  const limits: Limits = { seconds: Number(values.seconds), tested: values.tested, over };
  const first = minutes === Infinity ? 0 : await commits() * Math.ceil(chosen.length / 7) % chosen.length;
  const verdicts: Verdict[] = [], queue = [...chosen.slice(first), ...chosen.slice(0, first)];
  await withScratch(async (folder) => {
    await Promise.all(Array.from({ length: Number(values.jobs) }, async (_, i) => {
      const tree = copyTree(`${folder}/${i}`);
      for (let mutant = queue.shift(); mutant && performance.now() < endMs; mutant = queue.shift()) {
        const verdict = await judge(tree, folder, mutant, limits);
        if (verdict === undefined) {
          console.log(`given up ${mutant.name}: its guard had not ended`);
          continue;
        }
        verdicts.push(verdict);
        if (values.note) note(verdict);
        console.log(lineOf(verdict));
      }
    }));
  });
  console.log("\n| mutant | breaks | caught by | after |\n|---|---|---|---|");
  for (const verdict of verdicts) console.log(rowOf(verdict));
  const survived = verdicts.filter(({ caught }) => caught === undefined).length;
  const left = chosen.length - verdicts.length;
  console.log(
    `sim:mutants: ${verdicts.length} mutants, ${survived} survived${left > 0 ? `, ${left} not come to` : ""}`,
  );
  return survived > 0 ? 1 : 0;
}

/** How many commits there are; 0 where there is no history. */
async function commits(): Promise<number> {
  try {
    const { stdout } = await new Deno.Command("git", { args: ["rev-list", "--count", "HEAD"], cwd: root }).output();
    return Number(new TextDecoder().decode(stdout)) || 0;
  } catch {
    return 0;
  }
}

function note({ mutant, caught }: Verdict): void {
  if (caught && "family" in caught) noted[mutant.name] = [caught.family, caught.seed];
  const sorted = mutants.flatMap(({ name }) =>
    noted[name] ? [`  ${JSON.stringify(name)}: ${pairOf(noted[name])}`] : []
  );
  writeFileSync(notes, `{\n${sorted.join(",\n")}\n}\n`);
}

function pairOf([family, seed]: readonly [string, number]): string {
  return `["${family}", ${seed}]`;
}

function rowOf({ mutant, caught }: Verdict): string {
  const [by, after] = !caught
    ? ["**nothing**", ""]
    : "family" in caught
    ? [`\`${caught.family}\` ${caught.seed}: ${caught.message.split(" ", 1)[0]}`, `${caught.runs} runs`]
    : [
      `\`${(mutant as GuardedMutant).guard}\``,
      `${caught.failed.length} failed${caught.again ? " the second time" : ""}`,
    ];
  return `| ${mutant.name} | ${mutant.breaks} | ${by} | ${after} |`;
}

function lineOf({ mutant, caught, flawed }: Verdict): string {
  if (flawed !== undefined) return `FLAWED   ${mutant.name}: ${flawed}`;
  if (!caught) return `SURVIVED ${mutant.name}`;
  const by = "family" in caught ? `${caught.family} ${caught.seed}: ${caught.message}` : caught.failed[0]!;
  const twice = "again" in caught ? "2 tries  " : "caught   ";
  return `${twice}${mutant.name}: ${by}`.slice(0, 160);
}

if (import.meta.main) Deno.exit(await main());
