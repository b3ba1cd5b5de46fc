/**
 * Converts properties of the typed API (Date, Set, Uint8Array, bigint) to and from plain JSON.
 *
 * @module
 */
import { base64ToBytes, bytesToBase64 } from "../../schema/values.ts";
import type { Field, Model } from "../../schema/model.ts";
import { UsageError } from "../args.ts";
import type { Plain } from "./side.ts";

/** An item's properties as plain JSON; computed ones are left out, because they follow from the others. */
export function toPlainItem(model: Model, properties: Readonly<Record<string, unknown>>): Plain {
  const computed = new Set(model.fields.filter((field) => field.template).map(({ name }) => name));
  return Object.fromEntries(
    Object.entries(properties).filter(([name, value]) => !computed.has(name) && value !== undefined)
      .map(([name, value]) => [name, plainOf(value)]),
  );
}

function plainOf(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return bytesToBase64(value);
  if (typeof value === "bigint") return String(value);
  if (value instanceof Set) return [...value].map(plainOf);
  if (Array.isArray(value)) return value.map(plainOf);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plainOf(member)]));
}

/** Plain JSON as properties of a model. @throws {UsageError} for binary that is not base64 */
export function toProperties(model: Model, item: Plain): Record<string, unknown> {
  const fields = new Map(model.fields.map((field) => [field.name, field]));
  return Object.fromEntries(
    Object.entries(item).filter(([name]) => !fields.get(name)?.template)
      .map(([name, value]) => [name, propertyOf(fields.get(name), value)]),
  );
}

/** The typed API itself accepts ISO texts, lists for sets and decimal texts: only binary needs a conversion. */
function propertyOf(field: Field | undefined, value: unknown): unknown {
  if (!field || value === null) return value;
  if (field.type === "binary" && typeof value === "string") return bytesOf(field, value);
  if (field.type === "set" && field.members === "binary" && Array.isArray(value)) {
    return new Set(value.map((member) => bytesOf(field, member)));
  }
  if (field.items && Array.isArray(value)) return value.map((member) => propertyOf(field.items, member));
  if (field.nested && typeof value === "object" && !Array.isArray(value)) {
    const inner = new Map(field.nested.map((one) => [one.name, one]));
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [name, propertyOf(inner.get(name), member)]),
    );
  }
  return value;
}

function bytesOf(field: Field, text: unknown): Uint8Array {
  const bytes = typeof text === "string" ? base64ToBytes(text) : undefined;
  if (!bytes) throw new UsageError(`${field.name} is binary: base64 text is required`);
  return bytes;
}
