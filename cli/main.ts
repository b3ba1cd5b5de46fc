/**
 * The command line: finds the command, reads its flags, runs it, and turns every fault into one line on stderr and an exit
 * code: 2 for wrong usage, 1 for a failure. Commands are loaded when they are called, and those of the cloud by a name that
 * the module graph of `mod.ts` does not follow: a device neither downloads nor holds what only the cloud needs (AWS SDK,
 * broker, HTTP). Followed, that graph alone costs an agent 5 MB.
 *
 * @module
 */
import JSON5 from "json5";
import config from "../deno.json" with { type: "json" };
import { SyncError } from "../schema/errors.ts";
import { commonFlags, describeFlags, parseFlags, UsageError } from "./args.ts";
import { type Command, CommandError, describeFault } from "./command.ts";
import { configureLog } from "./log.ts";

/**
 * Loads a command that is not in the graph of `mod.ts`.
 *
 * @throws {CommandError} in a binary, which is compiled for devices and has only that graph
 */
async function loadApart(file: string): Promise<Record<string, unknown>> {
  if (Deno.build.standalone) throw new CommandError("this binary is for devices: the cloud's commands run from source");
  return await import(new URL(file, import.meta.url).href);
}

const commands: Record<string, { summary: string; load: () => Promise<Command> }> = {
  dev: {
    summary: "a cloud, a broker and demo devices on this machine (the default)",
    load: async () => (await loadApart("./dev.ts")).devCommand as Command,
  },
  agent: {
    summary: "keep a device's database in step with the cloud",
    load: async () => (await import("./agent.ts")).agentCommand as unknown as Command,
  },
  cloud: {
    summary: "the cloud's worker: table, stream, MQTT and HTTP",
    load: async () => (await loadApart("./cloud.ts")).cloudCommand as Command,
  },
  status: {
    summary: "where a device's database stands",
    load: async () => (await import("./status.ts")).statusCommand as unknown as Command,
  },
  verify: {
    summary: "find, and mend, what differs between a device and the cloud",
    load: async () => (await import("./verify.ts")).verifyCommand as unknown as Command,
  },
  rejected: {
    summary: "changes that the cloud refused: look, retry, drop",
    load: async () => (await import("./kept.ts")).rejectedCommand as unknown as Command,
  },
  conflicts: {
    summary: "versions that lost a conflict: look, restore, drop",
    load: async () => (await import("./kept.ts")).conflictsCommand as unknown as Command,
  },
  backup: {
    summary: "copy a device's database while it is in use",
    load: async () => (await import("./backup.ts")).backupCommand as unknown as Command,
  },
  restore: {
    summary: "bring a copy of a device's database back",
    load: async () => (await import("./restore.ts")).restoreCommand as unknown as Command,
  },
  reset: {
    summary: "take the sync state out of a device's database",
    load: async () => (await import("./reset.ts")).resetCommand as unknown as Command,
  },
  schema: {
    summary: "check a schema, show its tables",
    load: async () => (await import("./schema.ts")).schemaCommand as unknown as Command,
  },
  device: {
    summary: "give, list and revoke the credentials of devices",
    load: async () => (await loadApart("./device.ts")).deviceCommand as Command,
  },
};

function helpOfAll(): string {
  const list = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(11)}${summary}`);
  return [
    `Twintable ${config.version}: a device's SQLite database and a DynamoDB table, kept twinned.`,
    "",
    "Usage: mod.ts [command] [flags]",
    "",
    ...list,
    "",
    "mod.ts COMMAND --help shows a command's flags; mod.ts --version the version.",
  ].join("\n");
}

function helpOf(command: Command): string {
  const forms = command.usage.map((form) => `mod.ts ${command.name} ${form}`.trimEnd());
  const about = (command.about ?? []).flatMap((paragraph) => ["", paragraph]);
  return [
    `Usage: ${forms.join("\n       ")}`,
    "",
    command.summary[0]!.toUpperCase() + command.summary.slice(1) + ".",
    ...about,
    "",
    ...describeFlags({ ...command.flags, ...commonFlags }),
  ].join("\n");
}

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

async function run(command: Command, args: readonly string[]): Promise<number> {
  if (args.some((arg) => arg === "--help" || arg === "-h")) {
    console.log(helpOf(command));
    return 0;
  }
  const flags = { ...command.flags, ...commonFlags };
  const parsed = await parseFlags(flags, args, loadConfig);
  const [min, max] = command.operands;
  if (parsed.operands.length > max) throw new UsageError(`unexpected "${parsed.operands[max]}"`);
  if (parsed.operands.length < min) throw new UsageError(`usage: mod.ts ${command.name} ${command.usage.join(" | ")}`);
  await configureLog(parsed.flags.verbose);
  return await command.run({ ...parsed, print: (line) => console.log(line) });
}

/**
 * Runs one command line and resolves to its exit code. It prints to stdout and stderr and does not exit.
 *
 * @param args the arguments behind the program's name
 */
export async function main(args: readonly string[]): Promise<number> {
  const [first, ...rest] = args;
  if (first === "--help" || first === "-h" || first === "help") {
    console.log(helpOfAll());
    return 0;
  }
  if (first === "--version" || first === "-V") {
    console.log(config.version);
    return 0;
  }
  const isDev = first === undefined || first.startsWith("-");
  const name = isDev ? "dev" : first;
  const help = `see mod.ts ${Object.hasOwn(commands, name) ? `${name} ` : ""}--help`;
  try {
    if (!Object.hasOwn(commands, name)) throw new UsageError(`unknown command "${name}"`);
    return await run(await commands[name]!.load(), isDev ? args : rest);
  } catch (fault) {
    if (fault instanceof UsageError) {
      console.error(`twintable: ${describeFault(fault)}; ${help}`);
      return 2;
    }
    // Ours or not, the user gets one line; `--verbose` has logged the steps before it.
    const kind = fault instanceof SyncError || fault instanceof CommandError || fault instanceof RangeError;
    console.error(`twintable: ${kind ? "" : "failed: "}${describeFault(fault)}`);
    return 1;
  }
}
