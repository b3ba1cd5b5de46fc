/**
 * The certificates that let a device in, as its row in the registry keeps them: by the SHA-256 of their public keys, so that a
 * certificate of the same authority that names the device, and was not issued for this registration of it (an older device of
 * the same name, which was revoked), is refused.
 *
 * A device has one key, and while it renews two: the older one goes when the newer has let it in. It may have so many that were
 * asked for and never used as {@link keysMax} says.
 *
 *     issued ─▶ newest ─(used to log in)─▶ alone ─▶ expired, revoked, or followed by a newer one that is used
 *
 * In a device's row: `certs`: a JSON list of `{key, until, valid}`, the newest last.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { timingSafeEqual } from "node:crypto";
import type { Item } from "../../schema/values.ts";

/** A certificate's public key, and how long it lets its device in. */
export interface DeviceKey {
  /** SHA-256 of the public key (SubjectPublicKeyInfo, DER), 64 hex digits. */
  readonly key: string;
  /** When the certificate expires, ms since 1970. */
  readonly until: number;
  /** How long it was issued for, ms: its successor is issued for as long. */
  readonly valid: number;
}

/** The one in use, and renewals that were answered and not used: a device that crashes asks again with the same key. */
export const keysMax = 4;
/** What a device's connection is known by that came with a certificate: no token's hash, which is hex. */
const credentialPrefix = "key:";

/** The keys of a row; none where there are none. */
export function keysOf({ certs }: Item): DeviceKey[] {
  return typeof certs === "string" ? JSON.parse(certs) as DeviceKey[] : [];
}

/** What a row keeps of keys. */
export function storedKeys(keys: readonly DeviceKey[]): { certs?: string } {
  return keys.length === 0 ? {} : { certs: JSON.stringify(keys) };
}

/**
 * The keys with one more: in the place of the same key, which is asked for again. Expired ones go.
 *
 * @returns undefined: there are as many that were never used as there may be
 */
export function withKey(keys: readonly DeviceKey[], key: DeviceKey, nowMs: number): DeviceKey[] | undefined {
  const others = keys.filter((known) => known.key !== key.key && known.until > nowMs);
  return others.length >= keysMax ? undefined : [...others, key];
}

/** The place of the key that a certificate was shown for; -1: it lets nobody in. All are compared. */
export function placeOf(keys: readonly DeviceKey[], key: string, nowMs: number): number {
  const given = Buffer.from(key, "hex");
  let place = -1;
  keys.forEach((known, at) => {
    const its = Buffer.from(known.key, "hex");
    if (its.length === given.length && timingSafeEqual(given, its) && nowMs < known.until) place = at;
  });
  return place;
}

/** How a connection by this key is remembered. */
export function credentialOfKey(key: string): string {
  return credentialPrefix + key;
}

/** The key of such a credential; undefined: it is a token's. */
export function keyOfCredential(credential: string): string | undefined {
  return credential.startsWith(credentialPrefix) ? credential.slice(credentialPrefix.length) : undefined;
}
