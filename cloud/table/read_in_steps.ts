/**
 * Reading many items of unknown size in bounded memory: a few at a time, so that whoever has enough stops before the rest is
 * read. A hundred items may be 39 MB; what is asked for is 100 short keys.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import type { Item } from "../../schema/values.ts";
import type { Table } from "./port.ts";

/** Keys of one read: at first, and later. 32 items of DynamoDB's 400 KB are 12.5 MB. */
const stepFirst = 16, stepMax = 32;

/** The keys' items in their order, step by step. */
export async function* readInSteps(
  data: Pick<Table, "get">,
  keys: readonly Key[],
): AsyncGenerator<readonly [at: number, item: Item | undefined], void> {
  for (let at = 0, step = stepFirst; at < keys.length; at += step, step = stepMax) {
    const items = await data.get(keys.slice(at, at + step));
    for (const [i, item] of items.entries()) yield [at + i, item];
  }
}
