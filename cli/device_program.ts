/**
 * The device's program, started: by `agent_main.ts`, and by the module that `deno task compile --schema` makes.
 *
 * @module
 */
import type { OneTableSchema } from "../schema.ts";
import { deviceCommands } from "./device_commands.ts";
import { main } from "./main.ts";
import { buildIn } from "./schema_file.ts";

const ofTheCloud = "is a command of the cloud and this program is a device's: deno run -A mod.ts has it";

/** Runs the command line and ends the process. @param schema the one that is part of the program */
export function startDeviceProgram(schema?: OneTableSchema): void {
  if (schema) buildIn(schema);
  // Should the event loop run empty before there is an answer.
  Deno.exitCode = 1;
  const elsewhere = Object.fromEntries(
    ["dev", "cloud", "device", "broker"].map((name) => [name, `"${name}" ${ofTheCloud}`]),
  );
  // Everything is closed when a command is over; a library's forgotten timer must not keep the process.
  main(Deno.args, { name: "twintable", commands: deviceCommands, elsewhere }).then((code) => Deno.exit(code));
}
