/**
 * Checks every field of every message, and copies the known ones: what comes out has the types of `protocol.ts` and
 * nothing else in it. Unknown fields are left out, so that a newer minor version may add some.
 *
 * Lengths are bounds against abuse, far above what the system itself makes; a bound that a genuine message could meet
 * would turn that message into one that is dropped for ever.
 *
 * @module
 */
import {
  type Ack,
  type Answer,
  type Base,
  batchChangesMax,
  type Change,
  type Changes,
  type Compare,
  type Current,
  type CursorOf,
  type Digests,
  type Entry,
  type Fetch,
  fetchKeysMax,
  type FromCloud,
  type FromDevice,
  type ItemDigest,
  type Items,
  type Key,
  type Later,
  type Mark,
  type OfTable,
  type Order,
  type Ordered,
  type Page,
  type Probe,
  probeKeysMax,
  type RangeDigest,
  type Refused,
  type Restored,
  type SnapshotPage,
  type Sync,
  type Time,
  type Told,
  type Up,
  type Verified,
  type Verify,
  type Version,
} from "./messages.ts";
import { type Fields, fieldsOf, flagOf, listOf, matching, oneOf, refuse, textOf, timeOf, wholeOf } from "./checks.ts";
import { ProtocolError } from "./errors.ts";
import { attributesOf, readableAttributesOf } from "./value_checks.ts";

/** Batch and request ids: `<incarnation>/<n>`. */
const numberedId = /^[A-Za-z0-9_.:-]{1,64}\/[0-9]{1,16}$/;
const channelName = /^(?:global|(?:device|account):[A-Za-z0-9_.:-]{1,128})$/;
const digestText = /^[0-9a-f]{16}$/;
const modelDigestText = /^[0-9a-f]{32}$/;
const fingerprintMax = 64;
/** DynamoDB: a hash value has at most 2048 bytes, a sort value 1024; the embedded table is not asked to be as strict. */
const keyLengthMax = 4096;
const nameLengthMax = 255;
/** `<device>#<incarnation>` takes up to 193; an application may have put any text into `_source` that an item holds. */
const sourceLengthMax = 400 * 1024;
const epochLengthMax = 128;
/** A page token may hold a table's last key with those of an index, in base64. */
const tokenLengthMax = 32768;
const reasonLengthMax = 65536;
/** Channels in one `sync`: a device has three. */
const channelsMax = 16;
/** Entries of one page: the cloud makes pages of hundreds. */
const entriesMax = 10_000;
/** What a device waits at most because the cloud asks it to. */
const waitMaxMs = 3_600_000;
/** Attributes of one model, and models of one schema. */
const namesMax = 1000;

/** A wait that the cloud asks for: an hour at most, whatever it says. */
function waitOf(value: unknown, where: string): number {
  return Math.min(wholeOf(value, where), waitMaxMs);
}

function idOf(value: unknown, where: string): string {
  return matching(value, where, numberedId, "<incarnation>/<number>");
}

function channelOf(value: unknown, where: string): string {
  return matching(value, where, channelName, "device:<id>, account:<id> or global");
}

function epochOf(value: unknown, where: string): string {
  return textOf(value, where, 1, epochLengthMax);
}

function versionOf(value: unknown, where: string): Version {
  const list = listOf(value, where, 2);
  if (list.length !== 2) refuse(where, "[source, stamp]", value);
  return [textOf(list[0], where, 1, sourceLengthMax), wholeOf(list[1], where)];
}

function keyOf(value: unknown, where: string): Key {
  const list = listOf(value, where, 2);
  if (list.length !== 2) refuse(where, "[hash, sort]", value);
  return [textOf(list[0], where, 0, keyLengthMax), textOf(list[1], where, 0, keyLengthMax)];
}

function modelOf(value: unknown, where: string): string {
  return textOf(value, where, 1, nameLengthMax);
}

function currentOf(value: unknown, where: string): Current {
  const fields = fieldsOf(value, where);
  const current = { model: modelOf(fields.model, "current.model"), item: attributesOf(fields.item, "current.item") };
  if (fields.version === undefined) return current;
  return { ...current, version: versionOf(fields.version, "current.version") };
}

