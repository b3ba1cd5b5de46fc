/**
 * Items and their attributes. An **item** is what the table holds; its **attributes** are what travels and what an
 * application writes: without computed values (keys, `value` templates), the typeField and the hidden `_source` and
 * `_stamp`, all of which each side derives or stores itself. {@link completeItem} and {@link stripItem} convert between
 * the two.
 *
 * @module
 */
import type { Channel, Key, Version } from "../protocol.ts";
import { isWellFormed } from "./check.ts";
import { comesDown } from "./direction.ts";
import { SyncError } from "./errors.ts";
import { idIn } from "./identity.ts";
import { idAt } from "./key_identity.ts";
import type { Field, Identity, Model, Schema } from "./model.ts";
import { isId, quoted } from "./names.ts";
import { checkEncoded, isPlaced, placeAttributes, unplaceItem } from "./placement.ts";
import { renderTemplate, type Template } from "./template.ts";
import { type Attributes, type Item, type Json, sourceAttribute, stampAttribute } from "./values.ts";

/** DynamoDB's limits: a hash value of 2048 bytes, a sort value of 1024. */
const hashBytesMax = 2048;
const sortBytesMax = 1024;

/** What every item needs, computed once for each model. */
interface Lookup {
  readonly byName: ReadonlyMap<string, Field>;
  readonly byAttribute: ReadonlyMap<string, Field>;
  readonly computed: readonly Field[];
}

const lookups = new WeakMap<Model, Lookup>();

function lookupOf(model: Model): Lookup {
  let lookup = lookups.get(model);
  if (!lookup) {
    lookup = {
      byName: new Map(model.fields.map((field) => [field.name, field])),
      byAttribute: new Map(model.fields.map((field) => [field.attribute, field])),
      computed: model.fields.filter((field) => field.template !== undefined),
    };
    lookups.set(model, lookup);
  }
  return lookup;
}

/** The model's field of this name in the schema. */
export function fieldOf(model: Model, name: string): Field | undefined {
  return lookupOf(model).byName.get(name);
}

/** The model's field with this attribute name in the table. */
export function fieldOfAttribute(model: Model, attribute: string): Field | undefined {
  return lookupOf(model).byAttribute.get(attribute);
}

/** The model of a table's item, by its typeField; undefined if the item belongs to no model of the schema. */
export function modelOf(schema: Schema, item: Item): Model | undefined {
  const type = item[schema.typeField];
  return typeof type === "string" ? schema.models.get(type) : undefined;
}

/**
 * The primary key that an item carries.
 *
 * @throws SyncError `invalid` if a key attribute is missing or no string.
 */
export function keyOf(schema: Schema, item: Item): Key {
  const hash = item[schema.primary.hash];
  const sort = schema.primary.sort === undefined ? "" : item[schema.primary.sort];
  if (typeof hash !== "string" || typeof sort !== "string") {
    throw new SyncError("invalid", `an item's key is ${quoted(hash)}, ${quoted(sort)}: two strings are required`);
  }
  return [hash, sort];
}

function getter(model: Model, attributes: Attributes, identity?: Identity): (name: string) => Json | undefined {
  const { byName } = lookupOf(model);
  return (name) => {
    const isIdentity = model.identityFields.includes(name);
    const attribute = byName.get(name)?.attribute ?? name;
    const value = isIdentity && identity ? idIn(model, identity, name) : own(attributes, attribute);
    return isIdentity && !isIdOf(model, value) ? undefined : value;
  };
}

/** Whether the value may be an id in the model's key: it must not contain the characters that separate ids there. */
function isIdOf({ keyIdentity: { separators } }: Model, value: Json | undefined): value is string {
  if (!isId(value)) return false;
  for (const character of separators) if (value.includes(character)) return false;
  return true;
}

function own(attributes: Attributes, attribute: string): Json | undefined {
  return Object.hasOwn(attributes, attribute) ? attributes[attribute] : undefined;
}

