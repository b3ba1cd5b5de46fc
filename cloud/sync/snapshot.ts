/**
 * Snapshots: all items of one channel, page by page, without state here in between: the device supplies the token of
 * the page before. Several models may share one hash value; each such **source** is listed once.
 *
 * @module
 */
import type { Channel, Entry, Key } from "../../protocol.ts";
import { idIn, keyOf, modelOf, renderTemplate, SyncError } from "../../schema.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { comesDown } from "./visible.ts";
import { entryOf } from "./entries.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import type { Query, Table } from "../table/port.ts";

/** A list of items: one hash value of an index, and a prefix of the sort values. */
export interface Source {
  readonly index: string;
  readonly hash: string;
  readonly prefix: string;
  /** The models whose items are listed here. */
  readonly models: ReadonlySet<string>;
}

/** Limits of a page; the last query's items may exceed both. */
export interface PageLimits {
  /** Items of a page. */
  readonly pageItemsMax: number;
  /** Bytes of a page. */
  readonly pageBytesMax: number;
}

/** Items that one query asks for. */
const queryLimit = 100;
/** Queries a page: where most items are of other models, a page may be short or empty, and continues at the next. */
const queriesMax = 20;

/** The sources of a channel for an identity, in the schema's order. */
export function sourcesOf(schema: Schema, channel: Channel, identity: Identity): Source[] {
  const scope = channel === "global" ? "global" : channel.slice(0, channel.indexOf(":"));
  const all: (Omit<Source, "models"> & { models: Set<string> })[] = [];
  for (const model of schema.models.values()) {
    if (!comesDown(model) || model.scope !== scope || !model.enumeration) continue;
    const { index, hash, sortPrefix } = model.enumeration;
    const get = (name: string) => idIn(model, identity, name);
    const hashText = renderTemplate(hash, get);
    if (hashText === undefined) continue;
    const prefix = sortPrefix ? renderTemplate(sortPrefix, get) ?? "" : "";
    const same = all.find((source) => source.index === index && source.hash === hashText && source.prefix === prefix);
    if (same) same.models.add(model.name);
    else all.push({ index, hash: hashText, prefix, models: new Set([model.name]) });
  }
  return all;
}

/** Whether one of the sources is read from an index that lags behind the table. */
export function lags(schema: Schema, sources: readonly Source[]): boolean {
  return sources.some(({ index }) => !isPrimary(schema, index));
}

/** Whether the index is the table's primary key. */
export function isPrimary(schema: Schema, index: string): boolean {
  return index === "primary" || index === schema.primary.name;
}

/** A page's entries, and the token of the next one. */
export interface SnapshotPart {
  readonly entries: Entry[];
  readonly next?: string;
  /** Set on the last page if an index that lags listed some of the items: the device compares once more (rule C4). */
  readonly lags?: true;
}

/**
 * One page of a channel's items, as the base table has them. Without `after`, the first.
 *
 * @returns undefined if `after` belongs to no source (the schema changed meanwhile): the snapshot has to start again.
 */
export async function snapshotPart(
  schema: Schema,
  data: Pick<Table, "get" | "query">,
  channel: Channel,
  identity: Identity,
  limits: PageLimits,
  after?: string,
): Promise<SnapshotPart | undefined> {
  const sources = sourcesOf(schema, channel, identity);
  const start = after === undefined ? { at: 0 } : startOf(sources, after);
  if (!start) return undefined;
  let { at } = start, token: string | undefined = start.token;
  const entries: Entry[] = [];
  let bytes = 0;
  for (let queries = 0; at < sources.length; queries++) {
    if (queries === queriesMax || entries.length >= limits.pageItemsMax || bytes >= limits.pageBytesMax) break;
    const source = sources[at]!;
    const page = await listed(
      schema,
      data,
      source,
      Math.min(queryLimit, limits.pageItemsMax),
      token,
      after !== undefined,
    );
    if (!page) return undefined;
    for (const { key, item } of page.items) {
      const entry = entryOf(schema, channel, identity, key, item);
      if (!entry.current || !source.models.has(entry.current.model)) continue;
      entries.push(entry);
      bytes += itemSizeBytes(item);
    }
    token = page.next;
    if (token === undefined) at++;
  }
  if (at < sources.length) return { entries, next: tokenOf(sources[at]!, token) };
  return { entries, ...(lags(schema, sources) ? { lags: true } : {}) };
}

/**
 * A query's items of the source's models; items of a secondary index are read by key, because its copies may be old.
 *
 * @returns undefined if the table refuses the token, and `fromDevice` says that a device brought it
 */
export async function listed(
  schema: Schema,
  data: Pick<Table, "get" | "query">,
  source: Source,
  limit: number,
  after: string | undefined,
  fromDevice: boolean,
): Promise<{ items: { key: Key; item: Item }[]; next?: string } | undefined> {
  const query: Query = { index: source.index, hash: source.hash, sortPrefix: source.prefix || undefined, limit, after };
  try {
    const page = await data.query(query);
    const wanted = page.items.filter((item) => source.models.has(modelOf(schema, item)?.name ?? ""));
    const keys = wanted.map((item) => keyOf(schema, item));
    const items = isPrimary(schema, source.index) ? wanted : await data.get(keys);
    return { items: keys.flatMap((key, i) => items[i] ? [{ key, item: items[i] }] : []), next: page.next };
  } catch (error) {
    // A device's token may belong to another table, or be made up: then the snapshot starts again.
    if (fromDevice && after !== undefined && error instanceof SyncError && error.code === "invalid") return undefined;
    throw error;
  }
}

/** A token names its source by content: a position would mean another source after a change of the schema. */
export function tokenOf({ index, hash, prefix }: Source, token: string | undefined): string {
  return JSON.stringify([index, hash, prefix, ...(token === undefined ? [] : [token])]);
}

/** Where a token continues; undefined if it is invalid, or its source no longer exists. */
export function startOf(sources: readonly Source[], after: string): { at: number; token?: string } | undefined {
  let parts: unknown;
  try {
    parts = JSON.parse(after);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (!Array.isArray(parts)) return undefined;
  const [index, hash, prefix, token] = parts;
  const at = sources.findIndex((source) => source.index === index && source.hash === hash && source.prefix === prefix);
  if (at < 0 || (token !== undefined && typeof token !== "string")) return undefined;
  return { at, token };
}
