/**
 * Changes as people read them: `demo-1 → table  Event put event#01J… {"severity":"warn"}`.
 *
 * @module
 */
import type { StreamRecord } from "../cloud/table/port.ts";
import { type Item, modelOf, type Schema, toPlain, versionOf } from "../schema.ts";

/** A line shows that much of an item. */
const contentMax = 100;

/** What a person wants of an item: its own attributes, without keys, ids of the scope, and timestamps. */
export function brief(schema: Schema, item: Item): string {
  const model = modelOf(schema, item);
  if (!model) return "";
  const boring = new Set([...Object.values(model.identityNames), model.createdField, model.updatedField]);
  const own = Object.entries(toPlain(schema, model, item)).filter(([name]) => {
    return !boring.has(name) && !model.fields.find((field) => field.name === name)?.template;
  });
  const text = JSON.stringify(Object.fromEntries(own));
  return text.length > contentMax ? `${text.slice(0, contentMax - 1)}…` : text;
}

/**
 * A stream record as a line; undefined for one that is not told: of a model in `quiet`, or of none.
 */
export function recordLine(schema: Schema, record: StreamRecord, quiet: ReadonlySet<string>): string | undefined {
  const image = record.new ?? record.old;
  const model = image && modelOf(schema, image);
  if (!model || quiet.has(model.name)) return undefined;
  const key = record.key[1] || record.key[0];
  if (!record.new) return `table: ${model.name} ${key} removed`;
  const version = versionOf(record.new);
  const before = record.old && versionOf(record.old);
  // A version that stayed as it was names the writer before: somebody wrote the item without knowing of it.
  const device = version && version[1] !== before?.[1] ? version[0].split("#")[0] : undefined;
  return `${device ?? "application"} → table  ${model.name} ${key} ${brief(schema, record.new)}`;
}
