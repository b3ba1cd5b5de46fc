/**
 * Items of the table that are meant for devices and reach none: without a type, or without the id that their scope
 * needs, if the key does not contain it either. Their changes are counted (`items_unidentified`); this lists the items.
 *
 * @module
 */
import { keyOf } from "../../schema.ts";
import type { Schema } from "../../schema/model.ts";
import { unidentified } from "../sync/visible.ts";
import type { DataTable } from "../table/port.ts";

/** One of them: its key in the table, and why it reaches no device. */
export interface UnidentifiedItem {
  readonly key: readonly [hash: string, sort: string];
  readonly why: string;
}

/** Reads of the table for one request, and items of each: most items are identified, and a page may be empty. */
const readsMax = 10, readItems = 500;

/**
 * A page of them, in no order; all pages together read the whole table.
 *
 * @param options.limit approximate number of items
 */
export async function listUnidentified(
  { schema, data }: { readonly schema: Schema; readonly data: Pick<DataTable, "scan"> },
  { limit, next }: { readonly limit: number; readonly next?: string },
): Promise<{ items: UnidentifiedItem[]; read: number; next?: string }> {
  const items: UnidentifiedItem[] = [];
  let after = next, read = 0;
  for (let reads = 0; reads < readsMax && items.length < limit; reads++) {
    const page = await data.scan({ limit: readItems, after });
    read += page.items.length;
    for (const item of page.items) {
      const why = unidentified(schema, item);
      if (why !== undefined) items.push({ key: keyOf(schema, item), why });
    }
    after = page.next;
    if (after === undefined) return { items, read };
  }
  return { items, read, next: after };
}
