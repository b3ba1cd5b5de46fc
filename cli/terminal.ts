/**
 * What commands tell, on standard output and standard error. Names, values and reasons come from schemas, tables and other
 * machines: what a terminal would take for an order, or would turn around, is escaped. A file or a pipe gets standard output
 * as it is, since it may be data.
 *
 * @module
 */
import { fitForTerminal } from "../protocol/log.ts";

/** A line of a command's output. */
export function print(line: string): void {
  console.log(Deno.stdout.isTerminal() ? fitForTerminal(line) : line);
}

/** A line about what happens, for people. */
export function say(line: string): void {
  console.error(fitForTerminal(line));
}
