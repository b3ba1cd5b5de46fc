/**
 * The device's program: `deno task compile` makes a single binary of it. It has a device's commands and nothing else: none of the
 * cloud's code is in its graph.
 *
 * @module
 */
import { startDeviceProgram } from "./cli/device_program.ts";

if (import.meta.main) startDeviceProgram();
