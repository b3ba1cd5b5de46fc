/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * What is shown where a page can't be: a sentence, the code, a way on.
 *
 * @module
 */
import { Log } from "../../../protocol/log.ts";
import { SyncError } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import type { Page } from "../context.ts";
import { Problem } from "../parts.tsx";

/** Faults of the person's own making. */
const own: ReadonlySet<string> = new Set(["invalid", "too-large", "exists", "not-found"]);
const logger = new Log("console");

/** What may be said of a fault: its own words where the person caused it, else that the log says why. */
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
