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
 * Refuses a request that does not bear the token. Without one everybody is let in: for loopback only. An empty one is a mistake,
 * and lets nobody in.
 *
 * @throws ApiError 401.
 */
export function checkToken(header: string | undefined, token: string | undefined): void {
  if (token === undefined) return;
  const given = /^Bearer +(\S+)$/i.exec(header ?? "")?.[1] ?? "";
  // Digests are of equal length, so that comparing them tells nothing of the token's.
  if (token === "" || !timingSafeEqual(sha256(given), sha256(token))) {
    throw new ApiError(401, "unauthorized", "a valid bearer token is wanted");
  }
}

/** As {@link checkToken}, for what is never open: without a token nobody is let in. @throws ApiError 401. */
export function requireToken(header: string | undefined, token: string | undefined): void {
  if (token === undefined) throw new ApiError(401, "unauthorized", "this wants a bearer token, and none is configured");
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

/** How long a body may take, ms: 2 MB over a slow line. */
const bodyMs = 20_000;

/**
 * The body's bytes: reads no more than is allowed, whatever length the request claims, and not for long.
 *
 * @throws ApiError 408, 413.
 */
export async function readBody(request: Request, bytesMax = bodyBytesMax, timeoutMs = bodyMs): Promise<Uint8Array> {
  const reader = request.body?.getReader();
  if (!reader) return new Uint8Array();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), timeoutMs));
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const read = await Promise.race([reader.read(), late]);
      if (read === "late") throw new ApiError(408, "late", `the body did not come within ${timeoutMs} ms`);
      if (read.done) return Buffer.concat(chunks);
      bytes += read.value.length;
      if (bytes > bytesMax) throw new ApiError(413, "too-large", `the body is above ${bytesMax} bytes`);
      chunks.push(read.value);
    }
  } catch (error) {
    // Not waited for: it ends when the connection does.
    reader.cancel().catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
