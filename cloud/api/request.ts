/**
 * Reads a request's body, with a bound on size and time.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { parsePlain } from "../../schema.ts";
import { within } from "../../protocol/within.ts";
import { ApiError } from "./errors.ts";

/** Larger than any item: 400 KB of DynamoDB's counting, with base64 and escapes. */
export const bodyBytesMax = 2 * 1024 * 1024;

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

/** The body as JSON. In an event of AWS, numbers are texts: nothing is lost. @throws ApiError 400, 413. */
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
 * The body's bytes: reads no more than is allowed, whatever length the request claims, and for a limited time.
 *
 * @throws ApiError 408, 413.
 */
export async function readBody(request: Request, bytesMax = bodyBytesMax, timeoutMs = bodyMs): Promise<Uint8Array> {
  const reader = request.body?.getReader();
  if (!reader) return new Uint8Array();
  try {
    const body = await within(timeoutMs, readAll(reader, bytesMax));
    if (!body) throw new ApiError(408, "late", `the body did not come within ${timeoutMs} ms`);
    return body;
  } catch (error) {
    // Not awaited: it ends with the connection.
    reader.cancel().catch(() => {});
    throw error;
  }
}

async function readAll(reader: ReadableStreamDefaultReader<Uint8Array>, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for (;;) {
    const read = await reader.read();
    if (read.done) return Buffer.concat(chunks);
    bytes += read.value.length;
    if (bytes > bytesMax) throw new ApiError(413, "too-large", `the body is above ${bytesMax} bytes`);
    chunks.push(read.value);
  }
}
