/**
 * Any JSON as tagged JSON (`values.ts`). A writer that does not know tags (an application's SQL, an older agent) may
 * write a map that looks like one: `{"$ref": …}`, `{"$b": 5}`. Such a map means itself, and is escaped as `{"$m": …}`
 * here, in one place, wherever JSON comes in from outside. A well-formed tag stays one.
 *
 * Guarantee: the result is well formed; a well-formed value is returned unchanged. Linear in the value's size.
 *
 * @module
 */
import { base64ToBytes, isMap, type Json } from "./values.ts";

/**
 * SQLite's JSON is at most 1000 deep, and an escape around each level doubles that. The limit of tables (32 levels) is
 * checked item by item, by name; this limit only bounds recursion.
 */
const depthMax = 2100;
/** An item holds 400 KB: no number of it has more digits. */
const decimalLengthMax = 400 * 1024;

const decimal = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,6})?$/;

function isDecimal(value: Json): boolean {
  return typeof value === "string" && value.length <= decimalLengthMax && decimal.test(value);
}

function isBase64(value: Json): boolean {
  return typeof value === "string" && base64ToBytes(value) !== undefined;
}

function isListOf(value: Json, isMember: (member: Json) => boolean): boolean {
  return Array.isArray(value) && value.every(isMember);
}

/** Whether `{[name]: value}` is a well-formed tag, apart from what is inside of `$m`. */
function isTag(name: string, value: Json): boolean {
  switch (name) {
    case "$n":
      return isDecimal(value);
    case "$b":
      return isBase64(value);
    case "$ss":
      return isListOf(value, (member) => typeof member === "string");
    case "$ns":
      return isListOf(value, isDecimal);
    case "$bs":
      return isListOf(value, isBase64);
    case "$m":
      return isMap(value) && isEscapable(Object.keys(value));
    default:
      return false;
  }
}

/** Whether a map of these names has to be escaped. */
function isEscapable(names: readonly string[]): boolean {
  return names.length === 1 && names[0]!.startsWith("$");
}

/**
 * Parsed JSON as tagged JSON: maps that look like a tag without being one are escaped.
 *
 * @throws RangeError if it is nested deeper than SQLite's JSON and escapes can be
 */
export function readTagged(value: Json, depth = 0): Json {
  if (typeof value !== "object" || value === null) return value;
  if (depth > depthMax) throw new RangeError(`it is nested deeper than ${depthMax} levels`);
  if (Array.isArray(value)) return readList(value, depth);
  const map = value as { readonly [key: string]: Json };
  const names = Object.keys(map);
  if (!isEscapable(names)) return readMap(map, names, depth);
  const only = names[0]!;
  if (!isTag(only, map[only]!)) return { $m: readMap(map, names, depth) };
  if (only !== "$m") return map;
  const inner = map.$m as { readonly [key: string]: Json };
  const read = readMap(inner, Object.keys(inner), depth + 1);
  return read === inner ? map : { $m: read };
}

function readList(list: readonly Json[], depth: number): Json {
  let copy: Json[] | undefined;
  for (let i = 0; i < list.length; i++) {
    const member = readTagged(list[i]!, depth + 1);
    if (member !== list[i]) (copy ??= [...list])[i] = member;
  }
  return copy ?? list;
}

/** The members of a map that is not a tag itself. */
function readMap(
  map: { readonly [key: string]: Json },
  names: readonly string[],
  depth: number,
): { readonly [key: string]: Json } {
  let copy: Map<string, Json> | undefined;
  for (const name of names) {
    const member = readTagged(map[name]!, depth + 1);
    if (member !== map[name]) (copy ??= new Map(Object.entries(map))).set(name, member);
  }
  // Not by assignment: `__proto__` is a name like any other.
  return copy ? Object.fromEntries(copy) : map;
}
