/**
 * Changes in a form for people: `demo-1 → table Event put event#01J… {"severity":"warn"}`.
 *
 * @module
 */
import { deviceOf } from "../protocol/versions.ts";
import type { StreamRecord } from "../cloud/table/port.ts";
import { type Item, modelOf, type Schema, toPlain, versionOf } from "../schema.ts";

/** The most characters of an item in a line, and of one value. */
const contentMax = 100, valueMax = 60;

/**
 * The attributes of an item that interest a person: without keys, ids of the scope, and timestamps. As many whole ones
 * as there is room for; `…` stands for others, and for the rest of a long value.
 */
export function brief(schema: Schema, item: Item): string {
  const model = modelOf(schema, item);
  if (!model) return "";
  const boring = new Set([...Object.values(model.identityNames), model.createdField, model.updatedField]);
  const own = Object.entries(toPlain(schema, model, item)).filter(([name]) => {
    return !boring.has(name) && !model.fields.find((field) => field.name === name)?.template;
  });
  let content = "";
  for (const [name, value] of own) {
    const part = `${content === "" ? "" : ","}${JSON.stringify(name)}:${briefValue(value)}`;
    if (content !== "" && content.length + part.length > contentMax) return `{${content},…}`;
    content += part;
  }
  return `{${content}}`;
}

function briefValue(value: unknown): string {
  const text = JSON.stringify(value);
  if (text.length <= valueMax) return text;
  if (typeof value !== "string") return Array.isArray(value) ? "[…]" : typeof value === "object" ? "{…}" : text;
  // Half of a surrogate pair is no character.
  return JSON.stringify(`${value.slice(0, valueMax).replace(/[\ud800-\udbff]$/, "")}…`);
}

/** A stream record as a line; undefined for one that is not shown: of a model in `quiet`, or of none. */
export function recordLine(schema: Schema, record: StreamRecord, quiet: ReadonlySet<string>): string | undefined {
  const image = record.new ?? record.old;
  const model = image && modelOf(schema, image);
  if (!model || quiet.has(model.name)) return undefined;
  const key = record.key[1] || record.key[0];
  if (!record.new) return `table: ${model.name} ${key} removed`;
  const version = versionOf(record.new);
  const before = record.old && versionOf(record.old);
  // An unchanged version names the previous writer: a program that does not know versions wrote the item.
  const device = version && version[1] !== before?.[1] ? deviceOf(version) ?? version[0] : undefined;
  return `${device ?? "application"} → table  ${model.name} ${key} ${brief(schema, record.new)}`;
}
