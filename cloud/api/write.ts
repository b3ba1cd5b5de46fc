/**
 * Items over HTTP: putting and deleting for a cloud application. These only write to the table: the change reaches
 * devices through the stream, like any other writer's.
 *
 * A writer may say which version of the item it has seen (`If-Match`, with the digest from a list or a write), or that
 * it has seen none (`If-None-Match: *`): if the table has another, nothing is written, and the answer, 412, contains
 * the present item. Every write returns what it replaced, so that it can be undone if nobody has written since.
 *
 * @module
 */
import {
  completeItem,
  digest,
  fieldOf,
  fromPlain,
  idOfItem,
  keyOf,
  modelOf,
  renderKey,
  roleOf,
  SyncError,
  toPlain,
  unknownNames,
} from "../../schema.ts";
import { keyText } from "../../protocol/keys.ts";
import type { Key } from "../../protocol.ts";
import type { Field, Model, Schema } from "../../schema/model.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import { absent, all, equals, exists, lacks } from "../table/condition.ts";
import { ConditionTooLargeError } from "../table/condition_limit.ts";
import type { Condition, Write, WriteResult } from "../table/port.ts";
import { ApiError } from "./errors.ts";
import type { ItemsContext, PlainItem } from "./items.ts";

/** What the writer has seen: the digest of a version, any version, or none. */
export type Precondition = { readonly digest: string } | "any" | "none";

/** How an item is put. */
export interface PutOptions {
  readonly precondition?: Precondition;
  /** Store properties that the schema does not have; otherwise they are refused. */
  readonly keepsUnknown?: boolean;
}

/** What a write did. */
export interface Written {
  /** The present item; absent: deleted. */
  readonly item?: PlainItem;
  /** Its digest, for `If-Match`. */
  readonly digest?: string;
  /** What was there before. */
  readonly old?: PlainItem;
  /** Its digest. */
  readonly oldDigest?: string;
}

/** One of many: written, or why not. */
export type PutResult =
  | { readonly item: PlainItem; readonly digest: string; readonly replaced: boolean }
  | { readonly error: { readonly code: string; readonly message: string } };

/** The item is not the one that the writer has seen. */
export class PreconditionError extends ApiError {
  /** @param now the item as it is */
  constructor(readonly now: PlainItem | null, readonly digest: string | undefined) {
    super(412, "changed", now ? "the item was changed since" : "there is no such item");
  }

  override get details(): Readonly<Record<string, unknown>> {
    return { now: this.now, ...(this.digest === undefined ? {} : { digest: this.digest }) };
  }
}

/** Bytes of items that one write call returns; many items are written in several calls. */
const returnedBytesMax = 8 * 1024 * 1024;
/** Attributes that are compared if all of them are too many for a condition. */
const narrowAttributesMax = 40;

/** Puts an item: replaces what is there, fills in defaults and ids, sets timestamps. Without `_source` and `_stamp`. */
export async function putItem(
  context: ItemsContext,
  model: Model,
  plain: unknown,
  options: PutOptions = {},
): Promise<Written> {
  const { precondition } = options;
  const draft = itemOf(context, model, plain, options);
  if (precondition === undefined || typeof precondition === "string") {
    const condition = precondition === "any" ? exists : precondition === "none" ? absent : undefined;
    return written(context, model, draft, await writeOne(context, model, { op: "put", item: draft, condition }));
  }
  const key = keyOf(context.schema, draft), seen = await seenItem(context, model, key, precondition.digest);
  const item = itemOf(context, model, plain, options, seen);
  const old = await writeUnchanged(context, model, seen, (condition) => ({ op: "put", item, condition }));
  return written(context, model, item, old);
}

/**
 * Puts many, each by itself; results in their order. Several with one key are refused, because their order would be
 * undefined.
 */
