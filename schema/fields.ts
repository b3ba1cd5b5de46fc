/**
 * One field of a model: from its normalised JSON to a `Field`, with everything refused that would otherwise be silently
 * ignored.
 *
 * @module
 */
import { checkValue } from "./check.ts";
import type { Field, FieldType } from "./model.ts";
import { isName, quoted } from "./names.ts";
import type { JsonMap, Problems } from "./normalise.ts";
import type { Params } from "./settings.ts";
import { parseTemplate } from "./template.ts";
import { isMap, type Json } from "./values.ts";

type Mutable<T> = { -readonly [P in keyof T]: T[P] };

/** The normalised schema has these spellings alone: constructors, `Buffer` and `ArrayBuffer` were put into them. */
const types: readonly string[] = [
  "string",
  "number",
  "boolean",
  "date",
  "object",
  "array",
  "set",
  "binary",
] satisfies FieldType[];

/** Read by this compiler. */
const supported = [
  "type",
  "default",
  "required",
  "enum",
  "validate",
  "generate",
  "value",
  "ttl",
  "hidden",
  "map",
  "nulls",
  "isoDates",
  "schema",
  "items",
  "unique",
  "sync",
];
/** Carried without effect: notes for people, and what only steers OneTable's own queries and updates. */
const carried = [
  "description",
  "title",
  "label",
  "comment",
  "notes",
  "example",
  "examples",
  "deprecated",
  "reference",
  "filter",
  "partial",
  "timestamp",
];
const unsupported: Readonly<Record<string, string>> = {
  crypt: "the attribute would be encrypted with a key that only OneTable's process has",
  encode: "the attribute would stand only inside another one, and a device's table has a column for each",
  scope: "uniqueness is kept by an index on the device, which covers the model's rows there",
  uuid: 'it is OneTable\'s old spelling: use "generate"',
};
const flags = ["required", "ttl", "hidden", "nulls", "isoDates", "unique"] as const;
/** A nested value is checked, but it has no column, default expression or key of its own. */
const topLevelOnly = ["value", "generate", "ttl", "map", "unique", "sync"];

/** Compiles one field. Problems are added to the list; a field that has some is undefined or incomplete. */
export function compileField(
  name: string,
  raw: Json,
  params: Params,
  problems: Problems,
  where: string,
  nested = false,
): Field | undefined {
  const report = (text: string) => void problems.push(`${where}: ${text}`);
  if (!isMap(raw)) {
    report("a field must be an object with a type");
    return undefined;
  }
  refuseUnknown(raw, report, nested);
  const type = typeOf(raw);
  if (type === undefined) {
    report(raw.type === undefined ? "the type is missing" : `the type ${quoted(raw.type)} is unknown`);
    return undefined;
  }
  const field: Mutable<Field> = {
    name,
    attribute: compileMap(name, raw, report),
    type,
    required: raw.required === true,
    ttl: raw.ttl === true,
    // OneTable lets the schema's param win over a field's `false`.
    isoDates: raw.isoDates === true || params.isoDates,
    nulls: typeof raw.nulls === "boolean" ? raw.nulls : params.nulls,
    hidden: typeof raw.hidden === "boolean" ? raw.hidden : raw.value !== undefined,
    unique: raw.unique === true,
    synced: compileSync(raw, report),
  };
  if (field.ttl && type !== "date") report('"ttl" needs the type date');
  if (field.unique && (type === "object" || type === "array" || type === "set")) {
    report(`"unique" is not supported for the type ${type}`);
  }
  compileNested(field, raw, params, problems, where);
  compileValue(field, raw, report);
  compileEnum(field, raw, report);
  compileValidate(field, raw, report);
  compileGenerate(field, raw, report);
  compileDefault(field, raw, report);
  return field;
}

function typeOf(raw: JsonMap): FieldType | undefined {
  return typeof raw.type === "string" && types.includes(raw.type) ? raw.type as FieldType : undefined;
}

type Report = (text: string) => void;

function refuseUnknown(raw: JsonMap, report: Report, nested: boolean): void {
  for (const [key, value] of Object.entries(raw)) {
    const reason = Object.hasOwn(unsupported, key) ? unsupported[key] : undefined;
    if (reason !== undefined) {
      if (value !== false) report(`"${key}" is not supported: ${reason}`);
    } else if (nested && topLevelOnly.includes(key)) {
      if (value !== false) report(`"${key}" is not supported inside a nested schema: it needs a column of its own`);
    } else if (!supported.includes(key) && !carried.includes(key)) {
      report(`the property ${quoted(key)} is unknown`);
    }
  }
  for (const flag of flags) {
    const value = raw[flag];
    if (value !== undefined && typeof value !== "boolean") report(`"${flag}" must be true or false`);
  }
}

function compileMap(name: string, raw: JsonMap, report: Report): string {
  const map = raw.map;
  if (map === undefined || map === "" || map === false) return name;
  if (typeof map === "string" && /[.[\]]/.test(map)) {
    report(`the packed "map" ${quoted(map)} is not supported: each field needs an attribute of its own`);
  } else if (typeof map !== "string" || !isName(map)) {
    report(`"map" must be an attribute name of letters, digits and _, and is ${quoted(map)}`);
  } else {
    return map;
  }
  return name;
}

function compileSync(raw: JsonMap, report: Report): boolean {
  if (raw.sync === undefined) return true;
  if (raw.sync !== "none") report(`a field's "sync" can only be "none", and is ${quoted(raw.sync)}`);
  return false;
}

