/**
 * What the adapter knows of a table, and keys between the port, where they are text, and DynamoDB. The primary key's
 * attributes are strings (the schema refuses others); those of a secondary index may be numbers.
 *
 * @module
 */
import type { AttributeValue } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import type { Key } from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Index, Schema } from "../../schema/model.ts";
import { canonicalDecimal, numberProblem } from "../../schema/numbers.ts";
import type { Item } from "../../schema/values.ts";
import { keyFault } from "../table/item_size.ts";
import type { AttributeValues } from "./attribute_value.ts";

/** The type of a key attribute: string or number. */
export type KeyType = "S" | "N";

/** What the adapter knows of a table. */
export interface TableShape {
  /** The table's name. */
  readonly name: string;
  readonly primary: Index;
  readonly indexes: readonly Index[];
  /** By attribute; one that is not named is a string. */
  readonly keyTypes: ReadonlyMap<string, KeyType>;
}

/** Both attributes of the log table, and its TTL attribute: the same as in the embedded one. */
export const logIndex: Index = { name: "primary", hash: "hash", sort: "sort" };
/** Expiry of a log entry, seconds since 1970. */
export const logTtlAttribute = "expires";

/** The data table's shape by the schema. @throws SyncError `invalid` where models disagree about a key attribute's type. */
export function dataShape(schema: Schema, name: string): TableShape {
  const keyTypes = new Map<string, KeyType>();
  for (const { hash, sort } of [schema.primary, ...schema.indexes]) {
    for (const attribute of [hash, sort]) if (attribute) keyTypes.set(attribute, keyTypeOf(schema, attribute));
  }
  return { name, primary: schema.primary, indexes: schema.indexes, keyTypes };
}

/** The log table's shape. */
export function logShape(name: string): TableShape {
  return { name, primary: logIndex, indexes: [], keyTypes: new Map() };
}

/** The type that the models give an attribute that is a key; a string where no model declares it. */
function keyTypeOf(schema: Schema, attribute: string): KeyType {
  const types = new Map<KeyType, string>();
  for (const model of schema.models.values()) {
    for (const field of model.fields) {
      if (field.attribute !== attribute) continue;
      const number = !field.template && (field.type === "number" || (field.type === "date" && !field.isoDates));
      types.set(number ? "N" : "S", `${model.name}.${field.name}`);
    }
  }
  if (types.size > 1) {
    throw new SyncError(
      "invalid",
      `the key attribute "${attribute}" is a number in ${types.get("N")} and a text in ${
        types.get("S")
      }: a table has one type`,
    );
  }
  return types.keys().next().value ?? "S";
}

/** An index's key attribute as a value; undefined where the text can't be one. */
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

/** The key of an item; undefined where a part is absent or no text. */
export function keyOfItem({ primary }: TableShape, item: Item): Key | undefined {
  const hash = item[primary.hash];
  const sort = primary.sort === undefined ? "" : item[primary.sort];
  return typeof hash === "string" && typeof sort === "string" ? [hash, sort] : undefined;
}
