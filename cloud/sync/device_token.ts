/**
 * A device's credentials, as the registry stores them. A token is 32 random bytes in base64url, shown once; only its
 * SHA-256 is stored, and a salted hash for brokers that check passwords themselves. A device has one token, and two
 * during a rotation: the new one, and the old one until its time is over. A token may expire.
 *
 * An order (`orders.ts`) offers a device a token over its connection: `next`, valid beside the one that it has until it is
 * used. Then it takes that one's place.
 *
 * In a device's row: `token`, `until?` (ms), `before?`, `beforeUntil?`, `mosquitto?` (`SALT$HASH`, base64), `issued?` (ms, of
 * a token that expires), `next?`, `nextMosquitto?`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, pbkdf2Sync, timingSafeEqual } from "node:crypto";
import type { Attributes, Item } from "../../schema/values.ts";

/** How a token is made. */
export interface TokenOptions {
  /** How long it is valid, ms; default: for ever. */
  readonly validMs?: number;
}

/** A token by its hash, and until when it is valid. */
export interface Credential {
  readonly hash: string;
  readonly untilMs: number;
}

/** PBKDF2's iterations, as many as `mosquitto_passwd` takes: 32 random bytes cannot be guessed. */
export const mosquittoIterations = 101;

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** A dummy to compare with if there is no such device, so that the time taken reveals nothing. */
const nobody = sha256("");

/** A new token. It never begins with a dash, which a command line would read as a flag. */
export function newToken(randomBytes: (count: number) => Uint8Array): string {
  let token: string;
  do token = Buffer.from(randomBytes(32)).toString("base64url"); while (token.startsWith("-"));
  return token;
}

/** The stored form of a token. */
export function storedToken(token: string, salt: Uint8Array, { validMs }: TokenOptions, nowMs: number): Attributes {
  const hash = pbkdf2Sync(token, salt, mosquittoIterations, 64, "sha512");
  return {
    token: sha256(token),
    mosquitto: `${Buffer.from(salt).toString("base64")}$${hash.toString("base64")}`,
    ...(validMs === undefined ? {} : { until: nowMs + validMs, issued: nowMs }),
  };
}

/** For how long a device's token was given; undefined: for ever. Of one that an older build gave it is not known: as from now. */
export function validityOf({ until, issued }: Item, nowMs: number): number | undefined {
  if (typeof until !== "number") return undefined;
  return Math.max(1, until - (typeof issued === "number" ? issued : nowMs));
}

/** The row with a token that is offered beside the one that it has. */
export function offered(row: Item, { token, mosquitto }: Attributes): Item {
  return { ...row, next: token!, nextMosquitto: mosquitto! };
}

/** The row without an offer. */
export function withdrawn({ next: _next, nextMosquitto: _mosquitto, ...row }: Item): Item {
  return row;
}

/** The row after its offered token was used: those before it are void. Its validity begins then. */
export function promoted(row: Item, nowMs: number): Item {
  const { next, nextMosquitto, ...before } = row, validMs = validityOf(row, nowMs);
  const { until: _until, issued: _issued, before: _before, beforeUntil: _beforeUntil, ...rest } = before;
  const fresh: Item = { ...rest, token: next!, mosquitto: nextMosquitto! };
  return validMs === undefined ? fresh : { ...fresh, until: nowMs + validMs, issued: nowMs };
}

/** The row after a rotation: the present token stays valid until its own expiry or the end of the grace period. */
export function rotated(row: Item, stored: Attributes, graceEndsMs: number): Item {
  const { until, issued: _issued, before: _before, beforeUntil: _beforeUntil, ...rest } = withdrawn(row);
  // A device with a certificate alone.
  if (row.token === undefined) return { ...rest, ...stored };
  const beforeUntil = typeof until === "number" ? Math.min(until, graceEndsMs) : graceEndsMs;
  return { ...rest, ...stored, before: row.token!, beforeUntil };
}

/** A device's credentials, the newest first. */
export function credentialsOf({ token, until, before, beforeUntil, next }: Item): Credential[] {
  if (typeof token !== "string") return [];
  const untilOf = (value: unknown) => typeof value === "number" ? value : Infinity;
  const first = { hash: token, untilMs: untilOf(until) };
  const hasBefore = typeof before === "string" && typeof beforeUntil === "number";
  return [
    first,
    ...(typeof next === "string" ? [{ hash: next, untilMs: Infinity }] : []),
    ...(hasBefore ? [{ hash: before, untilMs: beforeUntil }] : []),
  ];
}

/**
 * Whether a token's hash is one of these, and valid. Three are always compared, so that the time taken reveals nothing.
 */
export function fits(credentials: readonly Credential[], hash: string, nowMs: number): boolean {
  const given = Buffer.from(hash, "hex");
  const [first, second, third] = credentials;
  const found = [first, second, third].map((credential) => {
    const isRight = timingSafeEqual(given, Buffer.from(credential?.hash ?? nobody, "hex"));
    return isRight && credential !== undefined && nowMs < credential.untilMs;
  });
  return found.includes(true);
}
