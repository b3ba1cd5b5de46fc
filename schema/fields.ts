/**
 * One field of a model: from its normalised JSON to a `Field`. A setting that would alter the data and is not supported
 * is refused; a setting without effect is carried, and listed in a warning.
 *
 * @module
 */
import type { Carried } from "./carried.ts";
import { compileDefault, compileGenerate, type Mutable } from "./defaults.ts";
import { functionText } from "./functions.ts";
import type { Field, FieldType } from "./model.ts";
import { quoted } from "./names.ts";
import type { JsonMap, Problems } from "./normalise.ts";
import { Pattern, PatternRefused } from "./pattern/pattern.ts";
import { compilePlace } from "./placement.ts";
import type { Params } from "./settings.ts";
import { parseTemplate } from "./template.ts";
import { isMap, type Json } from "./values.ts";

/** The normalised schema has only these spellings; constructors, `Buffer` and `ArrayBuffer` were converted to them. */
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
  "scope",
  "uuid",
  "encode",
  "crypt",
  "sync",
];
/** Settings of OneTable's queries and updates, which do not change the item. */
const oneTables = ["filter", "partial", "reference", "timestamp"];
/** What can't be done here, and what to write instead. */
const unsupported: Readonly<Record<string, string>> = {
  crypt: 'the attribute is encrypted with a key that only OneTable\'s process has. Give the field "sync": "none", or ' +
    'keep the model in the cloud ("process": {"enable": "cloud"})',
};
const flags = ["required", "ttl", "hidden", "nulls", "isoDates", "unique"] as const;
/** A nested value is checked, but it has no column, default expression or key of its own. */
const topLevelOnly = ["value", "ttl", "sync", "encode"];
/** On a nested value, they have no effect in OneTable either. */
const nestedWithoutEffect = ["unique", "scope"];

/** What compiling a field takes from its schema and model. */
export interface FieldContext {
  readonly params: Params;
  readonly problems: Problems;
  readonly carried: Carried;
  /** The field's place, for a message: `model "M", field "x"`. */
  readonly where: string;
  /** The same, shorter, for a list: `M.x`. */
  readonly place: string;
  readonly nested?: boolean;
}

/** Compiles one field. Problems are added to the list; a field with problems is undefined or incomplete. */
export function compileField(name: string, raw: Json, context: FieldContext): Field | undefined {
  const { params, problems, where, nested = false } = context;
  const report = (text: string) => void problems.push(`${where}: ${text}`);
  if (!isMap(raw)) {
    report("a field must be an object with a type");
    return undefined;
  }
  sortOut(raw, context, report, nested);
  const type = typeOf(raw);
  if (type === undefined) {
    report(raw.type === undefined ? "the type is missing" : `the type ${quoted(raw.type)} is unknown`);
    return undefined;
  }
  const field: Mutable<Field> = {
    name,
    type,
    ...compilePlace(name, raw, nested, report),
    required: raw.required === true,
    ttl: raw.ttl === true,
    // OneTable lets the schema's param win over a field's `false`.
    isoDates: raw.isoDates === true || params.isoDates,
    nulls: typeof raw.nulls === "boolean" ? raw.nulls : params.nulls,
    hidden: typeof raw.hidden === "boolean" ? raw.hidden : raw.value !== undefined,
    unique: raw.unique === true && !nested,
    synced: compileSync(raw, report),
  };
  if (field.ttl && type !== "date" && type !== "number") report('"ttl" needs the type date, or number (of seconds)');
  if (field.ttl && field.packed) report('"ttl" needs an attribute of its own: DynamoDB expires items by it');
  if (field.unique && (type === "object" || type === "array" || type === "set")) {
    report(`"unique" is not supported for the type ${type}`);
  }
  compileNested(field, raw, context);
  compileValue(field, raw, context, report);
  compileEnum(field, raw, report);
  compileValidate(field, raw, report);
  compileScope(field, raw, report);
  if (!field.template) {
    compileGenerate(field, raw, report);
    compileDefault(field, raw, report);
  }
  return field;
}