function baseOf(value: unknown): Base {
  const { version, item, digest } = fieldsOf(value, "changes[].base");
  const base: { -readonly [name in keyof Base]: Base[name] } = {};
  if (version !== undefined) base.version = versionOf(version, "changes[].base.version");
  if (item !== undefined) base.item = attributesOf(item, "changes[].base.item");
  if (digest !== undefined) base.digest = matching(digest, "changes[].base.digest", digestText, "16 hex digits");
  return base;
}

function changeOf(value: unknown): Change {
  const fields = fieldsOf(value, "changes[]");
  const op = oneOf(fields.op, "changes[].op", ["create", "update", "remove"]);
  const change: { -readonly [name in keyof Change]: Change[name] } = {
    model: modelOf(fields.model, "changes[].model"),
    op,
    stamp: wholeOf(fields.stamp, "changes[].stamp"),
  };
  if (fields.key !== undefined || op === "remove") change.key = attributesOf(fields.key, "changes[].key");
  if (fields.item !== undefined || op !== "remove") change.item = attributesOf(fields.item, "changes[].item");
  if (fields.base !== undefined) change.base = baseOf(fields.base);
  return change;
}

/** A change that can't be read spoils no other: it says so itself, with what names its item where that can be read. */
function changeOrFault(value: unknown): Change {
  try {
    return changeOf(value);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const { model, op, stamp, item, key } = (value ?? {}) as Fields;
    return {
      model: typeof model === "string" && model.length <= nameLengthMax ? model : "",
      op: op === "create" || op === "remove" ? op : "update",
      stamp: Number.isSafeInteger(stamp) ? stamp as number : 0,
      item: readableAttributesOf(item),
      key: readableAttributesOf(key),
      unreadable: error.message,
    };
  }
}

/** A `sent` that is not a time is as old as can be: the batch is answered `late`, and sent again with the time just learnt. */
function sentOf(value: unknown): number {
  return typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER ? value : 0;
}

function upOf(fields: Fields): Up {
  return {
    type: "up",
    batch: idOf(fields.batch, "batch"),
    sent: sentOf(fields.sent),
    changes: listOf(fields.changes, "changes", batchChangesMax).map(changeOrFault),
    ...(fields.schemas === undefined ? {} : { schemas: schemasOf(fields.schemas) }),
  };
}

/** The id of a batch that can't be read otherwise: whoever sent it waits for an answer. Undefined: there is none either. */
export function batchIdOf(fields: Fields): string | undefined {
  const { type, batch } = fields;
  return type === "up" && typeof batch === "string" && numberedId.test(batch) ? batch : undefined;
}

function schemasOf(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(fieldsOf(value, "schemas"));
  if (entries.length > namesMax) refuse("schemas", `at most ${namesMax} models`, entries.length);
  const pairs = entries.map(([name, digest]) =>
    [modelOf(name, "schemas"), matching(digest, "schemas", modelDigestText, "32 hex digits")] as const
  );
  return Object.fromEntries(pairs);
}

/** What every message of the cloud tells beside its own. */
function toldOf(fields: Fields): Told {
  const told: { -readonly [name in keyof Told]: Told[name] } = { time: timeOf(fields.time, "time") };
  if (fields.schema !== undefined) told.schema = textOf(fields.schema, "schema", 1, fingerprintMax);
  return told;
}

function ofTableOf(fields: Fields): OfTable {
  return fields.epoch === undefined ? toldOf(fields) : { ...toldOf(fields), epoch: epochOf(fields.epoch, "epoch") };
}

function restoredOf({ since }: Fields): Restored {
  return since === undefined ? {} : { since: timeOf(since, "since") };
}

function cursorOf(value: unknown): CursorOf {
  const { channel, epoch, seq, snapshot, limit } = fieldsOf(value, "channels[]");
  const cursor: { -readonly [name in keyof CursorOf]: CursorOf[name] } = {
    channel: channelOf(channel, "channels[].channel"),
  };
  if (epoch !== undefined) cursor.epoch = epochOf(epoch, "channels[].epoch");
  if (seq !== undefined) cursor.seq = wholeOf(seq, "channels[].seq");
  if (limit !== undefined) cursor.limit = wholeOf(limit, "channels[].limit");
  if (snapshot !== undefined) {
    const fields = fieldsOf(snapshot, "channels[].snapshot");
    cursor.snapshot = {
      epoch: epochOf(fields.epoch, "channels[].snapshot.epoch"),
      head: wholeOf(fields.head, "channels[].snapshot.head"),
      after: textOf(fields.after, "channels[].snapshot.after", 0, tokenLengthMax),
    };
  }
  return cursor;
}

