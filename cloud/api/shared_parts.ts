/**
 * Parts of large messages, reassembled in the log table, because the parts of one message may reach different instances
 * of the handler. The instance that finds all parts handles the message. Two may find them at once; then the message is
 * handled twice, which is harmless.
 *
 * In the log table, for {@link keptSeconds}: `partdata#<device>#<id>` / `<index>`: the part; `part#<device>` /
 * `<id>#<index>`: a mark that it is there, so that checking for completeness reads no data. The part is written first:
 * a mark whose part is missing can't be seen.
 *
 * @module
 */
import { Decoder, type FromDevice, type PartHeader } from "../../protocol.ts";
import { batchLimits } from "../../protocol/message_limits.ts";
import { base64ToBytes, bytesToBase64 } from "../../schema/values.ts";
import type { Table, Write } from "../table/port.ts";
import { SyncError } from "../../schema/errors.ts";
import { ApiError } from "./errors.ts";

/** How long parts are stored, as long as an MQTT worker holds them. */
const keptSeconds = 60;
/** A part must fit a table's item of 400 KB, with room for its key. */
const partBytesMax = 390 * 1024;
/** Bytes of a whole message, as the decoder has it. */
const messageBytesMax = 16 * 1024 * 1024;

/** Parts on their way to a message. */
export class SharedParts {
  readonly #log: Table;
  readonly #now: () => number;

  constructor(log: Table, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /**
   * Stores a part; returns the message if it was the last. @throws ApiError 413 if the part or message is too large;
   * SyncError if the parts do not make a message, or the table fails
   */
  async accept(deviceId: string, header: PartHeader, payload: Uint8Array): Promise<FromDevice | undefined> {
    const { id, index, count } = header;
    // Only the last part is shorter than the others.
    const isTooLarge = index < count - 1 && (payload.length - header.bodyAt) * (count - 1) > messageBytesMax;
    if (payload.length > partBytesMax || isTooLarge) {
      throw new ApiError(413, "too-large", `a part of a message above ${messageBytesMax} bytes, or of ${partBytesMax}`);
    }
    const nowSeconds = Math.floor(this.#now() / 1000);
    const expires = nowSeconds + keptSeconds;
    const data = { $b: bytesToBase64(payload) };
    await this.#write([{ op: "put", item: { ...this.#dataKey(deviceId, id, index), data, expires } }]);
    await this.#write([{ op: "put", item: { hash: `part#${deviceId}`, sort: mark(id, index), count, expires } }]);
    const marks = await this.#marks(deviceId, id, count, nowSeconds);
    return marks.length === count ? await this.#complete(deviceId, id, marks) : undefined;
  }

  async #complete(deviceId: string, id: string, marks: readonly string[]): Promise<FromDevice | undefined> {
    const keys = marks.map((_, index) => {
      const { hash, sort } = this.#dataKey(deviceId, id, index);
      return [hash, sort] as const;
    });
    const parts = await this.#log.get(keys);
    const decoder = new Decoder({ now: this.#now, maxBytes: messageBytesMax });
    let message: FromDevice | undefined;
    try {
      for (const part of parts) {
        const text = (part?.data as { $b?: unknown } | undefined)?.$b;
        const bytes = typeof text === "string" ? base64ToBytes(text) : undefined;
        // Expired and removed since: the device sends the message again.
        if (!bytes) return undefined;
        message = decoder.accept(bytes, "up", deviceId, batchLimits);
      }
    } finally {
      // The data expires. Without the marks, the parts of a later transmission are counted again.
      await this.#write(marks.map((sort) => ({ op: "delete", key: [`part#${deviceId}`, sort] })));
    }
    return message;
  }

  /** The sort values of the parts that are there. */
  async #marks(deviceId: string, id: string, count: number, nowSeconds: number): Promise<string[]> {
    const found: string[] = [];
    let after: string | undefined;
    do {
      const page = await this.#log.query({
        index: "primary",
        hash: `part#${deviceId}`,
        sortPrefix: `${id}#`,
        limit: 1000,
        after,
      });
      for (const item of page.items) {
        // Another count means the same message, cut for another limit. If expired, its data may be gone.
        if (item.count === count && Number(item.expires) > nowSeconds) found.push(String(item.sort));
      }
      after = page.next;
    } while (after !== undefined);
    return found;
  }

  #dataKey(deviceId: string, id: string, index: number): { hash: string; sort: string } {
    return { hash: `partdata#${deviceId}#${id}`, sort: digits(index) };
  }

  async #write(writes: readonly Write[]): Promise<void> {
    const results = await this.#log.write(writes);
    if (results.some(({ outcome }) => outcome !== "written")) {
      throw new SyncError("unavailable", "the log table did not take a part", { retryable: true });
    }
  }
}

function mark(id: string, index: number): string {
  return `${id}#${digits(index)}`;
}

function digits(index: number): string {
  return String(index).padStart(5, "0");
}
