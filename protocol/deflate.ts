/**
 * Compression of payloads: raw deflate (RFC 1951) after a mark, without a preset dictionary. Measurements shrink to about a
 * fifth (150 to 32 bytes each in batches of 50), for 1–2 µs each; a page of what a device catches up on to a seventh and
 * less.
 *
 * Frozen: a dictionary would be another encoding and need another mark. Deno's `node:zlib` (2.9.6) ignores the
 * `dictionary` of raw deflate without a word and Node's uses it, so that a cloud on Node would send what no device reads.
 *
 * Nobody is sent what he may not be able to read. A cloud that takes its messages as bytes says `z: 1` beside the version;
 * a device compresses from then on, for as long as the connection lasts. One whose messages are forwarded as text (an MQTT
 * rule, a webhook) does not say it, and an older one does not know of it. A device says it in what it asks, and the answer
 * is compressed; what goes to many is not.
 *
 * @module
 */
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { ProtocolError } from "./errors.ts";

/** The first byte of a compressed payload: `!`, which neither JSON, nor a part, nor base64 begins with. */
export const deflateMark = 0x21;

/** Below this, a payload is sent as it is: it would save little, and a compressor is not made for nothing. */
export const deflateBytesMin = 256;

/**
 * Level 3: a quarter smaller than level 1 for half a microsecond a change; 6 is no smaller for twice the time. Both sides are
 * synchronous: a payload is at most 128 KB or so, and a thread pool would cost more than the 1–2 ms.
 */
const level = 3;

/** A payload's bytes, compressed, behind the mark. */
export function deflated(whole: Uint8Array): Uint8Array {
  const packed = deflateRawSync(whole, { level });
  const payload = new Uint8Array(packed.length + 1);
  payload[0] = deflateMark;
  payload.set(packed, 1);
  return payload;
}

/**
 * What {@link deflated} was given.
 *
 * @throws {ProtocolError} where the bytes are no deflate stream of ours, or hold more than `bytesMax`
 */
export function inflated(payload: Uint8Array, bytesMax: number): Uint8Array {
  try {
    return inflateRawSync(payload.subarray(1), { maxOutputLength: bytesMax, finishFlush: constants.Z_FINISH });
  } catch (cause) {
    throw new ProtocolError(`a compressed payload can't be read, or holds more than ${bytesMax} bytes`, { cause });
  }
}
