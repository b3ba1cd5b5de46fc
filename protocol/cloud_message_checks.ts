/**
 * Checks every field of every message of the cloud, as `device_message_checks.ts` does a device's.
 *
 * @module
 */
import {
  type Ack,
  type Answer,
  batchChangesMax,
  certificateTextMax,
  type Changes,
  type Digests,
  type Entry,
  type FromCloud,
  type ItemDigest,
  type Items,
  type Later,
  type Mark,
  type OfTable,
  type Order,
  type Page,
  type RangeDigest,
  type Refused,
  type Renewed,
  type Restored,
  type SnapshotPage,
  type Time,
  type Told,
  type Verify,
} from "./messages.ts";
import { type Fields, fieldsOf, flagOf, listOf, matching, oneOf, refuse, textOf, timeOf, wholeOf } from "./checks.ts";
import { ProtocolError } from "./errors.ts";
import {
  channelOf,
  currentOf,
  digestText,
  epochOf,
  fingerprintMax,
  idOf,
  keyLengthMax,
  keyOf,
  modelOf,
  namesMax,
  tokenLengthMax,
  versionOf,
  waitOf,
} from "./field_checks.ts";

const reasonLengthMax = 65536;
/** Entries of one page: the cloud makes pages of hundreds. */
const entriesMax = 10_000;

/** The fields that every message of the cloud may have. */
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
  const { key, current, mark, was, removed, over, foreign, named } = fieldsOf(value, "entries[]");
  const entry: { -readonly [name in keyof Entry]: Entry[name] } = { key: keyOf(key, "entries[].key") };
  if (current !== undefined && mark !== undefined) refuse("entries[]", "an item or a mark, never both", value);
  if (current !== undefined) entry.current = currentOf(current, "entries[].current");
  if (mark !== undefined) entry.mark = markOf(mark);
  if (was !== undefined) entry.was = versionOf(was, "entries[].was");
  if (removed !== undefined) entry.removed = flagOf(removed, "entries[].removed");
  if (over !== undefined) entry.over = versionOf(over, "entries[].over");
  if (foreign === true) entry.foreign = true;
  if (named !== undefined) entry.named = modelOf(named, "entries[].named");
  return entry;
}

/**
 * An unreadable entry spoils no other of its page. If even its key is unreadable, no device's table could hold it, and
 * it is left out.
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
  const { keysPerSecond, progress } = fields;
  return {
    type: "verify",
    request: idOf(fields.request, "request"),
    repair: flagOf(fields.repair, "repair"),
    ...(keysPerSecond === undefined ? {} : { keysPerSecond: wholeOf(keysPerSecond, "keysPerSecond") }),
    ...(progress === 1 ? { progress } : {}),
  };
}

const orderKinds = ["sync", "verify", "retry", "restore", "drop", "kept", "rotate"] as const;
const keptNames = ["rejected", "conflicts", "aside"] as const;

function orderOf(fields: Fields): Order {
  const { table, id, model, force, after, limit, repair, keysPerSecond, token } = fields;
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
    ...(token === undefined ? {} : { token: tokenOf(token) }),
  };
}

/** A token is shown as a password, of which MQTT takes 65,535 bytes; ours have 43 characters. */
function tokenOf(value: unknown): string {
  if (typeof value === "string" && /^[\x21-\x7e]{1,512}$/.test(value)) return value;
  throw new ProtocolError("token: 1 to 512 visible characters were wanted");
}

function renewedOf(fields: Fields): Renewed {
  const { cert, reason, afterMs } = fields;
  return {
    type: "renewed",
    request: idOf(fields.request, "request"),
    ...(cert === undefined ? {} : { cert: textOf(cert, "cert", 1, certificateTextMax) }),
    ...(reason === undefined ? {} : { reason: textOf(reason, "reason", 0, reasonLengthMax) }),
    ...(afterMs === undefined ? {} : { afterMs: waitOf(afterMs, "afterMs") }),
    ...toldOf(fields),
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
      "renewed",
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
    case "renewed":
      return renewedOf(fields);
  }
}
