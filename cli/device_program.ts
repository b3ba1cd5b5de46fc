/**
 * Starts the device's program, for `agent_main.ts` and for the module that `deno task compile --schema` generates.
 *
 * @module
 */
import { basename } from "node:path";
import type { OneTableSchema } from "../schema.ts";
import { deviceCommands } from "./device_commands.ts";
import { buildInNotices } from "./licenses.ts";
import { main } from "./main.ts";
import { buildIn } from "./schema_file.ts";

/** The commands that `mod.ts` has beside a device's. */
export const cloudCommands: readonly string[] = ["dev", "cloud", "device", "broker", "audit"];
const ofTheCloud = "is a command of the cloud and this program is a device's: deno run -A mod.ts has it";

/** The contents of a compiled program. */
export interface BuiltIn {
  readonly schema?: OneTableSchema;
  /** The licences of its packages. */
  readonly notices?: string;
}

/** As whoever installed it has named it; from source as the library is called. */
function ownName(): string {
  return Deno.build.standalone ? basename(Deno.execPath()).replace(/\.exe$/i, "") : "twintable";
}

/** Runs the command line and ends the process. */
export function startDeviceProgram({ schema, notices }: BuiltIn = {}): void {
  if (schema) buildIn(schema);
  if (notices) buildInNotices(notices);
  // In case the event loop runs empty before there is a result.
  Deno.exitCode = 1;
  const elsewhere = Object.fromEntries(cloudCommands.map((name) => [name, `"${name}" ${ofTheCloud}`]));
  // Everything is closed when a command ends; a library's forgotten timer must not keep the process alive.
  main(Deno.args, { name: ownName(), commands: deviceCommands, elsewhere }).then((code) => Deno.exit(code));
}
