/**
 * The adapter's description of a table, and the conversion of keys between the port, where they are text, and DynamoDB.
 * The primary key's attributes are strings (the schema refuses others); those of a secondary index may be numbers.
 *
 * @module
 */
import type { AttributeValue } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import type { Key } from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import { type KeyType, keyTypes } from "../../schema/key_types.ts";
import type { Index, Schema } from "../../schema/model.ts";
import { canonicalDecimal, numberProblem } from "../../schema/numbers.ts";
import type { Item } from "../../schema/values.ts";
import { keyFault } from "../table/item_size.ts";
import type { AttributeValues } from "./attribute_value.ts";

/** What the adapter knows of a table. */
export interface TableShape {
  /** The table's name. */
  readonly name: string;
  readonly primary: Index;
  readonly indexes: readonly Index[];
  /** By attribute; an unnamed one is a string. */
  readonly keyTypes: ReadonlyMap<string, KeyType>;
}

/** Both attributes of the log table, and its TTL attribute: the same as in the embedded one. */
export const logIndex: Index = { name: "primary", hash: "hash", sort: "sort" };
/** Expiry of a log entry, seconds since 1970. */
export const logTtlAttribute = "expires";

/**
 * The data table's shape by the schema. @throws SyncError `invalid` if models disagree about a key attribute's type.
 */
export function dataShape(schema: Schema, name: string): TableShape {
  const { types, clashes } = keyTypes(schema);
  if (clashes.length > 0) throw new SyncError("invalid", clashes.join("; "));
  return { name, primary: schema.primary, indexes: schema.indexes, keyTypes: types };
}

/** The log table's shape. */
export function logShape(name: string): TableShape {
  return { name, primary: logIndex, indexes: [], keyTypes: new Map() };
}

/** An index's key attribute as a value; undefined if the text cannot be one. */
export function keyAttribute(shape: TableShape, attribute: string, text: string): AttributeValue | undefined {
  if (shape.keyTypes.get(attribute) !== "N") return { S: text };
  const decimal = canonicalDecimal(text);
  return decimal === undefined || numberProblem({ $n: decimal }) !== undefined ? undefined : { N: decimal };
}

/** Why no item of the table can have the key; undefined if one can. */
export function keyProblem({ primary }: TableShape, [hash, sort]: Key): string | undefined {
  if (primary.sort === undefined && sort !== "") return "the table has no sort key";
  return keyFault([hash, sort], primary.sort !== undefined);
}

/** A key as attribute values. */
export function toKey({ primary }: TableShape, [hash, sort]: Key): AttributeValues {
  return { [primary.hash]: { S: hash }, ...(primary.sort === undefined ? {} : { [primary.sort]: { S: sort } }) };
}

/** The key of an item; undefined if a part is absent or not a text. */
export function keyOfItem({ primary }: TableShape, item: Item): Key | undefined {
  const hash = item[primary.hash];
  const sort = primary.sort === undefined ? "" : item[primary.sort];
  return typeof hash === "string" && typeof sort === "string" ? [hash, sort] : undefined;
}
