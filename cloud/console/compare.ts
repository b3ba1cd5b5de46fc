/**
 * Versions of an item side by side: which attributes differ, and which say the same.
 *
 * @module
 */
import type { Field, Model } from "../../schema/model.ts";
import type { PlainItem } from "./local_device.ts";

/** One version: an item, null where it is a removal or there is none, undefined where it is not known. */
export type Side = PlainItem | null | undefined;

/** Attributes of versions, in the schema's order; what the schema does not have comes last. */
export interface Comparison {
  /** Of these the versions differ. */
  readonly differing: readonly string[];
  /** To be shown, and no difference: timestamps that each side makes by itself; of a single version all of it. */
  readonly unmarked: readonly string[];
  readonly equal: readonly string[];
}

/** Whether two values say the same: dates by their time, maps whatever the order of their keys, null as nothing. */
export function sameValue(field: Pick<Field, "type"> | undefined, a: unknown, b: unknown): boolean {
  if (field?.type === "date" && a && b) return Date.parse(String(a)) === Date.parse(String(b));
  return JSON.stringify(sorted(a ?? null)) === JSON.stringify(sorted(b ?? null));
}

/** With keys of maps in order: neither side promises one. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) => [k, sorted(v)]));
}

/** Compares versions; those that are not known are left out. Whose item it is, and what is derived, is no difference. */
export function compare(model: Model | undefined, sides: readonly Side[]): Comparison {
  const known = sides.filter((side) => side !== undefined), items = known.filter((side) => side !== null);
  const fields = new Map(model?.fields.map((field) => [field.name, field]));
  const there = new Set(items.flatMap((item) => Object.keys(item)));
  const names = [...fields.keys(), ...[...there].filter((name) => !fields.has(name))].filter((name) =>
    there.has(name) && !fields.get(name)?.template && !model?.identityFields.includes(name)
  );
  if (items.length < 2) return { differing: [], unmarked: names, equal: [] };
  const found = { differing: [] as string[], unmarked: [] as string[], equal: [] as string[] };
  for (const name of names) {
    const field = fields.get(name);
    // A removal has no values: it differs as a whole, and that is said once.
    const isSame = items.every((item) => sameValue(field, item[name], items[0]![name]));
    if (isSame) found.equal.push(name);
    else (field?.timestamp ? found.unmarked : found.differing).push(name);
  }
  return found;
}
