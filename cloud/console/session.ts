/**
 * Who is signed in: a cookie that any worker can check, and none has to remember.
 *
 *     <expiry, ms>.<which token>.<iv, token sealed, tag>
 *
 * The cookie holds the API token, sealed with AES-256-GCM under a key made of the token's hash; expiry and name of the token are
 * authenticated with it. A MAC under what a worker keeps would do less: workers may be given hashes alone (`--tokens`), and a
 * copy of that file must let nobody in. Whoever forges a cookie needs the token itself, as with a bearer.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { type ApiToken, bearerOf, tokenHash } from "../api/tokens.ts";
import { ApiError } from "../api/errors.ts";

/** A session ends after that, whatever is done in it. */
export const sessionMs = 12 * 3600_000;
const ivBytes = 12, tagBytes = 16;

/** A person at the console. */
export interface Session {
  /** The name of the token that they signed in with; `local` where none is wanted. */
  readonly name: string;
  /** Whether they may change anything. */
  readonly mayWrite: boolean;
  /** When it ends, ms since 1970. */
  readonly untilMs: number;
  /** What forms carry, so that no other page's form is taken. */
  readonly formToken: string;
}

function keyOf(hash: string): Buffer {
  return createHash("sha256").update(`twintable console ${hash}`).digest();
}

/** Names a token without telling anything of it that would help. */
function nameOf(hash: string): string {
  return createHash("sha256").update(`twintable console name ${hash}`).digest("hex").slice(0, 16);
}

function sessionOf(cookie: string, hash: string, name: string, mayWrite: boolean, untilMs: number): Session {
  const formToken = createHmac("sha256", keyOf(hash)).update(cookie).digest("base64url");
  return { name, mayWrite, untilMs, formToken };
}

/** Signs in. @returns the cookie's value, or undefined where the token is none that may read */
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

/** The session of a cookie; undefined where it is none, is over, or its token may not read any more. */
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
    return sessionOf(cookie!, token.hash, bearer.name, bearer.may("write"), untilMs);
  } catch {
    // Altered, made under another token's key, or a token that was taken back: no session, for whichever reason.
    return undefined;
  }
}

const processKey = randomBytes(32).toString("hex");

/** Where the API is open (loopback, no token): everybody at this machine is signed in. */
export function openSession(): Session {
  return sessionOf("open", processKey, "local", true, Infinity);
}

/** Whether a form's token is the session's. */
export function fitsForm(session: Session, given: unknown): boolean {
  const wanted = Buffer.from(session.formToken), got = Buffer.from(typeof given === "string" ? given : "");
  return wanted.length === got.length && timingSafeEqual(wanted, got);
}
