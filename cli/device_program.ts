/**
 * The device's program, started: by `agent_main.ts`, and by the module that `deno task compile --schema` makes.
 *
 * @module
 */
import type { OneTableSchema } from "../schema.ts";
import { deviceCommands } from "./device_commands.ts";
import { buildInNotices } from "./licenses.ts";
import { main } from "./main.ts";
import { buildIn } from "./schema_file.ts";

const ofTheCloud = "is a command of the cloud and this program is a device's: deno run -A mod.ts has it";

/** What is part of a compiled program. */
export interface BuiltIn {
  readonly schema?: OneTableSchema;
  /** The licences of its packages. */
  readonly notices?: string;
}

/** Runs the command line and ends the process. */
export function startDeviceProgram({ schema, notices }: BuiltIn = {}): void {
  if (schema) buildIn(schema);
  if (notices) buildInNotices(notices);
  // Should the event loop run empty before there is an answer.
  Deno.exitCode = 1;
  const elsewhere = Object.fromEntries(
    ["dev", "cloud", "device", "broker"].map((name) => [name, `"${name}" ${ofTheCloud}`]),
  );
  // Everything is closed when a command is over; a library's forgotten timer must not keep the process.
  main(Deno.args, { name: "twintable", commands: deviceCommands, elsewhere }).then((code) => Deno.exit(code));
}
