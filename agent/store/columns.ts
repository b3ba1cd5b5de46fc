/**
 * Fields as columns: their SQL, and values in both directions between a column and the item form (tagged JSON).
 *
 * | type | column | item |
 * | --- | --- | --- |
 * | string | TEXT | string |
 * | number | ANY: INTEGER, REAL, or decimal text for what neither holds | number, `{"$n"}` |
 * | boolean | INTEGER 0 or 1 | boolean |
 * | date | TEXT, ISO with ms (`isoDates`), or INTEGER ms | ISO text or ms; seconds for `ttl` |
 * | object, array | TEXT: plain JSON, every number in its digits, a nested binary as base64, a nested set as a list | map, list |
 * | set | TEXT: a JSON array of its members | `{"$ss"}`, `{"$ns"}`, `{"$bs"}` |
 * | binary | BLOB | base64 text, as OneTable writes it; DynamoDB's own binary (`{"$b"}`) is read too |
 *
 * Guarantee: item → column → item gives an equal item for every value of the field's type; a value that the column
 * cannot hold exactly is refused, never rounded. Several item forms may give the same column (a date in ISO or in ms, a
 * binary as base64): {@link normalised} is the form that comes back.
 *
 * @module
 */
import type { SqlValue } from "../sqlite/driver.ts";
import { isWellFormed } from "../../schema/check.ts";
import type { Field } from "../../schema/model.ts";
import { base64ToBytes, binaryToItem, escape, isMap, type Json, setOf, tagOf, unescape } from "../../schema/values.ts";
import { canonicalJson, parseJson, parseUntagged, untaggedText } from "../../schema/json.ts";
import { isBigNumber, jsonToNumberText, numberToJson, toInt64 } from "../../schema/numbers.ts";
import { ident } from "./sql.ts";

/** The column's type in a STRICT table. */
export function columnType(field: Field): "TEXT" | "ANY" | "INTEGER" | "BLOB" {
  switch (field.type) {
    case "number":
      return "ANY";
    case "boolean":
      return "INTEGER";
    case "date":
      return field.isoDates ? "TEXT" : "INTEGER";
    case "binary":
      return "BLOB";
    default:
      return "TEXT";
  }
}

/**
 * The SQL that reads a column so that the runtime's driver loses nothing: it cuts a text at its first NUL and refuses
 * an integer beyond 2^53. This SQL returns the first as bytes, the second as text.
 */
export function readSql(type: "TEXT" | "ANY" | "INTEGER" | "BLOB", column: string): string {
  const nul = type === "TEXT" ? `WHEN instr(${column}, char(0)) THEN CAST(${column} AS BLOB) ` : "";
  // For a column of any type: a table may have been altered without the schema, and one such row must not hold up the
  // others.
  const large = `typeof(${column}) = 'integer' AND ${column} NOT BETWEEN -9007199254740991 AND 9007199254740991`;
  return `CASE ${nul}WHEN ${large} THEN CAST(${column} AS TEXT) ELSE ${column} END`;
}

/** A text as {@link readSql} gives it. */
export function textOf(value: SqlValue): string {
  if (typeof value === "string") return value;
  if (value instanceof Uint8Array) return utf8Of(value);
  throw new RangeError(`a text is required, not ${typeof value}`);
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The reason for bytes that are not UTF-8. */
export const notUtf8 = "is not UTF-8";

/** Decodes bytes. @throws RangeError if they are not UTF-8: decoding would produce another text */
export function utf8Of(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new RangeError(notUtf8);
  }
}

/**
 * Whether a text may come from bytes that are not UTF-8: the runtime silently replaces these with this character. The
 * text may also contain the character itself, so the caller must then check the bytes.
 */
export function mayBeAltered(value: SqlValue | undefined): boolean {
  return typeof value === "string" && value.includes("\ufffd");
}

/** The dates that SQLite itself understands as ISO: the time of day, its fraction and its zone may be missing. */
const datePattern = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?\s*(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * A date text as ms since 1970, UTC if it names no zone; undefined if it is not a date. Fractions of a ms are rounded.
 */
export function dateTextToMs(text: string): number | undefined {
  const match = datePattern.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour = "00", minute = "00", second = "00", fraction, zone = "Z"] = match;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(ms)) return undefined;
  const offset = zone === "Z" ? 0 : Number(`${zone[0]}1`) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4)));
  return ms - offset * 60_000 + (fraction ? Math.round(Number(`0.${fraction}`) * 1000) : 0);
}

const isoYears = /^\d{4}-/;

/** Ms since 1970 as a date column holds them. */
export function msToColumn(field: Field, ms: number): SqlValue {
  const whole = Math.round(ms);
  if (!Number.isSafeInteger(whole) || Number.isNaN(new Date(whole).getTime())) throw new RangeError("is not a date");
  if (!field.isoDates) return whole;
  const text = new Date(whole).toISOString();
  if (!isoYears.test(text)) throw new RangeError("is a date beyond the years 0 to 9999");
  return text;
}

