/**
 * `blend`: a schema in several files. As the format's owner defines it, the named files are merged into the file that
 * names them, in order, map by map, and **the blended file wins**. A name in a blended file may begin with `+`
 * (append), `-` (remove), `?` (only if absent) or `=` (overwrite, the same as no prefix).
 *
 * @module
 */
import { isMap } from "./values.ts";

/** A schema before it is compiled, or a part of one. */
type Source = Record<string, unknown>;

/** Lays `over` over `base`; neither is altered. */
export function blend(base: unknown, over: unknown): unknown {
  if (!isPlainMap(base) || !isPlainMap(over)) return isPlainMap(over) ? withoutPrefixes(over) : over;
  const blended = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(over)) {
    const [how, name] = prefixOf(key);
    const present = blended.get(name), isThere = blended.has(name);
    const left = how === "-" ? without(present, value) : undefined;
    if (how === "-" && left === undefined) blended.delete(name);
    else if (how === "-") blended.set(name, left);
    else if (how === "?" && isThere) continue;
    else blended.set(name, how === "+" ? appended(present, value) : blend(present, value));
  }
  return Object.fromEntries(blended);
}

function prefixOf(key: string): [how: string, name: string] {
  return /^[-+?=]./.test(key) ? [key[0]!, key.slice(1)] : ["=", key];
}

/** A map that is new in the base: its prefixes act as on an empty map. */
function withoutPrefixes(map: Source): Source {
  return blend({}, map) as Source;
}

/** Lists are joined, texts with a blank between them, maps blended. */
function appended(present: unknown, value: unknown): unknown {
  if (Array.isArray(present)) return [...present, ...(Array.isArray(value) ? value : [value])];
  if (typeof present === "string" && typeof value === "string") return `${present} ${value}`;
  return blend(present, value);
}

/** The value without these members, words or entries; undefined if the whole property is removed. */
function without(present: unknown, value: unknown): unknown {
  if (Array.isArray(present) && Array.isArray(value)) return present.filter((member) => !value.includes(member));
  if (isPlainMap(present) && isPlainMap(value)) {
    return Object.fromEntries(Object.entries(present).filter(([name]) => !Object.hasOwn(value, name)));
  }
  if (typeof present === "string" && typeof value === "string" && present !== value) {
    return present.split(" ").filter((word) => word !== value).join(" ");
  }
  return undefined;
}

/** Constructors, dates and expressions are values, not maps. */
function isPlainMap(value: unknown): value is Source {
  if (!isMap(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
