/**
 * Parts for tests of the DynamoDB adapter: a schema, a table in memory, virtual time, and a stream that splits, closes,
 * expires and trims at will.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { evaluate } from "../../../cloud/table/condition.ts";
import type { Sleep } from "../../../cloud/dynamodb/retry.ts";
import type { Shard, ShardPage, StreamSource } from "../../../cloud/dynamodb/stream_source.ts";
import type { Query, StreamRecord, Table, Write, WriteResult } from "../../../cloud/table/port.ts";
import type { Key } from "../../../protocol.ts";
import { compileSchema, type Item, SyncError } from "../../../schema.ts";

/** A schema with two indexes, one of which holds only some attributes. */
export const schema = compileSchema({
  format: "onetable:1.1.0",
  version: "0.0.1",
  indexes: {
    primary: { hash: "pk", sort: "sk" },
    gs1: { hash: "gs1pk", sort: "gs1sk" },
    gs2: { hash: "gs2pk", sort: "gs2sk", project: ["label"] },
  },
  models: {
    Thing: {
      pk: { type: String, value: "device#${deviceId}" },
      sk: { type: String, value: "thing#${id}" },
      gs1pk: { type: String, value: "things" },
      gs1sk: { type: String, value: "thing#${id}" },
      gs2pk: { type: String, value: "things" },
      gs2sk: { type: String, value: "thing#${id}" },
      deviceId: { type: String, required: true },
      id: { type: String, required: true },
      label: { type: String },
      gone: { type: Date, ttl: true },
    },
  },
  params: {},
  process: { Thing: { sync: "both" } },
});

/** An item of `Thing`. */
export function thing(id: string, more: Item = {}): Item {
  return {
    pk: "device#d1",
    sk: `thing#${id}`,
    gs1pk: "things",
    gs1sk: `thing#${id}`,
    gs2pk: "things",
    gs2sk: `thing#${id}`,
    deviceId: "d1",
    id,
    _type: "Thing",
    ...more,
  };
}

/** Time that moves only when everybody waits. */
export class VirtualTime {
  nowMs = 1_700_000_000_000;
  #sleepers: { readonly at: number; readonly wake: () => void }[] = [];

  readonly now = (): number => this.nowMs;

  readonly sleep: Sleep = (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const sleeper = { at: this.nowMs + ms, wake: resolve };
      this.#sleepers.push(sleeper);
      signal?.addEventListener("abort", () => {
        this.#sleepers = this.#sleepers.filter((one) => one !== sleeper);
        resolve();
      }, { once: true });
    });

  /** Lets time pass until the condition holds; fails after `limitMs` of virtual time. */
  async until(what: string, condition: () => boolean, limitMs = 3600_000): Promise<void> {
    const end = this.nowMs + limitMs;
    for (;;) {
      await settled();
      if (condition()) return;
      this.#sleepers.sort((a, b) => a.at - b.at);
      const next = this.#sleepers.shift();
      if (!next) throw new Error(`nobody waits any more, and still not: ${what}`);
      if (next.at > end) throw new Error(`after ${limitMs} ms still not: ${what}`);
      this.nowMs = Math.max(this.nowMs, next.at);
      next.wake();
    }
  }

  /** Lets that much time pass. */
  async pass(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    void this.sleep(ms);
    await this.until("the time has passed", () => this.nowMs >= end, ms);
  }
}

/** Waits until all that runs without a timer has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The log table, in memory. */
export class MemoryTable implements Table {
  readonly items = new Map<string, Item>();
  /** Set: every request fails so. */
  fault?: SyncError;

  get(keys: readonly Key[]): Promise<(Item | undefined)[]> {
    return this.#answer(() => keys.map((key) => this.items.get(key.join("\n"))));
  }

