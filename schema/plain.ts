/**
 * Items as plain JSON, as the cloud's HTTP API speaks it: dates as ISO text, binary as base64, sets as lists, numbers that
 * a double can't hold as decimal text, hidden attributes left out. The schema says what each value is.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { checkAttributes } from "./check.ts";
import { dateToJson, jsonToDate } from "./dates.ts";
import { SyncError } from "./errors.ts";
import { generateValue } from "./generate.ts";
import { fieldOf, fieldOfAttribute } from "./item.ts";
import { idIn } from "./identity.ts";
import type { Field, Identity, Model, Schema } from "./model.ts";
import { quoted } from "./names.ts";
import { isSlipOf } from "./slips.ts";
import { unplaceItem } from "./placement.ts";
import { canonicalDecimal, numberToJson } from "./numbers.ts";
import {
  type Attributes,
  bytesToBase64,
  escape,
  isMap,
  type Item,
  type Json,
  setOf,
  sourceAttribute,
  stampAttribute,
  tagOf,
  unescape,
} from "./values.ts";

/** The context of {@link fromPlain}: time, randomness, and the item's owner. */
export interface PlainContext {
  /** The time of writing, ms since 1970: timestamps and ULIDs. */
  readonly now: number;
  /** Numbers in [0, 1), for generated ids. */
  readonly random: () => number;
  /** Supplies deviceId and accountId if the item lacks them. */
  readonly identity?: Partial<Identity>;
  /**
   * The item as the writer saw it. Differences that plain JSON cannot express stay as they are stored: a value that
   * reads the same keeps its type, and hidden properties, which the writer could not see, stay unless the writer gives
   * them.
   */
  readonly seen?: Item;
}

/** An item as plain JSON, by property name. Unknown attributes are included by attribute name. */
export function toPlain(schema: Schema, model: Model, stored: Item): Record<string, unknown> {
  const item = unplaceItem(model, stored);
  const entries: [string, unknown][] = [];
  for (const field of model.fields) {
    const value = Object.hasOwn(item, field.attribute) ? item[field.attribute] : undefined;
    if (value !== undefined && !field.hidden) entries.push([field.name, plainValue(field, value)]);
  }
  for (const [attribute, value] of Object.entries(item)) {
    if (isInternal(schema, attribute) || fieldOfAttribute(model, attribute)) continue;
    if (!fieldOf(model, attribute)) entries.push([attribute, plainJson(value)]);
  }
  return Object.fromEntries(entries);
}

function isInternal(schema: Schema, attribute: string): boolean {
  return attribute === sourceAttribute || attribute === stampAttribute || attribute === schema.typeField;
}

function plainValue(field: Field, value: Json): unknown {
  if (value === null) return null;
  switch (field.type) {
    case "date":
      return jsonToDate(field, value)?.toISOString() ?? plainJson(value);
    case "array":
      return field.items && Array.isArray(value)
        ? value.map((member) => plainValue(field.items!, member))
        : plainJson(value);
    case "object": {
      const map = field.nested ? unescape(value) : undefined;
      return map ? plainMap(field.nested!, map) : plainJson(value);
    }
    default:
      return plainJson(value);
  }
}

function plainMap(fields: readonly Field[], map: { readonly [key: string]: Json }): unknown {
  const byName = new Map(fields.map((field) => [field.attribute, field]));
  return Object.fromEntries(
    Object.entries(map).flatMap(([key, value]) => {
      const field = byName.get(key);
      if (!field) return [[key, plainJson(value)]];
      return field.hidden ? [] : [[field.name, plainValue(field, value)]];
    }),
  );
}

/** A value that no field describes: tags become what plain JSON has for them. */
function plainJson(value: Json): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(plainJson);
  const tag = tagOf(value);
  if (tag === "$n") return (value as { $n: Json }).$n;
  if (tag === "$b") return (value as { $b: Json }).$b;
  const set = setOf(value);
  if (set) return set.tag === "$ns" ? set.members.map((member) => plainJson(numberToJson(member))) : set.members;
  const map = unescape(value) ?? (value as { readonly [key: string]: Json });
  return Object.fromEntries(Object.entries(map).map(([key, member]) => [key, plainJson(member)]));
}

