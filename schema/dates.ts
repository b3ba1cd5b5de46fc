/**
 * Dates in an item, exactly as OneTable writes them: seconds for the expiry time (rounded up), ISO text with milliseconds
 * where `isoDates` holds, else milliseconds since 1970.
 *
 * @module
 */
import type { Field, Model } from "./model.ts";
import type { Attributes, Json } from "./values.ts";

type DateField = Pick<Field, "ttl" | "isoDates">;

/**
 * A date as the item holds it.
 *
 * @throws RangeError for an invalid date.
 */
export function dateToJson(field: DateField, date: Date): Json {
  const ms = date.getTime();
  if (Number.isNaN(ms)) throw new RangeError("an invalid Date has no form in an item");
  if (field.ttl) return Math.ceil(ms / 1000);
  return field.isoDates ? date.toISOString() : ms;
}

/**
 * The date that an item's value stands for; undefined if it stands for none. Takes each form, whatever the field's own is:
 * another application may have written it. A number is seconds for the expiry time, else milliseconds.
 */
export function jsonToDate(field: DateField, json: Json | undefined): Date | undefined {
  const ms = typeof json === "string"
    ? Date.parse(json)
    : typeof json === "number"
    ? (field.ttl ? json * 1000 : json)
    : NaN;
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** Whether the item's expiry time has come: it counts as absent, whether or not anything has removed it yet. */
export function isExpired(model: Model, item: Attributes, nowMs: number): boolean {
  if (model.ttlField === undefined) return false;
  const field = model.fields.find(({ name }) => name === model.ttlField)!;
  return (jsonToDate(field, item[field.attribute])?.getTime() ?? Infinity) <= nowMs;
}
