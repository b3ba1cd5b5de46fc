/**
 * The handler's log: one JSON object a line on stderr, which every platform collects. The library configures nothing; this is for
 * the entries that are programs of their own (`handler.ts`, `lambda.ts`).
 *
 * @module
 */
import { configure, getConfig, type LogLevel, type LogRecord } from "npm:@logtape/logtape@^2.4.2";
import { SyncError } from "../schema.ts";

const levels = ["debug", "info", "warning", "error"] as const satisfies readonly LogLevel[];

function line({ timestamp, level, category, message }: LogRecord): string {
  const text = message.map((part) => typeof part === "string" ? part : String(part)).join("");
  return JSON.stringify({
    time: new Date(timestamp).toISOString(),
    level,
    part: category.slice(1).join("."),
    message: text,
  });
}

/**
 * Sends the log to stderr, unless the program around has configured one.
 *
 * @throws SyncError `config` for a level that is none
 */
export async function logToStderr(level: string | undefined): Promise<void> {
  const lowestLevel = levels.find((one) => one === (level || "info"));
  if (!lowestLevel) {
    throw new SyncError("config", `TWINTABLE_LOG is ${JSON.stringify(level)}: one of ${levels.join(", ")}`);
  }
  if (getConfig() !== null) return;
  await configure({
    sinks: { stderr: (record) => console.error(line(record)) },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["stderr"] },
      { category: ["twintable"], lowestLevel, sinks: ["stderr"] },
    ],
  });
}
