/**
 * What many runs did together.
 *
 * @module
 */
import type { Outcome } from "./run.ts";

/** Sums over runs; plain data, so that subprocesses can hand theirs over. */
export interface Tally {
  runs: number;
  failures: number;
  commits: number;
  writes: number;
  messages: number;
  readonly injected: Record<string, number>;
}

/** Nothing yet. */
export function emptyTally(): Tally {
  return { runs: 0, failures: 0, commits: 0, writes: 0, messages: 0, injected: {} };
}

/** A run as a tally. */
export function tallyOf({ failure, commits, writes, messages, injected }: Outcome): Tally {
  return { runs: 1, failures: failure === undefined ? 0 : 1, commits, writes, messages, injected };
}

/** Adds to the first. */
export function add(sum: Tally, more: Tally): void {
  for (const name of ["runs", "failures", "commits", "writes", "messages"] as const) sum[name] += more[name];
  for (const [kind, count] of Object.entries(more.injected)) sum.injected[kind] = (sum.injected[kind] ?? 0) + count;
}

const whole = (n: number) => Math.round(n).toLocaleString("en-US");

/** Faults by kind, most first. */
export function faultLines({ injected }: Tally): string[] {
  return Object.entries(injected).sort((a, b) => b[1] - a[1]).map(([kind, count]) => `  ${kind}: ${whole(count)}`);
}

/** One line. */
export function summary(tally: Tally, ms: number): string {
  const { runs, failures, commits, writes, messages, injected } = tally;
  const faults = Object.values(injected).reduce((a, b) => a + b, 0);
  return `sim: ${whole(runs)} runs in ${whole(ms / 1000)} s: ${whole(commits)} local commits and ${
    whole(writes)
  } table changes accounted for, ${whole(messages)} messages, ${whole(faults)} faults, ${whole(failures)} violations`;
}
