/**
 * Where the logs of the library's parts go on the command line: stderr, one line a record. The library itself configures
 * nothing.
 *
 * @module
 */
import { configure, type LogRecord } from "npm:@logtape/logtape@^2.4.2";
import { printable } from "../protocol/log.ts";

/** Of a whole line: each value in it was cut already. */
const lineLengthMax = 2_000;

function line(record: LogRecord): string {
  const time = new Date(record.timestamp).toISOString().slice(11, 19);
  const text = record.message.map((part) => typeof part === "string" ? part : Deno.inspect(part, { depth: 2 })).join(
    "",
  );
  return printable(`${time} ${record.level} ${record.category.slice(1).join(".")}: ${text}`, lineLengthMax);
}

/** Sends the log to stderr: warnings and errors, and everything if `verbose`. */
export async function configureLog(verbose: boolean): Promise<void> {
  await configure({
    reset: true,
    sinks: { stderr: (record) => console.error(line(record)) },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["stderr"] },
      { category: ["twintable"], lowestLevel: verbose ? "debug" : "warning", sinks: ["stderr"] },
    ],
  });
}
