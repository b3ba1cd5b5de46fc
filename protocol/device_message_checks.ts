/**
 * Checks every field of every message of a device, and copies the known ones: what comes out has the types of `messages.ts` and
 * nothing else in it. Unknown fields are left out, so that a newer minor version may add some.
 *
 * @module
 */
import {
  type Base,
  batchChangesMax,
  certificateTextMax,
  type Change,
  type Compare,
  type CursorOf,
  type Fetch,
  fetchKeysMax,
  type FromDevice,
  type Ordered,
  type Probe,
  probeKeysMax,
  type Renew,
  type Sync,
  type Up,
  type Verified,
} from "./messages.ts";
import { type Fields, fieldsOf, flagOf, listOf, matching, oneOf, refuse, textOf, wholeOf } from "./checks.ts";
import { ProtocolError } from "./errors.ts";
import { attributesOf, readableAttributesOf } from "./value_checks.ts";
import {
  channelOf,
  digestText,
  epochOf,
  fingerprintMax,
  idOf,
  keyOf,
  modelOf,
  nameLengthMax,
  namesMax,
  numberedId,
  tokenLengthMax,
  versionOf,
} from "./field_checks.ts";

const modelDigestText = /^[0-9a-f]{32}$/;
/** Channels in one `sync`: a device has three. */
const channelsMax = 16;

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

/** An unreadable change spoils no other: it carries the reason, and what names its item, if that can be read. */
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

/**
 * A `sent` that is not a time counts as infinitely old: the cloud answers `late`, and the device sends the batch again
 * with the time that it just learnt.
 */
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

/**
 * The id of a batch that is otherwise unreadable: its sender waits for an answer. Undefined: the id is unreadable, too.
 */
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

function renewOf(fields: Fields): Renew {
  return {
    type: "renew",
    request: idOf(fields.request, "request"),
    csr: textOf(fields.csr, "csr", 1, certificateTextMax),
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

/** The message of a device in parsed fields. @throws {ProtocolError} */
export function fromDeviceOf(fields: Fields): FromDevice {
  switch (oneOf(fields.type, "type", ["up", "sync", "fetch", "compare", "probe", "verified", "ordered", "renew"])) {
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
    case "renew":
      return renewOf(fields);
  }
}
