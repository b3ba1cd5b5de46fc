/**
 * The wire between a device and the cloud: topics, messages, their encoding. Both sides use only this module to
 * exchange messages.
 *
 * @module
 */
export * from "./protocol/messages.ts";
export { changeText, withList } from "./protocol/change_text.ts";
export { Decoder, type DecoderOptions, encode, type EncodeOptions, payloadBytesMax } from "./protocol/codec.ts";
export { DigestSum, itemDigest } from "./protocol/digests.ts";
export { ProtocolError } from "./protocol/errors.ts";
export { type PartHeader, partHeader } from "./protocol/parts.ts";
export { decodePresence, encodeAt, encodePresence, type Presence } from "./protocol/presence.ts";
export type { DeviceReport } from "./protocol/report.ts";
export {
  type DeviceTopicKind,
  type ParsedTopic,
  parseRelay,
  parseTopic,
  type Topics,
  topics,
} from "./protocol/topics.ts";
