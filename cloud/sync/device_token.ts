/**
 * What a device proves itself by, as the registry keeps it. A token is 32 random bytes in base64url, given out once; only
 * its SHA-256 is kept, and a salted hash for brokers that check passwords themselves. A device has one token, and while it is
 * rotated two: the newer, and the one before until its time is over. A token may expire.
 *
 * In a device's row: `token`, `until?` (ms), `before?`, `beforeUntil?`, `mosquitto?` (`SALT$HASH`, base64).
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

/** PBKDF2's iterations, as many as `mosquitto_passwd` takes: nobody guesses 32 random bytes. */
export const mosquittoIterations = 101;

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Something to compare with where there is no such device, so that the time taken does not tell. */
const nobody = sha256("");

/** A new token: never with a dash in front, which a command line would take for a flag. */
export function newToken(randomBytes: (count: number) => Uint8Array): string {
  let token: string;
  do token = Buffer.from(randomBytes(32)).toString("base64url"); while (token.startsWith("-"));
  return token;
}

/** What is stored of a token. */
export function storedToken(token: string, salt: Uint8Array, { validMs }: TokenOptions, nowMs: number): Attributes {
  const hash = pbkdf2Sync(token, salt, mosquittoIterations, 64, "sha512");
  return {
    token: sha256(token),
    mosquitto: `${Buffer.from(salt).toString("base64")}$${hash.toString("base64")}`,
    ...(validMs === undefined ? {} : { until: nowMs + validMs }),
  };
}

/** The row after a rotation: the token that there is stays valid until its own end, or the grace's. */
export function rotated(row: Item, stored: Attributes, graceEndsMs: number): Item {
  const { until, before: _before, beforeUntil: _beforeUntil, ...rest } = row;
  const beforeUntil = typeof until === "number" ? Math.min(until, graceEndsMs) : graceEndsMs;
  return { ...rest, ...stored, before: row.token!, beforeUntil };
}

/** A device's credentials, the newest first. */
export function credentialsOf({ token, until, before, beforeUntil }: Item): Credential[] {
  const untilOf = (value: unknown) => typeof value === "number" ? value : Infinity;
  const first = { hash: String(token), untilMs: untilOf(until) };
  const hasBefore = typeof before === "string" && typeof beforeUntil === "number";
  return hasBefore ? [first, { hash: before, untilMs: beforeUntil }] : [first];
}

/** Whether a token's hash is one of these, and valid. Always two are compared: the time taken tells nothing. */
export function fits(credentials: readonly Credential[], hash: string, nowMs: number): boolean {
  const given = Buffer.from(hash, "hex");
  const [first, second] = credentials;
  const found = [first, second].map((credential) => {
    const isRight = timingSafeEqual(given, Buffer.from(credential?.hash ?? nobody, "hex"));
    return isRight && credential !== undefined && nowMs < credential.untilMs;
  });
  return found.includes(true);
}
