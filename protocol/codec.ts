/**
 * Messages to payloads and back. A payload is JSON text with the version in `v`; a message above the limit travels in
 * numbered parts (parts.ts). The first byte tells the encoding: `{` is JSON, `!` compressed JSON (deflate.ts), `#` a part
 * of either.
 *
 * @module
 */
import { type FromCloud, type FromDevice, type Message, protocolVersion } from "./messages.ts";
import { parseJson } from "../schema/json.ts";
import { changeText, withList } from "./change_text.ts";
import { type Fields, fieldsOf, kindOf } from "./checks.ts";
import { deflateBytesMin, deflated, deflateMark, inflated } from "./deflate.ts";
import { ProtocolError } from "./errors.ts";
import { fromCloudOf } from "./cloud_message_checks.ts";
import { batchIdOf, fromDeviceOf } from "./device_message_checks.ts";
import { hasTooManyMarks, type MessageLimits } from "./message_limits.ts";
import { Assembler, partHeader, splitParts } from "./parts.ts";

/** Default bytes of one MQTT payload: AWS IoT Core, the strictest known broker, accepts 128 KB. */
export const payloadBytesMax: number = 128 * 1024;

/** Payloads below this could not carry the header of a part and something useful. */
export const payloadBytesMin = 1024;

const utf8 = new TextEncoder();

/** Options of {@link encode}. */
export interface EncodeOptions {
  /** Bytes of a payload, at least 1 KB, header included; default {@link payloadBytesMax}. */
  readonly maxBytes?: number;
  /** The receiver has said that it reads compressed payloads; default false. */
  readonly deflate?: boolean;
  /** Tells the receiver that it may send compressed payloads: see {@link Decoder.senderInflates}. Default false. */
  readonly inflates?: boolean;
}

/**
 * The payloads of a message: one, or numbered parts where it is larger than `maxBytes` (default 128 KB, at least 1 KB,
 * header included). Equal messages have equal payloads. The order of the parts does not matter.
 *
 * @throws {RangeError} if `maxBytes` is below 1 KB, or the message needs more than 16,384 parts
 *
 * @example
 * ```ts
 * import { Decoder, encode } from "../protocol.ts";
 * const [payload] = encode({ type: "time", request: "k3/1", time: 1_700_000_000_000 });
 * const decoder = new Decoder({ now: Date.now });
 * console.log(decoder.accept(payload!, "down"));
 * ```
 */
export function encode(message: Message, options: EncodeOptions = {}): Uint8Array[] {
  const maxBytes = options.maxBytes ?? payloadBytesMax;
  if (!(maxBytes >= payloadBytesMin)) {
    throw new RangeError(`a payload limit is ${payloadBytesMin} bytes or more, not ${maxBytes}`);
  }
  const envelope = options.inflates ? { v: protocolVersion, z: 1 as const } : { v: protocolVersion };
  const json = utf8.encode(textOf({ ...envelope, ...message }));
  const whole = options.deflate && json.length >= deflateBytesMin ? deflated(json) : json;
  return whole.length <= maxBytes ? [whole] : splitParts(whole, maxBytes);
}

function textOf(message: Message): string {
  if (message.type !== "up") return JSON.stringify(message);
  const { changes, ...rest } = message;
  return withList(rest, "changes", changes.map(changeText));
}

/** Options of a {@link Decoder}. */
export interface DecoderOptions {
  /** Bytes of a whole message, put together; default 16 MB. */
  readonly maxBytes?: number;
  /** Incomplete messages that are held for one sender; default 8. */
  readonly maxPending?: number;
  /** Bytes of all incomplete messages; default 64 MB. */
  readonly maxTotalBytes?: number;
  /** How long an incomplete message is held; default 60 s. */
  readonly timeoutMs?: number;
  /** Milliseconds, from any origin. */
  readonly now: () => number;
}

function parse(payload: Uint8Array): unknown {
  try {
    return parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload));
  } catch (cause) {
    // Includes a RangeError for deep nesting: whatever parsing throws, the payload is at fault.
    throw new ProtocolError("a payload is not JSON in UTF-8", {
      cause,
      batch: batchAtStart(payload),
      answers: answersAtStart(payload),
    });
  }
}

