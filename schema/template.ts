/**
 * Value templates: `device#${deviceId}:${n:8:0}`. Parsed once into parts, rendered here for the cloud and the agent,
 * and as SQL by the agent's DDL, which must give the same text (a property test compares them).
 *
 * @module
 */
import { keyNumberText } from "./numbers.ts";
import type { Json } from "./values.ts";

/** A literal text, or a field to insert, padded at the left to `width` with `pad`. */
export type TemplatePart =
  | { readonly literal: string }
  | { readonly field: string; readonly width?: number; readonly pad?: string };

/** A parsed template. */
export interface Template {
  /** As the schema has it. */
  readonly text: string;
  /** Literals and fields in turn. */
  readonly parts: readonly TemplatePart[];
}

const beyondBmp = /[\ud800-\udfff]/;
/** DynamoDB's sort key holds 1024 bytes: a wider padding could never be stored. */
const widthMax = 1024;

/**
 * Parses a value template: text with `${field}` and `${field:width:pad}` (pad: one character, `0` if left out).
 *
 * @throws RangeError for any other placeholder. A path (`${a.b}`) is not supported.
 */
export function parseTemplate(text: string): Template {
  const parts: TemplatePart[] = [];
  let end = 0;
  // A placeholder as OneTable finds it: the shortest `${…}`. Without a regular expression, which would try each `${` to
  // the text's end.
  while (true) {
    const from = text.indexOf("${", end), to = from < 0 ? -1 : text.indexOf("}", from);
    if (to < 0) break;
    if (from > end) parts.push({ literal: text.slice(end, from) });
    parts.push(parsePlaceholder(text.slice(from + 2, to)));
    end = to + 1;
  }
  if (end < text.length) parts.push({ literal: text.slice(end) });
  for (const part of parts) {
    if ("literal" in part && part.literal.includes("${")) throw new RangeError(`"\${" without "}" in "${text}"`);
  }
  return { text, parts };
}

function parsePlaceholder(inside: string): TemplatePart {
  const [field = "", width = "", pad = "", ...rest] = inside.split(":");
  const where = `in the placeholder "\${${inside}}"`;
  if (/[.[\]]/.test(field)) throw new RangeError(`a path ${where} is not supported: name a field of the model itself`);
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(field)) throw new RangeError(`no field name ${where}`);
  if (rest.length > 0) throw new RangeError(`more than a width and a padding character ${where}`);
  if (width === "" && pad !== "") throw new RangeError(`padding without a width ${where}`);
  if (width === "") return { field };
  if (!/^\d{1,4}$/.test(width) || Number(width) > widthMax) {
    throw new RangeError(`the width ${where} is not a whole number of 0 to ${widthMax}`);
  }
  // OneTable would repeat a longer pad as a whole and overshoot the width; SQL would not. One code unit has one meaning.
  if (pad.length > 1) throw new RangeError(`the padding ${where} is more than one character`);
  return { field, width: Number(width), pad: pad === "" ? "0" : pad };
}

/**
 * The template's text with the fields inserted, byte for byte as OneTable renders it: strings as they are, integers in
 * decimal, booleans as `true` and `false`, padded at the left to a number of UTF-16 code units. Undefined if a named
 * field is missing or null, or has another kind of value (a fraction, a list, …; an emoji where padded).
 *
 * @param get The field's value by its name in the schema.
 */
export function renderTemplate(template: Template, get: (field: string) => Json | undefined): string | undefined {
  let text = "";
  for (const part of template.parts) {
    if ("literal" in part) {
      text += part.literal;
      continue;
    }
    const value = get(part.field);
    if (value === undefined || value === null) return undefined;
    const put = typeof value === "string" ? value : typeof value === "boolean" ? String(value) : keyNumberText(value);
    if (put === undefined) return undefined;
    // SQL counts code points, OneTable UTF-16 code units: where these differ, a padded key would become two keys.
    if (part.width !== undefined && beyondBmp.test(put)) return undefined;
    text += part.width === undefined ? put : put.padStart(part.width, part.pad ?? "0");
  }
  return text;
}

/** The fields that a template names, each once, in order of appearance. */
export function templateFields(template: Template): string[] {
  const names = template.parts.flatMap((part) => "field" in part ? [part.field] : []);
  return [...new Set(names)];
}
