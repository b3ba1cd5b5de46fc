/**
 * The cloud's half of a verification: digests of a channel's items, range by range, so that a device finds differences
 * without receiving the items. A range consists of the items of a few queries, in the order in which a snapshot lists
 * them. Nothing is stored between two requests. A device gets answers only for its own channels and keys (I4).
 *
 * @module
 */
import {
  type Channel,
  type Compare,
  type Digests,
  DigestSum,
  type ItemDigest,
  itemDigest,
  type Key,
  type Probe,
} from "../../protocol.ts";
import { channelOf, isExpired, modelOf } from "../../schema.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import { readInSteps } from "../table/read_in_steps.ts";
import { type CatchUpContext, ownChannels } from "./catch_up.ts";
import { currentOf, goesUp } from "./visible.ts";
import { isPrimary, listed, type Source, sourcesOf, startOf, tokenOf } from "./snapshot.ts";

/** The approximate number of items in a range: as many as in a page. */
const rangeItems = 500;
/** Bytes of its items: fewer if they are large, so that one comparison does not hold up other questions. */
const rangeBytes = 2 * 1024 * 1024;
const queryLimit = 100;
const queriesMax = 20;

/** Answers a comparison; undefined if the channel is not the device's. */
export async function answerCompare(
  context: CatchUpContext,
  identity: Identity,
  compare: Compare,
): Promise<Digests | undefined> {
  const { schema, now } = context, { request, channel, after } = compare;
  if (!ownChannels(identity).includes(channel)) return undefined;
  const sources = sourcesOf(schema, channel, identity);
  // The token belongs to a listing that no longer exists: start again.
  const { at, token } = (after === undefined ? undefined : startOf(sources, after)) ?? { at: 0, token: undefined };
  const source = sources[at];
  if (!source) return { type: "digests", request, models: [], time: now() };
  const digestOf = (key: Key, item: Item) => digested(schema, channel, identity, key, item, now());
  const range = await rangeOf(context, source, token, digestOf) ??
    (await rangeOf(context, source, undefined, digestOf))!;
  const isOrdered = isPrimary(schema, source.index);
  const sums = new Map([...source.models].map((name) => [name, new DigestSum()]));
  const items: ItemDigest[] = [];
  for (const { model, key, digest } of range.items) {
    if (digest === undefined) continue;
    sums.get(model)!.add(digest);
    items.push({ model, key, digest });
  }
  const next = range.next !== undefined
    ? tokenOf(source, range.next)
    : at + 1 < sources.length
    ? tokenOf(sources[at + 1]!, undefined)
    : undefined;
  const last = range.items.at(-1)?.key[1];
  return {
    type: "digests",
    request,
    ...(isOrdered ? { hash: source.hash } : {}),
    ...(isOrdered && range.next !== undefined && last !== undefined ? { to: last } : {}),
    models: [...sums].map(([model, { count, digest }]) => ({ model, count, digest })),
    ...(compare.each || !isOrdered ? { items } : {}),
    ...(next === undefined ? {} : { next }),
    time: now(),
  };
}

/**
 * The items of a few queries, reduced to digests as soon as they are read: they may be 20 MB. Never empty if more
 * follow: the range's end is its last item's key.
 */
async function rangeOf(
  { schema, data }: CatchUpContext,
  source: Source,
  token: string | undefined,
  digestOf: (key: Key, item: Item) => ItemDigest,
): Promise<{ items: ItemDigest[]; next?: string } | undefined> {
  const items: ItemDigest[] = [];
  let bytes = 0;
  const fromDevice = token !== undefined;
  for (let queries = 0;; queries++) {
    const page = await listed(schema, data, source, queryLimit, token, fromDevice);
    if (!page) return undefined;
    for (const { key, item } of page.items) {
      items.push(digestOf(key, item));
      bytes += itemSizeBytes(item);
    }
    token = page.next;
    const isFull = items.length >= rangeItems || (bytes >= rangeBytes && items.length > 0);
    if (token === undefined || isFull || (queries >= queriesMax && items.length > 0)) {
      return { items, next: token };
    }
  }
}

/** An item's digest; none if it does not belong to the channel, or has expired. */
function digested(
  schema: Schema,
  channel: Channel,
  identity: Identity,
  key: Key,
  item: Item,
  nowMs: number,
): ItemDigest {
  const model = modelOf(schema, item)!;
  if (channelOf(model, item) !== channel) return { model: model.name, key };
  const { item: attributes } = currentOf(schema, model, item, identity);
  if (isExpired(model, attributes, nowMs)) return { model: model.name, key };
  return { model: model.name, key, digest: itemDigest(key, attributes) };
}

/** Answers a probe: each key once. A key of another model, device or account counts as absent. */
export async function answerProbe(context: CatchUpContext, identity: Identity, probe: Probe): Promise<Digests> {
  const { schema, data, now } = context;
  const model = schema.models.get(probe.model), own = ownChannels(identity);
  const items: ItemDigest[] = probe.keys.map((key) => ({ model: probe.model, key }));
  for await (const [i, item] of readInSteps(data, model && goesUp(model) ? probe.keys : [])) {
    if (!item || modelOf(schema, item) !== model || !own.includes(channelOf(model!, item) ?? "")) continue;
    const { item: attributes } = currentOf(schema, model!, item, identity);
    // An item that is older than a field that needs a value lacks it, and the device's row was given the default.
    const asRow = probe.defaults ? { ...only(probe.defaults, probe.attributes), ...attributes } : attributes;
    items[i] = { ...items[i]!, digest: itemDigest(items[i]!.key, only(asRow, probe.attributes)) };
  }
  return { type: "digests", request: probe.request, models: [], items, time: now() };
}

function only(item: Attributes, names: readonly string[]): Attributes {
  return Object.fromEntries(names.filter((name) => Object.hasOwn(item, name)).map((name) => [name, item[name]!]));
}
