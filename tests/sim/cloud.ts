/**
 * The simulated cloud: workers (the real `CloudService`) on one pair of tables, each of whose requests is a step of the
 * scheduler; the tables' change stream; applications that write the table raw; faults of all of them.
 *
 * @module
 */
import { openEmbedded } from "../../cloud/embedded.ts";
import type { Publisher } from "../../cloud/publishers/port.ts";
import type { Registry } from "../../cloud/sync/registry.ts";
import { ChannelLog } from "../../cloud/sync/channel_log.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { DataTable, StreamOptions, StreamRecord, Tables, Write } from "../../cloud/table/port.ts";
import type { FromDevice, Key } from "../../protocol.ts";
import { keyOf, modelOf, SyncError } from "../../schema.ts";
import type { Model, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { Double, type Fault } from "./double.ts";
import { Gate, gated } from "./gate.ts";
import type { Random } from "./random.ts";
import { SimStream } from "./stream.ts";

/** What the cloud is made of. */
export interface CloudOptions {
  readonly schema: Schema;
  /** The version of the schema that workers get who start after {@link SimCloud.upgrade}. */
  readonly nextSchema?: Schema;
  /** The version before that, to which the cloud may go back. */
  readonly formerSchema?: Schema;
  /** Reads fail between two items, too. */
  readonly misread?: boolean;
  readonly table: "embedded" | "double";
  readonly workers: number;
  /** Workers that read the stream; the first ones. */
  readonly tailers: number;
  readonly shards: number;
  /** Items in a page at most. */
  readonly batchChangesMax: number;
  /** Questions that a worker answers at once; default 8: the service's own number follows from real time. */
  readonly asksAtOnce?: number;
  /** A secondary index shows a change after up to this long. */
  readonly lagMaxMs: number;
  /** The table may be restored to an earlier time. */
  readonly restores?: boolean;
  /** A restored table has another stream than the workers know, as in AWS. */
  readonly otherStream?: boolean;
}

/** What the cloud needs of the world. */
export interface CloudWorld {
  readonly now: number;
  readonly random: Random;
  readonly publisher: Publisher;
  /** A change of the table was made. */
  changed(record: StreamRecord): void;
  /** A read failed. */
  misread?(): void;
  /** Something failed where it never should. */
  failed(what: string): void;
}

/** Entries are kept for a minute at least; a lagging index and a worker's memory count on it. */
const trimAgeMs = 120_000;

interface Worker {
  readonly id: number;
  readonly service: CloudService;
}

const nothing = () => Promise.resolve(undefined);

/** A registry that knows every device; what the real one does is tested by itself. */
const everybody = {
  identityOf: (deviceId: string) => Promise.resolve({ deviceId, accountId: "A" }),
  identityAt: (deviceId: string) => Promise.resolve({ deviceId, accountId: "A" }),
  arrival: () => ({ atMs: 0 }),
  touch: () => Promise.resolve(),
  remembered: () => 0,
  mayExist: () => true,
  rememberedAccount: () => "A",
} as unknown as Registry;

/** See the module. */
export class SimCloud {
  readonly gate = new Gate();
  stream: SimStream;
  readonly workers: Worker[] = [];
  /** How likely a read of an item, or of a part of a list, is to fail. */
  misreads: number;
  /** How likely a request is to fail, while the table is said to be troubled. */
  trouble = 0;
  /** Past the gate, at once, without faults: for raw writers and oracles. */
  readonly raw: Tables;
  readonly #double: Double | undefined;
  readonly #signal = new AbortController().signal;
  #owners = 0;
  #silent: DataTable["write"] | undefined;
  /** The table as it was at earlier times. */
  readonly copies: { readonly at: number; readonly items: Map<string, Item> }[] = [];
  #sweeping = false;
  /** Keys, as text, that the secondary indexes do not show, though the table has the items. */
  readonly hidden: Set<string> = new Set();
  #schema: Schema;

  constructor(readonly world: CloudWorld, readonly options: CloudOptions) {
    const { schema, shards, lagMaxMs, table } = options;
    this.#schema = schema;
    this.misreads = options.misread ? 0.3 : 0;
    this.stream = new SimStream({ shards, manual: true });
    const now = () => world.now, changed = (record: StreamRecord) => world.changed(record);
    if (table === "double") {
      const lagMs = () => Math.floor(world.random.next() * lagMaxMs);
      this.#double = new Double({ schema, now, lagMs, stream: this.stream, changed });
      this.raw = this.#double.view();
    } else {
      const tables = openEmbedded(":memory:", { schema, now, sliceMs: Infinity });
      this.#silent = tables.data.write.bind(tables.data);
      this.raw = { log: tables.log, data: this.#recording(tables.data) };
    }
    for (let i = 0; i < options.workers; i++) this.workers.push(this.#newWorker(i < options.tailers));
  }

  /** The table with its stream fed from its answers, as its own triggers would. */
  #recording(table: DataTable): DataTable {
    const write = table.write.bind(table);
    table.write = async (writes, options) => {
      const results = await write(writes, options);
      results.forEach((result, i) => {
        if (result.outcome !== "written") return;
        const op = writes[i]!;
        if (op.op === "delete" && !result.old) return;
        const key = op.op === "put" ? keyOf(this.options.schema, op.item) : op.key;
        const record: StreamRecord = {
          key,
          old: result.old,
          new: op.op === "put" ? op.item : undefined,
          ...(this.#sweeping ? { expired: true } : {}),
        };
        this.stream.add(record);
        this.world.changed(record);
      });
      return results;
    };
    return table;
  }

  #newWorker(tails: boolean): Worker {
    const id = ++this.#owners;
    const { world, gate } = this;
    const turn = () => gate.turn(id);
    const service = new CloudService({
      schema: this.#schema,
      tables: this.#tablesOf(id, turn),
      publisher: {
        publish: async (to, message) => {
          await turn();
          await world.publisher.publish(to, message);
        },
      },
      registry: everybody,
      // A wait is a turn: time passes when the scheduler says so.
      pause: turn,
      limits: { pageItemsMax: this.options.batchChangesMax, pageBytesMax: 100 * 1024 },
      answering: { asksAtOnce: this.options.asksAtOnce ?? 8 },
      now: () => world.now,
      random: () => world.random.next(),
    });
    if (!this.options.restores) {
      // As an older cloud, which does not say it: the read would be a step of the scheduler, and every seed mean another run.
      Object.assign(service.log, { tableEpoch: nothing, restoredSince: nothing });
    } else service.announce(this.#signal).catch((error) => this.world.failed(`announce rejected: ${error}`));
    if (tails) {
      service.runStream(this.#signal).then(
        () => world.failed("the stream was given up"),
        (error) => world.failed(`the stream's reader failed: ${error}`),
      );
    }
    return { id, service };
  }

  #tablesOf(owner: number, turn: () => Promise<void>): Tables {
    const fault = () => this.#fault();
    const hiding = (data: DataTable) => this.#hiding(data);
    const access = { owner, turn, fault, checkpointTurn: turn, chunk: 2 };
    if (this.#double) {
      const view = this.#double.view(access);
      return { log: view.log, data: hiding(view.data) };
    }
    const { data, log } = this.raw;
    return {
      data: hiding(Object.assign(gated(data, turn, fault), {
        stream: (options?: StreamOptions) => this.stream.reading({ ...access, ...options }),
      })),
      log: gated(log, turn, fault),
    };
  }

  /** Reads items one by one, each of which may fail after others were read. */
  #misreading(data: DataTable): void {
    const get = data.get.bind(data), query = data.query.bind(data);
    const mayFail = () => {
      if (!this.world.random.chance(this.misreads)) return;
      this.world.misread?.();
      throw new SyncError("io", "disk I/O error", { retryable: true });
    };
    data.get = async (keys) => {
      const items: (Item | undefined)[] = [];
      for (const key of keys) {
        mayFail();
        items.push(...await get([key]));
      }
      return items;
    };
    data.query = async (options) => {
      mayFail();
      return await query(options);
    };
  }

  /** The table as a worker sees it, whose secondary indexes miss some items. */
  #hiding(data: DataTable): DataTable {
    if (this.options.misread) this.#misreading(data);
    const query = data.query.bind(data);
    data.query = async (options) => {
      const page = await query(options);
      if (this.hidden.size === 0 || options.index === "primary") return page;
      const shown = page.items.filter((item) => !this.hidden.has(keyOf(this.options.schema, item).join("|")));
      return { ...page, items: shown };
    };
    return data;
  }

  #fault(): Fault {
    if (this.trouble === 0 || !this.world.random.chance(this.trouble)) return undefined;
    return this.world.random.chance(0.5) ? "throttled" : "repeated";
  }

  /** A device's message reaches some worker. One that dies never answers; the device sends again. */
  receive(deviceId: string, message: FromDevice): void {
    const worker = this.world.random.pick(this.workers);
    worker.service.receive(deviceId, message).catch((error) => this.world.failed(`receive rejected: ${error}`));
  }

  /** A batch that some worker can't read. */
  refuse(deviceId: string, batch: string): void {
    const worker = this.world.random.pick(this.workers);
    worker.service.refuse(deviceId, batch, "it can't be read").catch((error) =>
      this.world.failed(`refuse rejected: ${error}`)
    );
  }

  /** A worker dies between two of its effects; another takes its place. */
  killWorker(): void {
    const { random } = this.world;
    const index = random.below(this.workers.length), { id } = this.workers[index]!;
    this.gate.kill(id);
    for (const reader of this.stream.readers.filter(({ owner }) => owner === id)) this.stream.remove(reader);
    this.workers[index] = this.#newWorker(index < this.options.tailers);
  }

  /** Workers that start from now on have the next version of the schema, the others keep theirs. */
  upgrade(): boolean {
    const { nextSchema } = this.options;
    if (!nextSchema || nextSchema === this.#schema) return false;
    this.#schema = nextSchema;
    return true;
  }

  /** Workers that start from now on have the other version of the schema. */
  changeVersion(): void {
    const { nextSchema, formerSchema } = this.options;
    this.#schema = this.#schema === nextSchema ? formerSchema! : nextSchema!;
  }

  /** All workers end, and others start with the newest schema. */
  allNewest(): void {
    this.#schema = this.options.nextSchema!;
    this.workers.forEach(({ id }, index) => {
      this.gate.kill(id);
      for (const reader of this.stream.readers.filter(({ owner }) => owner === id)) this.stream.remove(reader);
      this.workers[index] = this.#newWorker(index < this.options.tailers);
    });
  }

  /** A reader takes the next records. */
  readStream(most: number): boolean {
    const { random } = this.world, ready = this.stream.ready();
    if (ready.length === 0) return false;
    random.pick(ready).wake!(most, random.next());
    return true;
  }

  async keep(): Promise<void> {
    this.copies.push({ at: this.world.now, items: await this.items() });
    if (this.copies.length > 4) this.copies.shift();
  }

  /** The table goes back, its stream is another one, and workers start anew. */
  async restore(): Promise<{ present: Map<string, Item>; items: Map<string, Item> } | undefined> {
    const { random } = this.world;
    if (this.copies.length === 0) return undefined;
    const [copy] = this.copies.splice(random.below(this.copies.length));
    const present = await this.items();
    for (const { id } of this.workers) this.gate.kill(id);
    const writes: Write[] = [...copy!.items.values()].map((item) => ({ op: "put", item }));
    for (const [key, item] of present) {
      if (!copy!.items.has(key)) writes.push({ op: "delete", key: keyOf(this.options.schema, item) });
    }
    if (writes.length > 0) await this.#silent!(writes);
    this.stream = new SimStream({
      shards: this.options.shards,
      manual: true,
      isOther: this.options.otherStream === true,
    });
    const log = new ChannelLog(this.raw.log, { now: () => this.world.now, random: () => random.next() });
    await log.restored(copy!.at);
    this.workers.forEach((_, i) => this.workers[i] = this.#newWorker(i < this.options.tailers));
    return { present, items: copy!.items };
  }

  /** Records that were handled are delivered once more. */
  redeliver(back: number): boolean {
    const reader = this.stream.readers[0];
    if (reader) this.stream.rewind(reader, back);
    return reader !== undefined;
  }

  /** The log of a channel loses its oldest entries. */
  async trim(channels: readonly string[]): Promise<boolean> {
    const { random } = this.world, { log } = this.raw;
    const page = await log.query({ index: "primary", hash: `log#${random.pick(channels)}`, limit: 1000 });
    const old = page.items.filter((item) => Number(item.time) < this.world.now - trimAgeMs);
    const cut = old.slice(0, random.between(1, old.length + 1));
    if (cut.length === 0) return false;
    await log.write(cut.map((item): Write => ({ op: "delete", key: [String(item.hash), String(item.sort)] })));
    return true;
  }

  /** The log table is lost and made anew. */
  async wipeLog(): Promise<void> {
    const { log } = this.raw;
    const { items } = await log.scan({ limit: 10_000 });
    await log.write(items.map((item): Write => ({ op: "delete", key: [String(item.hash), String(item.sort)] })));
  }

  async get(key: Key): Promise<Item | undefined> {
    return (await this.raw.data.get([key]))[0];
  }

  /** A cloud application writes. */
  async put(item: Item): Promise<void> {
    await this.raw.data.write([{ op: "put", item }]);
  }

  async delete(key: Key): Promise<void> {
    await this.raw.data.write([{ op: "delete", key }]);
  }

  /** The table deletes an item by itself. */
  async sweep(key: Key): Promise<void> {
    this.#sweeping = true;
    if (this.#double) this.#double.sweeping = true;
    await this.delete(key);
    this.#sweeping = false;
    if (this.#double) this.#double.sweeping = false;
  }

  /** All items by key text. */
  async items(): Promise<Map<string, Item>> {
    const items = new Map<string, Item>();
    let after: string | undefined;
    do {
      const page = await this.raw.data.scan({ limit: 500, after });
      for (const item of page.items) items.set(keyOf(this.options.schema, item).join("|"), item);
      after = page.next;
    } while (after !== undefined);
    return items;
  }

  modelOf(item: Item): Model | undefined {
    return modelOf(this.options.schema, item);
  }

  async close(): Promise<void> {
    await this.raw.data.close();
    await this.raw.log.close();
  }
}
