/**
 * A key as one text, for maps and sets.
 *
 * @module
 */
import type { Key } from "./messages.ts";

/** A key as one text; the length in front makes it injective. */
export function keyText([hash, sort]: Key): string {
  return `${hash.length}:${hash}${sort}`;
}
