/**
 * The messages between a device and the cloud, as types. `codec.ts` encodes them and `*_message_checks.ts` check every field
 * of what is received.
 *
 * @module
 */
import type { Attributes } from "../schema/values.ts";
import type { Order, Ordered, Renew, Renewed } from "./order_messages.ts";

export * from "./order_messages.ts";

/** The version that every message carries. A message of another major version is refused, counted and dropped. */
export const protocolVersion = 1;

/** Who wrote a version of an item (`<device>#<incarnation>`) and its stamp (ms·1000 + counter, a double holds it). */
export type Version = readonly [source: string, stamp: number];

/** An item's primary key as text: hash, and sort ("" where the table has no sort key). */
export type Key = readonly [hash: string, sort: string];

/** A channel: `device:<id>`, `account:<id>` or `global`. */
export type Channel = string;

// ---- device → cloud ---------------------------------------------------------------------------------------------------

/** What a change was made from: a version; the content under other policies than `newest`, or without a version. */
export interface Base {
  /** The item's version; absent: it has none. */
  readonly version?: Version;
  /** The base's attributes, without computed and hidden ones. */
  readonly item?: Attributes;
  /** 16 hex digits over the base's attributes: shows that a stamped item was altered raw, without the content. */
  readonly digest?: string;
}

/** One item's last state, as the device wants it in the table. */
export interface Change {
  /** The model's name. */
  readonly model: string;
  /** What the change does to the item. */
  readonly op: "create" | "update" | "remove";
  /** For `remove`: the key fields' attributes. A `create` or `update` has them in `item`. */
  readonly key?: Attributes;
  /** For `create` and `update`: all attributes but computed, hidden and identity ones. */
  readonly item?: Attributes;
  /** The version's stamp. */
  readonly stamp: number;
  /** What it was made from. */
  readonly base?: Base;
  /** Set by the receiver, never sent: why this change can't be read. It alone is answered `invalid`. */
  readonly unreadable?: string;
}

/** A batch of changes, each of another key. `batch` is `<incarnation>/<n>`; `<device>#<incarnation>` is the changes' source. */
export interface Up {
  /** Which message it is. */
  readonly type: "up";
  /** The batch's id. */
  readonly batch: string;
  /** When this transmission was made, in the cloud's time (ms) as the device knows it. Its only field that a resend may alter. */
  readonly sent: number;
  /** The changes. */
  readonly changes: readonly Change[];
  /** By model of the batch, its digest (`schema/model_digest.ts`). Present: the device understands the code `schema`. */
  readonly schemas?: Readonly<Record<string, string>>;
}

/** Where a device is on one channel. */
export interface CursorOf {
  /** The channel. */
  readonly channel: Channel;
  /** Absent: no cursor, a snapshot is required. */
  readonly epoch?: string;
  /** The entry's number. */
  readonly seq?: number;
  /** A snapshot under way: its epoch and head, and the token that the last page gave. */
  readonly snapshot?: { readonly epoch: string; readonly head: number; readonly after: string };
  /**
   * Pages of so many items at most (of a log: of whole entries), because a larger one did not get through or could not be
   * read (rule D4). 0: the smallest page, which names its items ({@link Entry.named}) without their content. Absent, and to
   * clouds that do not know it: as large as the cloud likes.
   */
  readonly limit?: number;
}

/** The device's cursors: each named channel is answered with one `page`, and an empty list with a `time`. */
export interface Sync {
  /** Which message it is. */
  readonly type: "sync";
  /** `<incarnation>/<n>`; a page for another request than the channel's last one is ignored. */
  readonly request: string;
  /** A cursor for each channel. */
  readonly channels: readonly CursorOf[];
  /** The epoch of the table that the device met last. */
  readonly epoch?: string;
  /** The fingerprint of the device's schema. Where the cloud's is another one, it says which models it sends down. */
  readonly schema?: string;
  /** 1: the device reads compressed answers. Set by the link. */
  readonly z?: 1;
  /** 1: the device understands {@link Later}, and takes answers to earlier requests from the same cursor. */
  readonly later?: 1;
}

