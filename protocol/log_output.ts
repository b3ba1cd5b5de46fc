/**
 * Where a program's log goes: stderr, one line a record, as text or JSON. The library configures nothing; this is for what is
 * a program of its own (the command line, the cloud's handler).
 *
 * Guarantee: nothing else writes lines of another form between: what Node's libraries and the AWS SDK warn of by
 * `process.emitWarning` is a `debug` record like any other.
 *
 * @module
 */
import process from "node:process";
import { configure, type LogLevel, type LogRecord } from "npm:@logtape/logtape@^2.4.2";
import { Log, printable } from "./log.ts";

/** How a record is written. */
export const logFormats = ["text", "json"] as const;
export type LogFormat = typeof logFormats[number];

/** Of a whole line: each value in it was cut already. */
const lineLengthMax = 2_000;

/** A record as a line: `2026-01-31T12:00:00.000Z warning agent: …`, or one JSON object. */
export function logLine({ timestamp, level, category, message }: LogRecord, format: LogFormat): string {
  const time = new Date(timestamp).toISOString(), part = category.slice(1).join(".");
  const text = message.map((one) => typeof one === "string" ? one : String(one)).join("");
  if (format === "json") return JSON.stringify({ time, level, part, message: text });
  return printable(`${time} ${level} ${part}: ${text}`, lineLengthMax);
}

let isHeard = false;

/** Once a process: the runtime would print them itself. */
function hearWarnings(): void {
  if (isHeard) return;
  isHeard = true;
  const log = new Log("runtime");
  process.removeAllListeners("warning");
  process.on("warning", ({ name, message }) => log.debug("{name}: {message}", { name, message }));
}

let chosen: LogFormat = "text";
let write: (line: string) => void = (line) => console.error(line);

/** Lines go there from now on, in place of stderr: to a screen that has a place for them. @returns what undoes it */
export function logThrough(writer: (line: string) => void): () => void {
  const before = write;
  write = writer;
  return () => write = before;
}

/** The last line of a program that ends with a fault, in the form that its log has. */
export function faultLine(program: string, text: string): string {
  if (chosen === "text") return `${program}: ${text}`;
  return JSON.stringify({ time: new Date().toISOString(), level: "error", part: "program", message: text });
}

/** Sends the log to stderr, from this level on. */
export async function logToStderr(lowestLevel: LogLevel, format: LogFormat): Promise<void> {
  hearWarnings();
  chosen = format;
  await configure({
    reset: true,
    sinks: { stderr: (record) => write(logLine(record, format)) },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["stderr"] },
      { category: ["twintable"], lowestLevel, sinks: ["stderr"] },
    ],
  });
}
