/**
 * Which requests of a browser the console accepts. It uses a cookie, so other people's pages must not be able to use
 * it:
 *
 * - if no token is required, `Host` must be a name of this machine or a configured one (a page whose name resolves to
 *   127.0.0.1 sends its own name);
 * - a request that changes something must come from the console's own page (`Sec-Fetch-Site`, otherwise `Origin`), and
 *   a form must carry its session's token;
 * - a request that reads may come from a link on another page, but not from a script, frame or picture there.
 *
 * @module
 */
import { ApiError } from "../api/errors.ts";
import { isOwnHost } from "../api/browser.ts";

const safe: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/** Whether a request came with TLS, here or at the proxy in front. */
export function isTls({ headers, url }: Request): boolean {
  return headers.get("x-forwarded-proto")?.split(",")[0]?.trim() === "https" || url.startsWith("https:");
}

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
      `without a token the console is open only to this machine, and ${host} is not one of its names`,
    );
  }
  if (safe.has(method)) {
    const mode = headers.get("sec-fetch-mode");
    if (!isCrossSite(headers) || mode === "navigate") return;
    throw new ApiError(403, "cross-site", "a page of another site asks for this");
  }
  if (isCrossSite(headers)) throw new ApiError(403, "cross-site", "a page of another site sends this");
  // A browser that sends Sec-Fetch-Site has already compared the sites, whatever proxy is in between.
  const origin = headers.get("origin");
  if (headers.get("sec-fetch-site") !== null || origin === null) return;
  // A proxy may end TLS without saying so. But whatever was asked for with TLS is nothing for a page without: anybody on
  // the way could have written that.
  const isDowngrade = isTls(request) && !/^https:/i.test(origin);
  if (isDowngrade || origin.replace(/^https?:\/\//i, "").toLowerCase() !== host.toLowerCase()) {
    throw new ApiError(403, "cross-site", "a page of another origin sends this");
  }
}

/** Headers of each response of the console: nothing from another origin, nothing inline, no frames, no cache. */
export const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
};