/** Asks for the current state of named keys (at most {@link fetchKeysMax}). */
export interface Fetch {
  /** Which message it is. */
  readonly type: "fetch";
  /** The request's id. */
  readonly request: string;
  /** The keys. */
  readonly keys: readonly Key[];
  /** As in {@link Sync}. */
  readonly z?: 1;
  /** As in {@link Sync}. */
  readonly later?: 1;
}

/**
 * Asks for the digests of the next range of a channel's items, in the order in which the cloud lists them: to find what
 * differs without sending it. The cloud stores nothing for it. With `each`, every item's own digest comes with it.
 */
export interface Compare {
  /** Which message it is. */
  readonly type: "compare";
  /** The request's id. */
  readonly request: string;
  /** The channel. */
  readonly channel: Channel;
  /** The token that came with the range before. */
  readonly after?: string;
  /** With each item's own digest. */
  readonly each?: boolean;
}

/** Asks for the digests of items of a model that only syncs up: these keys (at most {@link probeKeysMax}), these attributes. */
export interface Probe {
  /** Which message it is. */
  readonly type: "probe";
  /** The request's id. */
  readonly request: string;
  /** The model's name. */
  readonly model: string;
  /** The attributes of the device's rows: a cloud application may have added others. */
  readonly attributes: readonly string[];
  /** The keys. */
  readonly keys: readonly Key[];
  /** Values that count for an item that lacks one of the attributes: defaults that the rows got. */
  readonly defaults?: Attributes;
}

/**
 * The result of a comparison that the cloud asked for: the device's own JSON, for people. A device that was asked for its
 * progress (`Verify.progress`) sends some before, under {@link runningStart} and the request's id: workers and clients of
 * older versions take every report under the id itself for the last.
 */
export interface Verified {
  /** Which message it is. */
  readonly type: "verified";
  /** The request's id. */
  readonly request: string;
  /** What it has come to. */
  readonly report: Attributes;
}

// ---- cloud → device ---------------------------------------------------------------------------------------------------

/** The fields that every answer and live message of the cloud may have. */
export interface Told {
  /** The cloud's time, ms. */
  readonly time: number;
  /** The fingerprint of the cloud's schema. Absent: the cloud is of an older version of Twintable. */
  readonly schema?: string;
}

/** A table item as a device gets it: its attributes without computed and identity-hidden ones, and its version if stamped. */
export interface Current {
  /** The model's name. */
  readonly model: string;
  /** The item's attributes. */
  readonly item: Attributes;
  /** The item's version; absent: it has none. */
  readonly version?: Version;
}

/**
 * Why a change is not simply accepted. `late`: not processed because the transmission was more than 30 s old; send it
 * again. `throttled`: not processed, back off and send again. `schema`: the cloud's schema defines the model
 * differently, and the change waits until both sides have the same version. The other codes are final for this stamp.
 */
export type RefusalCode = "stale" | "gone" | "invalid" | "too-large" | "clock" | "throttled" | "late" | "schema";

/** The answer to one change of a batch that needs one: a refusal, or `ok` with the item that it overwrote (`over`). */
export interface Answer {
  /** Index into the batch's changes. */
  readonly at: number;
  /** What became of the change. */
  readonly code: "ok" | RefusalCode;
  /** The table's item, for `stale`, `invalid` and `too-large`; null: there is none. */
  readonly current?: Current | null;
  /** For `ok`: an old item that differed in content from the base the change claimed to be made from. */
  readonly over?: Current;
  /** For `invalid`, `too-large` and `schema`: a sentence for people. */
  readonly reason?: string;
}

/** Fields of answers about the table, not a channel: in an unknown epoch, a device takes only the time. */
export interface OfTable extends Told {
  /** The epoch of the table: the part of a channel's epoch before the dash. */
  readonly epoch?: string;
}

/** Set if the table was restored to an earlier time after the epoch that the device named. */
export interface Restored {
  /** The table may lack what was written from this time on, ms since 1970. */
  readonly since?: number;
}

