/**
 * Runs a command line to its end.
 *
 * @module
 */
import { format } from "node:util";
import { fileURLToPath } from "node:url";
import { everything } from "../../cli/all_commands.ts";
import { main } from "../../cli/main.ts";
import { Program } from "../support/process.ts";
import { until } from "../support/until.ts";

/** The example's schema as a path for `--schema`. */
export const example: string = fileURLToPath(new URL("../../examples/schema.ts", import.meta.url));

/** What a finished command gave. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** No command that ends by itself takes longer, on a busy machine either. */
const endsWithinMs = 60_000;

/** Runs a command line and waits for its end. Fails where it does not end. */
export function run(...args: string[]): Promise<Finished> {
  return runIn(undefined, ...args);
}

/**
 * {@link run} in this process, without the start of one, which takes longer than what is asked: for help, wrong usage and
 * schemas. Not for a file that this process has open, whose locks a command would take away.
 */
export async function runHere(...args: string[]): Promise<Finished> {
  const said = { stdout: "", stderr: "" }, { log, error } = console;
  console.log = (...values) => said.stdout += `${format(...values)}\n`;
  console.error = (...values) => said.stderr += `${format(...values)}\n`;
  try {
    return { code: await main(args, everything), ...said };
  } finally {
    Object.assign(console, { log, error });
  }
}

/** {@link run} in a compiled program; undefined: from source. */
export async function runIn(compiled: string | undefined, ...args: string[]): Promise<Finished> {
  await using program = new Program(args, {}, compiled);
  await until(`"${args.join(" ")}" ends`, () => program.exited, endsWithinMs);
  const code = await program.ended();
  return { code, stdout: program.stdout, stderr: program.stderr };
}
