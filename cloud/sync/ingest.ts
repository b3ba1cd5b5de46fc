/**
 * Ingest: writes a device's batch into the data table, and so decides every conflict. One conditional write for each
 * change, without a read before it; a refused change is answered with the item that is in the table. A change never
 * fails its batch.
 *
 * Idempotent: a batch that is delivered twice finds its own versions in the table, and the answer is `ok` again.
 * Durable when it returns. The changes of one batch are independent of each other and written in no order.
 *
 * @module
 */
import { sameVersion } from "../../protocol/versions.ts";
import type { Ack, Answer, Change, Current, Key, Up, Version } from "../../protocol.ts";
import {
  checkAttributes,
  completeItem,
  digest,
  fieldOfAttribute,
  haveEqualKeys,
  isExpired,
  jsonEquals,
  modelDigest,
  renderKey,
  stripItem,
  SyncError,
  versionOf,
} from "../../schema.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import { type Effort, stepsMax } from "../../schema/pattern/pattern.ts";
import { unplaceItem } from "../../schema/placement.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import { ConditionTooLargeError } from "../table/condition_limit.ts";
import { foreignIdentity, strangersIn, undeclaredIndexKeys, unwantedAttribute } from "./foreign.ts";
import { currentOf, goesUp, isOwn } from "./visible.ts";
import { keyText } from "./entries.ts";
import { aheadMaxMs, Conditions } from "./ingest_condition.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import type { DataTable, Write, WriteResult } from "../table/port.ts";
import { readInSteps } from "../table/read_in_steps.ts";

/** A transmission older than this is not processed: a stalled worker's old create must not come back after a removal. */
export const transmissionAgeMaxMs = 30_000;

/**
 * Bytes of items in one acknowledgement: the table's items for refused changes may be hundreds of times as large as the
 * batch. Further changes are `throttled`: the device sends them again, and each batch makes progress by at least one.
 */
const answerBytesMax = 1024 * 1024;
/** Steps of `validate` in one batch, after which other devices' batches have their turn: some 30 ms. */
const effortMax = stepsMax / 2;

/** What ingest works on. */
export interface IngestContext {
  readonly schema: Schema;
  readonly tables: { readonly data: Pick<DataTable, "write" | "get"> };
  /** The account to which a device belongs, if there is such a device. */
  readonly accountOf?: (deviceId: string) => Promise<string | undefined>;
  /** Told of each item that was written now, with the attributes that the device sent. */
  readonly stored?: (identity: Identity, model: Model, attributes: Attributes) => void;
  /** The cloud's clock, ms. */
  now(): number;
}

/** A change that may be written. */
interface Prepared {
  readonly at: number;
  readonly change: Change;
  readonly model: Model;
  readonly key: Key;
  /** Absent for a removal. */
  readonly item?: Item;
  readonly version: Version;
}

/** A change that may not: its answer, and its key if it could be rendered, to look up the current item. */
interface Unfit {
  readonly answer: Answer;
  readonly model?: Model;
  readonly key?: Key;
}

/**
 * Writes a batch of the device that `identity` names; it was taken from the topic and the registry, never from the
 * batch.
 *
 * @throws SyncError `unavailable` (retryable) if the table can't be reached: then part of the batch may be written.
 */
export async function ingest(context: IngestContext, identity: Identity, up: Up): Promise<Ack> {
  const answers = isLate(up, context.now()) ? allLate(up) : await process(context, identity, up);
  return { type: "ack", batch: up.batch, time: context.now(), answers };
}

/** An acknowledgement that asks for everything again: for a batch that could not be processed. */
export function throttledAck(up: Up, now: number): Ack {
  return { type: "ack", batch: up.batch, time: now, answers: up.changes.map((_, at) => ({ at, code: "throttled" })) };
}

/**
 * A `sent` far ahead of the cloud's clock would never become late: the device learns the time and sends the batch
 * again.
 */
function isLate(up: Up, now: number): boolean {
  return now - up.sent > transmissionAgeMaxMs || up.sent - now > aheadMaxMs;
}

function allLate(up: Up): Answer[] {
  return up.changes.map((_, at) => ({ at, code: "late" }));
}

