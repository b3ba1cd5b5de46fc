/**
 * Whether attributes are what a model's schema allows. The cloud checks every change from a device, and the HTTP API
 * every item; a device's own table does the same by SQL constraints. The result is the first reason, as the end of a
 * sentence.
 *
 * @module
 */
import type { Field, Model } from "./model.ts";
import { isId, quoted } from "./names.ts";
import { numberProblem } from "./numbers.ts";
import { type Effort, Pattern } from "./pattern/pattern.ts";
import { renderTemplate } from "./template.ts";
import { type Attributes, base64ToBytes, isMap, type Json, jsonToBinary, setOf, tagOf, unescape } from "./values.ts";

/** DynamoDB refuses an item that is nested deeper. */
const depthMax = 32;

/**
 * The first reason why the attributes (by attribute name, without computed ones) are not a valid item of the model;
 * undefined if they are one. Attributes that the schema doesn't know are fine; so are missing identity fields, which
 * are filled in later. Null counts as missing if the field is not required.
 *
 * @param effort the cost of matching `validate` is added to it
 */
export function checkAttributes(model: Model, attributes: Attributes, effort?: Effort): string | undefined {
  for (const field of model.fields) {
    if (!field.synced) continue;
    if (field.template) {
      const problem = computedProblem(model, field, attributes, effort);
      if (problem !== undefined) return `${field.name} ${problem}`;
      continue;
    }
    const value = attributes[field.attribute];
    const problem = value === undefined || value === null
      ? missing(model, field)
      : checkField(model, field, value, effort);
    if (problem !== undefined) return `${field.name} ${problem}`;
  }
  for (const [attribute, value] of Object.entries(attributes)) {
    if (isTooDeep(value, depthMax - 1)) return `${attribute} is nested deeper than ${depthMax} levels`;
    if (!attribute.isWellFormed() || !isWellFormed(value)) {
      return `${attribute} has half a surrogate pair, which is not text`;
    }
  }
  return undefined;
}

/** Whether all texts and names in a value are Unicode: no table and no column can hold half a surrogate pair. */
export function isWellFormed(value: Json): boolean {
  if (typeof value === "string") return value.isWellFormed();
  if (typeof value !== "object" || value === null) return true;
  return Array.isArray(value)
    ? value.every(isWellFormed)
    : Object.entries(value).every(([name, member]) => name.isWellFormed() && isWellFormed(member));
}

/** OneTable checks `validate` and `enum` of a computed attribute on what its template renders, where it renders anything. */
function computedProblem(model: Model, field: Field, attributes: Attributes, effort?: Effort): string | undefined {
  if (!field.validate && !field.enum) return undefined;
  const byName = (name: string) => model.fields.find((f) => f.name === name)?.attribute ?? name;
  const text = renderTemplate(field.template!, (name) => attributes[byName(name)]);
  return text === undefined ? undefined : checkValue(field, text, effort);
}

/**
 * A field with a default may be missing: an item that is older than the field lacks it, and so does an item from a
 * device with an older schema. Both read as if they had the default. A key field must be there.
 */
function missing(model: Model, field: Field): string | undefined {
  const isIdentity = model.identityFields.includes(field.name);
  return field.required && !isIdentity && field.default === undefined ? "is required and missing" : undefined;
}

function checkField(model: Model, field: Field, value: Json, effort?: Effort): string | undefined {
  const isIdentity = model.identityFields.includes(field.name);
  if (isIdentity && !isId(value)) return `${quoted(value)} is not an id: 1 to 128 of A-Z a-z 0-9 _ . : - are required`;
  return checkValue(field, value, effort);
}

/** Why a value (never null) is invalid for the field; undefined if it is valid. */
export function checkValue(field: Field, value: Json, effort?: Effort): string | undefined {
  const problem = checkType(field, value, effort);
  if (problem !== undefined) return problem;
  if (field.enum && !field.enum.includes(value as string)) {
    return `is ${quoted(value)}, which is none of ${field.enum.join(", ")}`;
  }
  if (field.validate) {
    const matches = compiled(field).test(textOf(value), effort),
      named = `/${field.validate.source}/${field.validate.flags}`;
    if (matches === undefined) return `is ${quoted(value)}, which is too long to be matched against ${named}`;
    if (!matches) return `is ${quoted(value)}, which does not match ${named}`;
  }
  return undefined;
}