export async function putItems(
  context: ItemsContext,
  model: Model,
  plains: readonly unknown[],
  options: PutOptions,
): Promise<PutResult[]> {
  const results: PutResult[] = [];
  const writes: { at: number; write: Write & { op: "put" } }[] = [];
  const places = new Map<string, number>();
  plains.forEach((plain, at) => {
    try {
      const item = itemOf(context, model, plain, options);
      const text = keyText(keyOf(context.schema, item)), before = places.get(text);
      if (before !== undefined) throw new ApiError(400, "invalid", `it has the key of the item at ${before}`);
      places.set(text, at);
      writes.push({ at, write: { op: "put", item } });
    } catch (error) {
      if (!(error instanceof ApiError) && !(error instanceof SyncError)) throw error;
      results[at] = { error: { code: error.code, message: error.message } };
    }
  });
  for (let left = writes; left.length > 0;) {
    const outcomes = await context.data.write(left.map(({ write }) => write), { returnedBytesMax });
    const again = left.filter((_, i) => outcomes[i]!.outcome === "throttled");
    left.forEach(({ at, write: { item } }, i) => results[at] = resultOf(context.schema, model, item, outcomes[i]!));
    // The returned items filled the limit: the first always fits. If nothing was written, the table throttles.
    left = again.length < left.length ? again : [];
  }
  return results;
}

function resultOf(schema: Schema, model: Model, item: Item, result: WriteResult): PutResult {
  if (result.outcome === "written") {
    return { item: toPlain(schema, model, item), digest: digest(item), replaced: result.old !== undefined };
  }
  if (result.outcome === "too-large" || result.outcome === "invalid") {
    return { error: { code: result.outcome, message: result.message } };
  }
  return { error: { code: "unavailable", message: "the table is throttled: try again" } };
}

/** Deletes an item by its key attributes. */
export async function deleteItem(
  context: ItemsContext,
  model: Model,
  plain: unknown,
  precondition?: Precondition,
): Promise<Written> {
  const key = keyOfPlain(context, model, plain);
  if (precondition === "none") throw new ApiError(400, "invalid", "If-None-Match has no meaning for DELETE");
  if (precondition === undefined || precondition === "any") {
    const condition = precondition && exists;
    return written(context, model, undefined, await writeOne(context, model, { op: "delete", key, condition }));
  }
  const seen = await seenItem(context, model, key, precondition.digest);
  const old = await writeUnchanged(context, model, seen, (condition) => ({ op: "delete", key, condition }));
  return written(context, model, undefined, old);
}

/** The key that a plain item's attributes make; other attributes are ignored. @throws ApiError 400 */
export function keyOfPlain(context: ItemsContext, model: Model, plain: unknown): Key {
  const key = renderKey(model, keyAttributes(context, model, plain));
  if (!key) throw new ApiError(400, "invalid", `the key of ${model.name} can't be made of what is given`);
  return key;
}

/** The attributes of a plain item that its key names. @throws ApiError 400 */
export function keyAttributes({ schema, now, random }: ItemsContext, model: Model, plain: unknown): Attributes {
  if (typeof plain !== "object" || plain === null || Array.isArray(plain)) {
    throw new ApiError(400, "invalid", "an item is required, with its key attributes at least");
  }
  const bare = keyModelOf(model);
  const given = plain as Record<string, unknown>;
  const named = Object.fromEntries(
    bare.fields.flatMap(({ name }) => Object.hasOwn(given, name) ? [[name, given[name]]] : []),
  );
  return fromPlain(schema, bare, named, { now: now(), random });
}

/** The complete item that a plain one makes. @throws ApiError, SyncError for one that is invalid by the schema */
function itemOf(
  { schema, now, random }: ItemsContext,
  model: Model,
  plain: unknown,
  { keepsUnknown = false }: PutOptions,
  seen?: Item,
): Item {
  // Misspelt names get a better message than unknown ones.
  const attributes = fromPlain(schema, model, plain, { now: now(), random, seen });
  const [unknown] = keepsUnknown ? [] : unknownNames(schema, model, plain);
  if (unknown !== undefined) {
    throw new ApiError(
      400,
      "unknown",
      `${model.name} has no ${JSON.stringify(unknown)} in the schema: "unknown": "keep" beside the item stores it`,
    );
  }
  const item = completeItem(schema, model, attributes);
  const unidentified = model.identityFields.find((name) =>
    typeof idOfItem(model, item, roleOf(model, name)!) !== "string"
  );
  if (unidentified) throw new ApiError(400, "invalid", `${model.name} needs ${unidentified}`);
  return item;
}

