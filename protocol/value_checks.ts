/**
 * Checks tagged JSON (schema/values.ts) as it comes from the wire: names and depth. A map that looks like a tag without
 * being one is read as a map (schema/tagged.ts): older agents send an application's maps unescaped.
 *
 * @module
 */
import { readTagged } from "../schema/tagged.ts";
import type { Attributes, Json } from "../schema/values.ts";
import { fieldsOf, refuse } from "./checks.ts";
import { ProtocolError } from "./errors.ts";

/** DynamoDB's limit of an attribute name is 64 KB. */
const nameLengthMax = 65535;

function memberOf(name: string, value: unknown, where: string): Json {
  if (name.length > nameLengthMax) refuse(where, `attribute names of at most ${nameLengthMax} characters`, name);
  try {
    return readTagged(value as Json, 1);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ProtocolError(`"${where}" has an attribute that can't be read: ${cause.message}`, { cause });
  }
}

/**
 * The attributes of an item, each value in tagged JSON.
 *
 * @throws {ProtocolError}
 */
export function attributesOf(value: unknown, where: string): Attributes {
  const attributes = fieldsOf(value, where);
  let read: Map<string, Json> | undefined;
  for (const name of Object.keys(attributes)) {
    const member = memberOf(name, attributes[name], where);
    if (member !== attributes[name]) (read ??= new Map(Object.entries(attributes as Attributes))).set(name, member);
  }
  return read ? Object.fromEntries(read) : attributes as Attributes;
}

/** The readable attributes of an item that cannot be read as a whole: they name it. Never throws. */
export function readableAttributesOf(value: unknown): Attributes {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]): [string, Json][] => {
      try {
        return [[name, memberOf(name, member, "item")]];
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        return [];
      }
    }),
  );
}
