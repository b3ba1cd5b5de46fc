/**
 * What the HTTP API checks of a request before anything else: the bearer token, in constant time, and the body's size.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { parsePlain } from "../../schema.ts";
import { ApiError } from "./errors.ts";

/** Larger than any item: 400 KB of DynamoDB's counting, with base64 and escapes. */
export const bodyBytesMax = 2 * 1024 * 1024;

/**
 * Refuses a request that does not bear the token. Without a token (or with an empty one) everybody is let in: for loopback only.
 *
 * @throws ApiError 401.
 */
export function checkToken(header: string | undefined, token: string | undefined): void {
  if (!token) return;
  const given = /^Bearer +(\S+)$/i.exec(header ?? "")?.[1] ?? "";
  // Digests are of equal length, so that comparing them tells nothing of the token's.
  if (!timingSafeEqual(sha256(given), sha256(token))) {
    throw new ApiError(401, "unauthorized", "a valid bearer token is wanted");
  }
}

/** As {@link checkToken}, for what is never open: without a token nobody is let in. @throws ApiError 401. */
export function requireToken(header: string | undefined, token: string | undefined): void {
  if (!token) throw new ApiError(401, "unauthorized", "this wants a bearer token, and none is configured");
  checkToken(header, token);
}

/** Whether a request bears the token, which there must be. */
export function hasToken(header: string | undefined, token: string | undefined): boolean {
  try {
    requireToken(header, token);
    return true;
  } catch (error) {
    if (error instanceof ApiError) return false;
    throw error;
  }
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** The body as a JSON object; numbers that a double would alter are texts. @throws ApiError 400, 413. */
export async function readObject(request: Request): Promise<Record<string, unknown>> {
  const text = new TextDecoder().decode(await readBody(request));
  let body: unknown;
  try {
    body = parsePlain(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new ApiError(400, "invalid", `the body is not JSON: ${error.message}`);
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new ApiError(400, "invalid", "the body must be a JSON object");
  }
  return body as Record<string, unknown>;
}

/** The body as JSON. Texts stand for numbers in an event of AWS: nothing is lost. @throws ApiError 400, 413. */
export async function readJson(request: Request, bytesMax: number): Promise<unknown> {
  const body = await readBody(request, bytesMax);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (error) {
    throw new ApiError(400, "invalid", `the body is not JSON: ${(error as Error).message}`);
  }
}

/** The body's bytes: reads no more than is allowed, whatever length the request claims. @throws ApiError 413. */
export async function readBody(request: Request, bytesMax = bodyBytesMax): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new ApiError(413, "too-large", `the body is above ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
