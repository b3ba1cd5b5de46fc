/**
 * Access control of the API: bearer tokens by scope, and, without tokens, the rules for a browser on this machine.
 *
 * @module
 */
import type { Context } from "npm:hono@^4.13.19";
import { checkBrowser } from "./browser.ts";
import { ApiError } from "./errors.ts";
import type { FailedSignIns } from "../operations/failed_sign_ins.ts";
import type { Holder } from "./open_streams.ts";
import type { Noted } from "./operations.ts";
import { type ApiToken, type Bearer, bearerOf, hashIn, type Scope, singleToken, stillMay } from "./tokens.ts";

/** See `HandlerOptions`. */
export interface AccessOptions {
  readonly token?: string;
  readonly tokens?: () => readonly ApiToken[];
  readonly hosts?: readonly string[];
  /** Is told of whoever shows a wrong token. */
  readonly failed: Pick<FailedSignIns, "failed">;
  readonly now: () => number;
}

/** The address that a request came from; undefined: not known. */
export function addressIn(c: Context): string | undefined {
  return (c.env as { address?: string } | undefined)?.address;
}

/** See the module. */
export class Access {
  /** Undefined: the API is open. */
  readonly tokens: (() => readonly ApiToken[]) | undefined;

  constructor(private readonly options: AccessOptions, private readonly noted: Noted) {
    const { token, tokens } = options;
    this.tokens = tokens ?? (token === undefined ? undefined : () => singleToken(token));
  }

  /** Admits callers that may read or write, as the method requires. @throws ApiError 401, 403 */
  readonly guard = async (c: Context, next: () => Promise<void>): Promise<void> => {
    const { tokens } = this;
    this.checkOpen(c.req.raw);
    const isReading = c.req.method === "GET" || c.req.method === "HEAD";
    const bearer = tokens && this.#bearer(c, tokens(), isReading ? "read" : "write");
    await this.noted.run(c, bearer, next);
  };

  /** Where the API is open: refuses what a browser sends for somebody else's page. @throws ApiError 403, 415, 421 */
  checkOpen(request: Request): void {
    const { hosts } = this.options;
    if (!this.tokens && hosts) checkBrowser(request, hosts);
  }

  #bearer(c: Context, tokens: readonly ApiToken[], scope: Scope): Bearer {
    const { failed, now } = this.options, header = c.req.header("authorization");
    try {
      return bearerOf(header, tokens, scope, now());
    } catch (error) {
      // Who shows nothing (a probe, a page without a session) has not tried to sign in.
      if (header && error instanceof ApiError && error.status === 401) {
        failed.failed("api", addressIn(c), "a wrong token");
      }
      throw error;
    }
  }

  /** For routes that are never open: without a token, nobody is admitted. @throws ApiError 401, 403 */
  requireForwarder(c: Context): void {
    const { tokens } = this;
    if (!tokens) throw new ApiError(401, "unauthorized", "this requires a bearer token, and none is configured");
    this.#bearer(c, tokens(), "forward");
  }

  /** Who holds a stream that {@link guard} admitted, and whether they may go on reading it. */
  holderOf(c: Context): Holder {
    const { tokens } = this, { now } = this.options, header = c.req.header("authorization");
    if (!tokens) return { name: "loopback", stands: () => true };
    const { name } = bearerOf(header, tokens(), "read", now()), hash = hashIn(header);
    return { name, stands: () => stillMay(hash, tokens(), "read", now()) };
  }

  /** Whether the caller may do this: for routes that answer strangers, too, and tell them less. */
  may(c: Context, scope: Scope): boolean {
    const { tokens } = this;
    try {
      if (scope === "forward") this.requireForwarder(c);
      else if (tokens) this.#bearer(c, tokens(), scope);
      else this.checkOpen(c.req.raw);
      return true;
    } catch (error) {
      if (error instanceof ApiError) return false;
      throw error;
    }
  }
}