async function process(context: IngestContext, identity: Identity, up: Up): Promise<Answer[]> {
  const incarnation = up.batch.slice(0, Math.max(up.batch.lastIndexOf("/"), 0)) || up.batch;
  const source = `${identity.deviceId}#${incarnation}`;
  const prepared: Prepared[] = [], unfit: Unfit[] = [];
  const keys = new Set<string>();
  const strangers = await strangersIn(context, identity, up.changes);
  const effort: Effort = { steps: 0 };
  up.changes.forEach((change, at) => {
    // Other devices have their turn: the rest of the batch comes again. A single change is bounded by `stepsMax`.
    if (effort.steps > effortMax) return unfit.push({ answer: { at, code: "throttled" } });
    const result = prepare(context, identity, change, at, source, strangers, schemasOf(up, change), effort);
    if ("answer" in result) return unfit.push(result);
    const known = keys.size;
    if (keys.add(keyText(result.key)).size > known) prepared.push(result);
    else unfit.push({ answer: { at, code: "throttled" } });
  });
  // Checked again just before each write: the table drops a write that would start later.
  const deadline = Math.min(up.sent, context.now()) + transmissionAgeMaxMs;
  const results = await write(context, identity, prepared, deadline);
  const answers: Answer[] = [];
  prepared.forEach((change, i) => {
    const result = results[i]!;
    if (result.outcome === "too-large" || result.outcome === "invalid") {
      const { at, model, key } = change;
      unfit.push({ answer: { at, code: result.outcome, reason: result.message }, model, key });
      return;
    }
    if (result.outcome === "written" && change.item) context.stored?.(identity, change.model, change.change.item!);
    const answer = answerOf(context, identity, change, result);
    if (answer) answers.push(answer);
  });
  answers.push(...await withCurrent(context, identity, unfit));
  return answers.sort((a, b) => a.at - b.at);
}

/** The digest that the device's schema has of the change's model; undefined if the device did not send it. */
function schemasOf({ schemas }: Up, { model }: Change): string | undefined {
  return schemas && Object.hasOwn(schemas, model) ? schemas[model] : undefined;
}

/** @param theirs the digest of the model in the schema that the change was made under */
function prepare(
  { schema, now }: IngestContext,
  identity: Identity,
  change: Change,
  at: number,
  source: string,
  strangers: ReadonlySet<string>,
  theirs: string | undefined,
  effort: Effort,
): Prepared | Unfit {
  const model = schema.models.get(change.model);
  const refused = (reason: string, key?: Key): Unfit => ({ answer: { at, code: "invalid", reason }, model, key });
  if (change.unreadable !== undefined) return refused(change.unreadable, readableKey(model, change, identity));
  const differs = theirs !== undefined && (!model || theirs !== modelDigest(schema, model));
  const invalid = (reason: string, key?: Key): Unfit =>
    // It may be valid by the device's schema: it waits, and no item is looked up.
    differs ? { answer: { at, code: "schema", reason } } : refused(reason, key);
  if (model && differs && !haveEqualKeys(theirs, modelDigest(schema, model))) {
    return invalid(`the cloud's schema makes other keys of ${model.name}`);
  }
  if (!model) return invalid(`the cloud's schema has no model ${JSON.stringify(change.model)}`);
  if (!goesUp(model)) return invalid(`${model.name} does not sync up`);
  const attributes = change.op === "remove" ? change.key : change.item;
  if (!attributes) {
    return invalid(`a ${change.op} of ${model.name} carries no ${change.op === "remove" ? "key" : "item"}`);
  }
  const key = renderKey(model, attributes, identity);
  const foreign = foreignIdentity(model, attributes, identity, strangers) ?? unwantedAttribute(model, attributes);
  if (foreign) return invalid(foreign, key);
  if (change.stamp > (now() + aheadMaxMs) * 1000) return { answer: { at, code: "clock" } };
  const version: Version = [source, change.stamp];
  if (change.op === "remove") {
    return key ? { at, change, model, key, version } : invalid(`the key of ${model.name} can't be rendered`);
  }
  try {
    const item = completeItem(schema, model, attributes, identity, key);
    const reason = checkAttributes(model, unplaceItem(model, item), effort);
    if (reason !== undefined) return invalid(reason, key);
    Object.assign(item, { _source: source, _stamp: change.stamp });
    return { at, change, model, key: key!, item, version };
  } catch (error) {
    if (error instanceof SyncError && error.code === "invalid") return invalid(error.message, key);
    throw error;
  }
}

/** The key of a change that can't be read as a whole; undefined if what names it can't be read either. */
function readableKey(model: Model | undefined, { item, key }: Change, identity: Identity): Key | undefined {
  if (!model || !goesUp(model)) return undefined;
  const named = (attributes: Attributes | undefined) => attributes && renderKey(model, attributes, identity);
  return named(item) ?? named(key);
}