function syncOf(fields: Fields): Sync {
  return {
    type: "sync",
    request: idOf(fields.request, "request"),
    channels: listOf(fields.channels, "channels", channelsMax).map(cursorOf),
    ...(fields.schema === undefined ? {} : { schema: textOf(fields.schema, "schema", 1, fingerprintMax) }),
    ...(fields.epoch === undefined ? {} : { epoch: epochOf(fields.epoch, "epoch") }),
    ...readsOf(fields),
  };
}

function fetchOf(fields: Fields): Fetch {
  return {
    type: "fetch",
    request: idOf(fields.request, "request"),
    keys: listOf(fields.keys, "keys", fetchKeysMax).map((key) => keyOf(key, "keys[]")),
    ...readsOf(fields),
  };
}

/** What the sender says that it understands. */
function readsOf({ z, later }: Fields): { z?: 1; later?: 1 } {
  return { ...(z === 1 ? { z: 1 } : {}), ...(later === 1 ? { later: 1 } : {}) };
}

function compareOf(fields: Fields): Compare {
  const compare: { -readonly [name in keyof Compare]: Compare[name] } = {
    type: "compare",
    request: idOf(fields.request, "request"),
    channel: channelOf(fields.channel, "channel"),
  };
  if (fields.after !== undefined) compare.after = textOf(fields.after, "after", 0, tokenLengthMax);
  if (fields.each !== undefined) compare.each = flagOf(fields.each, "each");
  return compare;
}

function probeOf(fields: Fields): Probe {
  return {
    type: "probe",
    request: idOf(fields.request, "request"),
    model: modelOf(fields.model, "model"),
    attributes: listOf(fields.attributes, "attributes", namesMax).map((n) =>
      textOf(n, "attributes[]", 1, nameLengthMax)
    ),
    keys: listOf(fields.keys, "keys", probeKeysMax).map((key) => keyOf(key, "keys[]")),
    ...(fields.defaults === undefined ? {} : { defaults: attributesOf(fields.defaults, "defaults") }),
  };
}

function verifiedOf(fields: Fields): Verified {
  return {
    type: "verified",
    request: idOf(fields.request, "request"),
    report: attributesOf(fields.report, "report"),
  };
}

const answerCodes = ["ok", "stale", "gone", "invalid", "too-large", "clock", "throttled", "late", "schema"] as const;

function answerOf(value: unknown): Answer {
  const { at, code, current, over, reason } = fieldsOf(value, "answers[]");
  const answer: { -readonly [name in keyof Answer]: Answer[name] } = {
    at: wholeOf(at, "answers[].at", batchChangesMax - 1),
    code: oneOf(code, "answers[].code", answerCodes),
  };
  if (current !== undefined) answer.current = current === null ? null : currentOf(current, "answers[].current");
  if (over !== undefined) answer.over = currentOf(over, "answers[].over");
  if (reason !== undefined) answer.reason = textOf(reason, "answers[].reason", 0, reasonLengthMax);
  return answer;
}

function ackOf(fields: Fields): Ack {
  return {
    type: "ack",
    batch: idOf(fields.batch, "batch"),
    ...ofTableOf(fields),
    answers: listOf(fields.answers, "answers", batchChangesMax).map(answerOf),
    ...(fields.afterMs === undefined ? {} : { afterMs: waitOf(fields.afterMs, "afterMs") }),
  };
}

function refusedOf(fields: Fields): Refused {
  return {
    type: "refused",
    batch: idOf(fields.batch, "batch"),
    ...toldOf(fields),
    reason: textOf(fields.reason, "reason", 0, reasonLengthMax),
  };
}

function markOf(value: unknown): Mark {
  const { model, version } = fieldsOf(value, "entries[].mark");
  return { model: modelOf(model, "entries[].mark.model"), version: versionOf(version, "entries[].mark.version") };
}