/**
 * The attributes of a plain item, complete and checked: missing defaults, generated ids and identity are filled in,
 * `created` is set unless given, `updated` is set. Computed properties are ignored, because they are derived; unknown
 * ones stay under their names, unless they look like a misspelt property that is not given.
 *
 * @throws SyncError `invalid` with the first reason why the item is invalid.
 */
export function fromPlain(schema: Schema, model: Model, plain: unknown, context: PlainContext): Attributes {
  const refuse = (reason: string) => new SyncError("invalid", `the ${model.name} item is refused: ${reason}`);
  if (typeof plain !== "object" || plain === null || Array.isArray(plain)) throw refuse("it must be an object");
  const given = plain as Record<string, unknown>;
  const seen = context.seen && unplaceItem(model, context.seen);
  const entries: [string, Json][] = [];
  const add = (attribute: string, value: Json | undefined) => {
    if (value !== undefined) entries.push([attribute, value]);
  };
  try {
    for (const field of model.fields) {
      if (field.template) continue;
      const value = Object.hasOwn(given, field.name) ? given[field.name] : undefined;
      if (!field.synced) {
        if (value !== undefined) throw new RangeError(`${field.name} never leaves a device ("sync": "none")`);
        continue;
      }
      add(field.attribute, seenValue(seen, field, value) ?? complete(field, value, context, model));
    }
    for (const [name, value] of Object.entries(given)) {
      if (isInternal(schema, name) || fieldOf(model, name)) continue;
      const owner = fieldOfAttribute(model, name);
      if (owner) throw new RangeError(`${name} is the attribute of ${owner.name}: give it by that name`);
      const meant = model.fields.find((field) => !Object.hasOwn(given, field.name) && isSlipOf(name, field.name));
      if (meant) {
        throw new RangeError(
          `the schema has no ${
            quoted(name)
          }: is ${meant.name} meant? To have both, give ${meant.name} as well (null: none)`,
        );
      }
      const stored = seen && Object.hasOwn(seen, name) ? seen[name] : undefined;
      add(name, stored !== undefined && isDeepStrictEqual(plainJson(stored), value) ? stored : plainToJson(value));
    }
  } catch (error) {
    if (error instanceof RangeError) throw refuse(error.message);
    throw error;
  }
  const attributes = Object.fromEntries(entries);
  const problem = checkAttributes(model, attributes);
  if (problem !== undefined) throw refuse(problem);
  return attributes;
}

/** The stored value, if the writer saw it and leaves it unchanged. */
function seenValue(seen: Attributes | undefined, field: Field, value: unknown): Json | undefined {
  const stored = seen && Object.hasOwn(seen, field.attribute) ? seen[field.attribute] : undefined;
  if (stored === undefined || field.timestamp === "updated") return undefined;
  if (value === undefined) return field.hidden ? stored : undefined;
  return isDeepStrictEqual(plainValue(field, stored), value) ? stored : undefined;
}

/**
 * The properties of a plain item that the schema does not have, as paths (`size.heigth`): in the item, and in objects and lists
 * whose fields it describes.
 */
export function unknownNames(schema: Schema, model: Model, plain: unknown): string[] {
  if (!isMap(plain)) return [];
  const isOwn = (name: string) => isInternal(schema, name) || fieldOfAttribute(model, name) !== undefined;
  return unknownIn(model.fields, plain, "", isOwn);
}

function unknownIn(
  fields: readonly Field[],
  map: { readonly [name: string]: unknown },
  path: string,
  isOwn = (_name: string) => false,
): string[] {
  return Object.entries(map).flatMap(([name, value]) => {
    const field = fields.find((one) => one.name === name);
    if (!field) return isOwn(name) ? [] : [path + name];
    return unknownInValue(field, value, path + name);
  });
}

