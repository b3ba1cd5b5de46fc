/**
 * What keeps other people's web pages from using an API that is open on loopback. A browser on this machine reaches it, and
 * runs whatever page its user looks at:
 *
 * - a page whose name is made to lead to 127.0.0.1 (DNS rebinding) says its own name in `Host`: only names of this machine, and
 *   those that are configured, are answered;
 * - a page elsewhere that posts here blindly is told by `Sec-Fetch-Site` and `Origin`, and by a body that is not JSON: for JSON
 *   a browser would ask first, and is not allowed.
 *
 * With a token none of this matters: a page does not know it, and there are no cookies.
 *
 * @module
 */
import { ApiError } from "./errors.ts";

const ownNames: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]", "::1"]);
const reading: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** The name in a `Host` header or an origin, without its port, in lower case. */
function nameOf(host: string): string {
  const name = host.startsWith("[") ? host.slice(0, host.indexOf("]") + 1) : host.split(":")[0]!;
  // A name with a dot at its end is the same one.
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
    throw new ApiError(421, "misdirected", "this API is open for this machine alone, and is none of that name's");
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
