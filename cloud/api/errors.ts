/**
 * The HTTP API's errors: `{error: {code, message}}` with a status that says whose fault it is.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import { SyncError } from "../../schema.ts";

const logger = new Log("api");

/** A request that is refused, with its status. */
export class ApiError extends Error {
  override name = "ApiError";
  constructor(readonly status: number, readonly code: string, message: string) {
    super(message);
  }

  /** Further fields of the answer, beside `code` and `message`. */
  get details(): Readonly<Record<string, unknown>> {
    return {};
  }
}

/** Statuses of the codes that an operating fault may have; others are 503 if transient, otherwise 500. */
const statuses: Readonly<Record<string, number>> = {
  "invalid": 400,
  "too-large": 413,
  "exists": 409,
  "not-found": 404,
};

/** The response for a thrown error. An unexpected error is logged, and the caller gets no details. */
export function errorResponse(error: unknown): Response {
  if (error instanceof ApiError) return jsonError(error.status, error.code, error.message, error.details);
  if (error instanceof SyncError) {
    const status = statuses[error.code] ?? (error.retryable ? 503 : 500);
    if (status < 500) return jsonError(status, error.code, error.message);
    // Its text may name paths, tables and addresses, and the caller may be anybody.
    logger.error("a request failed: {error}", { error });
    return jsonError(
      status,
      error.code,
      status === 503 ? "not possible now: try again" : "the request failed; the log says why",
    );
  }
  logger.error("a request failed: {error}", { error });
  return jsonError(500, "internal", "the request failed; the log says why");
}

function jsonError(status: number, code: string, message: string, details: object = {}): Response {
  const headers = status === 401 ? { "www-authenticate": "Bearer" } : undefined;
  return Response.json({ error: { code, message }, ...details }, { status, headers });
}
