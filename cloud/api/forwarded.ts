/**
 * `POST /up` and `POST /sync`: messages that an MQTT rule or webhook forwards. The *topic* (or the device id)
 * identifies the device, as the forwarder took it from the broker, whose access rules guard it; the message never does.
 *
 * | topic or device in | the body is |
 * | --- | --- |
 * | header `x-twintable-topic`, `x-twintable-device`, or query `?topic=`, `?device=` | the MQTT payload |
 * | the body: `{"topic": …, "payload": …}` or `{"device": …, "payload": …}` | an envelope, or an array of them |
 *
 * A payload that does not begin with `{`, `#` or `!` is base64: that alphabet has none of these characters, and all our
 * payloads begin with one. An envelope's payload may also be the message itself, as an object. Parts of large messages
 * are bytes, not text: in an envelope only as base64.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { parseTopic } from "../../protocol.ts";
import { isId } from "../../schema.ts";
import { parseJson } from "../../schema/json.ts";
import { ApiError } from "./errors.ts";

/** A payload and the device that published it. */
export interface Forwarded {
  readonly deviceId: string;
  readonly payload: Uint8Array;
}

/** Envelopes in one request. */
export const envelopesMax = 100;

/** The parts of a request other than its body. */
export interface ForwardedRequest {
  header(name: string): string | undefined;
  query(name: string): string | undefined;
  readonly body: Uint8Array;
}

const brace = 0x7b, hash = 0x23, exclamation = 0x21;

/** Parses a forwarder's request. @throws ApiError 400 if it names no device, or carries no payload. */
export function forwardedOf(request: ForwardedRequest, prefix: string | undefined): Forwarded[] {
  const topic = request.header("x-twintable-topic") ?? request.query("topic");
  const device = request.header("x-twintable-device") ?? request.query("device");
  if (topic !== undefined || device !== undefined) {
    return [{ deviceId: deviceOf(topic, device, prefix), payload: decoded(request.body) }];
  }
  const body = jsonOf(request.body);
  const envelopes = Array.isArray(body) ? body : [body];
  if (envelopes.length > envelopesMax) throw invalid(`${envelopes.length} envelopes are more than ${envelopesMax}`);
  return envelopes.map((envelope) => forwardedIn(envelope, prefix));
}

function forwardedIn(envelope: unknown, prefix: string | undefined): Forwarded {
  if (typeof envelope !== "object" || envelope === null) throw invalid("an envelope is a JSON object");
  const { topic, device, payload } = envelope as Record<string, unknown>;
  const deviceId = deviceOf(topic, device, prefix);
  if (typeof payload === "string") return { deviceId, payload: decoded(new TextEncoder().encode(payload)) };
  if (typeof payload !== "object" || payload === null) throw invalid("an envelope carries no payload");
  return { deviceId, payload: new TextEncoder().encode(JSON.stringify(payload)) };
}

function deviceOf(topic: unknown, device: unknown, prefix: string | undefined): string {
  if (topic === undefined) {
    if (typeof device !== "string" || !isId(device)) throw invalid("the request names no topic and no device id");
    return device;
  }
  const parsed = typeof topic === "string" ? parseTopic(topic, prefix) : undefined;
  if (parsed?.kind !== "up" && parsed?.kind !== "sync") throw invalid("its topic is none that a device publishes on");
  if (device !== undefined && device !== parsed.deviceId) throw invalid("its topic and its device are not one");
  return parsed.deviceId;
}

function decoded(payload: Uint8Array): Uint8Array {
  if ([brace, hash, exclamation].includes(payload[0]!)) return payload;
  const text = new TextDecoder().decode(payload).trim();
  if (text === "" || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) {
    throw invalid("its payload is neither a message nor base64");
  }
  return Buffer.from(text, "base64");
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return parseJson(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (error) {
    // A RangeError for deep nesting is the body's fault as well.
    throw invalid(
      `the request names no topic and no device, and its body is not an envelope: ${(error as Error).message}`,
    );
  }
}

function invalid(message: string): ApiError {
  return new ApiError(400, "invalid", message);
}
