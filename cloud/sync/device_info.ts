/**
 * A device, as the registry tells of it: its row, and what it last said.
 *
 * @module
 */
import type { DeviceReport } from "../../protocol.ts";
import type { Item } from "../../schema/values.ts";
import { keysOf } from "./device_keys.ts";

/** A device, as the registry describes it. */
export interface DeviceInfo {
  /** The device's id. */
  readonly deviceId: string;
  /** Its account. */
  readonly accountId: string;
  /** When it was added, ms since 1970. */
  readonly createdMs: number;
  /** When its token expires; absent: never. */
  readonly untilMs?: number;
  /** Until when the previous token is valid, too. */
  readonly beforeUntilMs?: number;
  /** When its newest certificate expires; absent: it has none. */
  readonly certificateUntilMs?: number;
  /** When it last sent anything, within 5 minutes: at its last periodic sync at the latest. */
  readonly seenMs?: number;
  /** Whether it was connected then. */
  readonly connected?: boolean;
  /** Its last report, and when it came. */
  readonly report?: DeviceReport;
  /** When it said so, ms since 1970. */
  readonly reportedMs?: number;
}

/** A device of its row and of its presence. */
export function infoOf(item: Item, seen: Item | undefined): DeviceInfo {
  return {
    deviceId: String(item.sort),
    accountId: String(item.account),
    createdMs: Number(item.created),
    ...(typeof item.until === "number" ? { untilMs: item.until } : {}),
    ...(typeof item.beforeUntil === "number" ? { beforeUntilMs: item.beforeUntil } : {}),
    ...certificateOf(item),
    ...(typeof seen?.seen === "number" ? { seenMs: seen.seen } : {}),
    ...(typeof seen?.connected === "boolean" ? { connected: seen.connected } : {}),
    ...(typeof seen?.report === "string"
      ? { report: JSON.parse(seen.report) as DeviceReport, reportedMs: Number(seen.reported) }
      : {}),
  };
}

function certificateOf(item: Item): { certificateUntilMs?: number } {
  const newest = keysOf(item).at(-1);
  return newest ? { certificateUntilMs: newest.until } : {};
}
