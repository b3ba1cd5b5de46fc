/**
 * A double of DynamoDB's behaviour in memory: each write by itself and in no order, reads in chunks with other work in
 * between, a secondary index that lags by each item, throttling, requests whose answer is lost and which the SDK repeats,
 * no stream record for a put that changes nothing. It passes the tables' contract; the simulation hands in the faults.
 *
 * @module
 */
import { compareText, evaluate } from "../../cloud/table/condition.ts";
import { itemProblem } from "../../cloud/table/item_problem.ts";
import { itemBytesMax, itemSizeBytes, keyFault } from "../../cloud/table/item_size.ts";
import type {
  DataTable,
  ItemPage,
  Query,
  StreamOptions,
  StreamRecord,
  Table,
  Tables,
  Write,
  WriteResult,
} from "../../cloud/table/port.ts";
import type { Key } from "../../protocol.ts";
import { jsonEquals, keyOf, SyncError } from "../../schema.ts";
import type { Index, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import type { ReadOptions, SimStream } from "./stream.ts";

/** Bytes of a page at most, as DynamoDB's 1 MB. */
const pageBytesMax = 1024 * 1024;

/** What becomes of a request: `repeated`: carried out, its answer lost, and sent again by the SDK. */
export type Fault = "throttled" | "repeated" | undefined;

/** How a view of the double is used: what happens before and in place of each request. */
export interface Access extends ReadOptions {
  /** Waits until the request reaches the table. */
  turn?(): Promise<void>;
  fault?(): Fault;
  /** Keys of one read at most. */
  readonly chunk?: number;
}

/** Options of a {@link Double}. */
export interface DoubleOptions {
  readonly schema: Schema;
  readonly now: () => number;
  /** How long a change takes to reach the secondary indexes, ms; asked for each. */
  readonly lagMs: () => number;
  readonly stream: SimStream;
  /** Told of each change of the data table, as it is made. */
  readonly changed?: (record: StreamRecord) => void;
}

interface Cell {
  readonly key: Key;
  item: Item | undefined;
  /** What the secondary indexes show, and from when on. */
  readonly seen: { readonly fromMs: number; readonly item: Item | undefined }[];
}

/** The tables themselves; {@link view} gives the port. */
export class Double {
  readonly data: Map<string, Cell> = new Map();
  readonly log: Map<string, Cell> = new Map();
  /** What is deleted now the table deletes itself: its time has come. */
  sweeping = false;

  constructor(readonly options: DoubleOptions) {}

  /** Both tables as one client sees them. */
  view(access: Access = {}): Tables {
    const { schema, stream } = this.options;
    const data: DataTable = Object.assign(
      new DoubleTable(this, this.data, access, (item) => keyOf(schema, item), schema),
      { stream: (options?: StreamOptions) => stream.reading({ ...access, ...options }) },
    );
    return { data, log: new DoubleTable(this, this.log, access, ({ hash, sort }) => [String(hash), String(sort)]) };
  }

  /** Carries out one write at this moment. */
  apply(cells: Map<string, Cell>, key: Key, write: Write): WriteResult {
    const text = JSON.stringify(key);
    const cell = cells.get(text) ?? { key, item: undefined, seen: [] };
    const old = cell.item;
    if (write.condition && !evaluate(write.condition, old)) return { outcome: "refused", current: old };
    // Frozen, not copied: whoever alters what the table gave out fails.
    const item = write.op === "put" ? Object.freeze({ ...write.item }) : undefined;
    const problem = cells === this.data ? keyFault(key, true) ?? (item && itemProblem(item)) : undefined;
    if (problem !== undefined) return { outcome: "invalid", message: problem };
    if (item && itemSizeBytes(item) > itemBytesMax) {
      return { outcome: "too-large", message: "Item size has exceeded the maximum allowed size" };
    }
    cells.set(text, cell);
    cell.item = item;
    if (cells === this.data) this.#index(cell);
    const same = old === undefined ? item === undefined : item !== undefined && jsonEquals(old, item);
    if (cells === this.data && !same) {
      const record: StreamRecord = {
        key,
        ...(old ? { old } : {}),
        ...(item ? { new: item } : {}),
        ...(this.sweeping ? { expired: true } : {}),
      };
      this.options.stream.add(record);
      this.options.changed?.(record);
    }
    return { outcome: "written", old };
  }

  /** A later change of an item is never seen before an earlier one. */
  #index(cell: Cell): void {
    const now = this.options.now();
    const fromMs = Math.max(cell.seen.at(-1)?.fromMs ?? 0, now + this.options.lagMs());
    while (cell.seen.length > 1 && cell.seen[1]!.fromMs <= now) cell.seen.shift();
    cell.seen.push({ fromMs, item: cell.item });
  }

  /** The item as a secondary index shows it now. */
  indexed(cell: Cell): Item | undefined {
    const now = this.options.now();
    return cell.seen.findLast(({ fromMs }) => fromMs <= now)?.item;
  }
}