function entryOf(value: unknown): Entry {
  const { key, current, mark, was, removed, foreign, named } = fieldsOf(value, "entries[]");
  const entry: { -readonly [name in keyof Entry]: Entry[name] } = { key: keyOf(key, "entries[].key") };
  if (current !== undefined && mark !== undefined) refuse("entries[]", "an item or a mark, never both", value);
  if (current !== undefined) entry.current = currentOf(current, "entries[].current");
  if (mark !== undefined) entry.mark = markOf(mark);
  if (was !== undefined) entry.was = versionOf(was, "entries[].was");
  if (removed !== undefined) entry.removed = flagOf(removed, "entries[].removed");
  if (foreign === true) entry.foreign = true;
  if (named !== undefined) entry.named = modelOf(named, "entries[].named");
  return entry;
}

/**
 * An entry that can't be read spoils no other of its page. Where not even its key can be, no table of a device could hold
 * it: it is left out.
 */
function entryOrFault(value: unknown): Entry[] {
  try {
    return [entryOf(value)];
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    try {
      return [{ key: keyOf((value as Fields | null)?.key, "entries[].key"), unreadable: error.message }];
    } catch (again) {
      if (!(again instanceof ProtocolError)) throw again;
      return [];
    }
  }
}

function entriesOf(fields: Fields): readonly Entry[] {
  return listOf(fields.entries, "entries", entriesMax).flatMap(entryOrFault);
}

function changesOf(fields: Fields): Changes {
  return {
    type: "changes",
    channel: channelOf(fields.channel, "channel"),
    epoch: epochOf(fields.epoch, "epoch"),
    seq: wholeOf(fields.seq, "seq"),
    entries: entriesOf(fields),
    ...toldOf(fields),
    ...(fields.spreadMs === undefined ? {} : { spreadMs: waitOf(fields.spreadMs, "spreadMs") }),
    ...(fields.tell === 1 ? { tell: 1 } : {}),
  };
}

function modelsOf({ models }: Fields): Pick<Page, "models"> {
  if (models === undefined) return {};
  return { models: listOf(models, "models", namesMax).map((name) => modelOf(name, "models[]")) };
}

function pageOf(fields: Fields): Page {
  const from = wholeOf(fields.from, "from"), to = wholeOf(fields.to, "to");
  if (to < from) refuse("to", `at least "from" (${from})`, to);
  return {
    type: "page",
    request: idOf(fields.request, "request"),
    channel: channelOf(fields.channel, "channel"),
    epoch: epochOf(fields.epoch, "epoch"),
    from,
    to,
    more: flagOf(fields.more, "more"),
    entries: entriesOf(fields),
    ...modelsOf(fields),
    ...toldOf(fields),
  };
}

function snapshotOf(fields: Fields): SnapshotPage {
  const page: { -readonly [name in keyof SnapshotPage]: SnapshotPage[name] } = {
    type: "snapshot",
    request: idOf(fields.request, "request"),
    channel: channelOf(fields.channel, "channel"),
    epoch: epochOf(fields.epoch, "epoch"),
    head: wholeOf(fields.head, "head"),
    entries: entriesOf(fields),
    ...modelsOf(fields),
    ...restoredOf(fields),
    ...toldOf(fields),
  };
  if (fields.after !== undefined) page.after = textOf(fields.after, "after", 0, tokenLengthMax);
  if (fields.next !== undefined) page.next = textOf(fields.next, "next", 0, tokenLengthMax);
  if (fields.lags !== undefined) page.lags = flagOf(fields.lags, "lags");
  return page;
}

function itemsOf(fields: Fields): Items {
  return {
    type: "items",
    request: idOf(fields.request, "request"),
    entries: entriesOf(fields),
    ...ofTableOf(fields),
  };
}

function rangeDigestOf(value: unknown): RangeDigest {
  const { model, count, digest } = fieldsOf(value, "models[]");
  return {
    model: modelOf(model, "models[].model"),
    count: wholeOf(count, "models[].count"),
    digest: matching(digest, "models[].digest", digestText, "16 hex digits"),
  };
}

function itemDigestOf(value: unknown): ItemDigest {
  const { model, key, digest } = fieldsOf(value, "items[]");
  const item = { model: modelOf(model, "items[].model"), key: keyOf(key, "items[].key") };
  return digest === undefined
    ? item
    : { ...item, digest: matching(digest, "items[].digest", digestText, "16 hex digits") };
}

