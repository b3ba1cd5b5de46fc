/**
 * Who gets in at the embedded broker, and what he may do there. A device gets in by its token (user name = device id,
 * password = token) or by a client certificate (its common name = device id), under its own id as client id, and may
 *
 * - publish on its `up`, `sync` and `presence` topics with QoS 0 or 1 (only `presence` retained; its last will counts as a
 *   publish),
 * - subscribe to its `down`, its account's topic and `all`, exactly, without wildcards.
 *
 * Workers come in as the internal user and may do everything.
 *
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import type tls from "node:tls";
import type { Client } from "npm:aedes@^1.2.0";
import type { Topics } from "../../protocol.ts";
import type { Identity } from "../../schema/model.ts";
import { rightsOf } from "../broker_config/rights.ts";
import type { BrokerSocket } from "./socket.ts";

/** Who a device was found to be. */
export interface Admission extends Identity {
  /** What it proved itself by, so that its withdrawal is noticed: a hash, never the secret. */
  readonly credential?: string;
}

/** How devices prove themselves. */
export interface AccessOptions {
  /** Who a device is that shows this token; undefined: refused. A throw tells the device to try again. */
  readonly authenticate: (deviceId: string, token: string) => Promise<Admission | undefined>;
  /**
   * Who a device is that is known by its name: for one that came with a verified certificate (needed with
   * `tls.requestCert`), and to notice that a connected one was revoked. With a `credential`: undefined where that is valid no
   * more.
   */
  readonly identityOf?: (deviceId: string, credential?: string) => Promise<Identity | undefined>;
  /** The workers' credentials. */
  readonly internal: { readonly username: string; readonly password: string };
}

/** What a connection was found to be. */
export interface Access {
  readonly name: string;
  /** Absent: the internal user, who may do everything. */
  readonly publishes?: ReadonlySet<string>;
  readonly subscribes?: ReadonlySet<string>;
  readonly presence?: string;
  /** Of a device. */
  readonly admission?: Admission;
}

/** A publish or a will. */
export interface Packet {
  readonly topic: string;
  readonly payload: string | Uint8Array;
  readonly retain?: boolean;
  readonly qos?: number;
}

/** CONNACK codes of MQTT 3.1.1. */
export const serverUnavailable = 3, badCredentials = 4, notAuthorized = 5;
/** A presence is a few bytes and is kept in memory for each device. */
const presenceBytesMax = 1024;

/** Why a connection is not let in, with its CONNACK code. */
export class Refusal extends Error {
  constructor(readonly returnCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

function accessOf(topic: Topics, admission: Admission): Access {
  const { publishes, presence, subscribes } = rightsOf(topic, admission);
  return {
    name: admission.deviceId,
    admission,
    presence,
    publishes: new Set(publishes),
    subscribes: new Set(subscribes),
  };
}

/** Why a publish is forbidden, or undefined. */
export function forbids(access: Access, packet: Packet): string | undefined {
  if (!access.publishes) return undefined;
  if (!access.publishes.has(packet.topic)) return `it may not publish on ${packet.topic}`;
  // Nothing here is made better by it, and what is not released yet would be kept.
  if (packet.qos === 2) return "it may not publish with QoS 2";
  if (packet.topic !== access.presence) return packet.retain ? `it may not retain on ${packet.topic}` : undefined;
  return packet.payload.length > presenceBytesMax ? `its presence has ${packet.payload.length} bytes` : undefined;
}

function sameText(a: string, b: string): boolean {
  const [x, y] = [new TextEncoder().encode(a), new TextEncoder().encode(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** Who shows himself, by certificate, as the internal user, or by token. @throws {Refusal} */
export async function admit(
  options: AccessOptions,
  topic: Topics,
  client: Client,
  username: string,
  password: string,
): Promise<Access> {
  const { internal } = options;
  if (username === internal.username) {
    if (!sameText(password, internal.password)) {
      throw new Refusal(badCredentials, "the internal user's password is wrong");
    }
    return { name: client.id };
  }
  const { socket, internalOnly } = client.conn as unknown as BrokerSocket;
  if (internalOnly) throw new Refusal(notAuthorized, "this listener is for workers only");
  const certified = "authorized" in socket && socket.authorized === true
    ? (socket as tls.TLSSocket).getPeerCertificate()?.subject?.CN as string | undefined
    : undefined;
  const deviceId = certified ?? username;
  if (deviceId !== client.id) {
    throw new Refusal(notAuthorized, `its client id is not the device's id, ${JSON.stringify(deviceId.slice(0, 128))}`);
  }
  let admission: Admission | undefined;
  try {
    admission = certified === undefined
      ? await options.authenticate(deviceId, password)
      : await options.identityOf?.(deviceId);
  } catch (cause) {
    throw new Refusal(serverUnavailable, `its credentials can't be checked now: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (admission === undefined || admission.deviceId !== deviceId) {
    throw new Refusal(
      badCredentials,
      certified === undefined ? "its id or token is wrong" : "its certificate names no known device",
    );
  }
  return accessOf(topic, admission);
}
