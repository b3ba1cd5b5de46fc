/**
 * What a benchmark hands back: rows of samples, each with its goal, and the bound that a quick run holds it to.
 *
 * @module
 */
import type { ChildOptions } from "./child.ts";
import { median } from "./stats.ts";

/** One figure: a sample for each repeat. */
export interface Row {
  /** What was measured; equal names of one benchmark are repeats of one row. */
  readonly name: string;
  /** `items/s`, `ms`, `MB`, `bytes`, `×`, … */
  readonly unit: string;
  readonly value: number;
  /** The project's goal. Missing it is a violation, but in a quick run. */
  readonly goal?: Bound;
  /** What a quick run holds it to, generously: for ratios and sizes only, as absolute times say nothing of an unknown machine. */
  readonly gate?: Bound;
  /** The raw limit of this hop, or another product at the same work: for comparison, no figure of ours. */
  readonly kind?: "ours" | "raw" | "peer";
}

/** A value must be at least, or at most, this. */
export type Bound = { readonly atLeast: number } | { readonly atMost: number };

/** What a benchmark is given. */
export interface Context {
  /** Less work, in all no more than two minutes. */
  readonly quick: boolean;
  /** An empty folder for this repeat alone. */
  readonly dir: string;
  readonly child: ChildOptions;
  log(text: string): void;
}

/** A benchmark: one file of `bench/rows/` or `bench/peers/`. */
export interface Bench {
  readonly name: string;
  readonly title: string;
  /** Part of a quick run. */
  readonly quick: boolean;
  /** Repeats of a full run, where it differs from the usual 5: those that take minutes. */
  readonly repeats?: number;
  /** What was measured and how, a few sentences for `docs/performance.md`. */
  readonly about: string;
  /** One repeat. Throws where it could not measure. */
  run(context: Context): Promise<Row[]>;
}

/** A row over all repeats. */
export interface Result extends Omit<Row, "value"> {
  readonly bench: string;
  readonly samples: readonly number[];
}

/** Whether the median keeps the bound. */
export function keeps(samples: readonly number[], bound: Bound): boolean {
  const value = median(samples);
  return "atLeast" in bound ? value >= bound.atLeast : value <= bound.atMost;
}

/** Repeats of one row as one result, in the order of their first appearance. */
export function collect(bench: string, repeats: readonly (readonly Row[])[]): Result[] {
  const results = new Map<string, Row & { samples: number[] }>();
  for (const row of repeats.flat()) {
    const known = results.get(row.name);
    if (known) known.samples.push(row.value);
    else results.set(row.name, { ...row, samples: [row.value] });
  }
  return [...results.values()].map(({ value: _, ...rest }) => ({ bench, ...rest }));
}
