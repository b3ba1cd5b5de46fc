/**
 * Conditions of the `Table` port as DynamoDB condition expressions. The meaning is that of `cloud/table/condition.ts`:
 * a comparison is false if the attribute is absent or of another type; the contract suite runs both over the same
 * cases.
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
  const compiler = new Compiler(hashAttribute);
  const expression = compiler.compile(condition);
  // The placeholders are ASCII: characters are bytes.
  if (compiler.operators > operatorsMax || expression.length > expressionBytesMax) return undefined;
  return { ConditionExpression: expression, ...compiler.placeholders };
}

/** Writes an expression, and collects the names and values that its placeholders stand for. */
class Compiler {
  /** Operators and functions so far. */
  operators = 0;
  readonly #names = new Map<string, string>();
  readonly #values: Record<string, AttributeValue> = {};
  #valueCount = 0;

  constructor(private readonly hashAttribute: string) {}

  compile(condition: Condition): string {
    switch (condition.kind) {
      case "exists":
        return this.#exists(this.hashAttribute);
      case "absent":
        return this.#lacks(this.hashAttribute);
      case "has":
        return this.#exists(condition.attribute);
      case "lacks":
        return this.#lacks(condition.attribute);
      case "equals":
        return this.#compare(condition.attribute, "=", condition.value);
      case "less":
        return this.#compare(condition.attribute, "<", condition.value);
      case "atMost":
        return this.#compare(condition.attribute, "<=", condition.value);
      case "greater":
        return this.#compare(condition.attribute, ">", condition.value);
      case "beginsWith":
        return this.#beginsWith(condition.attribute, condition.prefix);
      case "all":
        return condition.of.length === 0 ? this.#constant("OR") : this.#join(condition.of, "AND");
      case "any":
        return condition.of.length === 0 ? this.#constant("AND") : this.#join(condition.of, "OR");
      case "not":
        return this.#count(`(NOT ${this.compile(condition.of)})`);
    }
  }

  /** What the expression's placeholders stand for. */
  get placeholders(): Omit<Expression, "ConditionExpression"> {
    return {
      ExpressionAttributeNames: Object.fromEntries(
        [...this.#names].map(([attribute, placeholder]) => [placeholder, attribute]),
      ),
      ...(this.#valueCount === 0 ? {} : { ExpressionAttributeValues: this.#values }),
    };
  }

  #name(attribute: string): string {
    let placeholder = this.#names.get(attribute);
    if (placeholder === undefined) this.#names.set(attribute, placeholder = `#${this.#names.size.toString(36)}`);
    return placeholder;
  }

  #value(json: Json): string {
    const attributeValue = toAttributeValue(json);
    const placeholder = `:${(this.#valueCount++).toString(36)}`;
    this.#values[placeholder] = attributeValue;
    return placeholder;
  }

  #count(text: string): string {
    this.operators++;
    return text;
  }

  #exists(attribute: string): string {
    return this.#count(`attribute_exists(${this.#name(attribute)})`);
  }

  #lacks(attribute: string): string {
    return this.#count(`attribute_not_exists(${this.#name(attribute)})`);
  }

  /** `OR` always holds, `AND` never does. */
  #constant(operator: "AND" | "OR"): string {
    return this.#count(`(${this.#exists(this.hashAttribute)} ${operator} ${this.#lacks(this.hashAttribute)})`);
  }

  #compare(attribute: string, operator: string, json: Json): string {
    try {
      const right = this.#value(json);
      return this.#count(`${this.#name(attribute)}${operator}${right}`);
    } catch (cause) {
      // No item holds a value that DynamoDB doesn't have (an empty set, 39 digits), so nothing compares with it.
      if (cause instanceof RangeError) return this.#constant("AND");
      throw cause;
    }
  }

  #beginsWith(attribute: string, prefix: string): string {
    // An empty prefix asks for no more than a string.
    return prefix === ""
      ? this.#count(`attribute_type(${this.#name(attribute)},${this.#value("S")})`)
      : this.#count(`begins_with(${this.#name(attribute)},${this.#value(prefix)})`);
  }

  #join(parts: readonly Condition[], operator: "AND" | "OR"): string {
    if (parts.length === 1) return this.compile(parts[0]!);
    this.operators += parts.length - 1;
    return `(${parts.map((part) => this.compile(part)).join(` ${operator} `)})`;
  }
}