/** Answers a batch. Changes that no answer names are `ok`. */
export interface Ack extends OfTable {
  /** Which message it is. */
  readonly type: "ack";
  /** The batch's id. */
  readonly batch: string;
  /** By change; changes that it does not name are `ok`. */
  readonly answers: readonly Answer[];
  /** With `throttled` answers: the changes must not be sent again before so many ms. */
  readonly afterMs?: number;
}

/**
 * Answers a batch that can't be read as a whole: nothing of it was written. The device sends it in two halves, until a
 * single change is left. It is a separate type of message, because an older agent would read an acknowledgement without
 * answers as success.
 */
export interface Refused extends Told {
  /** Which message it is. */
  readonly type: "refused";
  /** The batch's id. */
  readonly batch: string;
  /** A sentence for people. */
  readonly reason: string;
}

/** A device's own write on its own channel: the version, without the item. The model helps if the key was lost. */
export interface Mark {
  /** The model's name. */
  readonly model: string;
  /** The item's version; absent: it has none. */
  readonly version: Version;
}

/** One key of a page: an item, its absence, or a mark. */
export interface Entry {
  /** The key. */
  readonly key: Key;
  /** The item, by its model; absent and no mark: the item does not exist. */
  readonly current?: Current;
  /** The device's own write. */
  readonly mark?: Mark;
  /** The version that a removal in this run took away, if it had one. */
  readonly was?: Version;
  /** Set instead of `was` if a removed item had no version. */
  readonly removed?: boolean;
  /** The version that a write in this run replaced by an item with none, or with an earlier one; older agents ignore it. */
  readonly over?: Version;
  /** An item exists, but of no model that the cloud sends down; with the same schema, it counts as absent. */
  readonly foreign?: true;
  /** Answers {@link CursorOf.limit} 0: there is an item of this model, to be fetched by name. */
  readonly named?: string;
  /** Set by the receiver, never sent: why the entry can't be read. It says nothing about the item. */
  readonly unreadable?: string;
}

/**
 * Live: the page of one log entry, published as it is appended.
 *
 * With `seq` 0, which no entry has, on `global`: a worker has started to receive, and earlier questions may be lost. A
 * device that waits for an answer asks again, after a random part of `spreadMs`; so does a device to which the table's
 * epoch is new. It is sent when an epoch begins, too. Older devices ignore the message like every entry that is not after
 * their cursor.
 */
export interface Changes extends Told {
  /** Which message it is. */
  readonly type: "changes";
  /** The channel. */
  readonly channel: Channel;
  /** The log's epoch. */
  readonly epoch: string;
  /** The entry's number. */
  readonly seq: number;
  /** What they say of each key. */
  readonly entries: readonly Entry[];
  /** On shared channels: a device that learns here of a gap asks after a random part of so many ms. */
  readonly spreadMs?: number;
  /**
   * 1: the device must report its position at once (`presence.ts`), at most once a second. With `seq` 0 this is the
   * whole message, and no worker has started. Older agents ignore it.
   */
  readonly tell?: 1;
}

/** The entries of a channel after the device's cursor, without a gap: entries `from+1 … to`, merged per key. */
export interface Page extends Told {
  /** Which message it is. */
  readonly type: "page";
  /** The request's id. */
  readonly request: string;
  /** The channel. */
  readonly channel: Channel;
  /** The log's epoch. */
  readonly epoch: string;
  /** The cursor that it answers. */
  readonly from: number;
  /** The last entry's number. */
  readonly to: number;
  /** There are more entries after `to`. */
  readonly more: boolean;
  /** What they say of each key. */
  readonly entries: readonly Entry[];
  /** If the cloud's schema is another: the models that come down on this channel. Absent: all known ones. */
  readonly models?: readonly string[];
}

