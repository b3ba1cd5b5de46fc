/**
 * Values on the wire and in storage: **tagged JSON**. What JSON can hold without loss is plain JSON; any other value is
 * an object with a single key that begins with `$`. Everything between the two databases uses this form: the wire, the
 * embedded table, the device's side tables. Only the DynamoDB adapter converts it to attribute values and back.
 *
 * | value | tagged JSON |
 * | --- | --- |
 * | string, boolean, null, list, map | itself |
 * | a number that a double holds exactly | a JSON number |
 * | any other number (to 38 digits) | `{"$n": "12345678901234567890"}` |
 * | DynamoDB's own binary | `{"$b": "<base64>"}` |
 * | string set, number set, binary set | `{"$ss": ["a"]}`, `{"$ns": ["1"]}` (decimal texts), `{"$bs": ["<base64>"]}` |
 * | a map whose only key begins with `$` | `{"$m": {"$n": …}}` |
 *
 * A field of type binary is base64 **text** in the item, because OneTable writes that for a `Buffer`; a value that
 * another writer stored as DynamoDB's binary can be read, too ({@link itemToBinary}).
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Any value in tagged JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The attributes of an item by attribute name, in tagged JSON. */
export type Attributes = { readonly [attribute: string]: Json };

/**
 * A whole item as the table holds it: declared and unknown attributes, computed ones (keys, `value` templates), the
 * typeField, and the hidden `_source` and `_stamp`.
 */
export type Item = Attributes;

/** The hidden attribute that says who wrote an item's version: `<device>#<incarnation>`. */
export const sourceAttribute = "_source";
/** The hidden attribute that holds the version's stamp: milliseconds · 1000 + a counter. */
export const stampAttribute = "_stamp";

/** The tags: the only keys that begin with `$` and have a meaning. */
export type Tag = "$n" | "$b" | "$ss" | "$ns" | "$bs" | "$m";

const tags: readonly string[] = ["$n", "$b", "$ss", "$ns", "$bs", "$m"] satisfies Tag[];

/** Whether the value is a map in the JSON sense: neither a list nor null. A tagged value is one, too. */
export function isMap(json: unknown): json is { readonly [key: string]: Json } {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

/** The tag of a tagged value; undefined for every other value. */
export function tagOf(json: Json | undefined): Tag | undefined {
  if (!isMap(json)) return undefined;
  const keys = Object.keys(json);
  return keys.length === 1 && tags.includes(keys[0]!) ? keys[0] as Tag : undefined;
}

/** Whether the value carries a tag (this tag, if one is named). */
export function isTagged(json: Json | undefined, tag?: Tag): boolean {
  const found = tagOf(json);
  return found !== undefined && (tag === undefined || found === tag);
}

/** Bytes as tagged JSON: `{"$b": "<base64>"}`. */
export function binaryToJson(bytes: Uint8Array): Json {
  return { $b: bytesToBase64(bytes) };
}

/** The bytes of `{"$b": …}`; undefined for every other value. */
export function jsonToBinary(json: Json | undefined): Uint8Array | undefined {
  if (!isTagged(json, "$b")) return undefined;
  const text = (json as { $b: Json }).$b;
  return typeof text === "string" ? base64ToBytes(text) : undefined;
}

/** Standard base64 with padding, as `Buffer.toString("base64")` writes it. */
export function bytesToBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** The bytes of a standard base64 text; undefined if it is not base64, or not the canonical spelling of its bytes. */
export function base64ToBytes(text: string): Uint8Array | undefined {
  const buffer = Buffer.from(text, "base64");
  if (buffer.toString("base64") !== text) return undefined;
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

/** A map in tagged JSON: a map whose only key begins with `$` is wrapped in `$m`, so that it is not a tag. */
export function escape(map: { readonly [key: string]: Json }): Json {
  const keys = Object.keys(map);
  return keys.length === 1 && keys[0]!.startsWith("$") ? { $m: map } : map;
}

/** The map that {@link escape} was given; undefined if the value is a tag of another kind or not a map. */
export function unescape(json: Json | undefined): { readonly [key: string]: Json } | undefined {
  if (!isMap(json)) return undefined;
  const tag = tagOf(json);
  if (tag === undefined) return json;
  const inner = tag === "$m" ? json.$m : undefined;
  return isMap(inner) ? inner : undefined;
}

/** The tag and the members (texts) of a set; undefined for every other value. */
export function setOf(
  json: Json | undefined,
): { readonly tag: "$ss" | "$ns" | "$bs"; readonly members: readonly string[] } | undefined {
  const tag = tagOf(json);
  if (tag !== "$ss" && tag !== "$ns" && tag !== "$bs") return undefined;
  const members = (json as { readonly [key: string]: Json })[tag];
  return Array.isArray(members) && members.every((member) => typeof member === "string") ? { tag, members } : undefined;
}

/** The bytes of a binary field's value, in either form: base64 text, as OneTable writes a Buffer, or DynamoDB's own binary. */
export function itemToBinary(json: Json | undefined): Uint8Array | undefined {
  return typeof json === "string" ? base64ToBytes(json) : jsonToBinary(json);
}

/** Bytes as OneTable writes them for a field of type binary: base64 text. */
export function binaryToItem(bytes: Uint8Array): Json {
  return bytesToBase64(bytes);
}
