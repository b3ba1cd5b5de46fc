/**
 * Which values DynamoDB has none of. Both tables refuse them by this rule, so that a fleet can move from the embedded
 * table to DynamoDB.
 *
 * @module
 */
import { numberProblem } from "../../schema/numbers.ts";
import { base64ToBytes, isMap, type Item, type Json, tagOf } from "../../schema/values.ts";

/** A document is nested at most 32 levels deep (Service Quotas, Attributes): the item is one of them. */
const nestingMax = 32;

/**
 * Why DynamoDB has no such value: a malformed tag, a number beyond 38 digits or out of range, an empty set, an empty
 * name, half a surrogate pair, more than 32 levels. Undefined: it has. The reason does not contain the value.
 */
export function valueProblem(json: Json, depth = 0): string | undefined {
  if (json === null || typeof json === "boolean") return undefined;
  if (typeof json === "string") return textProblem(json);
  if (typeof json === "number") return numbersProblem(json);
  if (!isMap(json)) {
    return tooDeep(depth) ?? firstOf(json as readonly Json[], (value) => valueProblem(value, depth + 1));
  }
  switch (tagOf(json)) {
    case "$n":
      return numbersProblem(json);
    case "$b":
      return bytesProblem(json.$b!);
    case "$ss":
      return membersProblem(json.$ss, textProblem);
    case "$ns":
      return membersProblem(json.$ns, (text) => numbersProblem({ $n: text }));
    case "$bs":
      return membersProblem(json.$bs, bytesProblem);
    case "$m":
      return isMap(json.$m) ? mapProblem(json.$m, depth) : "its $m holds no map";
    default:
      return mapProblem(json, depth);
  }
}

/** {@link valueProblem} of an item's attributes, with the attribute's name before it. */
export function itemProblem(item: Item): string | undefined {
  for (const name of Object.keys(item)) {
    const problem = textProblem(name) ?? valueProblem(item[name]!);
    if (problem !== undefined) return `the attribute "${name}" can't be stored: ${problem}`;
  }
  return undefined;
}

/** Of a list or map in so many others. */
function tooDeep(depth: number): string | undefined {
  return depth + 2 > nestingMax ? `it is nested deeper than ${nestingMax} levels` : undefined;
}

function firstOf<T>(list: readonly T[], problemOf: (one: T) => string | undefined): string | undefined {
  for (const one of list) {
    const problem = problemOf(one);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function mapProblem(map: { readonly [key: string]: Json }, depth: number): string | undefined {
  return tooDeep(depth) ?? firstOf(
    Object.keys(map),
    (name) =>
      name === ""
        ? "it has a map with an empty name, which DynamoDB refuses"
        : textProblem(name) ?? valueProblem(map[name]!, depth + 1),
  );
}

function textProblem(text: string): string | undefined {
  return text.isWellFormed() ? undefined : "it has half a surrogate pair, which is not text";
}

function numbersProblem(json: Json): string | undefined {
  const problem = numberProblem(json);
  return problem === undefined ? undefined : `its number ${problem}`;
}

function membersProblem(
  members: Json | undefined,
  problemOf: (text: string) => string | undefined,
): string | undefined {
  if (!Array.isArray(members) || members.length === 0) return "its set is empty or malformed";
  return firstOf(
    members as readonly Json[],
    (member) => typeof member === "string" ? problemOf(member) : "its set has a member that is not text",
  );
}

function bytesProblem(text: Json): string | undefined {
  return typeof text === "string" && base64ToBytes(text) ? undefined : "its binary is not base64";
}
