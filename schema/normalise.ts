/**
 * Converts what a schema's author wrote (constructors, regular expressions, dates, `control`) to equivalent plain JSON:
 * the form that is stored, compared and fingerprinted. Normalising a normalised schema alters nothing.
 *
 * @module
 */
import { functionToJson } from "./functions.ts";
import { quoted } from "./names.ts";
import { isMap, type Json } from "./values.ts";

/** Deeper than this is a cycle or a mistake: DynamoDB itself holds 32 levels. */
const depthMax = 64;

/** A JSON map. */
export type JsonMap = { readonly [key: string]: Json };

/** A list of problems, each one sentence. */
export type Problems = string[];

/**
 * The schema as plain JSON. What has no JSON form (symbols, cycles) is reported and left out.
 *
 * @returns undefined if the source is not an object at all.
 */
export function normaliseSchema(source: unknown, problems: Problems): JsonMap | undefined {
  const plain = toJson(source, "schema", 0, problems);
  if (!isMap(plain)) {
    problems.push(`a schema must be an object, and this is ${quoted(source)}`);
    return undefined;
  }
  const { control, ...rest } = plain;
  if (control !== undefined && rest.process !== undefined) {
    problems.push('both "process" and "control" are given, which are two names of one thing: keep "process"');
  }
  const named = control !== undefined && rest.process === undefined ? { ...rest, process: control } : rest;
  if (!isMap(named.models)) return named;
  return { ...named, models: mapEntries(named.models, (model) => isMap(model) ? normaliseFields(model) : model) };
}

/** One spelling for each type, so that equal schemas have equal texts. */
function normaliseFields(fields: JsonMap): JsonMap {
  return mapEntries(fields, normaliseField);
}

function normaliseField(field: Json): Json {
  if (!isMap(field)) return field;
  return mapEntries(field, (value, key) => {
    if (key === "type" && typeof value === "string") {
      const type = value.toLowerCase();
      return type === "buffer" || type === "arraybuffer" ? "binary" : type;
    }
    if (key === "schema" && isMap(value)) return normaliseFields(value);
    return key === "items" ? normaliseField(value) : value;
  });
}

function mapEntries(map: JsonMap, change: (value: Json, key: string) => Json): JsonMap {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value, key)]));
}

function toJson(value: unknown, path: string, depth: number, problems: Problems): Json | undefined {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (value === undefined) return undefined;
  if (depth > depthMax) {
    problems.push(`${path.slice(0, 60)}… is nested deeper than ${depthMax} levels`);
    return undefined;
  }
  if (typeof value === "function") {
    // `type: String`: a constructor means its name. Elsewhere, the compiler reads the function's text.
    return path.endsWith(".type") ? value.name.toLowerCase() : functionToJson(value);
  }
  if (value instanceof RegExp) return `/${value.source}/${value.flags}`;
  if (value instanceof Date) {
    if (!Number.isNaN(value.getTime())) return value.toISOString();
  } else if (Array.isArray(value)) {
    return value.map((member, i) => toJson(member, `${path}[${i}]`, depth + 1, problems) ?? null);
  } else if (value instanceof Set) {
    return toJson([...value], path, depth, problems);
  } else if (typeof value === "object") {
    const entries = Object.entries(value).map(([key, member]) =>
      [key, toJson(member, `${path}.${key}`, depth + 1, problems)] as const
    );
    // Object.fromEntries defines keys as they are: a `__proto__` in hostile JSON stays a plain key.
    return Object.fromEntries(entries.filter((entry): entry is [string, Json] => entry[1] !== undefined));
  }
  problems.push(`${path} is ${quoted(String(value))}, which JSON can't hold`);
  return undefined;
}
