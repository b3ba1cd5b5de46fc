/**
 * Tagged JSON to DynamoDB's attribute values and back, without loss: numbers keep their 38 digits, sets and binaries their
 * kind, a map with a single `$` key is no tag. What comes back is canonical: members of a set in the order of their UTF-16 code
 * units (DynamoDB keeps none), numbers as `numberToJson` writes them.
 *
 * @module
 */
import type { AttributeValue } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import { jsonToNumberText, numberProblem, numberToJson } from "../../schema/numbers.ts";
import { base64ToBytes, bytesToBase64, escape, isMap, type Item, type Json, tagOf } from "../../schema/values.ts";

/** An item as the AWS SDK takes and gives it. */
export type AttributeValues = Record<string, AttributeValue>;

/**
 * The name that the AWS SDK knows an attribute `__proto__` by: it builds its objects by assignment, and loses one of that
 * name. The noncharacter before it stands in no text that a table holds. See `proto_names.ts`.
 */
export const protoAlias = "\ufdd0__proto__";

function toSdkName(name: string): string {
  return name === "__proto__" ? protoAlias : name;
}

function fromSdkName(name: string): string {
  return name === protoAlias ? "__proto__" : name;
}

/** DynamoDB: a document is nested at most 32 levels deep (Service Quotas, Attributes). */
const nestingMax = 32;

/**
 * One value as an attribute value.
 *
 * @throws RangeError where DynamoDB has no such value: a malformed tag, a number beyond 38 digits, an empty set, more than
 * 32 levels. The message says why, without the value.
 */
export function toAttributeValue(json: Json, depth = 0): AttributeValue {
  if (depth > nestingMax) throw new RangeError(`it is nested deeper than ${nestingMax} levels`);
  if (json === null) return { NULL: true };
  if (typeof json === "string") return { S: json };
  if (typeof json === "boolean") return { BOOL: json };
  if (typeof json === "number") return { N: numberText(json) };
  if (!isMap(json)) return { L: (json as readonly Json[]).map((value) => toAttributeValue(value, depth + 1)) };
  switch (tagOf(json)) {
    case "$n":
      return { N: numberText(json) };
    case "$b":
      return { B: bytesOf(json.$b) };
    case "$ss":
      return { SS: membersOf(json.$ss, (text) => text) };
    case "$ns":
      return { NS: membersOf(json.$ns, (text) => numberText({ $n: text })) };
    case "$bs":
      return { BS: membersOf(json.$bs, bytesOf) };
    case "$m":
      if (!isMap(json.$m)) throw new RangeError("its $m holds no map");
      return toMap(json.$m, depth);
    default:
      return toMap(json, depth);
  }
}

/**
 * One attribute value as tagged JSON. Takes the SDK's form and the JSON form of stream events, where binaries are base64.
 *
 * @throws RangeError where the value is of no kind that DynamoDB has.
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
  return Object.fromEntries(
    Object.entries(item).map(([name, value]) => {
      try {
        return [toSdkName(name), toAttributeValue(value)];
      } catch (cause) {
        throw new RangeError(`the attribute "${name}" can't be stored: ${(cause as Error).message}`, { cause });
      }
    }),
  );
}

/** A whole item as tagged JSON. */
export function fromAttributeValues(values: AttributeValues): Item {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [fromSdkName(name), fromAttributeValue(value)]),
  );
}

function toMap(map: { readonly [key: string]: Json }, depth: number): AttributeValue {
  if (Object.hasOwn(map, "")) throw new RangeError("it has a map with an empty name, which DynamoDB refuses");
  return {
    M: Object.fromEntries(
      Object.entries(map).map(([name, value]) => [toSdkName(name), toAttributeValue(value, depth + 1)]),
    ),
  };
}

function numberText(json: Json): string {
  const problem = numberProblem(json);
  if (problem !== undefined) throw new RangeError(`its number ${problem}`);
  return jsonToNumberText(json)!;
}

function membersOf<T>(members: Json | undefined, convert: (text: string) => T): T[] {
  if (!Array.isArray(members) || members.length === 0) throw new RangeError("its set is empty or malformed");
  return members.map((member) => {
    if (typeof member !== "string") throw new RangeError("its set has a member that is not text");
    return convert(member);
  });
}

function bytesOf(text: Json | undefined): Uint8Array {
  const bytes = typeof text === "string" ? base64ToBytes(text) : undefined;
  if (!bytes) throw new RangeError("its binary is not base64");
  return bytes;
}

function base64Of(bytes: Uint8Array | string): string {
  return typeof bytes === "string" ? bytes : bytesToBase64(bytes);
}

/** A member of `$ns` is always text, also where a double would hold it. */
function numberMember(text: string): string {
  return jsonToNumberText(numberToJson(text))!;
}