/** Writes the changes; if the table cannot accept some conditions, writes these again with narrower ones. */
async function write(
  context: IngestContext,
  identity: Identity,
  prepared: readonly Prepared[],
  deadline: number,
): Promise<WriteResult[]> {
  if (prepared.length === 0) return [];
  const { schema, tables } = context;
  const conditions = new Conditions({ schema, identity, now: context.now() });
  const writeOf = ({ model, change, key, item }: Prepared, narrow: boolean): Write => {
    const condition = conditions.of(model, change, narrow);
    return item ? { op: "put", item, condition, isNew: change.op === "create" } : { op: "delete", key, condition };
  };
  const writes = prepared.map((change) => writeOf(change, false));
  try {
    return await tables.data.write(writes, { deadline, returnedBytesMax: answerBytesMax });
  } catch (error) {
    if (!(error instanceof ConditionTooLargeError)) throw error;
    for (const i of error.at) writes[i] = writeOf(prepared[i]!, true);
    return await tables.data.write(writes, { deadline, returnedBytesMax: answerBytesMax });
  }
}

/** The answer to a write; undefined: plainly `ok`. */
function answerOf(
  context: IngestContext,
  identity: Identity,
  prepared: Prepared,
  result: Exclude<WriteResult, { outcome: "too-large" | "invalid" }>,
): Answer | undefined {
  const { schema } = context;
  const { at, change, model, version } = prepared;
  switch (result.outcome) {
    case "throttled":
    case "late":
      return { at, code: result.outcome };
    case "written": {
      const over = result.old && overwritten(context, identity, prepared, result.old);
      return over ? { at, code: "ok", over } : undefined;
    }
    case "refused": {
      const { current } = result;
      if (!current) {
        const planted = change.item && undeclaredIndexKeys(schema, model, change.item)[0];
        if (planted !== undefined && change.op !== "update") {
          const reason =
            `${planted} of ${model.name} is an index key that the schema does not declare: only the cloud may set it`;
          return { at, code: "invalid", current: null, reason };
        }
        // Removal wins over an update (rule 3.5). A create's condition holds if the item is absent, so only a race can
        // lead here.
        return change.op === "remove" ? undefined : { at, code: change.op === "update" ? "gone" : "throttled" };
      }
      if (!isOwn(schema, model, current, identity)) {
        return {
          at,
          code: "invalid",
          current: null,
          reason: `the key is taken by an item that is not a ${model.name} of this device`,
        };
      }
      const there = versionOf(current);
      if (sameVersion(there, version)) return undefined;
      // An expired item counts as gone, whether or not anything has removed it.
      if (change.op === "remove" && isExpired(model, current, context.now())) return undefined;
      return { at, code: "stale", current: currentOf(schema, model, current, identity) };
    }
  }
}

/**
 * The old item, if the write replaced something that its device had not seen: an item without a version, or with the
 * base's version, whose content differs from the base. A version that lost by its stamp is simply superseded.
 */
function overwritten(
  { schema, now }: IngestContext,
  identity: Identity,
  { change, model }: Prepared,
  old: Item,
): Current | undefined {
  if (isExpired(model, old, now())) return undefined;
  const there = versionOf(old), { base } = change;
  const isBase = sameVersion(there, base?.version);
  if (there && !isBase) return undefined;
  const content = stripItem(schema, model, old, identity);
  if (base?.item) return sameContent(model, content, base.item) ? undefined : currentOf(schema, model, old, identity);
  if (base?.digest !== undefined) {
    return digest(content) === base.digest ? undefined : currentOf(schema, model, old, identity);
  }
  // The base's content is unknown: its version stands for it, and without a version there was no base.
  return isBase ? undefined : currentOf(schema, model, old, identity);
}

/** Attributes that never leave a device may be in a base; the table never has them. */
function sameContent(model: Model, content: Attributes, base: Attributes): boolean {
  const synced = Object.entries(base).filter(([attribute]) => fieldOfAttribute(model, attribute)?.synced !== false);
  return jsonEquals(content, Object.fromEntries(synced));
}

/**
 * Adds the current items to final refusals: the device restores them instead of the refused state. If they are too
 * large for one answer, the device asks for the rest again.
 */
async function withCurrent(context: IngestContext, identity: Identity, unfit: readonly Unfit[]): Promise<Answer[]> {
  const answers: Answer[] = [], keyed: Required<Unfit>[] = [];
  for (const one of unfit) {
    if (one.key && one.model) keyed.push(one as Required<Unfit>);
    else answers.push(one.answer);
  }
  let bytes = 0, answered = 0;
  for await (const [i, item] of readInSteps(context.tables.data, keyed.map(({ key }) => key))) {
    const { answer, model } = keyed[i]!;
    const isVisible = item && isOwn(context.schema, model, item, identity);
    answers.push({ ...answer, current: isVisible ? currentOf(context.schema, model, item, identity) : null });
    answered++;
    if (isVisible) bytes += itemSizeBytes(item);
    if (bytes > answerBytesMax) break;
  }
  for (const { answer: { at } } of keyed.slice(answered)) answers.push({ at, code: "throttled" });
  return answers;
}
