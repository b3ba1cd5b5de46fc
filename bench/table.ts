/**
 * Figures as a table for a terminal.
 *
 * @module
 */
import { type Bound, keeps, type Result } from "./measure.ts";
import { median, short } from "./stats.ts";

/** A bound in short: `≥ 20,000`. */
export function boundText(bound: Bound | undefined): string {
  if (!bound) return "";
  return "atLeast" in bound ? `≥ ${short(bound.atLeast)}` : `≤ ${short(bound.atMost)}`;
}

/** The median, and the range where there are several samples. */
export function valueText({ samples }: Pick<Result, "samples">): string {
  const middle = short(median(samples));
  if (samples.length < 2) return middle;
  return `${middle} (${short(Math.min(...samples))}–${short(Math.max(...samples))})`;
}

/** Whether the goal, or the gate of a quick run, is kept; empty where there is none. */
export function verdict({ samples, goal, gate }: Result, quick: boolean): string {
  const bound = quick ? gate : goal;
  return bound === undefined ? "" : keeps(samples, bound) ? "ok" : "MISSED";
}

/** One benchmark's table. */
export function tableOf(title: string, results: readonly Result[], quick: boolean): string {
  const rows = results.map((result) => [
    `  ${result.kind === "raw" ? "raw: " : result.kind === "peer" ? "peer: " : ""}${result.name}`,
    valueText(result),
    result.unit,
    boundText(result.goal),
    boundText(quick ? result.gate : undefined),
    verdict(result, quick),
  ]);
  const all = [[title, "median (min–max)", "", "goal", quick ? "gate" : "", ""], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all.map((row) =>
    row.map((cell, column) => column === 1 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)).join("  ")
      .trimEnd()
  ).join("\n");
}
