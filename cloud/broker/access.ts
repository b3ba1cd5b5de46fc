/**
 * Access control of the embedded broker. A device logs in by its token (user name = device id, password = token) or by
 * a client certificate (which names it), under its own id as client id, and may
 *
 * - publish on its `up`, `sync` and `presence` topics with QoS 0 or 1 (only `presence` retained; its last will counts
 *   as a publish),
 * - subscribe to its `down`, its account's topic and `all`, exactly, without wildcards.
 *
 * Workers log in as the internal user and may do everything; applications that read notifications see `readers.ts`.
 *
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import type { Client } from "npm:aedes@^1.2.0";
import type { Topics } from "../../protocol.ts";
import type { Identity } from "../../schema/model.ts";
import { rightsOf } from "../broker_config/rights.ts";
import { readerPrefix, type ReaderRights } from "./readers.ts";
import { shownBy, type ShownCertificate } from "./shown_certificate.ts";
import type { BrokerSocket } from "./socket.ts";

/** An authenticated device. */
export interface Admission extends Identity {
  /** Its credential, so that a revocation is noticed: a hash, never the secret. */
  readonly credential?: string;
  /** When that ends, ms since 1970: then the connection ends, too. Absent: never, or `identityOf` knows. */
  readonly untilMs?: number;
}

/** The authentication of devices. */
export interface AccessOptions {
  /** The device with this token; undefined: refused. If it throws, the device is told to try again. */
  readonly authenticate: (deviceId: string, token: string) => Promise<Admission | undefined>;
  /**
   * The device with a certificate that `tls.ca` has signed (needed with `tls.requestCert`); undefined: refused. The name
   * alone is not enough: see `key`. Default: the device that `identityOf` knows by the certificate's name.
   */
  readonly certified?: (shown: ShownCertificate) => Promise<Admission | undefined>;
  /**
   * The device with this name: for a verified certificate, and to notice that a connected device was revoked. With a
   * `credential`: undefined if that is no longer valid.
   */
  readonly identityOf?: (deviceId: string, credential?: string) => Promise<Identity | undefined>;
  /** Is told of a client whose credentials were wrong: anybody may have shown them, under any name. */
  readonly refused?: (clientId: string) => void;
  /** Applications that read notifications; absent: none may. */
  readonly readers?: ReaderRights;
  /** The workers' credentials. */
  readonly internal: { readonly username: string; readonly password: string };
}

/** The identity of a connection. */
export interface Access {
  readonly name: string;
  /** Absent: the internal user, who may do everything. */
  readonly publishes?: ReadonlySet<string>;
  readonly subscribes?: ReadonlySet<string>;
  readonly presence?: string;
  /** Of a device. */
  readonly admission?: Admission;
  /** Of a reader: whether it still may read. */
  readonly mayRead?: () => boolean;
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
/** A presence is a few bytes, and the broker holds one in memory for each device. */
const presenceBytesMax = 1024;

/** Why a connection is refused, with its CONNACK code. */
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
  // It has no use here, and unreleased messages would be held.
  if (packet.qos === 2) return "it may not publish with QoS 2";
  if (packet.topic !== access.presence) return packet.retain ? `it may not retain on ${packet.topic}` : undefined;
  return packet.payload.length > presenceBytesMax ? `its presence has ${packet.payload.length} bytes` : undefined;
}

function sameText(a: string, b: string): boolean {
  const [x, y] = [new TextEncoder().encode(a), new TextEncoder().encode(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

async function byCertificate(options: AccessOptions, shown: ShownCertificate): Promise<Admission | undefined> {
  const admission: Admission | undefined = options.certified
    ? await options.certified(shown)
    : await options.identityOf?.(shown.deviceId);
  return admission && { ...admission, untilMs: Math.min(shown.untilMs, admission.untilMs ?? Infinity) };
}

function readerOf(
  { readers }: AccessOptions,
  { clientId, address }: { readonly clientId: string; readonly address: string | undefined },
  name: string,
  token: string,
): Access {
  const mayRead = readers?.find(name, token), own = `${readerPrefix}${name}`;
  // A client id displaces whoever has it: nobody has another token's.
  if (clientId !== own && !clientId.startsWith(`${own}/`)) {
    throw new Refusal(notAuthorized, "a reader's client id begins with reader/ and its token's name");
  }
  if (!mayRead) readers?.failed(address);
  if (!readers || !mayRead) throw new Refusal(badCredentials, "no API token of this name may read");
  return { name, mayRead, publishes: new Set(), subscribes: new Set(readers.filters) };
}

/** Authenticates a client: by certificate, as the internal user, or by token. @throws {Refusal} */
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
  if (client.id.startsWith(readerPrefix)) {
    return readerOf(options, { clientId: client.id, address: socket.remoteAddress }, username, password);
  }
  const shown = shownBy(socket, Date.now());
  // Beside a token a certificate that nobody accepts does no harm.
  if (shown && "refused" in shown && password === "") throw new Refusal(badCredentials, shown.refused);
  const certificate = shown && "key" in shown ? shown : undefined;
  const deviceId = certificate?.deviceId ?? username;
  if (deviceId !== client.id) {
    throw new Refusal(notAuthorized, `its client id is not the device's id, ${JSON.stringify(deviceId.slice(0, 128))}`);
  }
  let admission: Admission | undefined;
  try {
    admission = certificate === undefined
      ? await options.authenticate(deviceId, password)
      : await byCertificate(options, certificate);
  } catch (cause) {
    throw new Refusal(serverUnavailable, `its credentials can't be checked now: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (admission === undefined || admission.deviceId !== deviceId) {
    throw new Refusal(
      badCredentials,
      certificate === undefined
        ? "its id or token is wrong"
        : "its certificate names no known device, or was not issued for it",
    );
  }
  return accessOf(topic, admission);
}
