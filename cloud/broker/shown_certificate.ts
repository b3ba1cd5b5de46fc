/**
 * What a client's certificate says, once TLS has found it to be of a trusted authority, within its time and for a client: the
 * device that it names, and the key by which the registry knows it. Guarantee: one name or none; what names two devices names
 * nobody.
 *
 * A TLS session that is resumed brings the certificate of its first handshake, and nobody verifies that again: its end is
 * looked at here, each time.
 *
 * @module
 */
import { createHash, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type tls from "node:tls";
import { isId } from "../../schema.ts";

/** A certificate that TLS has verified. */
export interface ShownCertificate {
  /** The device that it names: its common name, or without one its only alternative name. */
  readonly deviceId: string;
  /** SHA-256 of its public key (SubjectPublicKeyInfo, DER), 64 hex digits. */
  readonly key: string;
  /** When it expires, ms since 1970. */
  readonly untilMs: number;
}

/** What a client showed: nothing, something that is not accepted and why, or a certificate. */
export type Shown = undefined | { readonly refused: string } | ShownCertificate;

/** Reads the certificate of a connection. */
export function shownBy(socket: Socket, nowMs: number): Shown {
  if (!("getPeerCertificate" in socket)) return undefined;
  const secure = socket as tls.TLSSocket, peer = secure.getPeerCertificate();
  if (!peer?.raw) return undefined;
  const untilMs = Date.parse(peer.valid_to), sinceMs = Date.parse(peer.valid_from);
  if (!(nowMs < untilMs)) return { refused: `its certificate expired at ${dateOf(untilMs)}` };
  if (!(nowMs >= sinceMs)) return { refused: `its certificate is not valid before ${dateOf(sinceMs)}` };
  if (!secure.authorized) {
    return { refused: "its certificate is of another authority than the broker trusts, or not one for a client" };
  }
  const deviceId = nameOf(peer);
  if (deviceId === undefined) return { refused: "its certificate does not name one device" };
  const der = new X509Certificate(peer.raw).publicKey.export({ type: "spki", format: "der" });
  return { deviceId, key: createHash("sha256").update(der).digest("hex"), untilMs };
}

function nameOf({ subject, subjectaltname }: tls.PeerCertificate): string | undefined {
  const common: unknown = subject?.CN;
  const names = common === undefined || common === ""
    ? (subjectaltname ?? "").split(", ").map((name) => name.replace(/^DNS:/, ""))
    : [common].flat();
  const [name] = names;
  return names.length === 1 && typeof name === "string" && isId(name) ? name : undefined;
}

function dateOf(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : "no time";
}
