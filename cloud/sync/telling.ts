/**
 * What every answer and live message tells beside its own: by which schema the cloud made it, and, where it is of the table
 * and not of a channel, of which epoch the table is. A device of another version of the schema learns so that its changes
 * may go on, and what it must not take for an absence; a device that has not heard of a restored table learns so that this
 * answer is of another table than its rows (rules B1).
 *
 * @module
 */
import type { FromCloud } from "../../protocol.ts";
import type { Schema } from "../../schema/model.ts";
import type { Publisher } from "../publishers/port.ts";
import type { ChannelLog } from "./channel_log.ts";

/** The publisher, with messages that say the schema and the epoch. */
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
