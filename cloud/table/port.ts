/**
 * The `Table` port: what the cloud half needs from a table. It has two adapters: embedded (SQLite, in process) and
 * DynamoDB. One contract suite runs over both (`tests/cloud/table_contract.ts`). Items are tagged JSON, complete (keys
 * included).
 *
 * The cloud uses two tables through this port: the **data table** (the application's, with a change stream) and the
 * **log table** (the channel log, its floors, the device registry, leases and stream positions; no stream).
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import type { Item, Json } from "../../schema/values.ts";

/** A condition on the current item. Comparisons are false if the attribute is absent or of another type. */
export type Condition =
  | { readonly kind: "exists" }
  | { readonly kind: "absent" }
  | { readonly kind: "equals"; readonly attribute: string; readonly value: Json }
  | { readonly kind: "less" | "atMost" | "greater"; readonly attribute: string; readonly value: number | string }
  | { readonly kind: "has" | "lacks"; readonly attribute: string }
  | { readonly kind: "beginsWith"; readonly attribute: string; readonly prefix: string }
  | { readonly kind: "all" | "any"; readonly of: readonly Condition[] }
  | { readonly kind: "not"; readonly of: Condition };

/**
 * One conditional write. Without `condition` it is unconditional. `isNew`: there is most likely no such item, and then
 * the condition holds; a table may first try with absence as the only condition, if that costs less.
 */
export type Write =
  | { readonly op: "put"; readonly item: Item; readonly condition?: Condition; readonly isNew?: boolean }
  | { readonly op: "delete"; readonly key: Key; readonly condition?: Condition };

/**
 * The result of a write. `old`/`current`: the item before it (written) or the item for which the condition failed.
 * `throttled`: not done, may be tried again. `late`: not started before the deadline. `too-large`: above 400 KB.
 * `invalid`: an item or key that the table can't hold whatever its size (an empty key, a number of 39 digits, 33 levels
 * of nesting, an index's key attribute of another type). Both are final for this item and say nothing about the others.
 */
export type WriteResult =
  | { readonly outcome: "written"; readonly old?: Item }
  | { readonly outcome: "refused"; readonly current?: Item }
  | { readonly outcome: "throttled" | "late" }
  | { readonly outcome: "too-large"; readonly message: string }
  | { readonly outcome: "invalid"; readonly message: string };

/** Lists items of one hash value in the order of their sort value (UTF-8 bytes). */
export interface Query {
  /** `primary` or a secondary index's name. A secondary index may lag; its items are complete nevertheless. */
  readonly index: string;
  /** The hash value. */
  readonly hash: string;
  /** Only sort values with this prefix. */
  readonly sortPrefix?: string;
  /** Only sort values greater than this (primary index). */
  readonly sortAfter?: string;
  /** The last first. */
  readonly reverse?: boolean;
  /** Items at most. */
  readonly limit: number;
  /** The token of the page before. */
  readonly after?: string;
}

/** A page of items; `next` is the token for the next one. A page may be short, even empty, with a `next`. */
export interface ItemPage {
  /** The page's items. */
  readonly items: readonly Item[];
  /** The token for the next page; absent: this is the last. */
  readonly next?: string;
}

/** Bounds of {@link Table.write}. */
export interface WriteOptions {
  /** No write starts after it, ms. */
  readonly deadline?: number;
  /** Ends the call. */
  readonly signal?: AbortSignal;
  /** The most bytes of returned items. */
  readonly returnedBytesMax?: number;
}

/**
 * A table of items with a primary key. All methods throw `SyncError` (`unavailable`, retryable) if the table can't be
 * reached.
 */
export interface Table {
  /** Strongly consistent. The result is in the order of the keys; duplicates are allowed. Any number of keys. */
  get(keys: readonly Key[]): Promise<(Item | undefined)[]>;
  /**
   * Makes each write, independently of the others, each of another key; results in their order. A write that would
   * start later than `deadline` (ms of the adapter's clock) is `late`. A write that would start when the returned items
   * already have more than `returnedBytesMax` bytes together is `throttled`: the first never is.
   */
  write(writes: readonly Write[], options?: WriteOptions): Promise<WriteResult[]>;
  /** A page of an index's items, in the order of their sort values. */
  query(query: Query): Promise<ItemPage>;
  /** All items, in no particular order. */
  scan(options: { limit: number; after?: string }): Promise<ItemPage>;
  /** Ends the connection; calls under way fail. */
  close(): Promise<void>;
}

/** One change of the data table, in the order of its key's changes. */
export interface StreamRecord {
  /** The record's number in the stream: the same whenever it is read again. */
  readonly id?: string;
  /** The item's key. */
  readonly key: Key;
  /** The item before; absent: there was none. */
  readonly old?: Item;
  /** The item after; absent: it was removed. */
  readonly new?: Item;
  /** The table itself removed it, because it had expired: not a removal by anyone. */
  readonly expired?: true;
  /** When it was written, ms, as the stream says (in DynamoDB to the second); not every stream does. */
  readonly atMs?: number;
}

/** Records that were read together; `checkpoint` stores the position after them, once they were handled. */
export interface StreamBatch {
  /** The part of the stream: its batches are checkpointed in their order. Absent: there is only one part. */
  readonly shard?: string;
  /** May be empty: the records were unwanted, but must still be checkpointed. */
  readonly records: readonly StreamRecord[];
  /** Why further records could not be read, a sentence each: they delay no others. */
  readonly unreadable?: readonly string[];
  /** Stores the position after these records. */
  checkpoint(): Promise<void>;
}

/**
 * The data table's change stream, read in order per key. `lost` instead of a batch says that history was trimmed before
 * it was read: every channel must start a new epoch.
 */
export interface ChangeStream {
  /**
   * Batches until the signal aborts. Waits while there is nothing. A batch that is not checkpointed comes again after a
   * restart.
   */
  batches(signal: AbortSignal): AsyncIterable<StreamBatch | { readonly lost: true }>;
  /** How the reading goes. Absent: there is nothing to tell but that it is read. */
  standing?(): StreamStanding;
}

/**
 * How a stream is read.
 *
 * @internal
 */
export interface StreamStanding {
  /** This process reads it: of many workers one at a time does. */
  readonly tails: boolean;
  /** Shards that it reads. */
  readonly shards?: number;
  /** The longest time between two looks at them since this was asked last, ms. */
  readonly pollMs?: number;
}

/**
 * What was consumed since the start, in units as the table charges them.
 *
 * @internal
 */
export interface ConsumedUnits {
  /** Read units: 4 KB. */
  readonly read: number;
  /** Write units: 1 KB. */
  readonly write: number;
}

/** Options of a stream. */
export interface StreamOptions {
  /** Values of the typeField whose items nobody needs: a record without other images may be left out. Default: none. */
  readonly unwanted?: readonly string[];
}

/** A data table: a table with its stream. */
export interface DataTable extends Table {
  /** About how many items there are, of whatever model; DynamoDB counts every six hours. Absent: unknown. */
  size?(): Promise<number>;
  /** The table's changes. */
  stream(options?: StreamOptions): ChangeStream;
}

/** Both tables of a cloud. */
export interface Tables {
  /** The items. */
  readonly data: DataTable;
  /** Channel logs, registry, positions. */
  readonly log: Table;
  /**
   * What both have consumed. Absent where nothing is charged.
   *
   * @internal
   */
  units?(): ConsumedUnits;
}
