/**
 * `default`, `generate` and OneTable's older `uuid`: how a field gets a missing value. A default of another type is
 * converted as OneTable converts a property on writing (`"7"` of a number is 7), and refused where OneTable would fail.
 *
 * @module
 */
import { checkValue } from "./check.ts";
import { functionText, understand } from "./functions.ts";
import type { Field } from "./model.ts";
import { quoted } from "./names.ts";
import type { JsonMap } from "./normalise.ts";
import type { Json } from "./values.ts";

/** A field that is being made. */
export type Mutable<T> = { -readonly [P in keyof T]: T[P] };
type Report = (text: string) => void;

/** Compiles `generate` and `uuid`. */
export function compileGenerate(field: Mutable<Field>, raw: JsonMap, report: Report): void {
  const given = raw.generate ?? raw.uuid;
  if (given === undefined || given === false || given === "") return;
  const said = functionText(given), meaning = said === undefined ? undefined : understand(said);
  const old = raw.generate === undefined && given === true ? "uuid" : given;
  const text = meaning?.kind === "generate" ? meaning.generator : old;
  if (field.type !== "string") report('"generate" needs the type string');
  if (raw.default !== undefined) report('"generate" has no effect beside "default": remove one');
  if (text === "ulid") field.generate = { kind: "ulid", length: 26 };
  else if (text === "uuid") field.generate = { kind: "uuid", length: 36 };
  else {
    const uid = typeof text === "string" ? /^uid(?:\((\d{1,3})\))?$/.exec(text) : null;
    const length = Number(uid?.[1] ?? 10);
    if (!uid || length < 1 || length > 100) {
      return report(
        `"generate" ${quoted(said ?? text)} is not supported: ulid, uuid, uid or uid(n) with n from 1 to 100 are`,
      );
    }
    field.generate = { kind: "uid", length };
  }
}

/** Compiles `default`. */
export function compileDefault(field: Mutable<Field>, raw: JsonMap, report: Report): void {
  if (raw.default === undefined || raw.default === null) return;
  const said = functionText(raw.default);
  const meaning = said === undefined ? undefined : understand(said);
  if (said !== undefined && !meaning) {
    return report(
      `the default ${
        quoted(said)
      } is a function that is not understood: a constant, () => new Date() and () => ulid() are`,
    );
  }
  if (meaning?.kind === "now") return compileNow(field, report);
  if (meaning?.kind === "generate") {
    if (field.type !== "string") return report("a default that generates an id needs the type string");
    field.generate = { kind: meaning.generator, length: meaning.generator === "ulid" ? 26 : 36 };
    return;
  }
  const given = meaning?.kind === "constant" ? meaning.value : raw.default;
  const value = converted(field, given);
  const problem = value === undefined
    ? field.type === "date" ? "is not a date" : `can't be made a ${field.type}`
    : field.type === "set"
    ? setProblem(field, value)
    : field.type === "date"
    ? undefined
    : checkValue(field, value);
  if (problem !== undefined) return report(`the default ${quoted(given)} ${problem}`);
  field.default = value;
}

function compileNow(field: Mutable<Field>, report: Report): void {
  if (field.type !== "date" && !(field.type === "number" && !field.ttl)) {
    return report("a default that is the time of writing needs the type date or number");
  }
  field.defaultNow = true;
}

/** The default as a value of the field's type, as OneTable's `transformWriteAttribute` makes it; undefined if it can't. */
function converted(field: Field, value: Json): Json | undefined {
  switch (field.type) {
    case "date": {
      const date = typeof value === "string" || typeof value === "number" ? new Date(value) : new Date(NaN);
      return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
    }
    case "number": {
      if (typeof value === "number") return value;
      const number = typeof value === "string" && value.trim() !== "" || typeof value === "boolean"
        ? Number(value)
        : NaN;
      return Number.isFinite(number) ? number : undefined;
    }
    case "boolean":
      return value === "false" || value === "null" || value === "undefined" ? false : Boolean(value);
    case "string":
      return typeof value === "object" ? undefined : String(value);
    case "array":
      return value === "" ? [] : value;
    default:
      return value;
  }
}

/** A set's default is in a schema as a list. */
function setProblem(field: Field, value: Json): string | undefined {
  const members = Array.isArray(value) && value.length > 0 ? value : undefined;
  const member = typeof members?.[0];
  if (!members || !members.every((m) => typeof m === member && (member === "string" || member === "number"))) {
    return "is not a list of strings or numbers that is not empty";
  }
  const wanted = field.members === "binary" ? "string" : field.members;
  return wanted === undefined || member === wanted ? undefined : `has members that are not of type ${field.members}`;
}
