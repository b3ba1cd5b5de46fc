/**
 * The sort key's part of a query. DynamoDB takes one condition on it; a prefix together with a lower bound becomes a range.
 *
 * @module
 */
import type { AttributeValue } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import { SyncError } from "../../schema/errors.ts";
import type { Index } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { compareText } from "../table/condition.ts";
import { sortBytesMax, utf8Bytes } from "../table/item_size.ts";
import type { Query } from "../table/port.ts";
import { keyAttribute, type TableShape } from "./keys.ts";

/** One condition over the names `#s` and its values. */
export interface SortCondition {
  readonly expression: string;
  readonly values: Record<string, AttributeValue>;
  /** An item that the expression matches and the query must exclude: the inclusive end of a range. */
  excludes(item: Item): boolean;
}

/**
 * The condition for a query's `sortPrefix` and `sortAfter`: undefined if it has neither, "nothing" if no value can
 * satisfy both.
 */
export function sortCondition(shape: TableShape, index: Index, query: Query): SortCondition | undefined | "nothing" {
  const prefix = query.sortPrefix || undefined;
  const after = query.sortAfter || undefined;
  if (prefix === undefined && after === undefined) return undefined;
  const { sort } = index;
  if (sort === undefined) throw new RangeError(`the index "${index.name}" has no sort key to select by`);
  if (prefix !== undefined && shape.keyTypes.get(sort) === "N") {
    throw new SyncError("invalid", `the sort key "${sort}" of the index "${index.name}" is a number: it has no prefix`);
  }
  const single = (expression: string, value: AttributeValue): SortCondition => ({
    expression,
    values: { ":s": value },
    excludes: () => false,
  });
  if (prefix === undefined) {
    const bound = keyAttribute(shape, sort, after!);
    return bound ? single("#s>:s", bound) : "nothing";
  }
  if (after === undefined || compareText(after, prefix) < 0) return single("begins_with(#s,:s)", { S: prefix });
  if (!after.startsWith(prefix)) return "nothing";
  return {
    expression: "#s BETWEEN :s AND :e",
    values: { ":s": { S: after }, ":e": { S: lastWithPrefix(prefix) } },
    excludes: (item) => item[sort] === after,
  };
}

/** The greatest sort value with a prefix: padded with the greatest code point (4 bytes) to DynamoDB's 1024 bytes. */
function lastWithPrefix(prefix: string): string {
  return prefix + "\u{10FFFF}".repeat(Math.max(0, Math.floor((sortBytesMax - utf8Bytes(prefix)) / 4)));
}
