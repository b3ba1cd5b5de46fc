/**
 * Values between a form's texts and plain JSON, by the field's type, without loss: a number keeps its 38 digits (beyond
 * a double it is a text), a set and a list are JSON with the line of its error, the caller distinguishes null, empty
 * and absent.
 *
 * @module
 */
import { canonicalDecimal, isBigNumber, numberProblem, numberToJson } from "../../schema/numbers.ts";
import type { Field } from "../../schema/model.ts";
import { ApiError } from "../api/errors.ts";

/** A value that a field cannot accept: names the field; the form shows the text again. */
export class FieldError extends ApiError {
  constructor(readonly field: string, message: string) {
    super(400, "invalid", `${field}: ${message}`);
  }
}

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

/** A number if a double can hold it, otherwise its text. */
function numberOf(field: Field, given: string): number | string {
  const text = given.trim();
  if (canonicalDecimal(text) === undefined) {
    throw new FieldError(field.name, `${JSON.stringify(text.slice(0, 60))} is not a number`);
  }
  const json = numberToJson(text), problem = numberProblem(json);
  if (problem !== undefined) throw new FieldError(field.name, problem);
  const value = isBigNumber(json) ? json.$n : json as number;
  if (field.enum && !field.enum.includes(value)) throw new FieldError(field.name, `one of ${field.enum.join(", ")}`);
  return value;
}

function dateOf(field: Field, text: string): string {
  // A browser's date control has no zone: it is UTC, as the label says.
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