  write(writes: readonly Write[]): Promise<WriteResult[]> {
    return this.#answer(() =>
      writes.map((write): WriteResult => {
        const key = write.op === "delete" ? write.key : [write.item.hash, write.item.sort];
        const name = key.join("\n");
        const old = this.items.get(name);
        if (write.condition && !evaluate(write.condition, old)) return { outcome: "refused", current: old };
        if (write.op === "delete") this.items.delete(name);
        else this.items.set(name, write.item);
        return { outcome: "written", old };
      })
    );
  }

  query({ hash, sortPrefix = "" }: Query) {
    return this.#answer(() => ({
      items: [...this.items.values()].filter((item) => item.hash === hash && String(item.sort).startsWith(sortPrefix)),
    }));
  }

  scan() {
    return this.#answer(() => ({ items: [...this.items.values()] }));
  }

  close() {
    return Promise.resolve();
  }

  #answer<T>(make: () => T): Promise<T> {
    return this.fault ? Promise.reject(this.fault) : Promise.resolve(make());
  }
}

interface FakeShard {
  readonly parent?: string;
  readonly records: StreamRecord[];
  closed: boolean;
  /** Records before this index are trimmed away. */
  kept: number;
}

/** A stream in memory. Sequence numbers are indexes into a shard. */
export class FakeStream implements StreamSource {
  name = "stream-1";
  readonly shardMap = new Map<string, FakeShard>();
  /** Records a page, where no fewer are asked for. */
  pageRecords = 3;
  /** The size of each record. */
  recordBytes = 100;
  /** Records of these names are left out of pages, and counted. */
  unwanted: (name: string) => boolean = () => false;
  /** Every iterator given so far is expired. */
  expired = false;
  /** When each read was made. */
  readonly reads: { readonly shard: string; readonly at: number; readonly limit: number }[] = [];
  #iterators = 0;

  constructor(readonly now: () => number) {}

  /** Opens a shard; closes its parent. */
  open(id: string, parent?: string): void {
    this.shardMap.set(id, { parent, records: [], closed: false, kept: 0 });
    if (parent !== undefined) this.shardMap.get(parent)!.closed = true;
  }

  put(shard: string, ...names: string[]): void {
    for (const name of names) {
      this.shardMap.get(shard)!.records.push({ key: [shard, name], new: { name } });
    }
  }

  stream(): Promise<string> {
    return Promise.resolve(this.name);
  }

  shards(): Promise<Shard[]> {
    return Promise.resolve([...this.shardMap].map(([id, { parent }]) => ({ id, parent })));
  }

  iterator(_stream: string, shard: string, after: string | undefined): Promise<string> {
    const found = this.shardMap.get(shard);
    const from = after === undefined ? found?.kept ?? 0 : Number(after) + 1;
    // As in DynamoDB, the record that the position names must itself still be there.
    const trimmed = after !== undefined && Number(after) < (found?.kept ?? 0);
    if (!found || trimmed) return Promise.reject(new SyncError("trimmed", "trimmed"));
    return Promise.resolve(this.#iteratorAt(shard, from));
  }

  read(iterator: string, limit: number): Promise<ShardPage> {
    const [shard, index, generation] = iterator.split("\n") as [string, string, string];
    this.reads.push({ shard, at: this.now(), limit });
    if (this.expired && Number(generation) <= this.#expiredUpTo) {
      return Promise.reject(new SyncError("iterator-expired", "expired"));
    }
    const found = this.shardMap.get(shard);
    if (!found) return Promise.reject(new SyncError("trimmed", "gone"));
    const from = Number(index), records = found.records.slice(from, from + Math.min(limit, this.pageRecords));
    const to = from + records.length;
    const end = found.closed && to === found.records.length;
    return Promise.resolve({
      records: records.filter(({ key }) => !this.unwanted(key[1])),
      count: records.length,
      bytes: records.length * this.recordBytes,
      ...(records.length > 0 ? { last: String(to - 1).padStart(6, "0"), lastAt: this.now() } : {}),
      ...(end ? {} : { next: this.#iteratorAt(shard, to) }),
    });
  }

  /** Lets all iterators expire that are out. */
  expire(): void {
    this.expired = true;
    this.#expiredUpTo = this.#iterators;
  }

  #expiredUpTo = 0;

  #iteratorAt(shard: string, index: number): string {
    return `${shard}\n${index}\n${++this.#iterators}`;
  }
}
