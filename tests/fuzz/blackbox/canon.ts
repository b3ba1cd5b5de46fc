/**
 * One form for a value, whichever side it was read from: a device's column and a table's attribute that mean the same give
 * the same text. The fuzzer's own reading, which shares no code with the product's: what both sides have wrong must not look
 * right.
 *
 * @module
 */
import type { MadeField } from "./made_schema.ts";

/** An attribute value as DynamoDB's HTTP API writes it. */
export type Av =
  | { readonly S: string }
  | { readonly N: string }
  | { readonly BOOL: boolean }
  | { readonly NULL: true }
  | { readonly B: string }
  | { readonly SS: readonly string[] }
  | { readonly NS: readonly string[] }
  | { readonly BS: readonly string[] }
  | { readonly L: readonly Av[] }
  | { readonly M: { readonly [name: string]: Av } };

/** An item of the table. */
export type AvItem = { readonly [attribute: string]: Av };

/** A column's value as it was read: its SQLite class, and its bytes in hex; of a number its digits. */
export interface Cell {
  readonly type: "null" | "integer" | "real" | "text" | "blob";
  readonly value: string;
}

/** Decimal digits of one spelling: `1e2`, `100` and `100.0` are all `100`. Undefined: no number. */
export function canonDecimal(text: string): string | undefined {
  const match = text.trim().match(/^([+-]?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/);
  if (!match) return undefined;
  const [, sign, whole, fraction = "", exponent = "0"] = match;
  const digits = (whole! + fraction).replace(/^0+/, "");
  if (digits === "") return "0";
  const bare = digits.replace(/0+$/, "");
  const power = Number(exponent) - fraction.length + (digits.length - bare.length);
  return `${sign === "-" ? "-" : ""}${bare}e${power}`;
}

/** A number of a JSON text, with its digits as they stand there. */
export class Digits {
  constructor(readonly text: string) {}
}

/** Parses JSON and keeps the digits of numbers. Names like `__proto__` are names. */
export function parseJson(text: string): unknown {
  // What the reviver is told besides: TypeScript does not know of it yet.
  const revive = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === "number" ? new Digits(context?.source ?? String(value)) : value;
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown);
}

/** One text for a JSON value: names sorted, numbers as {@link canonDecimal} has them. */
export function canonJson(value: unknown): string {
  if (value instanceof Digits) return canonDecimal(value.text) ?? value.text;
  if (typeof value === "number") return canonDecimal(String(value)) ?? "null";
  if (Array.isArray(value)) return `[${value.map(canonJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const members = value as { [name: string]: unknown };
    return `{${
      Object.keys(members).sort().map((name) => `${JSON.stringify(name)}:${canonJson(members[name])}`).join(",")
    }}`;
  }
  return JSON.stringify(value);
}

/** An attribute value as the JSON text that an application finds in a column. */
function canonAv(av: Av): string {
  if ("N" in av) return canonDecimal(av.N) ?? av.N;
  if ("S" in av) return JSON.stringify(av.S);
  if ("BOOL" in av) return String(av.BOOL);
  if ("NULL" in av) return "null";
  if ("B" in av) return JSON.stringify(av.B);
  if ("L" in av) return `[${av.L.map(canonAv).join(",")}]`;
  if ("M" in av) {
    return `{${Object.keys(av.M).sort().map((name) => `${JSON.stringify(name)}:${canonAv(av.M[name]!)}`).join(",")}}`;
  }
  return `[${membersOf(av)!.join(",")}]`;
}

function membersOf(av: Av): string[] | undefined {
  const members = "SS" in av
    ? av.SS.map((text) => JSON.stringify(text))
    : "NS" in av
    ? av.NS.map((text) => canonDecimal(text) ?? text)
    : "BS" in av
    ? av.BS.map((text) => JSON.stringify(text))
    : "L" in av
    ? av.L.map(canonAv)
    : undefined;
  return members?.sort();
}

// A byte order mark is a character of the text like any other.
const textOf = (hex: string) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.fromHex(hex));
const odd = (what: unknown) => `?:${JSON.stringify(what)}`;

/** A date: ms; of one by which items expire whole seconds, as DynamoDB has them. */
function canonDate(field: MadeField, ms: number, what: unknown): string {
  if (Number.isNaN(ms)) return odd(what);
  return `d:${field.ttl ? Math.ceil(ms / 1000) : ms}`;
}

/** What a value means in its field, where the field had another type when it was written. */
export function canonNow({ was }: MadeField, canon: string | null): string | null {
  if (canon === null || was === undefined) return canon;
  if (was === "boolean" && canon.startsWith("b:")) return `s:${canon.slice(2)}`;
  const decimal = was === "number" && canon.startsWith("s:") ? canonDecimal(canon.slice(2)) : undefined;
  return decimal === undefined ? canon : `n:${decimal}`;
}

/** What an attribute means in a field; null where there is nothing. What the field's type can't be begins with `?`. */
export function canonOfAttribute(field: MadeField, av: Av | undefined): string | null {
  if (av === undefined || "NULL" in av) return null;
  switch (field.type) {
    case "string":
      if ("S" in av) return canonNow(field, `s:${av.S}`);
      if (field.was === "number" && "N" in av) return `n:${canonDecimal(av.N)}`;
      return field.was === "boolean" && "BOOL" in av ? `s:${av.BOOL ? 1 : 0}` : odd(av);
    case "number":
      return "N" in av ? `n:${canonDecimal(av.N)}` : odd(av);
    case "boolean":
      return "BOOL" in av ? `b:${av.BOOL ? 1 : 0}` : odd(av);
    case "date":
      if ("N" in av) return canonDate(field, field.ttl ? Number(av.N) * 1000 : Number(av.N), av);
      return "S" in av ? canonDate(field, Date.parse(av.S), av) : odd(av);
    case "object":
      return "M" in av ? `j:${canonAv(av)}` : odd(av);
    case "array":
      return "L" in av ? `j:${canonAv(av)}` : odd(av);
    case "set": {
      const members = membersOf(av);
      return members ? `t:${members.join(",")}` : odd(av);
    }
    case "binary": {
      const base64 = "B" in av ? av.B : "S" in av ? av.S : undefined;
      return base64 === undefined ? odd(av) : `x:${Uint8Array.fromBase64(base64).toHex()}`;
    }
  }
}

/** What a column means in a field; null where it is NULL. */
export function canonOfColumn(field: MadeField, { type, value }: Cell): string | null {
  if (type === "null") return null;
  const text = type === "text" ? textOf(value) : undefined;
  switch (field.type) {
    case "string":
      return text === undefined ? odd([type, value]) : canonNow(field, `s:${text}`);
    case "number":
      return type === "blob" ? odd([type, value]) : `n:${numberOf(type, text ?? value)}`;
    case "boolean":
      return `b:${value}`;
    case "date":
      return canonDate(field, text === undefined ? Number(value) : Date.parse(text), [type, value]);
    case "object":
    case "array":
      return text === undefined ? odd([type, value]) : `j:${canonJson(parseJson(text))}`;
    case "set": {
      const list = text === undefined ? undefined : parseJson(text);
      return Array.isArray(list) ? `t:${list.map(canonJson).sort().join(",")}` : odd([type, value]);
    }
    case "binary":
      return type === "blob" ? `x:${value.toLowerCase()}` : odd([type, value]);
  }
}

function numberOf(type: Cell["type"], digits: string): string {
  // 17 digits name a double; the shortest digits that do are what everybody else writes.
  return canonDecimal(type === "real" ? String(Number(digits)) : digits) ?? `?${digits}`;
}