function typeOf(raw: JsonMap): FieldType | undefined {
  return typeof raw.type === "string" && types.includes(raw.type) ? raw.type as FieldType : undefined;
}

type Report = (text: string) => void;

function sortOut(raw: JsonMap, context: FieldContext, report: Report, nested: boolean): void {
  const { carried, place } = context;
  for (const [key, value] of Object.entries(raw)) {
    const reason = Object.hasOwn(unsupported, key) ? unsupported[key] : undefined;
    if (reason !== undefined) {
      if (value !== false) report(`"${key}" is not supported: ${reason}`);
    } else if (nested && topLevelOnly.includes(key)) {
      if (value !== false) report(`"${key}" is not supported inside a nested schema: it needs a column of its own`);
    } else if (!supported.includes(key) && !oneTables.includes(key) || nested && nestedWithoutEffect.includes(key)) {
      carried.annotation(key, place, supported);
    }
  }
  for (const flag of flags) {
    const value = raw[flag];
    if (value !== undefined && typeof value !== "boolean") report(`"${flag}" must be true or false`);
  }
}

function compileSync(raw: JsonMap, report: Report): boolean {
  if (raw.sync === undefined) return true;
  if (raw.sync !== "none") report(`a field's "sync" can only be "none", and is ${quoted(raw.sync)}`);
  return false;
}

function compileNested(field: Mutable<Field>, raw: JsonMap, context: FieldContext): void {
  const { problems, where, place } = context;
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
        compileField(name, inner, { ...context, where: `${where}.${name}`, place: `${place}.${name}`, nested: true }) ??
          []
      );
    }
  }
  if (raw.items === undefined) return;
  if (field.type === "array") {
    const inner = { ...context, where: `${where}[]`, place: `${place}[]`, nested: true };
    const items = compileField(field.name, raw.items, inner);
    if (items) field.items = items;
  } else if (field.type === "set") {
    const members = isMap(raw.items) ? typeOf(raw.items) : undefined;
    if (members === "string" || members === "number" || members === "binary") field.members = members;
    else problems.push(`${where}: the members of a set are of type string, number or binary`);
  } else {
    problems.push(`${where}: "items" needs the type array or set`);
  }
}

function compileValue(field: Mutable<Field>, raw: JsonMap, context: FieldContext, report: Report): void {
  const value = raw.value;
  if (value === undefined || value === false || value === "") return;
  if (typeof value !== "string") {
    const said = functionText(value) === undefined ? "" : ": values computed by a function are not supported";
    return report(
      `"value" must be a template text${said}. Write "value": "…\${field}…", or let the writer set the field`,
    );
  }
  if (field.type !== "string") report('a "value" template needs the type string');
  // OneTable ignores them there.
  for (const other of ["default", "generate", "uuid"]) {
    if (raw[other] !== undefined && raw[other] !== false) {
      context.carried.annotation(`${other} beside value`, context.place);
    }
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
  // `g` and `y` make a RegExp remember its position; they do not matter for a test.
  const regexpFlags = (delimited ? text.slice(end + 1) : "").replace(/[gy]/g, "");
  try {
    new Pattern(source, regexpFlags);
    field.validate = { source, flags: regexpFlags };
  } catch (error) {
    if (error instanceof PatternRefused) return report(`"validate" ${error.message}`);
    report(`"validate" is not a regular expression: ${(error as Error).message}`);
  }
}

/**
 * `unique` among rows that render a template alike: on the device, a unique index over the template's fields and this
 * one.
 */
function compileScope(field: Mutable<Field>, raw: JsonMap, report: Report): void {
  if (raw.scope === undefined || raw.scope === false || raw.scope === "" || !field.unique) return;
  if (typeof raw.scope !== "string") return report('"scope" must be a template text: "${accountId}"');
  try {
    field.uniqueScope = parseTemplate(raw.scope);
  } catch (error) {
    report((error as Error).message);
  }
}
