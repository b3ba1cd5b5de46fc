/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Shown instead of a page that failed: a sentence, the code, a way on.
 *
 * @module
 */
import { Log } from "../../../protocol/log.ts";
import { SyncError } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import type { Page } from "../context.ts";
import { Problem } from "../parts.tsx";

/** Errors that the person caused. */
const own: ReadonlySet<string> = new Set(["invalid", "too-large", "exists", "not-found"]);
const logger = new Log("console");

/** The text of an error: its own message if the person caused it, otherwise a reference to the log. */
export function faultOf(error: unknown): { message: string; code: string; status: NonNullable<Page["status"]> } {
  if (error instanceof ApiError || (error instanceof SyncError && own.has(error.code))) {
    const status = error instanceof ApiError ? error.status : error.code === "not-found" ? 404 : 400;
    const known = [400, 403, 404, 409, 412, 429, 503] as const;
    return { message: error.message, code: error.code, status: known.find((one) => one === status) ?? 400 };
  }
  logger.error("a page failed: {error}", { error });
  if (error instanceof SyncError && error.retryable) {
    return { message: "Not possible now: the table or the broker can't be reached.", code: error.code, status: 503 };
  }
  return { message: "This failed; the worker's log says why.", code: "internal", status: 500 };
}

/** A page of its own for a fault. */
export function errorPage(error: unknown, path: string): Page {
  const { message, code, status } = faultOf(error);
  const title = status === 404 ? "Not found" : status < 500 ? "Not possible" : "Something failed";
  return {
    title,
    status,
    body: (
      <>
        <div class="head">
          <h1>{title}</h1>
        </div>
        <Problem message={message} code={code} retry={status >= 500 ? path : undefined} />
        <p class="after">
          <a href="/">To the start</a>
        </p>
      </>
    ),
  };
}
