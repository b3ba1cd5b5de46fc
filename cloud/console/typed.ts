/**
 * Values between a form's texts and plain JSON, by the field's type, without loss: a number keeps its 38 digits (beyond a
 * double it is a text), a set and a list are JSON with the line of its error, null, empty and absent are told apart by who asks.
 *
 * @module
 */
import type { Field } from "../../schema/model.ts";
import { ApiError } from "../api/errors.ts";

/** A value that a field can't take: the field is named, and the text is kept by the form. */
export class FieldError extends ApiError {
  constructor(readonly field: string, message: string) {
    super(400, "invalid", `${field}: ${message}`);
  }
}

const digitsMax = 38;

/** @throws FieldError */
export function valueOf(field: Field, text: string): unknown {
  switch (field.type) {
    case "number":
      return numberOf(field, text);
    case "boolean":
      if (text === "true" || text === "1") return true;
      if (text === "false" || text === "0") return false;
      throw new FieldError(field.name, "true or false");
    case "date":
      return dateOf(field, text);
    case "string":
      if (field.enum && !field.enum.includes(text)) throw new FieldError(field.name, `one of ${field.enum.join(", ")}`);
      return text;
    default:
      return jsonOf(field, text);
  }
}

/** A number as it stands where a double keeps it, else its text. */
function numberOf(field: Field, given: string): number | string {
  const text = given.trim();
  const parts = /^-?(\d+)(?:\.(\d+))?(?:[eE][+-]?\d{1,3})?$/.exec(text);
  if (!parts) throw new FieldError(field.name, `${JSON.stringify(text.slice(0, 60))} is not a number`);
  const digits = (parts[1]! + (parts[2] ?? "")).replace(/^0+/, "").replace(/0+$/, "");
  if (digits.length > digitsMax) {
    throw new FieldError(field.name, `${digits.length} digits are more than DynamoDB's ${digitsMax}`);
  }
  const number = Number(text);
  if (!Number.isFinite(number)) throw new FieldError(field.name, "is out of a number's range");
  if (field.enum && !field.enum.includes(number)) throw new FieldError(field.name, `one of ${field.enum.join(", ")}`);
  return digits.length <= 15 && Math.abs(number) <= Number.MAX_SAFE_INTEGER ? number : text;
}

function dateOf(field: Field, text: string): string {
  // A form's own control leaves the zone out: it is UTC, as is said beside it.
  const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?$/.test(text) ? `${text}Z` : text;
  const ms = Date.parse(iso);
  if (Number.isNaN(ms)) throw new FieldError(field.name, `${JSON.stringify(text.slice(0, 60))} is not a date`);
  return new Date(ms).toISOString();
}

/** @throws FieldError with the line where the text stops being JSON */
function jsonOf(field: Field, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const { message } = error as SyntaxError;
    throw new FieldError(
      field.name,
      `line ${lineOf(text, message)} is not JSON: ${message.replace(/ \(line \d+ column \d+\)$/, "")}`,
    );
  }
}

function lineOf(text: string, message: string): number {
  const told = /line (\d+)/.exec(message), at = /position (\d+)/.exec(message);
  if (told) return Number(told[1]);
  return text.slice(0, at ? Number(at[1]) : text.length).split("\n").length;
}

/** A plain value as the text of its editor. */
export function textOfValue(field: Field, value: unknown): string {
  if (value === undefined || value === null) return "";
  if (field.type === "array" || field.type === "object" || field.type === "set" || field.type === "binary") {
    return JSON.stringify(value, null, 2);
  }
  return String(value);
}