/** A date column as ms since 1970. */
export function columnToMs(value: SqlValue): number {
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  const ms = typeof value === "string" ? dateTextToMs(value) : undefined;
  if (ms === undefined) throw new RangeError("is not a date");
  return ms;
}

function dateToItem(field: Field, value: SqlValue): Json {
  const ms = columnToMs(value);
  if (field.ttl) return Math.ceil(ms / 1000);
  return field.isoDates ? new Date(ms).toISOString() : ms;
}

/** What a date column holds, in ms: years 0 to 9999 as text, JavaScript's dates as a number. */
const isoFirstMs = Date.parse("0000-01-01T00:00:00.000Z"), isoLastMs = Date.parse("9999-12-31T23:59:59.999Z");
const dateMaxMs = 8.64e15;

/**
 * An expiry time is a number of seconds, because DynamoDB reads it so (`schema/dates.ts`). For a number beyond all
 * dates, usually milliseconds read as seconds, the column holds the last date: the item never expires, and the column
 * shows that.
 */
function expiryToColumn(field: Field, json: Json): SqlValue {
  const ms = (typeof json === "number" ? json : Number(jsonToNumberText(json))) * 1000;
  const [first, last] = field.isoDates ? [isoFirstMs, isoLastMs] : [-dateMaxMs, dateMaxMs];
  return msToColumn(field, Math.min(last, Math.max(first, ms)));
}

function dateToColumn(field: Field, json: Json): SqlValue {
  if (field.ttl && (typeof json === "number" || isBigNumber(json))) return expiryToColumn(field, json);
  if (typeof json === "number") return msToColumn(field, json);
  if (typeof json !== "string") throw new RangeError("is not a date");
  const ms = dateTextToMs(json) ?? Date.parse(json);
  if (Number.isNaN(ms)) throw new RangeError("is not a date");
  return msToColumn(field, ms);
}

function numberToItem(value: SqlValue): Json {
  // Adding zero turns -0 into 0: JSON and SQLite's INTEGER have no -0.
  if (typeof value === "number" && Number.isFinite(value)) return value + 0;
  if (typeof value === "string") return numberToJson(value);
  throw new RangeError("is not a number");
}

function numberToColumn(json: Json): SqlValue {
  if (typeof json === "number" && (Number.isSafeInteger(json) || !Number.isInteger(json))) return json;
  const text = jsonToNumberText(json);
  if (text === undefined) throw new RangeError("is not a number");
  return toInt64(text) ?? (typeof json === "number" ? json : text);
}

const setTags = { string: "$ss", number: "$ns", binary: "$bs" } as const;

/** Without a declared type, a set's members decide: numbers, otherwise texts. */
function setToItem(field: Field, members: Json): Json {
  if (!Array.isArray(members)) throw new RangeError("is no JSON array");
  const kind = field.members ?? (typeof members[0] === "string" ? "string" : "number");
  const texts = members.map((member: Json) => {
    const text = kind === "number" ? jsonToNumberText(member) : typeof member === "string" ? member : undefined;
    if (text === undefined || (kind === "binary" && !base64ToBytes(text))) {
      throw new RangeError(`has a member that is not ${kind === "binary" ? "base64" : kind}`);
    }
    return text;
  });
  return { [setTags[kind]]: [...new Set(texts)].sort() };
}

function setToColumn(field: Field, json: Json): SqlValue {
  const set = setOf(json);
  const wanted = field.members ? [setTags[field.members]] : ["$ss", "$ns"];
  if (!set || !wanted.includes(set.tag)) {
    throw new RangeError(`is not a set of ${field.members ?? "strings or numbers"}`);
  }
  const members = set.members.map((member) => {
    if (set.tag !== "$ns") return JSON.stringify(member);
    const number = numberToJson(member);
    // A JSON text can hold every decimal: a number that a double would alter is written in its own digits.
    return typeof number === "number" ? JSON.stringify(number) : (number as { $n: string }).$n;
  });
  return `[${[...new Set(members)].sort().join(",")}]`;
}

function binaryToColumn(json: Json): Uint8Array {
  // Some writers of OneTable items store a Buffer as its base64 text.
  const text = typeof json === "string" ? json : (json as { $b?: unknown }).$b;
  const bytes = typeof text === "string" ? base64ToBytes(text) : undefined;
  if (!bytes) throw new RangeError("is not binary data");
  return bytes;
}

/** Whether a value is the list or the map that the field requires. A tagged value is neither. */
function isStructure(field: Field, value: Json): boolean {
  return field.type === "array" ? Array.isArray(value) : unescape(value) !== undefined;
}

/** Parses a JSON text; half a surrogate pair, which only an escape can spell, is not text. */
function wellFormed(text: string, value: Json): Json {
  if (text.includes("\\u") && !isWellFormed(value)) {
    throw new RangeError("has half a surrogate pair, which is not text");
  }
  return value;
}

function structureToItem(field: Field, text: string): Json {
  const value = withDeclaredSets(field, wellFormed(text, parseUntagged(text)));
  if (!isStructure(field, value)) throw new RangeError(`is no JSON ${field.type}`);
  return value;
}

