/**
 * Sizes as DynamoDB counts them, so that the embedded table refuses exactly what DynamoDB would, and a fleet can move
 * from the one to the other.
 *
 * @module
 */
import { isMap, type Item, type Json } from "../../schema/values.ts";
import type { Key } from "../../protocol.ts";
import type { Query, WriteResult } from "./port.ts";

/** The largest item: 400 KB, attribute names and values together. */
export const itemBytesMax = 400 * 1024;
/** The longest value of a hash key, in UTF-8 bytes. */
export const hashBytesMax = 2048;
/** The longest value of a sort key, in UTF-8 bytes. */
export const sortBytesMax = 1024;

const encoder = new TextEncoder();

/** The length of a text in UTF-8. */
export function utf8Bytes(text: string): number {
  // Most texts are ASCII; counting by hand saves an allocation for each of them.
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return encoder.encode(text).length;
  return text.length;
}

/**
 * The size of an item by DynamoDB's documented rules: names and texts in UTF-8; a number about half a byte a significant
 * digit plus one; null and boolean 1; a list or map 3, and 1 more for each member. Real DynamoDB may differ by a few
 * bytes in numbers.
 */
export function itemSizeBytes(item: Item): number {
  let bytes = 0;
  for (const name in item) bytes += utf8Bytes(name) + valueSizeBytes(item[name]!);
  return bytes;
}

function valueSizeBytes(value: Json): number {
  if (value === null || typeof value === "boolean") return 1;
  if (typeof value === "string") return utf8Bytes(value);
  if (typeof value === "number") return numberSizeBytes(String(value));
  if (Array.isArray(value)) {
    let bytes = 3;
    for (const member of value) bytes += 1 + valueSizeBytes(member);
    return bytes;
  }
  const map = value as { readonly [key: string]: Json };
  const names = Object.keys(map);
  if (names.length === 1 && names[0]!.startsWith("$")) return taggedSizeBytes(names[0]!, map[names[0]!]!);
  return mapSizeBytes(map, names);
}

function mapSizeBytes(map: { readonly [key: string]: Json }, names: readonly string[]): number {
  let bytes = 3;
  for (const name of names) bytes += 1 + utf8Bytes(name) + valueSizeBytes(map[name]!);
  return bytes;
}

/** What a text of a tag, or each member of a set, takes. */
const taggedTexts: { readonly [tag: string]: (text: string) => number } = {
  $n: numberSizeBytes,
  $b: base64SizeBytes,
  $ss: utf8Bytes,
  $ns: numberSizeBytes,
  $bs: base64SizeBytes,
};

/** A map that looks like a tag without being one has the size of a map. */
function taggedSizeBytes(tag: string, value: Json): number {
  const size = Object.hasOwn(taggedTexts, tag) ? taggedTexts[tag]! : undefined;
  if (size && typeof value === "string") return size(value);
  const isText = (member: Json) => typeof member === "string";
  if (size && Array.isArray(value) && value.every(isText)) {
    return (value as readonly string[]).reduce((bytes, member) => bytes + size(member), 3);
  }
  const map = tag === "$m" && isMap(value) ? value : { [tag]: value };
  return mapSizeBytes(map, Object.keys(map));
}

function numberSizeBytes(text: string): number {
  // Its significant digits: those from the first that is not zero to the last, before an exponent.
  let count = 0, first = 0, last = -1;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x65 || unit === 0x45) break;
    if (unit < 0x30 || unit > 0x39) continue;
    if (unit !== 0x30) {
      if (last < 0) first = count;
      last = count;
    }
    count++;
  }
  const digits = last < 0 ? 0 : last - first + 1;
  return Math.ceil(digits / 2) + 1 + (text.startsWith("-") ? 1 : 0);
}

function base64SizeBytes(text: string): number {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  return Math.floor(text.length * 3 / 4) - padding;
}

/** Why DynamoDB would refuse a key, as a sentence; undefined if it would not. */
export function keyFault(key: Key, hasSort: boolean): string | undefined {
  const [hash, sort] = key;
  if (hash === "" || (hasSort && sort === "")) return "the key is empty";
  if (!hash.isWellFormed() || !sort.isWellFormed()) return "the key has half a surrogate pair, which is not text";
  if (utf8Bytes(hash) > hashBytesMax) return `the key's hash value is longer than ${hashBytesMax} bytes`;
  if (utf8Bytes(sort) > sortBytesMax) return `the key's sort value is longer than ${sortBytesMax} bytes`;
  return undefined;
}

/** Whether a query names a text that no key has: half a surrogate pair is none, and would be read as another text. */
export function findsNothing({ hash, sortPrefix = "" }: Query): boolean {
  return !hash.isWellFormed() || !sortPrefix.isWellFormed();
}

/** Bytes of the item that a write returned. */
export function returnedBytes(result: WriteResult): number {
  const item = result.outcome === "written" ? result.old : result.outcome === "refused" ? result.current : undefined;
  return item ? itemSizeBytes(item) : 0;
}
