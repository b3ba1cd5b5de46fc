/**
 * Why there is no connection to the broker, in words for people: each reason is told apart, since what to do about it differs.
 *
 * @module
 */
import { SyncError } from "../schema/errors.ts";

/**
 * `unreachable`: nobody answers there. `dns`: the name has no address. `tls`: no trust, by either side. `credentials`: the broker
 * refuses the password or token. `revoked`: it refuses what it let in before. `subscription`: it refuses a topic. `forbidden`:
 * this program may not connect there. `taken`: another client has the id. `closed`: the broker ended the connection.
 */
export type OfflineReason =
  | "unreachable"
  | "dns"
  | "tls"
  | "credentials"
  | "revoked"
  | "subscription"
  | "forbidden"
  | "taken"
  | "closed";

/** Codes of a CONNACK: bad user name or password, and not authorized; 4 and 5 in MQTT 3.1.1, 134 and 135 in MQTT 5. */
const refusedCodes: ReadonlySet<unknown> = new Set([4, 5, 134, 135]);
/** The resolver's codes. */
const nameCodes: ReadonlySet<unknown> = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_NONAME", "EAI_NODATA", "EAI_FAIL"]);
/** What Deno says of a permission that is lacking, without its advice for developers. */
const permission = /^Requires (.*?)(, run again .*)?$/s;

/** Who connects where. */
export interface Attempt {
  readonly url: string;
  readonly clientId: string;
  /** The broker let this client in before, with the same credentials. */
  readonly wasUp: boolean;
}

/** What a connection failed with, as the reason and the error that says it. */
export function offlineFault(
  cause: Error & { code?: unknown },
  { url, clientId, wasUp }: Attempt,
): { readonly reason: OfflineReason; readonly error: SyncError } {
  const { host } = new URL(url);
  if (refusedCodes.has(cause.code)) {
    const message = `the broker ${host} refused ${clientId}: ${cause.message}`;
    return wasUp
      ? {
        reason: "revoked",
        error: new SyncError("unauthorized", `${message}; it let it in before: the token was revoked, or has expired`, {
          retryable: true,
          cause,
          hint: "give the device a new token, or ask who revoked it",
        }),
      }
      : {
        reason: "credentials",
        error: new SyncError("unauthorized", message, {
          retryable: true,
          cause,
          hint: "check the user name and the password or token",
        }),
      };
  }
  const { reason, why, hint } = explained(cause, url);
  const message = `the connection to the broker ${host} failed: ${why}`;
  return { reason, error: new SyncError("unavailable", message, { retryable: true, cause, hint }) };
}

function explained(
  cause: Error & { code?: unknown },
  url: string,
): { reason: OfflineReason; why: string; hint?: string } {
  const { hostname, protocol } = new URL(url), { message } = cause;
  const lacking = permission.exec(message)?.[1];
  if (cause.name === "NotCapable" || cause.code === "EPERM" || cause.code === "EACCES" || lacking !== undefined) {
    const why = `this program's permissions forbid it${lacking === undefined ? "" : `: it requires ${lacking}`}`;
    return { reason: "forbidden", why, hint: "it was compiled for another broker" };
  }
  if (nameCodes.has(cause.code) || /failed to lookup address|getaddrinfo/i.test(message)) {
    return { reason: "dns", why: `the name "${hostname}" has no address: ${message}`, hint: "check the name and DNS" };
  }
  if (protocol === "mqtts:" && isTls(cause)) {
    return { reason: "tls", why: `TLS: ${message}`, hint: "check the certificates, --ca, and this machine's clock" };
  }
  return { reason: "unreachable", why: message };
}

/** Runtimes name certificates' faults differently: by OpenSSL's codes, by alerts, or in words. */
function isTls({ code, message }: Error & { code?: unknown }): boolean {
  if (
    typeof code === "string" && /^(ERR_(SSL|TLS)|CERT_|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|HOSTNAME|EPROTO)/.test(code)
  ) {
    return true;
  }
  return /certificate|handshake|\btls\b|\bssl\b|InvalidContentType|peer .*(closed|sent)/i.test(message);
}
