/**
 * What a run gives: the figures and the machine that they are of.
 *
 * @module
 */
import { cpus, loadavg, totalmem } from "node:os";
import type { Result } from "./measure.ts";

/** A run's figures, as `--json` writes them. */
export interface Report {
  readonly machine: string;
  readonly quick: boolean;
  readonly results: readonly Result[];
}

/** This machine in a sentence, and how busy others kept it when the run began: above 1 or so, times and rates are theirs too. */
export function machine(): string {
  const models = cpus();
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return `${models.length} cores (${models[0]?.model.trim() ?? "unknown"}), ${gigabytes} GB, ${Deno.build.os}, ` +
    `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}; load average at the start ${loadavg()[0]!.toFixed(1)}`;
}
