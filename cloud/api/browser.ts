/**
 * Prevents other people's web pages from using an API that is open on loopback. A browser on this machine can reach it,
 * and runs whatever page its user visits:
 *
 * - a page whose name resolves to 127.0.0.1 (DNS rebinding) sends its own name in `Host`: only names of this machine,
 *   and configured ones, are accepted;
 * - a page elsewhere that posts here blindly is recognised by `Sec-Fetch-Site` and `Origin`, and by a body that is not
 *   JSON: for JSON, a browser asks for permission first, and does not get it.
 *
 * With a token, none of this matters: a page does not know it, and there are no cookies.
 *
 * @module
 */
import { ApiError } from "./errors.ts";

const ownNames: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]", "::1"]);
const reading: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** A name or an address, and a port: nothing before, between or after them. */
const hostPattern = /^(\[[\da-f:.]+\]|[^\s[\]:@,/\\]+)(?::\d{1,5})?$/i;

/** The name in a `Host` header, without its port, in lower case; empty if it is none. */
function nameOf(host: string): string {
  const name = hostPattern.exec(host)?.[1] ?? "";
  // A trailing dot does not change a name.
  return (name.endsWith(".") ? name.slice(0, -1) : name).toLowerCase();
}

/** Whether a `Host` header names this machine, or is one of these. */
export function isOwnHost(host: string, hosts: readonly string[]): boolean {
  const name = nameOf(host);
  return ownNames.has(name) || hosts.some((known) => known.toLowerCase() === name);
}

/** Refuses a request that a browser sends for somebody else's page. @throws ApiError 403, 415, 421. */
export function checkBrowser(request: Request, hosts: readonly string[]): void {
  const { headers, method } = request;
  const host = headers.get("host") ?? new URL(request.url).host;
  if (!isOwnHost(host, hosts)) {
    throw new ApiError(421, "misdirected", "this API is open only for this machine, and not under that name");
  }
  const site = headers.get("sec-fetch-site");
  if (site !== null && site !== "same-origin" && site !== "none") {
    throw new ApiError(403, "cross-site", "a page of another site asks for this");
  }
  const origin = headers.get("origin");
  if (origin !== null && origin.replace(/^https?:\/\//, "").toLowerCase() !== host.toLowerCase()) {
    throw new ApiError(403, "cross-site", "a page of another origin asks for this");
  }
  if (reading.has(method) || request.body === null) return;
  const type = headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/json") return;
  throw new ApiError(415, "content-type", "a body of content-type application/json is required");
}
