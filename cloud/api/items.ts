/**
 * Items over HTTP: listing them for a cloud application. `write.ts` has the writes.
 *
 * @module
 */
import {
  digest,
  fieldOf,
  type IdentityRole,
  idIn,
  idOfItem,
  modelOf,
  renderTemplate,
  type Template,
  toPlain,
} from "../../schema.ts";
import type { IndexKeys } from "../../schema/index_keys.ts";
import type { Model, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import type { DataTable, ItemPage, Query } from "../table/port.ts";
import { ApiError } from "./errors.ts";

/** The context of the items API. */
export interface ItemsContext {
  readonly schema: Schema;
  readonly data: DataTable;
  readonly now: () => number;
  readonly random: () => number;
  /** The account to which a device belongs, if known. */
  accountOf(deviceId: string): Promise<string | undefined>;
}

/** What is to be listed. */
export interface Listing {
  readonly model: Model;
  readonly deviceId?: string;
  readonly accountId?: string;
  /** Of this index, with these values of its keys' fields; the last one that is given of its sort value is a prefix. */
  readonly by?: { readonly index: IndexKeys; readonly values: Readonly<Record<string, string>> };
  /** The last of the index first. */
  readonly reverse?: boolean;
  /** Items at most. */
  readonly limit: number;
  readonly next?: string;
}

/** An item as plain JSON. */
export type PlainItem = Record<string, unknown>;

/** Reads of the table for one request: a sparse listing gives a short page and continues at the next. */
const readsMax = 20;

/** The schema's model of this name. @throws ApiError 400, 404. */
export function modelNamed(schema: Schema, name: unknown): Model {
  if (typeof name !== "string" || name === "") throw new ApiError(400, "invalid", "a model is required");
  const model = schema.models.get(name);
  if (!model) throw new ApiError(404, "not-found", `the schema has no model ${JSON.stringify(name)}`);
  if (!model.inCloud) throw new ApiError(400, "invalid", `${name} does not exist in the cloud`);
  return model;
}

/**
 * A page of a model's items, on request of one device or account. Items that only name a device belong to its account.
 * @throws ApiError 400 if the model's items name neither
 */
export async function listItems(
  context: ItemsContext,
  listing: Listing,
): Promise<{ items: PlainItem[]; digests: string[]; next?: string }> {
  const { schema, data } = context;
  const { model, limit, reverse } = listing;
  checkNames(listing);
  const query = queryOf(schema, listing);
  const items: PlainItem[] = [], digests: string[] = [];
  let after = listing.next;
  for (let reads = 0; reads < readsMax && items.length < limit; reads++) {
    const room = limit - items.length;
    const page: ItemPage = query
      ? await data.query({ ...query, reverse, limit: room, after })
      : await data.scan({ limit: room, after });
    for (const item of page.items) {
      if (!await isWanted(context, listing, item)) continue;
      items.push(toPlain(schema, model, item));
      digests.push(digest(item));
    }
    after = page.next;
    if (after === undefined) return { items, digests };
  }
  return { items, digests, next: after };
}

/** An empty list would mean that there are none. */
function checkNames({ model, deviceId, accountId }: Listing): void {
  const has = (role: IdentityRole) => fieldOf(model, model.identityNames[role]) !== undefined;
  if (deviceId !== undefined && !has("deviceId")) {
    throw new ApiError(400, "invalid", `${model.name} items name no device`);
  }
  if (accountId !== undefined && !has("accountId") && !has("deviceId")) {
    throw new ApiError(400, "invalid", `${model.name} items name no account and no device`);
  }
}

async function isWanted(
  { schema, accountOf }: ItemsContext,
  { model, deviceId, accountId }: Listing,
  item: Item,
): Promise<boolean> {
  if (modelOf(schema, item) !== model) return false;
  const device = idOfItem(model, item, "deviceId");
  if (deviceId !== undefined && device !== deviceId) return false;
  if (accountId === undefined) return true;
  if (fieldOf(model, model.identityNames.accountId)) return idOfItem(model, item, "accountId") === accountId;
  return typeof device === "string" && await accountOf(device) === accountId;
}

/** Whether a query lists them; else only a scan of the whole table does. @throws ApiError 400 as {@link listItems} */
export function canQuery(schema: Schema, listing: Omit<Listing, "limit">): boolean {
  checkNames({ ...listing, limit: 1 });
  return queryOf(schema, { ...listing, limit: 1 }) !== undefined;
}

/** The query that lists it: by the primary key, otherwise by the model's enumeration; undefined: only a scan does. */
function queryOf(schema: Schema, { model, deviceId, accountId, by }: Listing): Omit<Query, "limit"> | undefined {
  const get = (name: string) => by?.values[name] ?? idIn(model, { deviceId, accountId }, name);
  if (by) {
    const { index, isPrimary, sort } = by.index, hash = renderTemplate(by.index.hash, get);
    if (hash === undefined) return undefined;
    return { index: isPrimary ? "primary" : index.name, hash, sortPrefix: leading(sort, get) || undefined };
  }
  const hash = renderTemplate(model.hashKey.template, get);
  if (hash !== undefined) {
    return { index: "primary", hash, sortPrefix: leading(model.sortKey?.template, get) || undefined };
  }
  const { enumeration } = model;
  const value = enumeration && renderTemplate(enumeration.hash, get);
  if (!enumeration || value === undefined) return undefined;
  const isPrimary = enumeration.index === schema.primary.name;
  const sortPrefix = leading(enumeration.sortPrefix, get) || undefined;
  return { index: isPrimary ? "primary" : enumeration.index, hash: value, sortPrefix };
}

/** What every rendering of the template begins with, as far as it is known. */
function leading(template: Template | undefined, get: (name: string) => string | undefined): string {
  const end = template?.parts.findIndex((part) => "field" in part && get(part.field) === undefined) ?? 0;
  if (!template) return "";
  const parts = end < 0 ? template.parts : template.parts.slice(0, end);
  return renderTemplate({ text: "", parts }, get) ?? "";
}