class DoubleTable implements Table {
  constructor(
    readonly double: Double,
    readonly cells: Map<string, Cell>,
    readonly access: Access,
    readonly keyOf: (item: Item) => Key,
    readonly schema?: Schema,
  ) {}

  async get(keys: readonly Key[]): Promise<(Item | undefined)[]> {
    const { chunk = 100 } = this.access, items: (Item | undefined)[] = [];
    for (let i = 0; i < keys.length; i += chunk) {
      await this.#read();
      for (const key of keys.slice(i, i + chunk)) items.push(this.cells.get(JSON.stringify(key))?.item);
    }
    return items;
  }

  async #read(): Promise<void> {
    await this.access.turn?.();
    if (this.access.fault?.() === "throttled") throw unavailable();
  }

  write(writes: readonly Write[], options: { deadline?: number; signal?: AbortSignal } = {}): Promise<WriteResult[]> {
    return Promise.all(writes.map(async (write): Promise<WriteResult> => {
      options.signal?.throwIfAborted();
      const key = write.op === "put" ? this.keyOf(write.item) : write.key;
      await this.access.turn?.();
      if (options.deadline !== undefined && this.double.options.now() > options.deadline) return { outcome: "late" };
      const fault = this.access.fault?.();
      if (fault === "throttled") return { outcome: "throttled" };
      const result = this.double.apply(this.cells, key, write);
      if (fault !== "repeated") return result;
      await this.access.turn?.();
      return this.double.apply(this.cells, key, write);
    }));
  }

  async query(query: Query): Promise<ItemPage> {
    await this.#read();
    const primary = query.index === "primary" || query.index === this.schema?.primary.name;
    const index = primary ? undefined : this.schema?.indexes.find(({ name }) => name === query.index);
    if (!primary && !index) throw new RangeError(`the table has no index ${JSON.stringify(query.index)}`);
    const found = [...this.cells.values()].flatMap((cell) => this.#placed(cell, query, index));
    found.sort((a, b) => compareText(a.at, b.at) || compareText(a.tie, b.tie));
    if (query.reverse) found.reverse();
    return pageOf(found, query.limit, query.after, query.reverse);
  }

  /** Where a cell stands in an index, if it is in the query's range. */
  #placed(cell: Cell, { hash, sortPrefix, sortAfter }: Query, index: Index | undefined): Placed[] {
    const item = index ? this.double.indexed(cell) : cell.item;
    if (!item) return [];
    const [itemHash, at] = index ? [item[index.hash], index.sort ? item[index.sort] : ""] : cell.key;
    if (itemHash !== hash || typeof at !== "string") return [];
    if (sortPrefix && !at.startsWith(sortPrefix)) return [];
    if (sortAfter !== undefined && compareText(at, sortAfter) <= 0) return [];
    return [{ at, tie: JSON.stringify(cell.key), item }];
  }

  async scan({ limit, after }: { limit: number; after?: string }): Promise<ItemPage> {
    await this.#read();
    const found = [...this.cells.values()].flatMap(({ key, item }) =>
      item ? [{ at: key[0], tie: JSON.stringify(key), item }] : []
    );
    found.sort((a, b) => compareText(a.at, b.at) || compareText(a.tie, b.tie));
    return pageOf(found, limit, after);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Placed {
  readonly at: string;
  readonly tie: string;
  readonly item: Item;
}

function pageOf(found: readonly Placed[], limit: number, after: string | undefined, reverse = false): ItemPage {
  const position = after === undefined ? undefined : JSON.parse(after) as [string, string];
  const items: Item[] = [];
  let last: Placed | undefined, bytes = 0;
  for (const placed of found) {
    if (position) {
      const order = compareText(placed.at, position[0]) || compareText(placed.tie, position[1]);
      if (reverse ? order >= 0 : order <= 0) continue;
    }
    if (last && (items.length === limit || bytes > pageBytesMax)) {
      return { items, next: JSON.stringify([last.at, last.tie]) };
    }
    items.push(placed.item);
    bytes += itemSizeBytes(placed.item);
    last = placed;
  }
  return { items };
}

function unavailable(): SyncError {
  return new SyncError("unavailable", "the table is throttled", { retryable: true });
}