function checkType(field: Field, value: Json, effort?: Effort): string | undefined {
  switch (field.type) {
    case "string":
      if (typeof value !== "string") return `must be a string, and is ${quoted(value)}`;
      // UTF-8 can't hold half a surrogate pair: it would arrive as another text, under another key.
      return value.isWellFormed() ? undefined : "is not valid Unicode text";
    case "number":
      return numberProblem(value);
    case "boolean":
      return typeof value === "boolean" ? undefined : `must be true or false, and is ${quoted(value)}`;
    case "date":
      return isDate(field, value) ? undefined : `must be ${dateForm(field)}, and is ${quoted(value)}`;
    case "binary":
      if (typeof value === "string" ? base64ToBytes(value) : jsonToBinary(value)) return undefined;
      return `must be binary (base64), and is ${quoted(value)}`;
    case "set":
      return checkSet(field, value);
    case "array":
      return checkArray(field, value, effort);
    case "object":
      return checkObject(field, value, effort);
  }
}

function isDate(field: Field, value: Json): boolean {
  if (field.ttl) return typeof value === "number" && Number.isInteger(value);
  if (field.isoDates) return typeof value === "string" && !Number.isNaN(Date.parse(value));
  return typeof value === "number" && !Number.isNaN(new Date(value).getTime());
}

function dateForm(field: Field): string {
  return field.ttl ? "a time in seconds" : field.isoDates ? "an ISO date" : "a time in milliseconds";
}

function checkSet(field: Field, value: Json): string | undefined {
  const set = setOf(value);
  if (!set || set.members.length === 0) return `must be a set that is not empty, and is ${quoted(value)}`;
  const members = { $ss: "string", $ns: "number", $bs: "binary" }[set.tag];
  if (field.members !== undefined && field.members !== members) {
    return `must be a set of type ${field.members}, and is one of type ${members}`;
  }
  if (set.tag === "$ns") return set.members.map((n) => numberProblem({ $n: n })).find((p) => p !== undefined);
  if (set.tag === "$bs" && !set.members.every(base64ToBytes)) return "has a member that is not base64";
  return undefined;
}

function checkArray(field: Field, value: Json, effort?: Effort): string | undefined {
  if (!Array.isArray(value)) return `must be a list, and is ${quoted(value)}`;
  if (!field.items) return undefined;
  for (const [i, member] of value.entries()) {
    if (member === null) continue;
    const problem = checkValue(field.items, member, effort);
    if (problem !== undefined) return `[${i}] ${problem}`;
  }
  return undefined;
}

function checkObject(field: Field, value: Json, effort?: Effort): string | undefined {
  const map = isMap(value) ? unescape(value) : undefined;
  if (!map) return `must be a map, and is ${quoted(value)}`;
  for (const inner of field.nested ?? []) {
    const member = Object.hasOwn(map, inner.attribute) ? map[inner.attribute] : undefined;
    if (member === undefined || member === null) {
      // A nested default is filled in by OneTable and the HTTP API, but SQL can't do it: its absence is accepted.
      if (inner.required && inner.default === undefined) return `.${inner.name} is required and missing`;
      continue;
    }
    const problem = checkValue(inner, member, effort);
    if (problem !== undefined) return `.${inner.name} ${problem}`;
  }
  return undefined;
}

/** Compiled expressions by field; fields live as long as their schema. */
const expressions = new WeakMap<Field, Pattern>();

function compiled(field: Field): Pattern {
  let expression = expressions.get(field);
  if (!expression) {
    expression = new Pattern(field.validate!.source, field.validate!.flags);
    expressions.set(field, expression);
  }
  return expression;
}

function textOf(value: Json): string {
  return typeof value === "string" ? value : tagOf(value) === "$n" ? String((value as { $n: Json }).$n) : String(value);
}

function isTooDeep(value: Json, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (levels <= 0) return true;
  return Object.values(value).some((member) => isTooDeep(member as Json, levels - 1));
}
