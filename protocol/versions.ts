/**
 * What a version says of who wrote it, and when two are the same.
 *
 * @module
 */
import type { Version } from "./messages.ts";

/** Whether both are there and are one. */
export function sameVersion(a: Version | undefined, b: Version | undefined): boolean {
  return a !== undefined && b !== undefined && a[0] === b[0] && a[1] === b[1];
}

/** The device that wrote a version; undefined if it was no device. Its source is `<device>#<incarnation>`. */
export function deviceOf([source]: Version): string | undefined {
  const end = source.lastIndexOf("#");
  return end < 0 ? undefined : source.slice(0, end);
}
