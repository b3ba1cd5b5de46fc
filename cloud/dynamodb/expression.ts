/**
 * Conditions of the `Table` port as DynamoDB condition expressions. The meaning is that of `cloud/table/condition.ts`: a
 * comparison is false where the attribute is absent or of another type; the contract suite runs both over the same cases.
 *
 * @module
 */
import type { AttributeValue } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import type { Json } from "../../schema/values.ts";
import type { Condition } from "../table/port.ts";
import { toAttributeValue } from "./attribute_value.ts";

/** The parts of a request that carry a condition. */
export interface Expression {
  readonly ConditionExpression: string;
  readonly ExpressionAttributeNames: Record<string, string>;
  readonly ExpressionAttributeValues?: Record<string, AttributeValue>;
}

/** DynamoDB, "Limits": expression strings have at most 4 KB. */
const expressionBytesMax = 4096;
/** DynamoDB refuses more than 300 operators or functions in an expression; AND, OR and NOT count as well. */
const operatorsMax = 300;

/**
 * Compiles a condition; undefined if it is beyond DynamoDB's limits.
 *
 * @param hashAttribute name of the table's hash key: an item exists exactly if it has that attribute.
 */
export function compileCondition(condition: Condition, hashAttribute: string): Expression | undefined {
  const names = new Map<string, string>();
  const values: Record<string, AttributeValue> = {};
  let operators = 0, valueCount = 0;

  const name = (attribute: string): string => {
    let placeholder = names.get(attribute);
    if (placeholder === undefined) names.set(attribute, placeholder = `#${names.size.toString(36)}`);
    return placeholder;
  };
  const value = (json: Json): string => {
    const attributeValue = toAttributeValue(json);
    const placeholder = `:${(valueCount++).toString(36)}`;
    values[placeholder] = attributeValue;
    return placeholder;
  };
  const count = (text: string, by = 1): string => {
    operators += by;
    return text;
  };
  const exists = (attribute: string) => count(`attribute_exists(${name(attribute)})`);
  const lacks = (attribute: string) => count(`attribute_not_exists(${name(attribute)})`);
  const always = () => count(`(${exists(hashAttribute)} OR ${lacks(hashAttribute)})`);
  const never = () => count(`(${exists(hashAttribute)} AND ${lacks(hashAttribute)})`);
  const compare = (attribute: string, operator: string, json: Json): string => {
    try {
      const right = value(json);
      return count(`${name(attribute)}${operator}${right}`);
    } catch (cause) {
      // No item holds a value that DynamoDB doesn't have (an empty set, 39 digits), so nothing compares with it.
      if (cause instanceof RangeError) return never();
      throw cause;
    }
  };
  const join = (parts: readonly Condition[], operator: "AND" | "OR", empty: () => string): string => {
    if (parts.length === 0) return empty();
    if (parts.length === 1) return compile(parts[0]!);
    operators += parts.length - 1;
    return `(${parts.map(compile).join(` ${operator} `)})`;
  };

  function compile(condition: Condition): string {
    switch (condition.kind) {
      case "exists":
        return exists(hashAttribute);
      case "absent":
        return lacks(hashAttribute);
      case "has":
        return exists(condition.attribute);
      case "lacks":
        return lacks(condition.attribute);
      case "equals":
        return compare(condition.attribute, "=", condition.value);
      case "less":
        return compare(condition.attribute, "<", condition.value);
      case "atMost":
        return compare(condition.attribute, "<=", condition.value);
      case "greater":
        return compare(condition.attribute, ">", condition.value);
      case "beginsWith":
        // An empty prefix asks for no more than a string.
        return condition.prefix === ""
          ? count(`attribute_type(${name(condition.attribute)},${value("S")})`)
          : count(`begins_with(${name(condition.attribute)},${value(condition.prefix)})`);
      case "all":
        return join(condition.of, "AND", always);
      case "any":
        return join(condition.of, "OR", never);
      case "not":
        return count(`(NOT ${compile(condition.of)})`);
    }
  }

  const expression = compile(condition);
  // The placeholders are ASCII: characters are bytes.
  if (operators > operatorsMax || expression.length > expressionBytesMax) return undefined;
  return {
    ConditionExpression: expression,
    ExpressionAttributeNames: Object.fromEntries(
      [...names].map(([attribute, placeholder]) => [placeholder, attribute]),
    ),
    ...(valueCount === 0 ? {} : { ExpressionAttributeValues: values }),
  };
}
