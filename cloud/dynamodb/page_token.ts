/**
 * Page tokens: the key where DynamoDB stopped, as opaque text that callers pass back. A token may come back from a
 * device, so its content is checked; the query, never the token, decides which partition is read.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { SyncError } from "../../schema/errors.ts";
import { isMap, type Item, type Json } from "../../schema/values.ts";
import { type AttributeValues, fromAttributeValues, toAttributeValues } from "./attribute_value.ts";

/** Two keys of at most 2048 + 1024 bytes, in base64, and their names: a generous limit for a genuine token. */
const tokenLengthMax = 20_000;

/** Makes a token of a `LastEvaluatedKey`. */
export function encodeToken(key: AttributeValues): string {
  return Buffer.from(JSON.stringify(fromAttributeValues(key))).toString("base64url");
}

/** The `ExclusiveStartKey` of a token. @throws SyncError `invalid` if it is not a token. */
export function decodeToken(token: string): AttributeValues {
  try {
    if (token.length > tokenLengthMax) throw new RangeError("it is too long");
    const key: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    if (!isMap(key) || Object.keys(key).length === 0) throw new RangeError("it holds no key");
    return toAttributeValues(key as { readonly [name: string]: Json } as Item);
  } catch (cause) {
    throw foreignToken(cause);
  }
}

/** The error for a token that this table did not issue, or issued for another query. */
export function foreignToken(cause: unknown): SyncError {
  return new SyncError("invalid", "the page token is not one that this table gave", { cause });
}