function digestsOf(fields: Fields): Digests {
  const { hash, to, items, next } = fields;
  const digests: { -readonly [name in keyof Digests]: Digests[name] } = {
    type: "digests",
    request: idOf(fields.request, "request"),
    models: listOf(fields.models, "models", namesMax).map(rangeDigestOf),
    ...toldOf(fields),
  };
  if (hash !== undefined) digests.hash = textOf(hash, "hash", 0, keyLengthMax);
  if (to !== undefined) digests.to = textOf(to, "to", 0, keyLengthMax);
  if (items !== undefined) digests.items = listOf(items, "items", entriesMax).map(itemDigestOf);
  if (next !== undefined) digests.next = textOf(next, "next", 0, tokenLengthMax);
  return digests;
}

function verifyOf(fields: Fields): Verify {
  const verify: Verify = {
    type: "verify",
    request: idOf(fields.request, "request"),
    repair: flagOf(fields.repair, "repair"),
  };
  if (fields.keysPerSecond === undefined) return verify;
  return { ...verify, keysPerSecond: wholeOf(fields.keysPerSecond, "keysPerSecond") };
}

const orderKinds = ["sync", "verify", "retry", "restore", "drop", "kept"] as const;
const keptNames = ["rejected", "conflicts", "aside"] as const;

function orderOf(fields: Fields): Order {
  const { table, id, model, force, after, limit, repair, keysPerSecond } = fields;
  return {
    type: "order",
    order: idOf(fields.order, "order"),
    do: oneOf(fields.do, "do", orderKinds),
    ...(table === undefined ? {} : { table: oneOf(table, "table", keptNames) }),
    ...(id === undefined ? {} : { id: wholeOf(id, "id") }),
    ...(model === undefined ? {} : { model: modelOf(model, "model") }),
    ...(force === undefined ? {} : { force: flagOf(force, "force") }),
    ...(after === undefined ? {} : { after: wholeOf(after, "after") }),
    ...(limit === undefined ? {} : { limit: wholeOf(limit, "limit") }),
    ...(repair === undefined ? {} : { repair: flagOf(repair, "repair") }),
    ...(keysPerSecond === undefined ? {} : { keysPerSecond: wholeOf(keysPerSecond, "keysPerSecond") }),
  };
}

function orderedOf(fields: Fields): Ordered {
  return {
    type: "ordered",
    order: idOf(fields.order, "order"),
    state: oneOf(fields.state, "state", ["running", "done", "failed"]),
    report: attributesOf(fields.report, "report"),
  };
}

function timeMessageOf(fields: Fields): Time {
  return { type: "time", request: idOf(fields.request, "request"), ...restoredOf(fields), ...ofTableOf(fields) };
}

function laterOf(fields: Fields): Later {
  return {
    type: "later",
    request: idOf(fields.request, "request"),
    afterMs: waitOf(fields.afterMs, "afterMs"),
    ...toldOf(fields),
  };
}

/** The message of a device in parsed fields. @throws {ProtocolError} */
export function fromDeviceOf(fields: Fields): FromDevice {
  switch (oneOf(fields.type, "type", ["up", "sync", "fetch", "compare", "probe", "verified", "ordered"])) {
    case "up":
      return upOf(fields);
    case "sync":
      return syncOf(fields);
    case "fetch":
      return fetchOf(fields);
    case "compare":
      return compareOf(fields);
    case "probe":
      return probeOf(fields);
    case "verified":
      return verifiedOf(fields);
    case "ordered":
      return orderedOf(fields);
  }
}

/** The message of the cloud in parsed fields. @throws {ProtocolError} */
export function fromCloudOf(fields: Fields): FromCloud {
  switch (
    oneOf(fields.type, "type", [
      "ack",
      "refused",
      "changes",
      "page",
      "snapshot",
      "items",
      "time",
      "later",
      "digests",
      "verify",
      "order",
    ])
  ) {
    case "ack":
      return ackOf(fields);
    case "refused":
      return refusedOf(fields);
    case "changes":
      return changesOf(fields);
    case "page":
      return pageOf(fields);
    case "snapshot":
      return snapshotOf(fields);
    case "items":
      return itemsOf(fields);
    case "time":
      return timeMessageOf(fields);
    case "later":
      return laterOf(fields);
    case "digests":
      return digestsOf(fields);
    case "verify":
      return verifyOf(fields);
    case "order":
      return orderOf(fields);
  }
}
