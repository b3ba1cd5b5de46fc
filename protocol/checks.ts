/**
 * The small checks from which message checks are built. Each returns the value in its type or throws `ProtocolError`
 * naming the field. `where` is a constant text (`changes[].stamp`), never assembled: a message of a thousand changes
 * costs no strings.
 *
 * @module
 */
import { ProtocolError } from "./errors.ts";

/** A parsed object, whose fields are not checked yet. */
export type Fields = { readonly [name: string]: unknown };

/** Describes a value in a few words of bounded length, never by the value itself if that is long. */
export function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "string") {
    return value.length > 40 ? `a text of ${value.length} characters` : JSON.stringify(value);
  }
  // Numbers and booleans are short.
  return typeof value === "object" ? "an object" : String(value);
}

/** @throws {ProtocolError} always */
export function refuse(where: string, wanted: string, value: unknown): never {
  throw new ProtocolError(`"${where}" must be ${wanted}, not ${kindOf(value)}`);
}

/** An object that is neither null nor a list. */
export function fieldsOf(value: unknown, where: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) refuse(where, "an object", value);
  return value as Fields;
}

/** A list of at most `max` members. */
export function listOf(value: unknown, where: string, max: number): readonly unknown[] {
  if (!Array.isArray(value)) refuse(where, "a list", value);
  if (value.length > max) refuse(where, `a list of at most ${max}`, value);
  return value;
}

/** A text of `min` to `max` UTF-16 units. */
export function textOf(value: unknown, where: string, min: number, max: number): string {
  if (typeof value !== "string" || value.length < min || value.length > max) {
    refuse(where, `a text of ${min} to ${max} characters`, value);
  }
  return value;
}

/** A text that matches a pattern; the pattern bounds its length. */
export function matching(value: unknown, where: string, pattern: RegExp, wanted: string): string {
  if (typeof value !== "string" || !pattern.test(value)) refuse(where, wanted, value);
  return value;
}

/** A whole number from 0 to `max` (by default 2^53 - 1). */
export function wholeOf(value: unknown, where: string, max: number = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) > max) {
    refuse(where, `a whole number from 0 to ${max}`, value);
  }
  return value as number;
}

/** A time: ms since 1970, 0 or later. A corrected clock may give a fraction. */
export function timeOf(value: unknown, where: string): number {
  if (typeof value !== "number" || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) {
    refuse(where, "a time in milliseconds", value);
  }
  return value;
}

/** True or false. */
export function flagOf(value: unknown, where: string): boolean {
  if (typeof value !== "boolean") refuse(where, "true or false", value);
  return value;
}

/** One of a few texts. */
export function oneOf<const T extends string>(value: unknown, where: string, of: readonly T[]): T {
  if (typeof value !== "string" || !(of as readonly string[]).includes(value)) {
    refuse(where, `one of ${of.join(", ")}`, value);
  }
  return value as T;
}