function unknownInValue(field: Field, value: unknown, path: string): string[] {
  if (field.nested && isMap(value)) return unknownIn(field.nested, value, `${path}.`);
  if (!field.items || !Array.isArray(value)) return [];
  return value.flatMap((member, at) => unknownInValue(field.items!, member, `${path}[${at}]`));
}

/** A field's value in an item; a missing value is generated. */
function complete(field: Field, value: unknown, context: PlainContext, model?: Model): Json | undefined {
  if (field.timestamp === "updated") return dateToJson(field, new Date(context.now));
  if (value === null) return field.nulls ? null : undefined;
  if (value !== undefined) return fieldToJson(field, value, context);
  if (field.timestamp === "created") return dateToJson(field, new Date(context.now));
  const id = context.identity && model && idIn(model, context.identity, field.name);
  if (id !== undefined) return id;
  if (field.default !== undefined) return fieldToJson(field, field.default, context);
  if (field.defaultNow) return fieldToJson(field, context.now, context);
  if (field.generate) return generateValue(field, context.now, context.random);
  // As OneTable: a required nested object or list starts out empty, so that its own defaults apply.
  if (field.required && field.nested) return fieldToJson(field, {}, context);
  return field.required && field.items && field.type === "array" ? [] : undefined;
}

function fieldToJson(field: Field, value: unknown, context: PlainContext): Json {
  switch (field.type) {
    case "date": {
      const date = new Date(typeof value === "string" || typeof value === "number" ? value : NaN);
      if (Number.isNaN(date.getTime())) throw new RangeError(`${field.name} must be a date, and is ${quoted(value)}`);
      return dateToJson(field, date);
    }
    case "number":
      if (typeof value !== "string" || canonicalDecimal(value) === undefined) return plainToJson(value);
      return numberToJson(value);
    case "set":
      return setToJson(field, value);
    case "array":
      if (!field.items || !Array.isArray(value)) return plainToJson(value);
      return value.map((member) => member === null ? null : fieldToJson(field.items!, member, context));
    case "object":
      if (!field.nested || !isMap(value)) return plainToJson(value);
      // A nested deviceId is ordinary data.
      return objectToJson(field.nested, value, { now: context.now, random: context.random });
    default:
      return plainToJson(value);
  }
}

function objectToJson(fields: readonly Field[], value: Record<string, unknown>, context: PlainContext): Json {
  const names = new Set(fields.map((field) => field.name));
  const known = fields.flatMap((field): [string, Json][] => {
    const json = complete(field, Object.hasOwn(value, field.name) ? value[field.name] : undefined, context);
    return json === undefined ? [] : [[field.attribute, json]];
  });
  const unknown = Object.entries(value).filter(([key]) => !names.has(key)).map(([key, member]) =>
    [key, plainToJson(member)] as const
  );
  return escape(Object.fromEntries([...known, ...unknown]));
}

function setToJson(field: Field, value: unknown): Json {
  if (!Array.isArray(value)) return plainToJson(value);
  const members = [...new Set(value)];
  const isNumeric = field.members === "number" ||
    (field.members === undefined && members.every((member) => typeof member === "number"));
  if (isNumeric) {
    const texts = members.map((member) => canonicalDecimal(String(member)));
    const wrong = texts.findIndex((text) => text === undefined);
    if (wrong >= 0) {
      throw new RangeError(`${field.name} has the member ${quoted(members[wrong])}, which is not a number`);
    }
    return { $ns: texts as string[] };
  }
  const wrong = members.find((member) => typeof member !== "string");
  if (wrong !== undefined) throw new RangeError(`${field.name} has the member ${quoted(wrong)}, which is not a string`);
  return field.members === "binary" ? { $bs: members as string[] } : { $ss: members as string[] };
}

/** A plain value that no field describes: JSON as it is, maps that look like tags wrapped. */
function plainToJson(value: unknown): Json {
  if (value instanceof Uint8Array) return bytesToBase64(value);
  if (Array.isArray(value)) return value.map(plainToJson);
  if (typeof value === "object" && value !== null) {
    return escape(Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plainToJson(member)])));
  }
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value === "bigint") return numberToJson(String(value));
  throw new RangeError(`${quoted(value)} is no JSON value`);
}
