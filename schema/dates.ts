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
 * The date that an item's value means; undefined if it means none. Accepts each form, whatever the field's own form is,
 * because another application may have written the value. A number is seconds for the expiry time, else milliseconds.
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

/**
 * An expiry time longer ago than this does not count: DynamoDB never deletes an item whose TTL is more than five years
 * ago, so a zero, or a number that is not a time, does no harm. The limit is a little less than five years: if DynamoDB
 * deletes such an item anyway, the removal comes down, whereas a row that is purged here and lives there would be
 * missing.
 */
export const expiryAgeMaxMs = 5 * 365 * 86_400_000;

/**
 * Whether the item's expiry time has come: it counts as absent, whether or not anything has removed it yet.
 *
 * The one definition, on the device and in the cloud, is DynamoDB's: a **number** of seconds, not in the future and not more
 * than five years ago. A text, or milliseconds taken for seconds (a time far in the future), never expires.
 */
export function isExpired(model: Model, item: Attributes, nowMs: number): boolean {
  if (model.ttlField === undefined) return false;
  const field = model.fields.find(({ name }) => name === model.ttlField)!;
  const seconds = item[field.attribute];
  if (typeof seconds !== "number") return false;
  const ms = seconds * 1000;
  return ms <= nowMs && ms > nowMs - expiryAgeMaxMs;
}