/** One page of a snapshot. The first has no `after`; the last no `next`. */
export interface SnapshotPage extends Told, Restored {
  /** Which message it is. */
  readonly type: "snapshot";
  /** The request's id. */
  readonly request: string;
  /** The channel. */
  readonly channel: Channel;
  /** The log's epoch. */
  readonly epoch: string;
  /** The log's head when the snapshot began: the cursor at its end. */
  readonly head: number;
  /** The token from the request. */
  readonly after?: string;
  /** The token for the next page. */
  readonly next?: string;
  /** On the last page: items were listed by an index that lags, so some may be missing. */
  readonly lags?: boolean;
  /** What they say of each key. */
  readonly entries: readonly Entry[];
  /** On the last page: as {@link Page.models}. It says nothing about any other model. */
  readonly models?: readonly string[];
}

/** Answers a `fetch`: each asked key once. */
export interface Items extends OfTable {
  /** Which message it is. */
  readonly type: "items";
  /** The request's id. */
  readonly request: string;
  /** What they say of each key. */
  readonly entries: readonly Entry[];
}

/**
 * Answers a `sync` or a `fetch` that said `later`, if the answer will take a while: the device must not ask again
 * before so many ms. The answer may still come.
 */
export interface Later extends Told {
  /** Which message it is. */
  readonly type: "later";
  /** The request's id. */
  readonly request: string;
  /** Milliseconds. */
  readonly afterMs: number;
}

/** Answers a `sync` without channels: the cloud's time alone. */
export interface Time extends OfTable, Restored {
  /** Which message it is. */
  readonly type: "time";
  /** The request's id. */
  readonly request: string;
}

/** A model's items in a range: their number, and their combined digest (`protocol/digests.ts`). */
export interface RangeDigest {
  /** The model's name. */
  readonly model: string;
  /** How many items. */
  readonly count: number;
  /** 16 hex digits. */
  readonly digest: string;
}

/** One item's digest; absent: there is no such item. */
export interface ItemDigest {
  /** The model's name. */
  readonly model: string;
  /** The key. */
  readonly key: Key;
  /** 16 hex digits. */
  readonly digest?: string;
}

/** Answers a `compare`, a range, or a `probe`, its keys. */
export interface Digests extends Told {
  /** Which message it is. */
  readonly type: "digests";
  /** The request's id. */
  readonly request: string;
  /**
   * The hash value under which the range stands by primary key, so that the device can take its own rows of it. Absent: the
   * range is of a secondary index, and `items` has all of it.
   */
  readonly hash?: string;
  /** The range's last sort value; it begins after the range before. Absent: it is the last of its hash value. */
  readonly to?: string;
  /** Every model whose items may be in this range, including models without any. */
  readonly models: readonly RangeDigest[];
  /** Digests of items. */
  readonly items?: readonly ItemDigest[];
  /** Where the next range begins; absent: this was the channel's last. */
  readonly next?: string;
}

/**
 * Asks a device to compare its database with the table, and to repair it where `repair` says so; answered by
 * `verified`.
 */
export interface Verify {
  /** Which message it is. */
  readonly type: "verify";
  /** The request's id. */
  readonly request: string;
  /** Whether to repair what differs. */
  readonly repair: boolean;
  /** Keys that are repaired in a second at most. */
  readonly keysPerSecond?: number;
  /** The device may say every few seconds how far it is. A device of an older version does not. */
  readonly progress?: 1;
}

/** A message of a device. */
export type FromDevice = Up | Sync | Fetch | Compare | Probe | Verified | Ordered | Renew;
/** A message of the cloud. */
export type FromCloud =
  | Ack
  | Refused
  | Changes
  | Page
  | SnapshotPage
  | Items
  | Time
  | Later
  | Digests
  | Verify
  | Order
  | Renewed;
/** A message of either. */
export type Message = FromDevice | FromCloud;

/** Begins the `request` of a `verified` that tells how far a verification is. */
export const runningStart = "running-";
/** Keys in one `fetch`: DynamoDB's BatchGetItem takes 100. */
export const fetchKeysMax = 100;
/** Keys in one `probe`. */
export const probeKeysMax = 100;
/** Changes in one `up` that a cloud accepts. */
export const batchChangesMax = 1000;
