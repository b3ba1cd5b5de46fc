/**
 * What every answer and live message tells beside its own: by which schema the cloud made it. A device of another version
 * of the schema learns so that its changes may go on, and what it must not take for an absence.
 *
 * @module
 */
import type { FromCloud } from "../../protocol.ts";
import type { Schema } from "../../schema/model.ts";
import type { Publisher } from "../publishers/port.ts";

/** The publisher, with messages that say the schema. */
export function telling(publisher: Publisher, { fingerprint }: Schema): Publisher {
  const told = (message: FromCloud): FromCloud =>
    message.type === "verify" ? message : { ...message, schema: fingerprint };
  return { publish: (to, message, options) => publisher.publish(to, told(message), options) };
}
