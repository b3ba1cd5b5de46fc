/**
 * Compression of payloads: raw deflate (RFC 1951) after a mark, without a preset dictionary. Measurements shrink to
 * about a fifth (150 to 32 bytes each in batches of 50), for 1–2 µs each; a catch-up page shrinks to a seventh or less.
 *
 * Frozen: a dictionary would be another encoding and need another mark. Deno's `node:zlib` (2.9.6) silently ignores the
 * `dictionary` of raw deflate, and Node's uses it, so a cloud on Node would send payloads that no device can read.
 *
 * A sender compresses only if it knows that the receiver can read it. A cloud that receives its messages as bytes says
 * `z: 1` beside the version; from then on, until the connection ends, the device compresses. A cloud whose messages are
 * forwarded as text (an MQTT rule, a webhook) does not say it, and an older one does not know it. A device says it in
 * its questions, and the cloud compresses the answers; messages to many devices are never compressed.
 *
 * @module
 */
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { ProtocolError } from "./errors.ts";

/** The first byte of a compressed payload: `!`, with which neither JSON, nor a part, nor base64 begins. */
export const deflateMark = 0x21;

/** Below this size, a payload is sent uncompressed: compression would save little and costs a compressor. */
export const deflateBytesMin = 256;

/**
 * Level 3: a quarter smaller than level 1 for half a microsecond a change; 6 is no smaller for twice the time. Both sides are
 * synchronous: a payload is at most 128 KB or so, and a thread pool would cost more than the 1–2 ms.
 */
const level = 3;

/** A payload's bytes, compressed, after the mark. */
export function deflated(whole: Uint8Array): Uint8Array {
  const packed = deflateRawSync(whole, { level });
  const payload = new Uint8Array(packed.length + 1);
  payload[0] = deflateMark;
  payload.set(packed, 1);
  return payload;
}

/**
 * The bytes that {@link deflated} compressed.
 *
 * @throws {ProtocolError} if the bytes are not one of our deflate streams, or hold more than `bytesMax`
 */
export function inflated(payload: Uint8Array, bytesMax: number): Uint8Array {
  try {
    return inflateRawSync(payload.subarray(1), { maxOutputLength: bytesMax, finishFlush: constants.Z_FINISH });
  } catch (cause) {
    throw new ProtocolError(`a compressed payload can't be read, or holds more than ${bytesMax} bytes`, { cause });
  }
}
