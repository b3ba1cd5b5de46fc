/**
 * The form of a command, and the errors that end one. A command is a declaration (flags, operands, help) and a `run`;
 * `main.ts` parses the arguments, runs it, and turns errors into one line and an exit code.
 *
 * @module
 */
import { printable } from "../protocol/log.ts";
import { SyncError } from "../schema.ts";
import type { Flags, FlagValues, Parsed } from "./args.ts";

/** See {@link Command.log}. */
export type LogKind = "journal" | "warnings" | "errors";

/** One command of the command line. */
export interface Command<F extends Flags = Flags> {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** The usage after the command's name, one line for each form. */
  readonly usage: readonly string[];
  /** Paragraphs of the help text, before the flags. */
  readonly about?: readonly string[];
  /** Its own flags; common ones are added. */
  readonly flags: F;
  /**
   * What it logs without `-v`. `journal`: it runs until it is ended, and what goes well is news, too. `warnings`: it waits for
   * what is away. Default: errors alone, since its last line says what failed.
   */
  readonly log?: LogKind | ((operands: readonly string[]) => LogKind);
  /** The minimum and maximum number of operands. */
  readonly operands: readonly [min: number, max: number];
  /** Resolves to the exit code. */
  run(args: Invocation<F>): Promise<number>;
}

/** The arguments of a command's `run`. */
export interface Invocation<F extends Flags> extends Parsed<F> {
  readonly flags: FlagValues<F> & { readonly verbose: boolean; readonly log: string };
  readonly print: (line: string) => void;
}

/** Helps TypeScript to infer a command's flags. */
export function defineCommand<const F extends Flags>(command: Command<F>): Command<F> {
  return command;
}

/** An expected failure that one line explains: exit code 1. */
export class CommandError extends Error {
  override name = "CommandError";
}

/** A schema may have many problems, and text from outside must not fill a terminal. */
const faultLengthMax = 8_000;

/** Deno's advice about a missing permission, which the user of a device cannot follow. */
const advice = /, (run again with the --allow-\w+ flag|specify the required permissions during compilation using .*)/s;

/** What to do about a fault of the system whose text says only what is wrong. */
function adviceOn(text: string): string | undefined {
  return /\bE[MN]FILE\b|too many open files/i.test(text) && !text.includes("ulimit")
    ? "raise the limit of open files: ulimit -n 1024; with systemd, LimitNOFILE=1024"
    : undefined;
}

/** An error as one line: what happened, and what to do if known. Never a stack trace. */
export function describeFault(fault: unknown): string {
  // Closing failed as well, after a first error: the first one is reported.
  if (fault instanceof SuppressedError) return describeFault(fault.suppressed);
  const text = fault instanceof Error ? fault.message || fault.name : String(fault);
  const advised = fault instanceof SyncError && fault.hint ? fault.hint : adviceOn(text);
  const hint = advised ? ` (${advised})` : "";
  return printable(
    `${text}${hint}`.replace(advice, ": this program's permissions forbid it").split("\n").map((line) => line.trim())
      .filter((line) => line).join("; "),
    faultLengthMax,
  );
}
