/**
 * The command line: finds the command, parses its flags, runs it, and turns every error into one line on stderr and an
 * exit code: 2 for wrong usage, 1 for a failure. The program decides which commands exist: `mod.ts` has all of them
 * (`all_commands.ts`), the single binary those of a device (`device_commands.ts`).
 *
 * @module
 */
import JSON5 from "npm:json5@^2.2.3";
import config from "../deno.json" with { type: "json" };
import { SyncError } from "../schema/errors.ts";
import { commonFlags, describeFlags, parseFlags, UsageError } from "./args.ts";
import { type Command, CommandError, describeFault } from "./command.ts";
import type { Commands } from "./device_commands.ts";
import { faultLine, type LogFormat, logToStderr } from "../protocol/log_output.ts";
import { examples } from "./examples.ts";
import { completionsCommand } from "./completions.ts";
import { print, say } from "./terminal.ts";

/** The program with the command that needs the others. */
function withCompletions(program: Program): Program {
  const { commands } = program;
  return {
    ...program,
    commands: {
      ...commands,
      completions: {
        summary: "a script that completes commands and flags in a shell",
        load: () =>
          Promise.resolve(completionsCommand(program.name.endsWith(".ts") ? "twintable" : program.name, commands)),
      },
    },
  };
}

/** A program with this command line. */
export interface Program {
  /** What is typed to run it. */
  readonly name: string;
  readonly commands: Commands;
  /** The default command; undefined: the program prints its help. */
  readonly preset?: string;
  /** The message for commands of another program. */
  readonly elsewhere?: Readonly<Record<string, string>>;
}

function helpOfAll({ name, commands, preset }: Program): string {
  const list = Object.entries(commands).map(([command, { summary }]) => `  ${command.padEnd(12)}${summary}`);
  return [
    `Twintable ${config.version}: syncs a device's SQLite database and a DynamoDB table.`,
    "",
    `Usage: ${name} ${preset ? "[command]" : "COMMAND"} [flags]`,
    "",
    ...list,
    "",
    `${name} COMMAND --help shows a command's flags; ${name} --version the version.`,
  ].join("\n");
}

function examplesOf(program: string, command: string): string[] {
  const lines = Object.hasOwn(examples, command) ? examples[command]! : [];
  return lines.length === 0 ? [] : ["", "Examples:", ...lines.map((line) => `  ${program} ${line}`)];
}

function helpOf(program: string, command: Command): string {
  const forms = command.usage.map((form) => `${program} ${command.name} ${form}`.trimEnd());
  const about = (command.about ?? []).flatMap((paragraph) => ["", paragraph]);
  return [
    `Usage: ${forms.join("\n       ")}`,
    "",
    command.summary[0]!.toUpperCase() + command.summary.slice(1) + ".",
    ...about,
    "",
    ...describeFlags({ ...command.flags, ...commonFlags }),
    ...examplesOf(program, command.name),
  ].join("\n");
}

/** What a command's log has, by {@link Command.log}. */
const levels = { journal: "info", warnings: "warning", errors: "error" } as const;

async function loadConfig(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (cause) {
    throw new UsageError(`the configuration ${file} can't be read: ${describeFault(cause)}`);
  }
  try {
    return JSON5.parse(text);
  } catch (cause) {
    throw new UsageError(`${file} is not JSON5: ${describeFault(cause)}`);
  }
}

async function run(program: string, command: Command, args: readonly string[]): Promise<number> {
  if (args.some((arg) => arg === "--help" || arg === "-h")) {
    print(helpOf(program, command));
    return 0;
  }
  const flags = { ...command.flags, ...commonFlags };
  const parsed = await parseFlags(flags, args, loadConfig);
  const [min, max] = command.operands;
  if (parsed.operands.length > max) throw new UsageError(`unexpected "${parsed.operands[max]}"`);
  if (parsed.operands.length < min) {
    throw new UsageError(`usage: ${program} ${command.name} ${command.usage.join(" | ")}`);
  }
  const { log = "errors" } = command, kind = typeof log === "function" ? log(parsed.operands) : log;
  const level = parsed.flags.verbose ? "debug" : levels[kind];
  await logToStderr(level, parsed.flags.log as LogFormat);
  return await command.run({ ...parsed, print });
}

/**
 * Runs one command line and resolves to its exit code. It prints to stdout and stderr and does not exit.
 *
 * @param args the arguments after the program's name
 */
export async function main(args: readonly string[], bare: Program): Promise<number> {
  const program = withCompletions(bare), { commands, preset } = program;
  const [first, ...rest] = args;
  if (first === "--help" || first === "-h" || first === "help" || (first === undefined && !preset)) {
    print(helpOfAll(program));
    return 0;
  }
  if (first === "--version" || first === "-V") {
    print(config.version);
    return 0;
  }
  // From source the name is a file's, which says little in a log.
  const called = program.name.endsWith(".ts") ? "twintable" : program.name;
  const isPreset = preset !== undefined && (first === undefined || first.startsWith("-"));
  const name = isPreset ? preset : first!;
  const help = `see ${program.name} ${Object.hasOwn(commands, name) ? `${name} ` : ""}--help`;
  try {
    const elsewhere = program.elsewhere?.[name];
    if (elsewhere !== undefined) throw new CommandError(elsewhere);
    if (!Object.hasOwn(commands, name)) {
      throw new UsageError(name.startsWith("-") ? `a command comes first, not ${name}` : `unknown command "${name}"`);
    }
    return await run(program.name, await commands[name]!.load(), isPreset ? args : rest);
  } catch (fault) {
    if (fault instanceof UsageError) {
      say(faultLine(called, `${describeFault(fault)}; ${help}`));
      return 2;
    }
    // Expected or not, the user gets one line; with `--verbose`, the log shows the steps before it.
    const kinds = [SyncError, CommandError, RangeError, Deno.errors.NotCapable];
    const kind = kinds.some((one) => fault instanceof one);
    say(faultLine(called, `${kind ? "" : "failed: "}${describeFault(fault)}`));
    return 1;
  }
}
