/**
 * Adds to every answer and live message the schema by which the cloud made it, and, if it concerns the table and not a
 * channel, the table's epoch. From these, a device with another version of the schema learns that its changes may
 * continue, and what it must not treat as absence; a device that does not know of a restore learns that the answer is
 * from another table than its rows (rules B1).
 *
 * @module
 */
import type { FromCloud } from "../../protocol.ts";
import type { Schema } from "../../schema/model.ts";
import type { Publisher } from "../publishers/port.ts";
import type { ChannelLog } from "./channel_log.ts";

/** The publisher, which adds schema and epoch to messages. */
export function telling(publisher: Publisher, { fingerprint }: Schema, log: Pick<ChannelLog, "tableEpoch">): Publisher {
  const told = async (message: FromCloud): Promise<FromCloud> => {
    switch (message.type) {
      case "verify":
      case "order":
        return message;
      case "ack":
      case "items":
      case "time":
        return { ...message, schema: fingerprint, epoch: await log.tableEpoch() };
      default:
        return { ...message, schema: fingerprint };
    }
  };
  return { publish: async (to, message, options) => await publisher.publish(to, await told(message), options) };
}
