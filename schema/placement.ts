/**
 * Where a field's value is in the table's item. Most fields are an attribute of their own. OneTable also knows two
 * others: a **packed** field (`map: "a.b"`) is one entry of a map that several fields share, and an **encoded** one
 * (`encode: ["sk", "#", 1]`) is only inside a computed attribute, between separators.
 *
 * On the wire and on a device, items are always flat: a packed field is the attribute `a.b`, an encoded one has its own
 * name. {@link placeAttributes} and {@link unplaceItem} convert at the table's edge; nothing else knows the difference.
 *
 * @module
 */
import { SyncError } from "./errors.ts";
import { idIn } from "./identity.ts";
import type { Field, Identity, Model } from "./model.ts";
import { isName, quoted } from "./names.ts";
import type { JsonMap } from "./normalise.ts";
import { canonicalDecimal, numberToJson } from "./numbers.ts";
import { renderTemplate, type Template, type TemplatePart } from "./template.ts";
import { type Attributes, escape, isMap, type Item, type Json, unescape } from "./values.ts";

type Place = Pick<Field, "attribute" | "packed">;
type Report = (text: string) => void;

/** The attribute that `map` gives a field. */
export function compilePlace(name: string, raw: JsonMap, nested: boolean, report: Report): Place {
  const map = raw.map;
  if (map === undefined || map === "" || map === false) return { attribute: name };
  const parts = typeof map === "string" ? map.split(".") : [];
  const [attribute = "", entry] = parts;
  if (parts.length === 2 && parts.every(isName) && !nested) {
    return { attribute: map as string, packed: [attribute, entry!] };
  }
  if (parts.length === 1 && isName(attribute)) return { attribute };
  const rule = nested ? "an attribute name" : 'an attribute name, or two with a dot between them ("a.b")';
  report(`"map" must be ${rule}, of letters, digits and _, and is ${quoted(map)}`);
  return { attribute: name };
}

/**
 * Works out `encode` of a model's fields, whose templates are resolved: which piece of which attribute each one is.
 *
 * @param raw the model's fields as the schema gives them
 */
export function compileEncoded(
  fields: Map<string, Field>,
  raw: JsonMap,
  separator: string,
  report: (text: string) => void,
): void {
  for (const [name, field] of fields) {
    const given = raw[name];
    const encode = isMap(given) ? given.encode : undefined;
    if (encode === undefined || encode === false) continue;
    const refuse = (why: string) => report(`field "${name}": "encode" ${why}`);
    const [attribute, by, index] = Array.isArray(encode) ? encode : [encode, separator, undefined];
    if (typeof attribute !== "string" || typeof by !== "string" || by === "") {
      refuse('must be the name of a field with "value", or [attribute, separator, number]');
      continue;
    }
    const holder = [...fields.values()].find((f) => f.attribute === attribute || f.name === attribute);
    if (!holder?.template) {
      refuse(`names ${quoted(attribute)}, which is not a field with a "value" template`);
      continue;
    }
    const pieces = split(holder.template, by);
    const isOwn = (piece: readonly TemplatePart[] | undefined) =>
      piece?.length === 1 && "field" in piece[0]! && piece[0].field === name && piece[0].width === undefined;
    const at = typeof index === "number" ? index : pieces.findIndex(isOwn);
    const before = pieces.slice(0, at + 1).flat().flatMap((part) => "field" in part ? [part.field] : []);
    const dated = before.find((n) => fields.get(n)?.type === "date" && fields.get(n)?.isoDates && /[-:.TZ\d]/.test(by));
    if (!isOwn(pieces[at])) {
      refuse(`: piece ${at} of "${holder.template.text}" by ${quoted(by)} is not \${${name}} alone`);
    } else if (!["string", "number", "boolean"].includes(field.type)) {
      refuse("needs the type string, number or boolean");
    } else if (field.packed || field.template || !field.synced) {
      refuse('has no meaning beside "map", "value" or "sync"');
    } else if (dated !== undefined) refuse(`can't be split by ${quoted(by)}, which a date (${dated}) has in it`);
    else {
      const whole = before.filter((n) => fields.get(n)?.type === "string");
      fields.set(name, {
        ...field,
        encoded: { attribute: holder.attribute, holder: holder.name, separator: by, index: at, whole },
      });
    }
  }
}

