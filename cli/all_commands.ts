/**
 * The commands of `mod.ts`: a device's, and the cloud's. The cloud's are loaded by a name that the module graph of `mod.ts` does
 * not follow: who runs an agent neither downloads nor holds what only the cloud needs (AWS SDK, broker, HTTP). Followed, that
 * graph alone costs an agent 5 MB.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { type Commands, deviceCommands } from "./device_commands.ts";
import type { Program } from "./main.ts";

async function loadApart(file: string): Promise<Record<string, unknown>> {
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
    summary: "give, rotate, list and revoke the credentials of devices",
    load: async () => (await loadApart("./device.ts")).deviceCommand as Command,
  },
  broker: {
    summary: "configure another broker so that it keeps devices apart",
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
