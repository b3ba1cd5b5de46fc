/**
 * Reads many items of unknown size in bounded memory: first a few, then as many as fit by the size of those already
 * read, so that a caller with enough can stop before the rest is read. A hundred items may be 39 MB, although the
 * request is only 100 short keys.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import type { Item } from "../../schema/values.ts";
import { itemSizeBytes } from "./item_size.ts";
import type { Table } from "./port.ts";

/** Keys of one read: at first, and at most. 32 items of DynamoDB's 400 KB are 12.5 MB. */
const stepFirst = 8, stepMax = 32;

/** The keys' items in their order, step by step; a step has about `stepBytes` bytes, once there is a size to go by. */
export async function* readInSteps(
  data: Pick<Table, "get">,
  keys: readonly Key[],
  stepBytes = 512 * 1024,
): AsyncGenerator<readonly [at: number, item: Item | undefined], void> {
  let bytes = 0;
  for (let at = 0, step = stepFirst; at < keys.length;) {
    const items = await data.get(keys.slice(at, at + step));
    for (const [i, item] of items.entries()) {
      if (item) bytes += itemSizeBytes(item);
      yield [at + i, item];
    }
    at += step;
    step = Math.max(1, Math.min(stepMax, Math.floor(stepBytes / (bytes / at + 1))));
  }
}
