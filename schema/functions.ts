/**
 * Functions in a schema. A schema is data that device and cloud both read, and the device fills defaults in SQL: so a
 * function is stored as its text, and supported if SQL can express the same: a constant, the time, a new id. It is
 * never run.
 *
 * @module
 */
import json5 from "npm:json5@^2.2.3";
import { isMap, type Json } from "./values.ts";

/** The key under which a function's text is in the normalised schema. */
const mark = "$function";
/** Longer texts are cut: no supported function is that long. */
const textMax = 200;

/** A function as the normalised schema holds it. */
// deno-lint-ignore ban-types
export function functionToJson(value: Function): Json {
  const text = Function.prototype.toString.call(value).replace(/\s+/g, " ");
  return { [mark]: text.length > textMax ? text.slice(0, textMax) : text };
}

/** The text of a function in the normalised schema; undefined for every other value. */
export function functionText(json: Json | undefined): string | undefined {
  if (!isMap(json) || typeof json[mark] !== "string" || Object.keys(json).length !== 1) return undefined;
  return json[mark];
}

/** What a function's text says. */
export type FunctionMeaning =
  | { readonly kind: "constant"; readonly value: Json }
  | { readonly kind: "now" }
  | { readonly kind: "generate"; readonly generator: "ulid" | "uuid" };

const now = ["new Date", "new Date()", "Date.now()", "new Date().toISOString()", "new Date().getTime()"];
const uuids = ["uuid()", "uuidv4()", "v4()", "uuid.v4()", "randomUUID()", "crypto.randomUUID()"];
const ulids = ["ulid()", "ulid.ulid()", "ULID()"];

/** What a function of no arguments gives, by its text; undefined if it is not understood. */
export function understand(text: string): FunctionMeaning | undefined {
  const body = /^(?:function ?\w* ?)?\( ?\) ?(?:=> ?)?(.*)$/.exec(text)?.[1]?.trim();
  if (body === undefined) return undefined;
  const returned = /^\{ ?return (.*?);? ?\}$/.exec(body)?.[1]?.trim() ?? body.replace(/^\((.*)\)$/, "$1").trim();
  if (now.includes(returned)) return { kind: "now" };
  if (uuids.includes(returned)) return { kind: "generate", generator: "uuid" };
  if (ulids.includes(returned)) return { kind: "generate", generator: "ulid" };
  // A body in braces that returns nothing is not a map.
  if (returned.startsWith("{") && returned === body) return undefined;
  try {
    const value: unknown = json5.parse(returned);
    return isJson(value) ? { kind: "constant", value } : undefined;
  } catch {
    return undefined;
  }
}

/** JSON5 knows Infinity and NaN, which no item holds. */
function isJson(value: unknown): value is Json {
  return typeof value !== "number" || Number.isFinite(value);
}
