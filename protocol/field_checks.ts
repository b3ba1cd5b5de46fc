/**
 * Checks of what messages of both sides have: ids, channels, epochs, versions, keys, items.
 *
 * Lengths are bounds against abuse, far above what the system itself makes; a bound that a genuine message could meet
 * would turn that message into one that is dropped for ever.
 *
 * @module
 */
import type { Current, Key, Version } from "./messages.ts";
import { fieldsOf, listOf, matching, refuse, textOf, wholeOf } from "./checks.ts";
import { attributesOf } from "./value_checks.ts";

/** Batch and request ids: `<incarnation>/<n>`. */
export const numberedId = /^[A-Za-z0-9_.:-]{1,64}\/[0-9]{1,16}$/;
const channelName = /^(?:global|(?:device|account):[A-Za-z0-9_.:-]{1,128})$/;
export const digestText = /^[0-9a-f]{16}$/;
export const fingerprintMax = 64;
/** DynamoDB: a hash value has at most 2048 bytes, a sort value 1024; the embedded table need not be as strict. */
export const keyLengthMax = 4096;
export const nameLengthMax = 255;
/** `<device>#<incarnation>` takes up to 193; an application may have put any text into `_source` that an item holds. */
const sourceLengthMax = 400 * 1024;
const epochLengthMax = 128;
/** A page token may hold a table's last key with those of an index, in base64. */
export const tokenLengthMax = 32768;
/** The longest wait that a device accepts from the cloud. */
const waitMaxMs = 3_600_000;
/** Attributes of one model, and models of one schema. */
export const namesMax = 1000;

/** A wait that the cloud asks for, limited to an hour. */
export function waitOf(value: unknown, where: string): number {
  return Math.min(wholeOf(value, where), waitMaxMs);
}

/** The id of a batch, request or order. */
export function idOf(value: unknown, where: string): string {
  return matching(value, where, numberedId, "<incarnation>/<number>");
}

/** A channel's name. */
export function channelOf(value: unknown, where: string): string {
  return matching(value, where, channelName, "device:<id>, account:<id> or global");
}

/** An epoch. */
export function epochOf(value: unknown, where: string): string {
  return textOf(value, where, 1, epochLengthMax);
}

/** A version. */
export function versionOf(value: unknown, where: string): Version {
  const list = listOf(value, where, 2);
  if (list.length !== 2) refuse(where, "[source, stamp]", value);
  return [textOf(list[0], where, 1, sourceLengthMax), wholeOf(list[1], where)];
}

/** A key. */
export function keyOf(value: unknown, where: string): Key {
  const list = listOf(value, where, 2);
  if (list.length !== 2) refuse(where, "[hash, sort]", value);
  return [textOf(list[0], where, 0, keyLengthMax), textOf(list[1], where, 0, keyLengthMax)];
}

/** A model's name. */
export function modelOf(value: unknown, where: string): string {
  return textOf(value, where, 1, nameLengthMax);
}

/** An item as a device gets it. */
export function currentOf(value: unknown, where: string): Current {
  const fields = fieldsOf(value, where);
  const current = { model: modelOf(fields.model, "current.model"), item: attributesOf(fields.item, "current.item") };
  if (fields.version === undefined) return current;
  return { ...current, version: versionOf(fields.version, "current.version") };
}
