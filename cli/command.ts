/**
 * What a command is, and the faults that end one. A command is a declaration (flags, operands, help) and a `run`; `main.ts`
 * reads the arguments, runs it, and turns what it throws into one line and an exit code.
 *
 * @module
 */
import { printable } from "../protocol/log.ts";
import { SyncError } from "../schema.ts";
import type { Flags, FlagValues, Parsed } from "./args.ts";

/** One command of the command line. */
export interface Command<F extends Flags = Flags> {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What follows the command's name, one line for each form. */
  readonly usage: readonly string[];
  /** Paragraphs of the help text, before the flags. */
  readonly about?: readonly string[];
  /** Its own flags; the common ones come by themselves. */
  readonly flags: F;
  /** The least and the most operands. */
  readonly operands: readonly [min: number, max: number];
  /** Resolves to the exit code. */
  run(args: Invocation<F>): Promise<number>;
}

/** What a command is run with. */
export interface Invocation<F extends Flags> extends Parsed<F> {
  readonly flags: FlagValues<F> & { readonly verbose: boolean };
  readonly print: (line: string) => void;
}

/** Helps TypeScript to infer a command's flags. */
export function defineCommand<const F extends Flags>(command: Command<F>): Command<F> {
  return command;
}

/** A failure that was expected and that one line explains: exit code 1. */
export class CommandError extends Error {
  override name = "CommandError";
}

/** A schema's problems are many; what came from outside is not to fill a terminal. */
const faultLengthMax = 8_000;

/** What Deno says of a permission that is lacking; who runs a device can't follow it. */
const advice = /, (run again with the --allow-\w+ flag|specify the required permissions during compilation using .*)/s;

/** A fault as one line: what happened, and the way out where one is known. Never a stack trace. */
export function describeFault(fault: unknown): string {
  // Closing failed as well, behind a first fault: that one is the news.
  if (fault instanceof SuppressedError) return describeFault(fault.suppressed);
  const text = fault instanceof Error ? fault.message || fault.name : String(fault);
  const hint = fault instanceof SyncError && fault.hint ? ` (${fault.hint})` : "";
  return printable(
    `${text}${hint}`.replace(advice, ": this program's permissions forbid it").split("\n").map((line) => line.trim())
      .filter((line) => line).join("; "),
    faultLengthMax,
  );
}
