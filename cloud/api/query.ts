/**
 * Parses a request's query: known names, ids, pages.
 *
 * @module
 */
import type { Context } from "npm:hono@^4.13.19";
import { isId } from "../../schema.ts";
import type { Registry } from "../sync/registry.ts";
import { ApiError } from "./errors.ts";

/** Items or devices of a page: default and maximum. */
const limitDefault = 100, limitMax = 1000;

/** A mistyped name would widen the list. @throws ApiError 400 */
export function checkQuery(c: Context, known: readonly string[]): void {
  const unknown = Object.keys(c.req.query()).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new ApiError(400, "invalid", `unknown parameter ${JSON.stringify(unknown)}`);
}

/** The query's id of this name. @throws ApiError 400 if it is not an id */
export function idOf(c: Context, name: string): string | undefined {
  const id = c.req.query(name);
  if (id !== undefined && !isId(id)) {
    throw new ApiError(400, "invalid", `${name} is not an id: 1 to 128 of A-Z a-z 0-9 _ . : -`);
  }
  return id;
}

/** The page's size and start. @throws ApiError 400 */
export function pageOf(c: Context): { limit: number; next?: string } {
  const text = c.req.query("limit");
  const limit = text === undefined ? limitDefault : Number(text);
  if (!Number.isSafeInteger(limit) || limit < 1) {
    throw new ApiError(400, "invalid", "limit is not a whole number above 0");
  }
  const next = c.req.query("next");
  return { limit: Math.min(limit, limitMax), next: next === undefined ? undefined : decodeToken(next) };
}

/** A table's token may be any text; in an URL it is base64url. */
export function withToken<T extends { readonly next?: string }>(page: T): T {
  if (page.next === undefined) return page;
  return {
    ...page,
    next: btoa(String.fromCharCode(...new TextEncoder().encode(page.next))).replaceAll("+", "-").replaceAll("/", "_"),
  };
}

function decodeToken(text: string): string {
  try {
    const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
  } catch {
    // Whatever atob rejects is not one of our tokens.
    throw new ApiError(400, "invalid", "next is not a token of a page");
  }
}

/** @throws ApiError 404 if the registry does not know the device */
export async function knownDevice(registry: Registry, deviceId: string): Promise<string> {
  if (!isId(deviceId) || !await registry.identityOf(deviceId)) {
    throw new ApiError(404, "not-found", `there is no device "${deviceId}"`);
  }
  return deviceId;
}
