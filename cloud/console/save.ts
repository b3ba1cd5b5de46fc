/**
 * Items as the console writes them: only if nobody has changed what the person has seen.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import { digest, toPlain } from "../../schema.ts";
import type { ItemsContext } from "../api/items.ts";
import { deleteItem, keyOfPlain, putItem, type Written } from "../api/write.ts";
import type { PlainItem } from "./local_device.ts";

/** An item with the version that was seen. */
export interface Seen {
  readonly item: PlainItem;
  readonly digest: string;
}

/** The item of these key attributes, read strongly. */
export async function readItem(context: ItemsContext, model: Model, key: PlainItem): Promise<Seen | undefined> {
  const [item] = await context.data.get([keyOfPlain(context, model, key)]);
  return item && { item: toPlain(context.schema, model, item), digest: digest(item) };
}

/** Replaces what was seen; undefined: there was none. @throws PreconditionError if it has changed since */
export async function saveItem(
  context: ItemsContext,
  model: Model,
  item: PlainItem,
  seen: { readonly digest: string } | undefined,
): Promise<Written> {
  const precondition = seen ? { digest: seen.digest } : "none";
  return await putItem(context, model, item, { precondition, keepsUnknown: true });
}

/** Removes what was seen. @throws PreconditionError if it has changed since */
export async function removeItem(
  context: ItemsContext,
  model: Model,
  item: PlainItem,
  seen: { readonly digest: string } | undefined,
): Promise<Written> {
  return await deleteItem(context, model, item, seen && { digest: seen.digest });
}
