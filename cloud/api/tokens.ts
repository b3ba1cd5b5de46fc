/**
 * The API's bearer tokens: several at a time, each with a name, scopes and an expiry. Tokens are compared by hash, and
 * always all of them, so that the time taken reveals nothing.
 *
 * | scope | opens |
 * | --- | --- |
 * | `read` | `GET` of `/api` and `/metrics`; notifications at the embedded broker |
 * | `write` | the same, and every other method of `/api` |
 * | `forward` | `/stream`, `/stream/lost`, `/up`, `/sync` |
 * | `admin` | everything |
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { SyncError } from "../../schema.ts";
import { ApiError } from "./errors.ts";

/** What a token may do. */
export type Scope = "read" | "write" | "forward" | "admin";
const scopes: readonly Scope[] = ["read", "write", "forward", "admin"];

/** One token. */
export interface ApiToken {
  /** The bearer's name: for people, and for the audit. */
  readonly name: string;
  /** SHA-256 of the token, 64 hex digits. */
  readonly hash: string;
  /** What its bearer may do. */
  readonly scopes: readonly Scope[];
  /** ms since 1970; absent: never expires. */
  readonly untilMs?: number;
}

/** A request's token, found valid. */
export interface Bearer {
  readonly name: string;
  may(scope: Scope): boolean;
}

export function tokenHash(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/** A single token that opens everything: `--token`. An empty one opens nothing: see {@link tokenOf}. */
export function singleToken(token: string): ApiToken[] {
  return [{ name: "token", hash: tokenHash(token), scopes: ["admin"] }];
}

/**
 * The tokens of a file's text: a JSON list of `{"name": "grafana", "sha256": "…", "scopes": ["read"], "expires":
 * "2027-01-01"}`; `token` instead of `sha256` holds it in the clear.
 *
 * @throws SyncError `config` naming the faulty entry, and never its token
 */
export function tokensOf(list: unknown, file: string): ApiToken[] {
  const refuse = (why: string): never => {
    throw new SyncError("config", `the tokens of ${file}: ${why}`);
  };
  if (!Array.isArray(list) || list.length > 1_000) return refuse("a list of at most 1,000 is required");
  const names = new Set<string>();
  return list.map((entry, at): ApiToken => {
    if (typeof entry !== "object" || entry === null) return refuse(`entry ${at + 1} is not an object`);
    const { name, sha256, token, scopes: given, expires, ...rest } = entry as Record<string, unknown>;
    if (typeof name !== "string" || !/^[A-Za-z0-9_.:-]{1,64}$/.test(name)) {
      return refuse(`entry ${at + 1} needs a name of 1 to 64 letters, digits, _ . : -`);
    }
    if (names.has(name)) return refuse(`"${name}" is there twice: give each token a name of its own`);
    names.add(name);
    const unknown = Object.keys(rest)[0];
    if (unknown !== undefined) return refuse(`"${name}" has an unknown ${JSON.stringify(unknown)}`);
    if ((typeof sha256 === "string") === (typeof token === "string")) return refuse(`"${name}" needs sha256 or token`);
    if (typeof sha256 === "string" && !/^[0-9a-f]{64}$/.test(sha256)) {
      return refuse(`sha256 of "${name}" is 64 hex digits`);
    }
    if (sha256 === hashOfNothing) return refuse(`sha256 of "${name}" is that of an empty text`);
    if (typeof token === "string" && token.length < 16) {
      return refuse(`the token of "${name}" is shorter than 16 characters`);
    }
    const isScope = (scope: unknown): scope is Scope => scopes.includes(scope as Scope);
    if (!Array.isArray(given) || given.length === 0 || !given.every(isScope)) {
      return refuse(`"${name}" needs scopes: some of ${scopes.join(", ")}`);
    }
    const untilMs = expires === undefined ? undefined : Date.parse(String(expires));
    if (untilMs !== undefined && !Number.isFinite(untilMs)) return refuse(`expires of "${name}" is not a date`);
    const hash = typeof sha256 === "string" ? sha256 : tokenHash(token as string);
    return { name, hash, scopes: given, ...(untilMs === undefined ? {} : { untilMs }) };
  });
}

/** Of no token at all: what an unset variable gives whoever computes a hash by hand. */
const hashOfNothing = tokenHash("");

/** The valid token with this hash, 64 hex digits. Nothing is no token, whatever the list says. */
export function tokenOf(hash: string, tokens: readonly ApiToken[], nowMs: number): ApiToken | undefined {
  if (hash === hashOfNothing) return undefined;
  const given = Buffer.from(hash, "hex");
  let found: ApiToken | undefined;
  for (const token of tokens) {
    const fits = timingSafeEqual(given, Buffer.from(token.hash, "hex"));
    if (fits && nowMs < (token.untilMs ?? Infinity)) found = token;
  }
  return found;
}

/** Whether a token's scopes include this one. */
export function allows({ scopes }: ApiToken, wanted: Scope): boolean {
  return scopes.includes(wanted) || scopes.includes("admin") || (wanted === "read" && scopes.includes("write"));
}

/** Whether the token of this hash may do that now: for what goes on after its request. */
export function stillMay(hash: string, tokens: readonly ApiToken[], scope: Scope, nowMs: number): boolean {
  const token = tokenOf(hash, tokens, nowMs);
  return token !== undefined && allows(token, scope);
}

/** The hash of the token in a request's `authorization`, or of nothing. */
export function hashIn(header: string | undefined): string {
  return tokenHash(/^Bearer +(\S+)$/i.exec(header ?? "")?.[1] ?? "");
}

/** The bearer of a request. @throws ApiError 401 without a valid token, 403 if it may not do this */
export function bearerOf(header: string | undefined, tokens: readonly ApiToken[], scope: Scope, nowMs: number): Bearer {
  const found = tokenOf(hashIn(header), tokens, nowMs);
  if (!found) throw new ApiError(401, "unauthorized", "a valid bearer token is required");
  if (!allows(found, scope)) throw new ApiError(403, "forbidden", `this token may not ${scope}`);
  return { name: found.name, may: (wanted) => allows(found, wanted) };
}
