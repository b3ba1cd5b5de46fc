/**
 * Converts values of another type that have a meaning in a column's type. They occur in old rows after a schema changed
 * a field's type, and in items of writers with the old type. A number becomes its decimal text, a decimal text a
 * number, and so on; nothing is ever rounded or guessed.
 *
 * | to | from |
 * | --- | --- |
 * | string | number (its decimal), binary (base64), boolean as 0 or 1 |
 * | number | decimal text |
 * | boolean | 0, 1, and the texts `0`, `1`, `true`, `false` |
 * | date | ISO text and ms since 1970, each as the other |
 * | object, array, set | the JSON text of one |
 * | binary | base64 text |
 *
 * @module
 */
import type { SqlValue } from "../sqlite/driver.ts";
import type { Field } from "../../schema/model.ts";
import { canonicalDecimal, numberToJson } from "../../schema/numbers.ts";
import { base64ToBytes, bytesToBase64, type Json, jsonToBinary } from "../../schema/values.ts";
import { dateTextToMs, msToColumn, toColumn, toItem } from "../store/columns.ts";

/**
 * The converted value for a column of the field; NULL stays NULL. @throws RangeError if it has no meaning in the
 * field's type
 */
export function recast(field: Field, value: SqlValue): SqlValue {
  if (value === null) return null;
  const cast = castTo(field, value);
  // Check by reading it back as the agent will: a set whose members have two types is JSON, but not a set.
  toItem(field, typeof cast === "bigint" ? String(cast) : cast);
  return cast;
}

function castTo(field: Field, value: Exclude<SqlValue, null>): SqlValue {
  switch (field.type) {
    case "string":
      if (value instanceof Uint8Array) return bytesToBase64(value);
      return typeof value === "string" ? value : decimalOf(value);
    case "number": {
      if (typeof value !== "string") break;
      const decimal = canonicalDecimal(value);
      return decimal === undefined ? value : toColumn(field, numberToJson(decimal));
    }
    case "boolean": {
      const known = [["0", "false"], ["1", "true"]].findIndex((names) => names.includes(String(value)));
      if (known >= 0) return known;
      throw new RangeError("is not a boolean");
    }
    case "date": {
      const ms = typeof value === "string" ? dateTextToMs(value) : Number(value);
      if (ms === undefined || Number.isNaN(ms)) throw new RangeError("is not a date");
      // A spelling that the column also accepts stays unchanged.
      return field.isoDates && typeof value === "string" ? value : msToColumn(field, ms);
    }
    case "binary": {
      const bytes = typeof value === "string" ? base64ToBytes(value) : undefined;
      if (bytes) return bytes;
      break;
    }
  }
  return value;
}

function decimalOf(value: number | bigint): string {
  const decimal = canonicalDecimal(String(value));
  if (decimal === undefined) throw new RangeError("is not a number");
  return decimal;
}

/**
 * An attribute's value as a column holds it, leniently: by {@link toColumn}, otherwise by {@link recast}.
 *
 * @throws RangeError saying what is wrong with the value, as {@link toColumn} does
 */
export function toColumnLeniently(field: Field, json: Json | undefined): SqlValue {
  try {
    return toColumn(field, json);
  } catch (error) {
    const value = plainColumn(json);
    if (value === undefined) throw error;
    try {
      return recast(field, value);
    } catch {
      // The first reason says what the schema requires.
      throw error;
    }
  }
}

/** The column value that a simple item value has in a field of its own type. */
function plainColumn(json: Json | undefined): SqlValue | undefined {
  if (typeof json === "string") return json.isWellFormed() ? json : undefined;
  if (typeof json === "number") return Number.isFinite(json) ? json : undefined;
  if (typeof json === "boolean") return json ? 1 : 0;
  const big = json !== null && typeof json === "object" && "$n" in json ? json.$n : undefined;
  if (typeof big === "string") return canonicalDecimal(big);
  return jsonToBinary(json);
}
