/**
 * Devices that present a JWT of another issuer (an identity provider, a factory) as their password. Guarantee: a token admits
 * the device that it names, if
 *
 * - its algorithm is one of a short list of signatures with a public key: no `none`, and no HMAC, whose key the public one
 *   would be;
 * - a key of the issuer's set signed it. Keys and URLs in the token's own header are ignored;
 * - issuer and audience are the configured ones, and `exp` and `nbf` allow it, with a minute for clocks that differ;
 * - the registry knows the device, in the same account: a revoked device is refused, whatever it presents.
 *
 * The connection ends when the token does. The issuer's keys come from a file, or from a URL: cached for ten minutes, read again
 * for a key that is not there (at most every 30 seconds), and bounded.
 *
 * This module loads `jose`; only a configured worker imports it.
 *
 * @module
 */
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
  type JWTVerifyGetKey,
} from "npm:jose@^6.1.0";
import { SyncError } from "../../schema.ts";
import type { Identity } from "../../schema/model.ts";
import type { Admission } from "../broker/access.ts";

/** How devices' tokens are checked. */
export interface JwtOptions {
  /** `iss`, exactly. */
  readonly issuer: string;
  /** `aud`: this, or a list with this. */
  readonly audience: string;
  /** The issuer's keys: a JWK set as JSON text, or where it is read (`https://`, on this machine `http://`). */
  readonly keys: { readonly set: string } | { readonly url: string };
  /** Default {@link jwtAlgorithms}; only some of these. */
  readonly algorithms?: readonly string[];
  /** The claim that names the device; default `sub`. */
  readonly deviceClaim?: string;
  /** The claim that must be the device's account; default `account`. */
  readonly accountClaim?: string;
  /** A word that the claim `scope` must have; absent: none. */
  readonly scope?: string;
}

/** Signatures with a public key. */
export const jwtAlgorithms: readonly string[] = ["ES256", "ES384", "RS256", "PS256", "EdDSA"];
/** The embedded broker takes a CONNECT of 4 KB. */
const tokenLengthMax = 4 * 1024;
/** A set of 100 keys of RSA is 60 KB. */
const setBytesMax = 256 * 1024;
const toleranceSeconds = 60;

/** Whether a password is a JWT: a token of ours has no dots. */
export function isJwt(password: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(password);
}

/** See the module. */
export class JwtVerifier {
  private constructor(
    private readonly options: JwtOptions,
    private readonly keys: JWTVerifyGetKey,
    private readonly identityOf: (deviceId: string) => Promise<Identity | undefined>,
    private readonly now: () => number,
  ) {}

  /** @throws SyncError `config` for options that would let others in, or keys that are none */
  static open(
    options: JwtOptions,
    identityOf: (deviceId: string) => Promise<Identity | undefined>,
    now: () => number,
  ): JwtVerifier {
    const { issuer, audience, algorithms = jwtAlgorithms, keys } = options;
    const wrong = algorithms.find((name) => !jwtAlgorithms.includes(name));
    if (wrong !== undefined || algorithms.length === 0) {
      throw refused(`algorithms are some of ${jwtAlgorithms.join(", ")}, not ${JSON.stringify(wrong ?? [])}`);
    }
    if (!issuer || !audience) throw refused("issuer and audience are required");
    return new JwtVerifier(options, "set" in keys ? localKeys(keys.set) : remoteKeys(keys.url), identityOf, now);
  }

  /**
   * The device that presents this token, until it expires; undefined: refused.
   *
   * @throws SyncError `unavailable` if the issuer's keys can't be read: the device tries again
   */
  async admit(deviceId: string, token: string): Promise<Admission | undefined> {
    const { deviceClaim = "sub", accountClaim = "account", scope } = this.options;
    const claims = token.length > tokenLengthMax ? undefined : await this.#claims(token);
    if (!claims || claims[deviceClaim] !== deviceId) return undefined;
    if (scope !== undefined && !String(claims.scope ?? "").split(" ").includes(scope)) return undefined;
    const identity = await this.identityOf(deviceId);
    if (!identity || claims[accountClaim] !== identity.accountId) return undefined;
    return { ...identity, untilMs: (claims.exp! + toleranceSeconds) * 1000 };
  }

  async #claims(token: string): Promise<JWTPayload | undefined> {
    const { issuer, audience, algorithms = jwtAlgorithms } = this.options;
    try {
      const { payload } = await jwtVerify(token, this.keys, {
        issuer,
        audience,
        algorithms: [...algorithms],
        requiredClaims: ["exp"],
        clockTolerance: toleranceSeconds,
        currentDate: new Date(this.now()),
      });
      return payload;
    } catch (error) {
      if (isOfToken(error)) return undefined;
      throw new SyncError("unavailable", `the issuer's keys can't be read: ${(error as Error).message}`, {
        retryable: true,
        cause: error,
      });
    }
  }
}

/** Whether the token is at fault, not the way to the keys. */
function isOfToken(error: unknown): boolean {
  return error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout) &&
    error.code !== "ERR_JOSE_GENERIC" && error.code !== "ERR_JWKS_INVALID";
}

function refused(why: string, cause?: unknown): SyncError {
  return new SyncError("config", `devices' JWTs: ${why}`, { cause });
}

function localKeys(text: string): JWTVerifyGetKey {
  try {
    return createLocalJWKSet(publicSet(JSON.parse(text)));
  } catch (cause) {
    throw cause instanceof SyncError ? cause : refused(`the keys are no JWK set: ${(cause as Error).message}`, cause);
  }
}

/** Without private and symmetric keys, which somebody put there by mistake. @throws SyncError `config` */
function publicSet(set: JSONWebKeySet): JSONWebKeySet {
  if (!Array.isArray(set?.keys)) throw refused("the keys are no JWK set");
  const isPublic = (key: JSONWebKeySet["keys"][number]) => key.kty !== "oct" && !("d" in key);
  if (!set.keys.every(isPublic)) throw refused("the set has a private or a symmetric key: give the public ones only");
  return set;
}

function remoteKeys(text: string): JWTVerifyGetKey {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLocal = url?.protocol === "http:" && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname);
  if (!url || (url.protocol !== "https:" && !isLocal)) throw refused("the URL of the keys is https://HOST/…");
  return createRemoteJWKSet(url, {
    timeoutDuration: 5_000,
    cooldownDuration: 30_000,
    cacheMaxAge: 600_000,
    [customFetch]: boundedFetch,
  });
}

/** No redirects, and no more bytes than a set may have. */
async function boundedFetch(url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, { ...options, redirect: "error" });
  const reader = response.body?.getReader(), chunks: Uint8Array[] = [];
  let length = 0;
  for (let part = await reader?.read(); part && !part.done; part = await reader!.read()) {
    length += part.value.length;
    if (length > setBytesMax) {
      await reader!.cancel();
      throw new Error(`the key set has more than ${setBytesMax} bytes`);
    }
    chunks.push(part.value);
  }
  return new Response(new Blob(chunks as BlobPart[]), { status: response.status, headers: response.headers });
}
