/**
 * Sessions: a cookie that any worker can check, and none has to store; those that were ended by signing out are in
 * `ended_sessions.ts`.
 *
 *     <expiry, ms>.<which token>.<iv, token sealed, tag>
 *
 * The cookie holds the API token, sealed with AES-256-GCM under a key derived from the token's hash; expiry and name of
 * the token are authenticated with it. A MAC under a worker's own secret would be weaker: workers may only have hashes
 * (`--tokens`), and a copy of that file must not admit anyone. Forging a cookie requires the token itself, as with a
 * bearer.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { type ApiToken, type Bearer, bearerOf, tokenHash } from "../api/tokens.ts";
import { ApiError } from "../api/errors.ts";

/** A session ends after this time, whatever is done in it. */
export const sessionMs = 12 * 3600_000;
const ivBytes = 12, tagBytes = 16;

/** A person at the console. */
export interface Session {
  /** The session's name, whatever spelling of its cookie was sent; it opens nothing. */
  readonly id: string;
  /** The name of the token that they signed in with; `local` if none is required. */
  readonly name: string;
  /** The token's hash, which no page shows. */
  readonly tokenHash: string;
  /** Whether they may change anything. */
  readonly mayWrite: boolean;
  /** Whether they may erase devices. */
  readonly isAdmin: boolean;
  /** When it ends, ms since 1970. */
  readonly untilMs: number;
  /** The token that forms carry, so that forms of other pages are refused. */
  readonly formToken: string;
}

function keyOf(hash: string): Buffer {
  return createHash("sha256").update(`twintable console ${hash}`).digest();
}

/** A name for a token that reveals nothing useful about it. */
function nameOf(hash: string): string {
  return createHash("sha256").update(`twintable console name ${hash}`).digest("hex").slice(0, 16);
}

/** @param sealed what makes it this session and no other */
function sessionOf(sealed: Uint8Array, hash: string, bearer: Bearer, untilMs: number): Session {
  const formToken = createHmac("sha256", keyOf(hash)).update(sealed).digest("base64url");
  const id = createHash("sha256").update("twintable console session ").update(sealed).digest("hex").slice(0, 32);
  return {
    id,
    name: bearer.name,
    tokenHash: hash,
    mayWrite: bearer.may("write"),
    isAdmin: bearer.may("admin"),
    untilMs,
    formToken,
  };
}

/** Signs in. @returns the cookie's value, or undefined if the token may not read */
export function signIn(token: string, tokens: readonly ApiToken[], nowMs: number): string | undefined {
  try {
    bearerOf(`Bearer ${token}`, tokens, "read", nowMs);
  } catch (error) {
    if (error instanceof ApiError) return undefined;
    throw error;
  }
  const hash = tokenHash(token), head = `${nowMs + sessionMs}.${nameOf(hash)}`;
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv("aes-256-gcm", keyOf(hash), iv).setAAD(Buffer.from(head));
  const sealed = Buffer.concat([iv, cipher.update(token, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return `${head}.${sealed.toString("base64url")}`;
}

/** The session of a cookie; undefined if it is invalid or over, or if its token may no longer read. */
export function sessionIn(
  cookie: string | undefined,
  tokens: readonly ApiToken[],
  nowMs: number,
): Session | undefined {
  const [, until, name, text] = /^(\d{1,15})\.([0-9a-f]{16})\.([\w-]{38,2000})$/.exec(cookie ?? "") ?? [];
  const token = name === undefined ? undefined : tokens.find(({ hash }) => nameOf(hash) === name);
  if (!token || Number(until) <= nowMs || Number(until) > nowMs + sessionMs) return undefined;
  const sealed = Buffer.from(text!, "base64url");
  const decipher = createDecipheriv("aes-256-gcm", keyOf(token.hash), sealed.subarray(0, ivBytes))
    .setAAD(Buffer.from(`${until}.${name}`)).setAuthTag(sealed.subarray(-tagBytes));
  try {
    const plain = Buffer.concat([decipher.update(sealed.subarray(ivBytes, -tagBytes)), decipher.final()]);
    const bearer = bearerOf(`Bearer ${plain.toString("utf8")}`, tokens, "read", nowMs);
    const untilMs = Math.min(Number(until), token.untilMs ?? Infinity);
    // The bytes, not the text: the last letter of base64url has bits that mean nothing, and a copy with others of them
    // would be another session.
    return sessionOf(sealed, token.hash, bearer, untilMs);
  } catch {
    // Altered, made under another token's key, or with a revoked token: no session in each case.
    return undefined;
  }
}

const processKey = randomBytes(32).toString("hex");

/** If the API is open (loopback, no token), everybody at this machine is signed in. */
export function openSession(): Session {
  return sessionOf(Buffer.from("open"), processKey, { name: "local", may: () => true }, Infinity);
}

/** Whether a form's token is the session's. */
export function fitsForm(session: Session, given: unknown): boolean {
  const wanted = Buffer.from(session.formToken), got = Buffer.from(typeof given === "string" ? given : "");
  return wanted.length === got.length && timingSafeEqual(wanted, got);
}
