/**
 * Converts a TypeScript application's values (Date, Set, Uint8Array, bigint, nested objects) to and from tagged JSON,
 * by a field of the schema. A number beyond a double's digits is a `bigint`, or its decimal text if it has a fraction.
 *
 * @module
 */
import type { Field } from "../../schema/model.ts";
import { dateToJson } from "../../schema/dates.ts";
import { numberToJson } from "../../schema/numbers.ts";
import {
  binaryToItem,
  binaryToJson,
  escape,
  itemToBinary,
  type Json,
  jsonToBinary,
  setOf,
  tagOf,
  unescape,
} from "../../schema/values.ts";
import { columnToMs, dateTextToMs } from "../store/columns.ts";

/** Misuse: a value of a type that the field does not accept. */
function wrong(field: Field | undefined, value: unknown): TypeError {
  const given = value === null
    ? "null"
    : typeof value === "object"
    ? value!.constructor?.name ?? "object"
    : typeof value;
  return new TypeError(field ? `${field.name} is of type ${field.type}, not ${given}` : `a ${given} can't be stored`);
}

/**
 * A property's value in item form; undefined stays undefined (the property is not given), null stays null.
 *
 * @throws TypeError for a value of another type; RangeError for an invalid date or NaN
 */
export function propertyToJson(field: Field, value: unknown): Json | undefined {
  if (value === undefined || value === null) return value;
  switch (field.type) {
    case "date":
      return dateToJson(field, toDate(field, value));
    case "number":
      return numberJson(field, value);
    case "set":
      return setJson(field, value);
    case "array":
    case "object": {
      const json = nestedJson(value, field);
      if (field.type === "array" ? !Array.isArray(json) : unescape(json) === undefined) throw wrong(field, value);
      return json;
    }
    case "binary": {
      const bytes = bytesOf(value);
      if (!bytes) throw wrong(field, value);
      return binaryToItem(bytes);
    }
    case "string":
      if (typeof value !== "string") throw wrong(field, value);
      return value;
    case "boolean":
      if (typeof value !== "boolean") throw wrong(field, value);
      return value;
  }
}

function toDate(field: Field, value: unknown): Date {
  if (value instanceof Date) return value;
  if (typeof value === "number") return new Date(value);
  if (typeof value !== "string") throw wrong(field, value);
  return new Date(dateTextToMs(value) ?? NaN);
}

function numberJson(field: Field | undefined, value: unknown): Json {
  if (typeof value === "bigint" || typeof value === "string") return numberToJson(String(value));
  if (typeof value !== "number") throw wrong(field, value);
  if (!Number.isFinite(value)) throw new RangeError(`${value} has no form in an item`);
  return value + 0;
}

function bytesOf(value: unknown): Uint8Array | undefined {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : undefined;
}

function setJson(field: Field | undefined, value: unknown): Json {
  if (!(value instanceof Set) && !Array.isArray(value)) throw wrong(field, value);
  const members = [...value as Iterable<unknown>];
  const kind = field?.members ??
    (bytesOf(members[0]) ? "binary" : typeof members[0] === "string" ? "string" : "number");
  const texts = members.map((member) => {
    if (kind === "number") {
      const json = numberJson(undefined, member);
      return typeof json === "number" ? String(json) : (json as { $n: string }).$n;
    }
    if (kind === "string" && typeof member === "string") return member;
    const bytes = kind === "binary" ? bytesOf(member) : undefined;
    if (!bytes) throw wrong(field, value);
    return (binaryToJson(bytes) as { $b: string }).$b;
  });
  return { [{ string: "$ss", number: "$ns", binary: "$bs" }[kind]]: texts };
}

/** The field that describes a member of an object. */
function inner(field: Field | undefined, name: string): Field | undefined {
  return field?.nested?.find((f) => f.name === name);
}

function nestedJson(value: unknown, field: Field | undefined): Json {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" || typeof value === "bigint") return numberJson(undefined, value);
  // A date that no nested field describes takes the form of the field it is in, as OneTable has it.
  if (value instanceof Date) return dateToJson(field ?? { ttl: false, isoDates: true }, value);
  // A JSON column cannot distinguish them from a list and a text: only a field of the schema says what they are.
  if (value instanceof Set || bytesOf(value)) {
    const [what, type] = value instanceof Set ? ["Set", "set"] : ["binary", "binary"];
    const where = field ? `${field.name} has` : "there is";
    throw new TypeError(
      `${where} a ${what} that no nested field describes: declare it in the schema, with type "${type}"`,
    );
  }
  if (Array.isArray(value)) {
    return value.map((member) =>
      field?.items && member != null ? propertyToJson(field.items, member)! : nestedJson(member ?? null, field)
    );
  }
  if (typeof value !== "object" || Object.getPrototypeOf(value)?.constructor?.name === "Promise") {
    throw wrong(undefined, value);
  }
  const map: Record<string, Json> = {};
  for (const [name, member] of Object.entries(value)) {
    const known = inner(field, name);
    const json = member === undefined ? undefined : known ? propertyToJson(known, member) : nestedJson(member, field);
    if (json !== undefined) map[known?.attribute ?? name] = json;
  }
  return escape(map);
}

/** The value that tagged JSON stands for, as a property of the field (if one describes it). */
export function jsonToProperty(json: Json, field?: Field): unknown {
  if (field?.type === "date" && (typeof json === "string" || typeof json === "number")) {
    return new Date(typeof json === "string" ? columnToMs(json) : field.ttl ? json * 1000 : json);
  }
  if (field?.type === "binary" && typeof json === "string") return itemToBinary(json) ?? json;
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map((member: Json) => jsonToProperty(member, field?.items));
  const tag = tagOf(json);
  if (tag === "$n") return bigNumber((json as { $n: string }).$n);
  if (tag === "$b") return jsonToBinary(json);
  const set = setOf(json);
  if (set) return new Set(set.members.map((text) => setMember(set.tag, text)));
  const map = unescape(json) ?? {};
  return Object.fromEntries(
    Object.entries(map).map(([name, member]) => {
      const known = field?.nested?.find((f) => f.attribute === name);
      return [known?.name ?? name, jsonToProperty(member, known)];
    }),
  );
}

function bigNumber(text: string): bigint | string {
  return /^-?\d+$/.test(text) ? BigInt(text) : text;
}

function setMember(tag: "$ss" | "$ns" | "$bs", text: string): unknown {
  if (tag === "$ss") return text;
  if (tag === "$bs") return jsonToBinary({ $b: text });
  const json = numberToJson(text);
  return typeof json === "number" ? json : bigNumber((json as { $n: string }).$n);
}
