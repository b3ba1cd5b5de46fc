/**
 * Checks tagged JSON (schema/values.ts) as it comes from the wire: depth, tags and what is in them, so that nothing inside
 * meets a tag that it does not know or a set that is not a list of texts.
 *
 * @module
 */
import type { Attributes } from "../schema/values.ts";
import { fieldsOf, listOf, refuse, textOf } from "./checks.ts";

/**
 * These bounds only keep recursion and memory in hand. What a table can hold (32 levels, 38 digits) is judged change by
 * change at ingest: a whole batch that was refused for one row of it would be sent again for ever. SQLite's JSON is at
 * most 1000 deep; a `$m` escape around each level doubles that.
 */
const depthMax = 2100;
/** DynamoDB's limit of an attribute name is 64 KB. */
const nameLengthMax = 65535;
/** An item's whole size in DynamoDB. */
const decimalLengthMax = 400 * 1024;
/** An item holds 400 KB: a set or list of more members than that can't be one. */
const membersMax = 400 * 1024;

const decimal = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,6})?$/;
const base64 = /^[A-Za-z0-9+/]*={0,2}$/;

function checkDecimal(value: unknown, where: string): void {
  if (!decimal.test(textOf(value, where, 1, decimalLengthMax))) refuse(where, "a decimal number", value);
}

function checkBase64(value: unknown, where: string): void {
  if (typeof value !== "string" || value.length % 4 !== 0 || !base64.test(value)) refuse(where, "base64", value);
}

function checkTagged(tag: string, value: unknown, where: string, depth: number): void {
  switch (tag) {
    case "$n":
      return checkDecimal(value, where);
    case "$b":
      return checkBase64(value, where);
    case "$ss":
      for (const member of listOf(value, where, membersMax)) textOf(member, where, 0, Infinity);
      return;
    case "$ns":
      for (const member of listOf(value, where, membersMax)) checkDecimal(member, where);
      return;
    case "$bs":
      for (const member of listOf(value, where, membersMax)) checkBase64(member, where);
      return;
    case "$m": {
      const inner = fieldsOf(value, where);
      const names = Object.keys(inner);
      if (names.length !== 1 || !names[0]!.startsWith("$")) refuse(where, "an escaped map with one $ name", value);
      return checkJson(inner[names[0]!], where, depth + 1);
    }
    default:
      refuse(where, "a value without an unknown tag", tag);
  }
}

function checkJson(value: unknown, where: string, depth: number): void {
  if (typeof value !== "object" || value === null) return;
  if (depth > depthMax) refuse(where, `nested at most ${depthMax} deep`, value);
  if (Array.isArray(value)) {
    for (const member of value) checkJson(member, where, depth + 1);
    return;
  }
  const names = Object.keys(value);
  const only = names.length === 1 ? names[0]! : "";
  if (only.startsWith("$")) return checkTagged(only, (value as Record<string, unknown>)[only], where, depth);
  for (const name of names) checkJson((value as Record<string, unknown>)[name], where, depth + 1);
}

/**
 * The attributes of an item, each value in tagged JSON.
 *
 * @throws {ProtocolError}
 */
export function attributesOf(value: unknown, where: string): Attributes {
  const attributes = fieldsOf(value, where);
  for (const name of Object.keys(attributes)) {
    if (name.length > nameLengthMax) refuse(where, `attribute names of at most ${nameLengthMax} characters`, name);
    const member = attributes[name];
    if (typeof member === "object" && member !== null) checkJson(member, where, 1);
  }
  return attributes as Attributes;
}
