/**
 * The handler's log: one JSON object a line on stderr, which every platform collects. The library configures no log;
 * this is only for entry points that are programs (`handler.ts`, `lambda.ts`).
 *
 * @module
 */
import { getConfig, type LogLevel } from "npm:@logtape/logtape@^2.4.2";
import { logToStderr as sendToStderr } from "../protocol/log_output.ts";
import { SyncError } from "../schema.ts";

const levels = ["debug", "info", "warning", "error"] as const satisfies readonly LogLevel[];

/**
 * Sends the log to stderr, unless the program around has configured one.
 *
 * @throws SyncError `config` for an unknown level
 */
export async function logToStderr(level: string | undefined): Promise<void> {
  const lowestLevel = levels.find((one) => one === (level || "info"));
  if (!lowestLevel) {
    throw new SyncError("config", `TWINTABLE_LOG is ${JSON.stringify(level)}: one of ${levels.join(", ")}`);
  }
  if (getConfig() === null) await sendToStderr(lowestLevel, "json");
}
