/**
 * Tagged JSON to DynamoDB's attribute values and back, without loss: numbers keep their 38 digits, sets and binaries their
 * kind, a map with a single `$` key is no tag. What comes back is canonical: members of a set in the order of their UTF-16 code
 * units (DynamoDB keeps none), numbers as `numberToJson` writes them.
 *
 * @module
 */
import type { AttributeValue } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import { jsonToNumberText, numberToJson } from "../../schema/numbers.ts";
import { base64ToBytes, bytesToBase64, escape, isMap, type Item, type Json, tagOf } from "../../schema/values.ts";
import { itemProblem, valueProblem } from "../table/item_problem.ts";

/** An item as the AWS SDK accepts and returns it. */
export type AttributeValues = Record<string, AttributeValue>;

/**
 * The alias of an attribute `__proto__` for the AWS SDK, which builds its objects by assignment and would lose that
 * name. No text in a table contains the noncharacter before it. See `proto_names.ts`.
 */
export const protoAlias = "\ufdd0__proto__";

function toSdkName(name: string): string {
  return name === "__proto__" ? protoAlias : name;
}

function fromSdkName(name: string): string {
  return name === protoAlias ? "__proto__" : name;
}

/**
 * One value as an attribute value.
 *
 * @throws RangeError if DynamoDB has no such value: see {@link valueProblem}. The message says why, without the value.
 */
export function toAttributeValue(json: Json): AttributeValue {
  const problem = valueProblem(json);
  if (problem !== undefined) throw new RangeError(problem);
  return converted(json);
}

/** Of a value that DynamoDB has. */
function converted(json: Json): AttributeValue {
  if (json === null) return { NULL: true };
  if (typeof json === "string") return { S: json };
  if (typeof json === "boolean") return { BOOL: json };
  if (typeof json === "number") return { N: jsonToNumberText(json)! };
  if (!isMap(json)) return { L: (json as readonly Json[]).map(converted) };
  const texts = (members: Json | undefined) => members as readonly string[];
  switch (tagOf(json)) {
    case "$n":
      return { N: jsonToNumberText(json)! };
    case "$b":
      return { B: base64ToBytes(json.$b as string)! };
    case "$ss":
      return { SS: [...texts(json.$ss)] };
    case "$ns":
      return { NS: texts(json.$ns).map((text) => jsonToNumberText({ $n: text })!) };
    case "$bs":
      return { BS: texts(json.$bs).map((text) => base64ToBytes(text)!) };
    case "$m":
      return toMap(json.$m as { readonly [key: string]: Json });
    default:
      return toMap(json);
  }
}

/**
 * One attribute value as tagged JSON. Accepts the SDK's form and the JSON form of stream events, where binaries are
 * base64.
 *
 * @throws RangeError if DynamoDB has no such kind of value.
 */
export function fromAttributeValue(value: AttributeValue): Json {
  if (value.S !== undefined) return value.S;
  if (value.N !== undefined) return numberToJson(value.N);
  if (value.BOOL !== undefined) return value.BOOL;
  if (value.NULL !== undefined) return null;
  if (value.M !== undefined) return escape(fromAttributeValues(value.M));
  if (value.L !== undefined) return value.L.map(fromAttributeValue);
  if (value.B !== undefined) return { $b: base64Of(value.B) };
  if (value.SS !== undefined) return { $ss: [...value.SS].sort() };
  if (value.NS !== undefined) return { $ns: value.NS.map(numberMember).sort() };
  if (value.BS !== undefined) return { $bs: value.BS.map(base64Of).sort() };
  throw new RangeError(`an attribute value of an unknown kind: ${JSON.stringify(Object.keys(value))}`);
}

/** A whole item as attribute values. @throws RangeError as {@link toAttributeValue}, with the attribute's name before it. */
export function toAttributeValues(item: Item): AttributeValues {
  const problem = itemProblem(item);
  if (problem !== undefined) throw new RangeError(problem);
  return Object.fromEntries(Object.entries(item).map(([name, value]) => [toSdkName(name), converted(value)]));
}

/** A whole item as tagged JSON. */
export function fromAttributeValues(values: AttributeValues): Item {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [fromSdkName(name), fromAttributeValue(value)]),
  );
}

function toMap(map: { readonly [key: string]: Json }): AttributeValue {
  return { M: Object.fromEntries(Object.entries(map).map(([name, value]) => [toSdkName(name), converted(value)])) };
}

function base64Of(bytes: Uint8Array | string): string {
  return typeof bytes === "string" ? bytes : bytesToBase64(bytes);
}

/** A member of `$ns` is always text, also where a double would hold it. */
function numberMember(text: string): string {
  return jsonToNumberText(numberToJson(text))!;
}
