/**
 * A device's presence: a retained message on its own topic, set online at every connect and offline by its last will.
 *
 * @module
 */
import { protocolVersion } from "./messages.ts";
import { fieldsOf, flagOf } from "./checks.ts";
import { ProtocolError } from "./errors.ts";

/** The payload of a presence message. */
export function encodePresence(online: boolean): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ v: protocolVersion, online }));
}

/** Whether the device says that it is online. @throws {ProtocolError} */
export function decodePresence(payload: Uint8Array): boolean {
  if (payload.length > 1024) throw new ProtocolError(`a presence has ${payload.length} bytes, more than 1024`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch (cause) {
    throw new ProtocolError("a presence is not JSON in UTF-8", { cause });
  }
  return flagOf(fieldsOf(value, "presence").online, "presence.online");
}