/** A template's pieces between separators, in the way that its rendered texts are split. */
function split(template: Template, separator: string): TemplatePart[][] {
  const pieces: TemplatePart[][] = [[]];
  for (const part of template.parts) {
    if (!("literal" in part)) {
      pieces.at(-1)!.push(part);
      continue;
    }
    const [first = "", ...rest] = part.literal.split(separator);
    if (first !== "") pieces.at(-1)!.push({ literal: first });
    for (const text of rest) pieces.push(text === "" ? [] : [{ literal: text }]);
  }
  return pieces;
}

const placed = new WeakMap<Model, readonly Field[]>();

/** The model's packed and encoded fields. */
function placedFields(model: Model): readonly Field[] {
  let fields = placed.get(model);
  if (!fields) placed.set(model, fields = model.fields.filter((field) => field.packed || field.encoded));
  return fields;
}

/** Whether items of the model have another form in the table than on the wire. */
export function isPlaced(model: Model): boolean {
  return placedFields(model).length > 0;
}

/** Flat attributes as the table's item holds them: packed ones in their maps, encoded ones left out. */
export function placeAttributes(model: Model, attributes: Attributes): Attributes {
  if (!isPlaced(model)) return attributes;
  const item: Record<string, Json> = { ...attributes };
  for (const field of placedFields(model)) {
    const value = Object.hasOwn(attributes, field.attribute) ? attributes[field.attribute] : undefined;
    delete item[field.attribute];
    if (!field.packed || value === undefined) continue;
    const [attribute, entry] = field.packed;
    item[attribute] = escape({ ...(unescape(item[attribute]) ?? {}), [entry]: value });
  }
  return item;
}

/**
 * The computed attributes that contain a model's encoded fields, rendered from these flat attributes. Those of the
 * primary key are left out, because the item's key holds them.
 */
export function holdersOf(model: Model, attributes: Attributes, identity: Identity): Attributes {
  const keys = [model.hashKey.attribute, model.sortKey?.attribute];
  const get = (name: string) =>
    idIn(model, identity, name) ?? attributes[model.fields.find((field) => field.name === name)?.attribute ?? name];
  const holders: Record<string, Json> = {};
  for (const { encoded } of placedFields(model)) {
    if (!encoded || keys.includes(encoded.attribute)) continue;
    const template = model.fields.find((field) => field.name === encoded.holder)?.template;
    const text = template && renderTemplate(template, get);
    if (text !== undefined) holders[encoded.attribute] = text;
  }
  return holders;
}

/** A table's item in flat form. Entries of a shared map that no field names stay under the map's own name. */
export function unplaceItem(model: Model, item: Item): Item {
  if (!isPlaced(model)) return item;
  const flat: Record<string, Json> = { ...item };
  for (const field of placedFields(model)) {
    if (field.encoded) {
      const value = Object.hasOwn(item, field.attribute) ? undefined : decode(field, item[field.encoded.attribute]);
      if (value !== undefined) flat[field.attribute] = value;
      continue;
    }
    const [attribute, entry] = field.packed!;
    const map = unescape(flat[attribute]);
    if (!map || !Object.hasOwn(map, entry)) continue;
    const { [entry]: value, ...rest } = map;
    flat[field.attribute] = value!;
    if (Object.keys(rest).length === 0) delete flat[attribute];
    else flat[attribute] = escape(rest);
  }
  return flat;
}

/** The value of an encoded field, as a value of its type; undefined if the text has no such piece. */
function decode(field: Field, text: Json | undefined): Json | undefined {
  const { separator, index } = field.encoded!;
  const piece = typeof text === "string" ? text.split(separator)[index] : undefined;
  if (piece === undefined) return undefined;
  if (field.type === "boolean") return piece === "true" ? true : piece === "false" ? false : undefined;
  if (field.type !== "number") return piece;
  return canonicalDecimal(piece) === undefined ? undefined : numberToJson(piece);
}

/**
 * Refuses encoded values that would not be read back from the item as they are.
 *
 * @throws SyncError `invalid`
 */
export function checkEncoded(model: Model, attributes: Attributes, item: Item): void {
  for (const field of placedFields(model)) {
    const value = Object.hasOwn(attributes, field.attribute) ? attributes[field.attribute] : undefined;
    if (!field.encoded || value === undefined || value === null) continue;
    const back = decode(field, item[field.encoded.attribute]);
    if (JSON.stringify(back) === JSON.stringify(value)) continue;
    const { attribute, separator } = field.encoded;
    throw new SyncError(
      "invalid",
      typeof item[attribute] === "string"
        ? `${field.name} = ${quoted(value)} stands only inside ${attribute}, where ${
          quoted(separator)
        } separates: it, and ` +
          `what stands before it there, can't have it`
        : `${field.name} stands only inside ${attribute}, which lacks another value`,
    );
  }
}
