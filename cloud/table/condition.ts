/**
 * Conditions on an item: builders, and their meaning. `evaluate` is the definition; the DynamoDB adapter compiles the
 * same tree to a ConditionExpression, so nothing here may mean more than DynamoDB can express: a comparison with an
 * absent attribute, or one of another type, is false, and `not` of it therefore true.
 *
 * @module
 */
import type { Condition } from "./port.ts";
import type { Item, Json } from "../../schema/values.ts";
import { jsonEquals } from "../../schema.ts";
import { compareDecimals } from "../../schema/numbers.ts";

/** True if there is an item. */
export const exists: Condition = { kind: "exists" };
/** True if there is none. */
export const absent: Condition = { kind: "absent" };

/** The attribute is absent. */
export function lacks(attribute: string): Condition {
  return { kind: "lacks", attribute };
}

/** The attribute is present and deeply equal. */
export function equals(attribute: string, value: Json): Condition {
  return { kind: "equals", attribute, value };
}

/** The attribute is of the value's type and lower. Texts compare by their UTF-8 bytes. */
export function less(attribute: string, value: number | string): Condition {
  return { kind: "less", attribute, value };
}

/** The attribute is of the value's type and lower or equal. */
export function atMost(attribute: string, value: number | string): Condition {
  return { kind: "atMost", attribute, value };
}

/** The attribute is of the value's type and higher. */
export function greater(attribute: string, value: number | string): Condition {
  return { kind: "greater", attribute, value };
}

/** The attribute is a text with this prefix. */
export function beginsWith(attribute: string, prefix: string): Condition {
  return { kind: "beginsWith", attribute, prefix };
}

/** All of them hold. Must not be empty. */
export function all(...of: readonly Condition[]): Condition {
  return join("all", of);
}

/** At least one of them holds. Must not be empty. */
export function any(...of: readonly Condition[]): Condition {
  return join("any", of);
}

/** It does not hold. */
export function not(of: Condition): Condition {
  return { kind: "not", of };
}

function join(kind: "all" | "any", of: readonly Condition[]): Condition {
  const [first] = of;
  if (!first) throw new RangeError(`a condition "${kind}" was given no parts: at least one is required`);
  return of.length === 1 ? first : { kind, of };
}

/** Whether the condition holds for the item (undefined: there is none). */
export function evaluate(condition: Condition, item: Item | undefined): boolean {
  switch (condition.kind) {
    case "exists":
      return item !== undefined;
    case "absent":
      return item === undefined;
    case "has":
      return valueOf(item, condition.attribute) !== undefined;
    case "lacks":
      return valueOf(item, condition.attribute) === undefined;
    case "equals": {
      const value = valueOf(item, condition.attribute);
      return value !== undefined && jsonEquals(value, condition.value);
    }
    case "beginsWith": {
      const value = valueOf(item, condition.attribute);
      return typeof value === "string" && value.startsWith(condition.prefix);
    }
    case "less":
    case "atMost":
    case "greater": {
      const value = valueOf(item, condition.attribute);
      const order = value === undefined ? undefined : compare(value, condition.value);
      if (order === undefined) return false;
      return condition.kind === "less" ? order < 0 : condition.kind === "atMost" ? order <= 0 : order > 0;
    }
    case "all":
      return condition.of.every((part) => evaluate(part, item));
    case "any":
      return condition.of.some((part) => evaluate(part, item));
    case "not":
      return !evaluate(condition.of, item);
  }
}

function valueOf(item: Item | undefined, attribute: string): Json | undefined {
  return item !== undefined && Object.hasOwn(item, attribute) ? item[attribute] : undefined;
}

/** The order of two values of one type; undefined if their types differ. */
function compare(value: Json, other: number | string): number | undefined {
  if (typeof other === "string") return typeof value === "string" ? compareText(value, other) : undefined;
  if (typeof value === "number") return value - other;
  const decimal = value !== null && typeof value === "object" && (value as { readonly $n?: Json }).$n;
  return typeof decimal === "string" ? compareDecimals(decimal, String(other)) : undefined;
}

/** Compares texts by their UTF-8 bytes, as DynamoDB and SQLite do. UTF-16 order differs beyond the basic plane. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i), y = b.charCodeAt(i);
    // A surrogate stands for a code point above every other unit of 16 bits.
    if (x !== y) return (isSurrogate(x) ? x + 0x10000 : x) - (isSurrogate(y) ? y + 0x10000 : y);
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}
