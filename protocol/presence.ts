/**
 * A device's presence: a retained message on its own topic, set online at every connect and offline by its last will.
 * An online one may carry the device's report (`report.ts`).
 *
 * If the cloud asks (`tell` in `changes`), the device publishes its position in its channels on the same topic, not
 * retained: `{v, online: true, at: {channel: number}}`. Older workers read this as an ordinary presence, which changes
 * nothing.
 *
 * @module
 */
import { fieldsOf, flagOf } from "./checks.ts";
import { ProtocolError } from "./errors.ts";
import { protocolVersion } from "./messages.ts";
import { type DeviceReport, fitReport, readAt, readReport } from "./report.ts";
import { isMap } from "../schema/values.ts";

/** A presence as it was received. */
export interface Presence {
  /** Whether it is connected. */
  readonly online: boolean;
  /** What it says of itself. */
  readonly report?: DeviceReport;
  /** By channel, the number of the last log entry that is applied: only in the answer to a `tell`. */
  readonly at?: Readonly<Record<string, number>>;
}

/** The payload of a presence message: 1,024 bytes at most. */
export function encodePresence(online: boolean, report?: DeviceReport): Uint8Array {
  const presence = { v: protocolVersion, online, ...(report ? { r: fitReport(report) } : {}) };
  return new TextEncoder().encode(JSON.stringify(presence));
}

/** The payload that answers a `tell`. */
export function encodeAt(at: Readonly<Record<string, number>>): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ v: protocolVersion, online: true, at }));
}

/** Whether the device says that it is online, and what it reports. @throws {ProtocolError} */
export function decodePresence(payload: Uint8Array): Presence {
  if (payload.length > 1024) throw new ProtocolError(`a presence has ${payload.length} bytes, more than 1024`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch (cause) {
    throw new ProtocolError("a presence is not JSON in UTF-8", { cause });
  }
  const fields = fieldsOf(value, "presence");
  const online = flagOf(fields.online, "presence.online"), report = readReport(fields.r);
  const at = isMap(fields.at) ? readAt(fields.at) : undefined;
  return { online, ...(report ? { report } : {}), ...(at ? { at } : {}) };
}
