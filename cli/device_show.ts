/**
 * `device show DEVICE`: what the registry knows of one device, and what the device last reported.
 *
 * @module
 */
import type { Registry } from "../cloud/sync/registry.ts";
import { CommandError } from "./command.ts";

/** The lines. @throws {CommandError} if there is no such device */
export async function showDevice(registry: Registry, device: string, nowMs: number): Promise<string[]> {
  const info = await registry.info(device);
  if (!info) throw new CommandError(`there is no device "${device}"`);
  const date = (ms: number) => new Date(ms).toISOString();
  const { accountId, createdMs, untilMs, beforeUntilMs, seenMs, connected, report = {}, reportedMs } = info;
  const lines: [string, string][] = [
    ["device", `${device} of account ${accountId}`],
    ["added", date(createdMs)],
    [
      "token",
      untilMs === undefined ? "valid for ever" : `${untilMs > nowMs ? "valid until" : "expired"} ${date(untilMs)}`,
    ],
    ...(beforeUntilMs !== undefined && beforeUntilMs > nowMs
      ? [["old token", `valid until ${date(beforeUntilMs)}`] as [string, string]]
      : []),
    ["seen", seenMs === undefined ? "never" : `${date(seenMs)}, ${connected ? "connected" : "not connected"}`],
    ...(reportedMs === undefined ? [] : [["reported", date(reportedMs)] as [string, string]]),
    ...Object.entries(report).map(([name, value]): [string, string] => [
      `  ${name}`,
      typeof value === "object" ? JSON.stringify(value) : String(value),
    ]),
  ];
  return lines.map(([name, text]) => `${name.padEnd(12)}${text}`);
}