/** A nested field of type set is in the column as a list, as any set does. */
function withDeclaredSets(field: Field, value: Json): Json {
  if (field.type === "set") return Array.isArray(value) ? setToItem(field, value) : value;
  if (field.type === "array" && field.items && Array.isArray(value)) {
    return value.map((member) => member === null ? null : withDeclaredSets(field.items!, member));
  }
  if (field.type !== "object" || !field.nested || !isMap(value)) return value;
  const map = unescape(value);
  if (!map) return value;
  const nested = new Map(field.nested.map((inner) => [inner.attribute, inner]));
  return escape(Object.fromEntries(
    Object.entries(map).map(([name, member]) => {
      const inner = nested.get(name);
      return [name, inner && member !== null ? withDeclaredSets(inner, member) : member];
    }),
  ));
}

/**
 * The value of an object or array as it is sent: where a column cannot distinguish two forms (a set from a list, a
 * binary from its base64), the table's form is used, unless the application changed the value.
 */
export function retagged(mine: Json, theirs: Json | undefined): Json {
  if (theirs === undefined || theirs === null || typeof theirs !== "object") return mine;
  if (canonicalJson(parseUntagged(untaggedText(theirs))) === canonicalJson(mine)) return theirs;
  const set = setOf(theirs);
  if (set) return Array.isArray(mine) ? asSet(set.tag, mine) ?? mine : mine;
  if (tagOf(theirs) === "$b") return typeof mine === "string" && base64ToBytes(mine) ? { $b: mine } : mine;
  if (Array.isArray(mine)) {
    return Array.isArray(theirs) ? mine.map((member: Json, i) => retagged(member, theirs[i])) : mine;
  }
  const [map, other] = [unescape(mine), unescape(theirs)];
  if (!map || !other || isBigNumber(mine)) return mine;
  const member = (name: string) => Object.hasOwn(other, name) ? other[name] : undefined;
  return escape(Object.fromEntries(Object.entries(map).map(([name, value]) => [name, retagged(value, member(name))])));
}

/** The members as a set of that kind; undefined if they do not fit. */
function asSet(tag: "$ss" | "$ns" | "$bs", list: readonly Json[]): Json | undefined {
  const texts = list.map((member) => tag === "$ns" ? jsonToNumberText(member) : member);
  const isMember = (text: Json | undefined) =>
    typeof text === "string" && (tag !== "$bs" || base64ToBytes(text) !== undefined);
  if (texts.length === 0 || new Set(texts).size < texts.length || !texts.every(isMember)) return undefined;
  return { [tag]: texts as string[] };
}

/**
 * A column's value in item form; undefined if it is NULL and the field leaves NULLs out.
 *
 * @throws RangeError (or SyntaxError) saying what is wrong with the value.
 */
export function toItem(field: Field, value: SqlValue): Json | undefined {
  if (value === null) return field.nulls ? null : undefined;
  switch (field.type) {
    case "string":
      return textOf(value);
    case "number":
      return numberToItem(value);
    case "boolean":
      if (value !== 0 && value !== 1) throw new RangeError("is not a boolean");
      return value === 1;
    case "date":
      return dateToItem(field, value);
    case "object":
    case "array":
      return structureToItem(field, textOf(value));
    case "set": {
      const text = textOf(value);
      return setToItem(field, wellFormed(text, parseJson(text)));
    }
    case "binary":
      if (!(value instanceof Uint8Array)) throw new RangeError("is not binary data");
      return binaryToItem(value);
  }
}

/**
 * An attribute's value as its column holds it; NULL for null and for an attribute that is not there.
 *
 * @throws RangeError saying what is wrong with the value.
 */
export function toColumn(field: Field, json: Json | undefined): SqlValue {
  if (json === undefined || json === null) return null;
  switch (field.type) {
    case "string":
      // Half a surrogate pair has no UTF-8: another text would be stored.
      if (typeof json !== "string" || !json.isWellFormed()) throw new RangeError("is not a string");
      return json;
    case "number":
      return numberToColumn(json);
    case "boolean":
      if (typeof json !== "boolean") throw new RangeError("is not a boolean");
      return json ? 1 : 0;
    case "date":
      return dateToColumn(field, json);
    case "object":
    case "array":
      if (!isStructure(field, json)) throw new RangeError(`is not an ${field.type}`);
      return untaggedText(json);
    case "set":
      return setToColumn(field, json);
    case "binary":
      return binaryToColumn(json);
  }
}

/**
 * The form in which the column returns this value: the one item form that comparisons use. Throws as {@link toColumn}.
 */
export function normalised(field: Field, json: Json | undefined): Json | undefined {
  if (typeof json === "string" && field.type === "string") return json;
  const column = toColumn(field, json);
  return toItem(field, typeof column === "bigint" ? String(column) : column);
}

/** Whether two normalised values are the same. */
export function sameValue(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  return typeof a === "object" && typeof b === "object" && a !== null && b !== null &&
    canonicalJson(a) === canonicalJson(b);
}

/** A field's column, quoted. */
export function columnName(field: Field): string {
  return ident(field.name);
}