/** The beginning of a batch, as {@link encode} and every earlier agent write it. */
const upStart = /^\{"v":1,(?:"z":1,)?"type":"up","batch":"([A-Za-z0-9_.:-]{1,64}\/[0-9]{1,16})"/;

/** The id of a batch whose payload is not JSON. */
function batchAtStart(payload: Uint8Array): string | undefined {
  return upStart.exec(String.fromCharCode(...payload.subarray(0, 128)))?.[1];
}

/** The beginning of an answer, as {@link encode} and every earlier worker write it. */
const answerStart =
  /^\{"v":1,(?:"z":1,)?"type":"[a-z]{1,16}","request":"([A-Za-z0-9_.:-]{1,64}\/[0-9]{1,16})"(?:,"channel":"([^"\\]{1,600})")?/;

/** The question that a payload answers, if the payload is not JSON. */
function answersAtStart(payload: Uint8Array): ProtocolError["answers"] {
  const [, request, channel] = answerStart.exec(String.fromCharCode(...payload.subarray(0, 1024))) ?? [];
  return request === undefined ? undefined : { request, channel };
}

/**
 * Runs the checks of a message; the error that they throw names the batch, or the question that the message answers.
 */
function named<T>(fields: Fields, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const batch = batchIdOf(fields), answers = answersOf(fields);
    if (!(error instanceof ProtocolError) || (batch ?? answers) === undefined) throw error;
    throw new ProtocolError(error.message, { cause: error, batch, answers });
  }
}

function answersOf({ request, channel }: Fields): ProtocolError["answers"] {
  if (typeof request !== "string") return undefined;
  return { request, ...(typeof channel === "string" ? { channel } : {}) };
}

/**
 * Decodes payloads to messages: checks everything, reassembles parts, holds bounded memory. One decoder may serve many
 * senders.
 */
export class Decoder {
  readonly #maxBytes: number;
  readonly #assembler: Assembler;
  #senderInflates = false;
  #messageBytes = 0;

  constructor(options: DecoderOptions) {
    this.#maxBytes = options.maxBytes ?? 16 * 1024 * 1024;
    this.#assembler = new Assembler({
      maxBytes: this.#maxBytes,
      maxPending: options.maxPending ?? 8,
      maxTotalBytes: options.maxTotalBytes ?? 64 * 1024 * 1024,
      timeoutMs: options.timeoutMs ?? 60_000,
    }, options.now);
  }

  /** The sender has said that it accepts compressed payloads. For a decoder with one sender. */
  get senderInflates(): boolean {
    return this.#senderInflates;
  }

  /** Bytes of the last message as JSON: its size in memory, however it was encoded. 0 while parts of it are missing. */
  get messageBytes(): number {
    return this.#messageBytes;
  }

  /** Bytes held by incomplete messages. */
  get pendingBytes(): number {
    return this.#assembler.bytes;
  }

  /** Incomplete messages that were dropped, because of a bound or their age. */
  get dropped(): number {
    return this.#assembler.dropped;
  }

  /**
   * Takes a payload from `sender` (a device's id; one name is enough where there is one sender). Returns the message,
   * or undefined while parts are missing.
   *
   * @param limits limits of messages of this kind, if the sender may be anybody
   * @throws {ProtocolError} if the payload is malformed, too large, of another version or of the other direction; of a
   * batch with its id, where that can be read, so that it can be answered
   */
  accept(payload: Uint8Array, direction: "up", sender?: string, limits?: MessageLimits): FromDevice | undefined;
  accept(payload: Uint8Array, direction: "down", sender?: string, limits?: MessageLimits): FromCloud | undefined;
  accept(payload: Uint8Array, direction: "up" | "down", sender = "", limits?: MessageLimits): Message | undefined {
    this.#messageBytes = 0;
    const header = partHeader(payload);
    if (!header) return this.#message(payload, direction, limits);
    const whole = this.#assembler.accept(header, payload, sender);
    return whole && this.#message(whole, direction, limits);
  }

  #message(payload: Uint8Array, direction: "up" | "down", limits?: MessageLimits): Message {
    const bytesMax = Math.min(this.#maxBytes, limits?.bytesMax ?? Infinity);
    if (payload.length > bytesMax) {
      throw new ProtocolError(`a message has ${payload.length} bytes, more than ${bytesMax}`);
    }
    if (payload[0] === deflateMark) payload = inflated(payload, bytesMax);
    this.#messageBytes = payload.length;
    if (limits && hasTooManyMarks(payload, limits.marksMax)) {
      throw new ProtocolError(`a message has more than ${limits.marksMax} values`);
    }
    if (payload[0] !== 0x7b) throw new ProtocolError("a payload has an unknown encoding");
    const fields = fieldsOf(parse(payload), "message");
    if (fields.v !== protocolVersion) {
      throw new ProtocolError(`a message has version ${kindOf(fields.v)}, not ${protocolVersion}`, {
        hint: "update the older side: the cloud first, then the devices",
      });
    }
    if (fields.z === 1) this.#senderInflates = true;
    return named(fields, () => direction === "up" ? fromDeviceOf(fields) : fromCloudOf(fields));
  }
}