/**
 * The primary key that the model's templates make of attributes (by attribute name). If the templates name deviceId or
 * accountId and an identity is given, the identity's values are used, whatever the attributes say.
 *
 * @returns undefined if a named value is missing, can't be in a key, or makes a key that DynamoDB refuses (empty, not
 * Unicode, or above 2048 bytes for the hash and 1024 for the sort value).
 */
export function renderKey(model: Model, attributes: Attributes, identity?: Identity): Key | undefined {
  const get = getter(model, attributes, identity);
  const hash = renderKeyPart(model.hashKey.template, get, hashBytesMax);
  const sort = model.sortKey ? renderKeyPart(model.sortKey.template, get, sortBytesMax) : "";
  return hash === undefined || sort === undefined ? undefined : [hash, sort];
}

function renderKeyPart(
  template: Template,
  get: (name: string) => Json | undefined,
  bytesMax: number,
): string | undefined {
  const text = renderTemplate(template, get);
  return text === undefined || text === "" || !text.isWellFormed() || !fits(text, bytesMax) ? undefined : text;
}

const encoder = new TextEncoder();

function fits(text: string, bytesMax: number): boolean {
  // A UTF-16 code unit takes three bytes at most: short texts need no encoding to be measured.
  return text.length * 3 <= bytesMax || encoder.encode(text).length <= bytesMax;
}

/**
 * The whole item that attributes make, as `dynamodb-onetable` would write it: with the identity that the key names
 * (forced to the given one), every computed attribute, and the typeField. Attributes that never leave a device, stale
 * computed ones, nulls of fields that don't store them, and a `_source` or `_stamp` are left out; unknown ones stay.
 *
 * @param key the result of {@link renderKey} for these, if already known
 * @throws SyncError `invalid` if a key can't be rendered, or an index attribute would be empty or null.
 */
export function completeItem(
  schema: Schema,
  model: Model,
  attributes: Attributes,
  identity?: Identity,
  key: Key | undefined = renderKey(model, attributes, identity),
): Item {
  const { byAttribute, byName, computed } = lookupOf(model);
  const flat: Record<string, Json> = {};
  for (const attribute of Object.keys(attributes)) {
    const value = attributes[attribute]!;
    if (attribute === sourceAttribute || attribute === stampAttribute || attribute === schema.typeField) continue;
    const field = byAttribute.get(attribute);
    if (field && (field.template || !field.synced || (value === null && !field.nulls))) continue;
    put(flat, attribute, value);
  }
  const item = isPlaced(model) ? { ...placeAttributes(model, flat) } : flat;
  if (identity) {
    for (const name of model.identityFields) {
      const field = byName.get(name);
      if (!field?.encoded) item[field?.attribute ?? name] = idIn(model, identity, name)!;
    }
  }
  const get = getter(model, attributes, identity);
  for (const field of computed) {
    const text = renderTemplate(field.template!, get);
    if (text !== undefined) item[field.attribute] = text;
  }
  if (!key) throw new SyncError("invalid", keyProblem(model, get));
  item[model.hashKey.attribute] = key[0];
  item[schema.typeField] = model.name;
  if (model.sortKey) item[model.sortKey.attribute] = key[1];
  checkIndexes(schema, model, item);
  checkEncoded(model, flat, item);
  return item;
}

/** A hostile `__proto__` becomes a plain attribute. */
function put(item: Record<string, Json>, attribute: string, value: Json): void {
  if (attribute !== "__proto__") item[attribute] = value;
  else Object.defineProperty(item, attribute, { value, enumerable: true, configurable: true, writable: true });
}

/** Why a model's key could not be rendered: the first value that is missing or unfit. */
function keyProblem(model: Model, get: (name: string) => Json | undefined): string {
  const { separators } = model.keyIdentity;
  for (const name of [...model.identityFields, ...model.keyFields]) {
    const value = get(name);
    if (value === undefined || value === null) {
      const unless = separators !== "" && model.identityFields.includes(name)
        ? `, or has ${quoted(separators)}, which separates ids there`
        : "";
      return `the key of ${model.name} needs ${name}, which is missing${unless}`;
    }
    if (model.identityFields.includes(name)) continue;
    if (renderTemplate({ text: "", parts: [{ field: name }] }, () => value) === undefined) {
      return `the key of ${model.name} can't hold ${name} = ${
        quoted(value)
      }: whole numbers of 64 bits can stand in a key`;
    }
  }
  if ([...model.identityFields, ...model.keyFields].some((name) => !isWellFormed(get(name) ?? null))) {
    return `the key of ${model.name} has half a surrogate pair, which is not text`;
  }
  return `the key of ${model.name} is empty, above ${hashBytesMax} (hash) or ${sortBytesMax} (sort) bytes, or padded ` +
    "where a character takes two code units";
}

