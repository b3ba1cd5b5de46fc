/**
 * Many runs, in this process or shared out to several: a run is single-threaded, so that each further core needs a process
 * of its own. A subprocess is this module as main; it is told its share as JSON and answers in JSON lines.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { TextLineStream } from "./lines.ts";
import { familyOf, plan } from "./families.ts";
import { run } from "./run.ts";
import { withScratch } from "./scratch.ts";
import { add, emptyTally, type Tally, tallyOf } from "./tally.ts";

/** Which runs are to be made. */
export interface Share {
  /** Each seed is run in each of them; undefined: in the one that it means. */
  readonly families?: readonly string[];
  /** Seeds, both ends included. */
  readonly from: number;
  readonly to: number;
  /** Real time after which no run is begun. */
  readonly budgetMs: number;
  readonly jobs: number;
  /** No run is begun after so many failures (of one process). */
  readonly failuresMax: number;
  /** Tells on the standard error how far it is. */
  readonly shows?: boolean;
}

/** A run that failed. */
export interface Failed {
  readonly family: string;
  readonly seed: number;
  readonly message: string;
}

/** What came of a share. */
export interface ShareResult {
  readonly tally: Tally;
  readonly failures: Failed[];
}

/** A report goes out this often. */
const reportEveryMs = 1000;
/** Where nobody looks at a terminal, a line of progress is written this often. */
const showEveryMs = 30_000;

/** Makes the runs; shows how far it is on the terminal. */
export async function runShare(share: Share): Promise<ShareResult> {
  const result: ShareResult = { tally: emptyTally(), failures: [] };
  const began = performance.now(), isTerminal = Deno.stderr.isTerminal();
  let shownMs = began;
  const tell = (text: string) => Deno.stderr.writeSync(new TextEncoder().encode(text));
  const progress = ({ tally, failures }: ShareResult) => {
    add(result.tally, tally);
    result.failures.push(...failures);
    if (share.shows) {
      // At once: a long run says at its end what it made of them.
      for (const { family, seed, message } of failures) {
        tell(`family ${family}, seed ${seed}: ${message.split("\n")[0]}\n`);
      }
    }
    const now = performance.now();
    if (!share.shows || (!isTerminal && now - shownMs < showEveryMs)) return;
    shownMs = now;
    const { runs, failures: failed } = result.tally, minutes = (now - began) / 60_000;
    const line = `${runs} runs, ${Math.round(runs / minutes)} a minute, ${failed} violations`;
    tell(isTerminal ? `\r${line}  ` : `${line}\n`);
  };
  if (share.jobs === 1) await work(share, 0, progress);
  else await Promise.all(Array.from({ length: share.jobs }, (_, index) => subprocess(share, index, progress)));
  if (share.shows && isTerminal) tell("\n");
  return result;
}

/** The runs of one process: every `jobs`-th one. */
async function work(share: Share, index: number, report: (part: ShareResult) => void): Promise<void> {
  const { families, from, to, budgetMs, jobs, failuresMax } = share;
  const began = performance.now();
  let reportedMs = began, failed = 0, part: ShareResult = { tally: emptyTally(), failures: [] };
  const hand = () => {
    report(part);
    part = { tally: emptyTally(), failures: [] };
    reportedMs = performance.now();
  };
  await withScratch(async (folder) => {
    for (let n = index;; n += jobs) {
      const seed = from + Math.floor(n / (families?.length ?? 1));
      const family = families?.[n % families.length] ?? familyOf(seed);
      if (seed > to || failed >= failuresMax || performance.now() - began > budgetMs) break;
      const outcome = await run(plan(family, seed), { folder });
      add(part.tally, tallyOf(outcome));
      if (outcome.failure !== undefined) {
        failed++;
        part.failures.push({ family, seed, message: outcome.failure });
      }
      if (performance.now() - reportedMs > reportEveryMs) hand();
    }
  });
  hand();
}

async function subprocess(share: Share, index: number, report: (part: ShareResult) => void): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", fileURLToPath(import.meta.url), JSON.stringify(share), String(index)],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  for await (const line of child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())) {
    report(JSON.parse(line));
  }
  const { success, code } = await child.status;
  if (!success) throw new Error(`a process of the simulation ended with ${code}`);
}

if (import.meta.main) {
  const share = JSON.parse(Deno.args[0]!) as Omit<Share, "to" | "budgetMs"> & {
    to: number | null;
    budgetMs: number | null;
  };
  const unbounded = { ...share, to: share.to ?? Infinity, budgetMs: share.budgetMs ?? Infinity };
  await work(unbounded, Number(Deno.args[1]), (part) => console.log(JSON.stringify(part)));
  Deno.exit(0);
}
