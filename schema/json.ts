/**
 * Tagged JSON as text: reading without loss of digits, one canonical spelling, equality and digest. Two values are
 * equal if their canonical texts are equal: the order of a map's keys or a set's members does not count.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { canonicalDecimal, numberToJson } from "./numbers.ts";
import { type Attributes, escape, type Json, setOf, tagOf, unescape } from "./values.ts";

/**
 * Numbers that a double might alter: 16 digits or more (15 always survive), or an exponent of three digits. A match
 * inside a string only costs time.
 */
const longNumber = /(?:^|[:,[\s])(-?[\d.]{16,}(?:[eE][+-]?\d+)?|-?\d[\d.]*[eE][+-]?\d{3,})/g;

/**
 * Whether the text may have a number that a double alters. Our own writers print a double, including stamps (16
 * digits), in its shortest form, so the fast reader is nearly always exact; the slow one takes ten times as long.
 */
function mayLoseDigits(text: string): boolean {
  for (const [, number] of text.matchAll(longNumber)) if (String(Number(number)) !== number) return true;
  return false;
}

type Reviver = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown;

function parseExact(text: string, big: (text: string) => unknown): unknown {
  if (!mayLoseDigits(text)) return JSON.parse(text);
  const reviver: Reviver = (_key, value, context) => {
    if (typeof value !== "number" || context.source === undefined) return value;
    // Infinity is what the reader makes of a number beyond all doubles: never the number that was written.
    const isSame = Number.isFinite(value) && canonicalDecimal(String(value)) === canonicalDecimal(context.source);
    return isSame ? value : big(context.source);
  };
  // The third parameter of a reviver (its source text) is newer than TypeScript's library types.
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}

/**
 * Reads tagged JSON. A number that a double would alter is kept as `{"$n": <decimal text>}`.
 *
 * @throws SyntaxError if the text is not JSON; RangeError for an exponent of more than six digits.
 */
export function parseJson(text: string): Json {
  return parseExact(text, numberToJson) as Json;
}

/** A number that a double would alter, while its text is being read: no map in the text can be confused with one. */
class BigNumber {
  constructor(readonly json: Json) {}
}

/** Whether the text may have a map whose name begins with `$`, however it is spelled. */
export function mayLookTagged(text: string): boolean {
  return text.includes('"$') || text.includes("\\u0024");
}

/**
 * Reads JSON in which every map means itself, as an application writes it into a column: a map that looks like a tag is
 * escaped.
 *
 * @throws as {@link parseJson}
 */
export function parseUntagged(text: string): Json {
  if (!mayLookTagged(text)) return parseJson(text);
  return escaped(parseExact(text, (source) => new BigNumber(numberToJson(source))));
}

function escaped(value: unknown): Json {
  if (typeof value !== "object" || value === null) return value as Json;
  if (value instanceof BigNumber) return value.json;
  if (Array.isArray(value)) return value.map(escaped);
  return escape(Object.fromEntries(Object.entries(value).map(([name, member]) => [name, escaped(member)])));
}

/**
 * Tagged JSON as a text for applications, without any tag: {@link parseUntagged} reads it. A number is there in its own
 * digits, a binary as base64, a set as the list of its members.
 */
export function untaggedText(value: Json): string {
  const text = JSON.stringify(value);
  return text.includes('"$') ? textWithoutTags(value) : text;
}

function textWithoutTags(value: Json): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(textWithoutTags).join(",")}]`;
  const set = setOf(value);
  if (set) {
    return `[${set.members.map((member) => set.tag === "$ns" ? decimalText(member) : JSON.stringify(member)).join()}]`;
  }
  const map = value as { readonly [key: string]: Json };
  const tag = tagOf(map);
  if (tag === "$n" && typeof map.$n === "string") return decimalText(map.$n);
  if (tag === "$b" && typeof map.$b === "string") return JSON.stringify(map.$b);
  const inner = (tag === "$m" && unescape(map)) || map;
  const members = Object.entries(inner).map(([name, member]) => `${JSON.stringify(name)}:${textWithoutTags(member)}`);
  return `{${members.join(",")}}`;
}

function decimalText(text: string): string {
  return canonicalDecimal(text) ?? JSON.stringify(text);
}

/**
 * Reads plain JSON, as the HTTP API takes it. A number that a double would alter becomes its decimal text, a string, which
 * a field of type number takes as such.
 *
 * @throws SyntaxError if the text is not JSON.
 */
export function parsePlain(text: string): unknown {
  return parseExact(text, (source) => canonicalDecimal(source) ?? source);
}

/** The tag of a set, whose members have no order. */
function setTag(keys: readonly string[]): string | undefined {
  const only = keys.length === 1 ? keys[0] : undefined;
  return only === "$ss" || only === "$ns" || only === "$bs" ? only : undefined;
}

/** The value's one spelling: no blanks, keys and set members sorted by UTF-16 code units. */
export function canonicalJson(value: Json): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const map = value as { readonly [key: string]: Json };
  const keys = Object.keys(map).sort();
  const tag = setTag(keys);
  const members = tag === undefined ? undefined : map[tag];
  if (Array.isArray(members)) return `{"${tag}":[${members.map(canonicalJson).sort().join(",")}]}`;
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(map[key]!)}`).join(",")}}`;
}

/** Whether two values are equal. Absent (undefined) equals only absent. */
export function jsonEquals(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((x, i) => jsonEquals(x, b[i]));
  }
  const left = a as { readonly [key: string]: Json }, right = b as { readonly [key: string]: Json };
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  if (setTag(keys) !== undefined) return canonicalJson(left) === canonicalJson(right);
  return keys.every((key) => Object.hasOwn(right, key) && jsonEquals(left[key], right[key]));
}

/** 16 hex digits over the attributes' canonical text: equal attributes have equal digests. */
export function digest(attributes: Attributes): string {
  return hashText(canonicalJson(attributes));
}

/** The first 64 bits of a text's SHA-256, in hex. */
export function hashText(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