function checkIndexes(schema: Schema, model: Model, item: Item): void {
  for (const { name, hash, sort } of schema.indexes) {
    for (const attribute of sort === undefined ? [hash] : [hash, sort]) {
      const value = own(item, attribute);
      if (value === "" || value === null) {
        const text = value === null ? "null" : "empty";
        throw new SyncError(
          "invalid",
          `${attribute} of ${model.name} is ${text}, which its index "${name}" can't hold`,
        );
      }
    }
  }
}

/**
 * The attributes of a table's item: without computed ones, those that never leave a device, the typeField, `_source` and
 * `_stamp`. With an identity, also without the identity that the key names, where it equals the given one.
 */
export function stripItem(schema: Schema, model: Model, item: Item, identity?: Identity): Attributes {
  const { byAttribute } = lookupOf(model);
  const entries = Object.entries(unplaceItem(model, item)).filter(([attribute, value]) => {
    if (attribute === sourceAttribute || attribute === stampAttribute || attribute === schema.typeField) return false;
    // A key attribute without a field of its own comes from the typeField (a template of literals).
    const field = byAttribute.get(attribute);
    if (!field) return true;
    if (field.template || !field.synced) return false;
    return !(identity && model.identityFields.includes(field.name) && idIn(model, identity, field.name) === value);
  });
  return Object.fromEntries(entries);
}

/** Who wrote the item's version and its stamp; undefined if either is missing or malformed. */
export function versionOf(item: Item): Version | undefined {
  const source = item[sourceAttribute], stamp = item[stampAttribute];
  if (typeof source !== "string" || source === "" || typeof stamp !== "number") return undefined;
  return Number.isSafeInteger(stamp) && stamp >= 0 ? [source, stamp] : undefined;
}

/**
 * The device's or the account's id that an item names: its attribute, or, if it has none, the id in its key.
 *
 * @returns undefined if it names none; not necessarily an id, if another writer stored something else there
 */
export function idOfItem(model: Model, item: Item, role: keyof Identity): Json | undefined {
  const name = model.identityNames[role];
  const value = own(item, fieldOf(model, name)?.attribute ?? name);
  const locator = value === undefined ? model.keyIdentity.locators[role] : undefined;
  if (!locator) return value;
  const text = own(item, locator.part === "hash" ? model.hashKey.attribute : model.sortKey!.attribute);
  return typeof text === "string" ? idAt(locator, text, model.keyIdentity.separators) : undefined;
}

/**
 * The channel that an item's changes enter: `device:<id>`, `account:<id>` or `global`. Undefined if the item lacks the
 * id that its scope needs, or has an invalid one.
 */
export function channelOf(model: Model, item: Item): Channel | undefined {
  if (model.scope === "global") return "global";
  const id = idOfItem(model, item, model.scope === "device" ? "deviceId" : "accountId");
  return isId(id) ? `${model.scope}:${id}` : undefined;
}

/** The channels that a device of this identity reads: those on which at least one model comes down. */
export function channelsOf(schema: Schema, identity: Identity): Channel[] {
  const scopes = new Set(
    [...schema.models.values()]
      .filter((model) => model.onDevice && comesDown(model))
      .map((model) => model.scope),
  );
  const channels: Channel[] = [];
  if (scopes.has("device")) channels.push(`device:${identity.deviceId}`);
  if (scopes.has("account")) channels.push(`account:${identity.accountId}`);
  if (scopes.has("global")) channels.push("global");
  return channels;
}
