/**
 * Which requests of a browser the console takes. It has a cookie, so other people's pages must not be able to use it:
 *
 * - where no token is wanted, `Host` must be a name of this machine or a configured one (a page whose name is made to lead to
 *   127.0.0.1 says its own);
 * - what changes something must come from the console's own page (`Sec-Fetch-Site`, else `Origin`), and a form has to carry its
 *   session's token;
 * - what reads may come from a link on another page, and from nothing else there: no script, frame or picture.
 *
 * @module
 */
import { ApiError } from "../api/errors.ts";
import { isOwnHost } from "../api/browser.ts";

const safe: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/** Whether a request comes from a page of another site. */
export function isCrossSite(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  return site !== null && site !== "same-origin" && site !== "none";
}

/** @throws ApiError 403 */
export function checkRequest(request: Request, open: { readonly hosts: readonly string[] } | undefined): void {
  const { headers, method } = request;
  const host = headers.get("host") ?? new URL(request.url).host;
  if (open && !isOwnHost(host, open.hosts)) {
    throw new ApiError(
      403,
      "misdirected",
      `the console is open for this machine alone, and ${host} is none of its names`,
    );
  }
  if (safe.has(method)) {
    const mode = headers.get("sec-fetch-mode");
    if (!isCrossSite(headers) || mode === "navigate") return;
    throw new ApiError(403, "cross-site", "a page of another site asks for this");
  }
  if (isCrossSite(headers)) throw new ApiError(403, "cross-site", "a page of another site sends this");
  // A browser that sends Sec-Fetch-Site has compared already, behind whatever proxy.
  const origin = headers.get("origin");
  if (headers.get("sec-fetch-site") !== null || origin === null) return;
  if (origin.replace(/^https?:\/\//, "").toLowerCase() !== host.toLowerCase()) {
    throw new ApiError(403, "cross-site", "a page of another origin sends this");
  }
}

/** What each response of the console says: nothing of another origin, nothing inline, in no frame, in no cache. */
export const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
};