function compileNested(field: Mutable<Field>, raw: JsonMap, params: Params, problems: Problems, where: string): void {
  if (raw.schema !== undefined) {
    if (field.type !== "object") {
      problems.push(
        `${where}: a nested "schema" needs the type object` +
          (field.type === "array" ? ' (for the members of an array: "items": {"type": "object", "schema": …})' : ""),
      );
    } else if (!isMap(raw.schema)) {
      problems.push(`${where}: "schema" must be an object of fields`);
    } else {
      field.nested = Object.entries(raw.schema).flatMap(([name, inner]) =>
        compileField(name, inner, params, problems, `${where}.${name}`, true) ?? []
      );
    }
  }
  if (raw.items === undefined) return;
  if (field.type === "array") {
    const items = compileField(field.name, raw.items, params, problems, `${where}[]`, true);
    if (items) field.items = items;
  } else if (field.type === "set") {
    const members = isMap(raw.items) ? typeOf(raw.items) : undefined;
    if (members === "string" || members === "number" || members === "binary") field.members = members;
    else problems.push(`${where}: the members of a set are of type string, number or binary`);
  } else {
    problems.push(`${where}: "items" needs the type array or set`);
  }
}

function compileValue(field: Mutable<Field>, raw: JsonMap, report: Report): void {
  const value = raw.value;
  if (value === undefined || value === false || value === "") return;
  if (typeof value !== "string") {
    return report('"value" must be a template text: values computed by a function are not supported');
  }
  if (field.type !== "string") report('a "value" template needs the type string');
  for (const other of ["default", "generate", "enum", "validate", "ttl"]) {
    if (raw[other] !== undefined && raw[other] !== false) report(`"${other}" has no effect beside "value": remove one`);
  }
  if (!field.synced) report('"sync": "none" has no effect beside "value": a computed attribute never travels');
  try {
    field.template = parseTemplate(value);
  } catch (error) {
    report((error as Error).message);
  }
}

function compileEnum(field: Mutable<Field>, raw: JsonMap, report: Report): void {
  const values = raw.enum;
  if (values === undefined) return;
  const wanted = field.type;
  if (wanted !== "string" && wanted !== "number") return report('"enum" needs the type string or number');
  if (!Array.isArray(values) || values.length === 0 || !values.every((value) => typeof value === wanted)) {
    return report(`"enum" must be a list of ${wanted}s that is not empty`);
  }
  field.enum = values as (string | number)[];
}

function compileValidate(field: Mutable<Field>, raw: JsonMap, report: Report): void {
  const text = raw.validate;
  if (text === undefined || text === false || text === "") return;
  if (typeof text !== "string") return report('"validate" must be a regular expression');
  if (field.type !== "string" && field.type !== "number") return report('"validate" needs the type string or number');
  // As OneTable reads it: `/source/flags`, or else the whole text is the source.
  const end = text.lastIndexOf("/");
  const delimited = text.startsWith("/") && end > 0;
  const source = delimited ? text.slice(1, end) : text;
  // `g` and `y` make a RegExp remember where it was; for a test they mean nothing.
  const regexpFlags = (delimited ? text.slice(end + 1) : "").replace(/[gy]/g, "");
  try {
    new RegExp(source, regexpFlags);
    field.validate = { source, flags: regexpFlags };
  } catch (error) {
    report(`"validate" is no regular expression: ${(error as Error).message}`);
  }
}

function compileGenerate(field: Mutable<Field>, raw: JsonMap, report: Report): void {
  const text = raw.generate;
  if (text === undefined || text === false) return;
  if (field.type !== "string") report('"generate" needs the type string');
  if (raw.default !== undefined) report('"generate" has no effect beside "default": remove one');
  if (text === "ulid") field.generate = { kind: "ulid", length: 26 };
  else if (text === "uuid") field.generate = { kind: "uuid", length: 36 };
  else {
    const uid = typeof text === "string" ? /^uid(?:\((\d{1,3})\))?$/.exec(text) : null;
    const length = Number(uid?.[1] ?? 10);
    if (!uid || length < 1 || length > 100) {
      return report(
        `"generate" ${quoted(text)} is not supported: ulid, uuid, uid or uid(n) with n from 1 to 100 are`,
      );
    }
    field.generate = { kind: "uid", length };
  }
}

function compileDefault(field: Mutable<Field>, raw: JsonMap, report: Report): void {
  const value = raw.default;
  if (value === undefined || value === null) return;
  if (field.type === "date") {
    const date = typeof value === "string" || typeof value === "number" ? new Date(value) : new Date(NaN);
    if (Number.isNaN(date.getTime())) return report(`the default ${quoted(value)} is not a date`);
    field.default = date.toISOString();
    return;
  }
  const problem = field.type === "set" ? setProblem(field, value) : checkValue(field, value);
  if (problem !== undefined) return report(`the default ${quoted(value)} ${problem}`);
  field.default = value;
}

/** A set's default stands in a schema as a list. */
function setProblem(field: Field, value: Json): string | undefined {
  const members = Array.isArray(value) && value.length > 0 ? value : undefined;
  const member = typeof members?.[0];
  if (!members || !members.every((m) => typeof m === member && (member === "string" || member === "number"))) {
    return "is not a list of strings or numbers that is not empty";
  }
  const wanted = field.members === "binary" ? "string" : field.members;
  return wanted === undefined || member === wanted ? undefined : `has members that are not of type ${field.members}`;
}
