/**
 * The door of devices that have nothing yet: `POST /api/claim`, the one route of the API that wants no token. It takes a claim
 * code, and a token or a certificate request that the device has made. And `POST /api/claim-codes`, which makes codes (admin).
 *
 * Its budget: a code has 100 bits, so that nobody guesses one; what trying costs is bounded all the same. An address that is not
 * this machine's (a proxy may stand there) tries ten times a minute; {@link atOnce} are looked up at once; a body has 16 KB; a
 * refusal takes {@link refusalMs}, whatever was wrong.
 *
 * @module
 */
import type { Context, Hono } from "npm:hono@^4.13.19";
import { isId, SyncError } from "../../schema.ts";
import { isLoopback } from "../address.ts";
import { type ClaimedCredential, type Claims, codeValidMaxMs, codeValidMs } from "../identity/claims.ts";
import type { FailedSignIns } from "../operations/failed_sign_ins.ts";
import { type Access, addressIn } from "./access.ts";
import { ApiError } from "./errors.ts";
import { Gate } from "./gate.ts";
import type { Noted } from "./operations.ts";
import { readJson, readObject } from "./request.ts";
import { Throttle } from "./throttle.ts";

/** What the routes work on. */
export interface ClaimRoutes {
  readonly claims: Claims;
  readonly failed: FailedSignIns;
  readonly now: () => number;
  readonly access: Pick<Access, "checkOpen">;
}

const bodyBytesMax = 16 * 1024;
const refusalMs = 150;
const atOnce = 16;

/** Adds the door itself. Before whatever wants a token. */
export function claimDoor(app: Hono, { claims, failed, now, access }: ClaimRoutes): void {
  const throttle = new Throttle(), gate = new Gate(atOnce);
  app.post("/api/claim", async (c) => {
    access.checkOpen(c.req.raw);
    const begunMs = performance.now(), address = addressIn(c);
    const isCounted = address !== undefined && !isLoopback(address);
    const waitSeconds = isCounted ? throttle.tried(address, now()) : 0;
    if (waitSeconds > 0) return tooMany(waitSeconds);
    const { code, device, credential } = claimOf(await readJson(c.req.raw, bodyBytesMax));
    try {
      const claimed = await gate.run(() => claims.claim(code, device, credential));
      if (isCounted) throttle.succeeded(address);
      const { deviceId, accountId, cert } = claimed;
      c.header("cache-control", "no-store");
      return c.json({ device: deviceId, account: accountId, ...(cert === undefined ? {} : { certificate: cert }) });
    } catch (error) {
      if (error instanceof SyncError && error.code === "unsupported") {
        throw new ApiError(501, error.code, error.message);
      }
      if (!(error instanceof SyncError) || error.code !== "denied") throw error;
      failed.failed("device", address, error.message);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, refusalMs - (performance.now() - begunMs))));
      throw new ApiError(403, "denied", error.message);
    }
  });
}

/** Adds what makes codes. */
export function claimCodeRoutes(
  app: Hono,
  { claims, noted }: Pick<ClaimRoutes, "claims"> & { readonly noted: Noted },
): void {
  app.post("/api/claim-codes", async (c: Context) => {
    noted.requireAdmin(c);
    const { account, device, validSeconds, ...rest } = await readObject(c.req.raw), unknown = Object.keys(rest)[0];
    if (unknown !== undefined) throw new ApiError(400, "invalid", `a claim code has no ${JSON.stringify(unknown)}`);
    if (typeof account !== "string" || !isId(account)) throw new ApiError(400, "invalid", "account is not an id");
    if (device !== undefined && (typeof device !== "string" || !isId(device))) {
      throw new ApiError(400, "invalid", "device is not an id");
    }
    const validMs = validSeconds === undefined ? codeValidMs : Number(validSeconds) * 1000;
    if (!Number.isSafeInteger(validMs) || validMs <= 0 || validMs > codeValidMaxMs) {
      throw new ApiError(400, "invalid", "validSeconds is a whole number, of 30 days at most");
    }
    await noted.begin(c, "device.claim-code", device ?? `account ${account}`);
    const { code, untilMs } = await claims.make({ accountId: account, deviceId: device, validMs });
    c.header("cache-control", "no-store");
    return c.json({ code, until: new Date(untilMs).toISOString() }, 201);
  });
}

function tooMany(waitSeconds: number): Response {
  return Response.json(
    { error: { code: "throttled", message: `too many tries: wait ${waitSeconds} s` } },
    { status: 429, headers: { "retry-after": String(waitSeconds) } },
  );
}

/** @throws ApiError 400 */
function claimOf(body: unknown): { code: string; device: string; credential: ClaimedCredential } {
  const refuse = (why: string) => new ApiError(400, "invalid", why);
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw refuse("the body must be a JSON object");
  const { code, device, token, csr, ...rest } = body as Record<string, unknown>, unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw refuse(`a claim has no ${JSON.stringify(unknown.slice(0, 64))}`);
  if (typeof code !== "string" || code.length > 64) throw refuse("code is not a text of at most 64 characters");
  if (typeof device !== "string" || !isId(device)) throw refuse("device is not an id");
  if (typeof token === "string" && csr === undefined) return { code, device, credential: { token } };
  if (typeof csr === "string" && token === undefined) return { code, device, credential: { csr } };
  throw refuse("one of token and csr is required, a text");
}
