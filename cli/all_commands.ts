/**
 * The commands of `mod.ts`: a device's, and the cloud's. The cloud's are loaded by a name that the module graph of
 * `mod.ts` does not follow: an agent neither downloads nor loads what only the cloud needs (AWS SDK, broker, HTTP). In
 * the module graph, these would cost an agent 5 MB.
 *
 * @module
 */
import { type Command, CommandError } from "./command.ts";
import { type Commands, deviceCommands } from "./device_commands.ts";
import type { Program } from "./main.ts";

/**
 * Why the cloud's commands can't run on this version of Deno. Before 2.8, the embedded broker's worker does not receive
 * devices' presence, and the console's files can't be loaded. A device's commands also run on 2.6, because a compiled
 * program may have that runtime.
 */
export function tooOld(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > 2 || (major === 2 && minor >= 8)) return undefined;
  return `the cloud's commands need Deno 2.8 or later, and this is ${version}: deno upgrade`;
}

async function loadApart(file: string): Promise<Record<string, unknown>> {
  const fault = tooOld(Deno.version.deno);
  if (fault) throw new CommandError(fault);
  return await import(new URL(file, import.meta.url).href);
}

const commands: Commands = {
  dev: {
    summary: "a cloud, a broker and demo devices on this machine (the default)",
    load: async () => (await loadApart("./dev.ts")).devCommand as Command,
  },
  cloud: {
    summary: "the cloud's worker: table, stream, MQTT and HTTP",
    load: async () => (await loadApart("./cloud.ts")).cloudCommand as Command,
  },
  device: {
    summary: "add devices; rotate, list and revoke their credentials",
    load: async () => (await loadApart("./device.ts")).deviceCommand as Command,
  },
  broker: {
    summary: "configure another broker so that it isolates devices",
    load: async () => (await loadApart("./broker.ts")).brokerCommand as Command,
  },
  audit: {
    summary: "who did what through the API and the command line",
    load: async () => (await loadApart("./audit.ts")).auditCommand as Command,
  },
  ...deviceCommands,
};

/** `mod.ts`. */
export const everything: Program = { name: "mod.ts", commands, preset: "dev" };