/** The item of the key, if it is the one that the writer has seen. @throws PreconditionError */
async function seenItem(context: ItemsContext, model: Model, key: Key, seen: string): Promise<Item> {
  const [item] = await context.data.get([key]);
  if (item && digest(item) === seen) return item;
  throw changed(context.schema, model, item);
}

function changed(schema: Schema, model: Model, item: Item | undefined): PreconditionError {
  const isOfModel = item && modelOf(schema, item) === model;
  return new PreconditionError(isOfModel ? toPlain(schema, model, item) : null, item && digest(item));
}

/** Writes if the item is still the one that was read. */
async function writeUnchanged(
  context: ItemsContext,
  model: Model,
  seen: Item,
  writeOf: (condition: Condition) => Write,
): Promise<Item | undefined> {
  try {
    return await writeOne(context, model, writeOf(unchanged(model, seen, Infinity)));
  } catch (error) {
    if (!(error instanceof ConditionTooLargeError)) throw error;
    return await writeOne(context, model, writeOf(unchanged(model, seen, narrowAttributesMax)));
  }
}

/**
 * The condition that the item is unchanged: every attribute is equal, and no other of the model's exists. A condition
 * cannot exclude unknown attributes: one that somebody adds between our read and our write is overwritten. For a very
 * wide item, only some attributes are compared, first those that every writer changes.
 */
function unchanged(model: Model, seen: Item, attributesMax: number): Condition {
  const updated = fieldOf(model, model.updatedField ?? "")?.attribute;
  const rank = (name: string) => name === "_stamp" || name === "_source" || name === updated ? 0 : 1;
  const present = Object.keys(seen).sort((a, b) => rank(a) - rank(b)).map((name) => equals(name, seen[name]!));
  const missing = model.fields.map(({ attribute }) => attribute).concat("_stamp").filter((name) =>
    !Object.hasOwn(seen, name)
  );
  return all(...present.concat([...new Set(missing)].map(lacks)).slice(0, attributesMax));
}

const keyModels = new WeakMap<Model, Model>();

/** The model with only the fields that its key names, each required and none generated. */
function keyModelOf(model: Model): Model {
  let bare = keyModels.get(model);
  if (!bare) {
    const fields = [...model.identityFields, ...model.keyFields].flatMap((name): Field[] => {
      const field = fieldOf(model, name);
      if (!field) return [];
      const { enum: _enum, validate: _validate, default: _default, generate: _generate, timestamp: _at, ...rest } =
        field;
      return [{ ...rest, required: true }];
    });
    bare = { ...model, fields };
    keyModels.set(model, bare);
  }
  return bare;
}

function written({ schema }: ItemsContext, model: Model, item: Item | undefined, old: Item | undefined): Written {
  return {
    ...(item ? { item: toPlain(schema, model, item), digest: digest(item) } : {}),
    ...(old && modelOf(schema, old) === model ? { old: toPlain(schema, model, old), oldDigest: digest(old) } : {}),
  };
}

/** @returns what was there before. @throws PreconditionError, SyncError */
async function writeOne({ schema, data }: ItemsContext, model: Model, write: Write): Promise<Item | undefined> {
  const [result] = await data.write([write]);
  if (result?.outcome === "written") return result.old;
  if (result?.outcome === "refused") throw changed(schema, model, result.current);
  if (result?.outcome === "too-large" || result?.outcome === "invalid") {
    throw new SyncError(result.outcome, result.message);
  }
  throw new SyncError("unavailable", "the table is throttled: try again", { retryable: true });
}
