/**
 * The cloud's own classes over tables of limited speed, in virtual time: storms that depend on no machine. Requests go through
 * one after the other, so many a second, and take a latency besides; each is counted by what it was for.
 *
 * @module
 */
import { openEmbedded } from "../../cloud/embedded.ts";
import type { Publisher, Target } from "../../cloud/publishers/port.ts";
import { bucketKey } from "../../cloud/sync/buckets.ts";
import { ChannelLog } from "../../cloud/sync/channel_log.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { DataTable, StreamRecord, Table, Tables, Write } from "../../cloud/table/port.ts";
import type { Channel, CursorOf, FromCloud, Key } from "../../protocol.ts";
import { completeItem, keyOf } from "../../schema.ts";
import type { Schema } from "../../schema/model.ts";
import type { Attributes } from "../../schema/values.ts";
import { LightDevice } from "./light_device.ts";
import { VirtualTime } from "./virtual_time.ts";

/** How fast the tables are; infinitely many requests a second take no time at all. */
export interface Speed {
  readonly requestsPerSecond: number;
  readonly latencyMs: number;
}

const accountId = "acme";
/** How long a publish takes, and how often the stream is looked at. */
const publishMs = 1, pollMs = 20;

/** See the module. */
export class VirtualCloud implements AsyncDisposable {
  readonly time = new VirtualTime();
  readonly service: CloudService;
  /** Requests by operation and the kind of key: `get floor#account`. */
  readonly counts = new Map<string, number>();
  readonly listeners = new Map<string, { receive(message: FromCloud): void }>();
  /** Whether a request's item is throttled now. */
  isThrottled: (hash: string) => boolean = () => false;
  /** Told of what goes to many; false: it is lost. */
  toMany: (message: FromCloud) => boolean = () => true;
  readonly #schema: Schema;
  readonly #tables: Tables & { close(): Promise<void> };
  readonly #shared: Tables;
  readonly #records: StreamRecord[] = [];
  readonly #stopped = new AbortController();
  #stream: Promise<void> | undefined;
  #freeMs = 0;
  #seed = 1;
  readonly random = (): number => (this.#seed = this.#seed * 48271 % 2147483647) / 2147483647;

  constructor(schema: Schema, readonly speed: Speed) {
    this.#schema = schema;
    this.#tables = openEmbedded(":memory:", { schema, now: () => this.time.nowMs, sliceMs: Infinity });
    this.#shared = this.#limited();
    this.service = this.worker();
  }

  /** One worker more on the same tables. */
  worker(): CloudService {
    const { time } = this;
    const publisher: Publisher = { publish: (to, message) => this.#publish(to, message) };
    return new CloudService({
      schema: this.#schema,
      tables: this.#shared,
      publisher,
      now: () => time.nowMs,
      monotonicMs: () => time.sinceMs,
      random: this.random,
      pause: (ms, signal) => time.wait(ms, signal),
    });
  }

  async #publish(to: Target, message: FromCloud): Promise<void> {
    if (this.speed.requestsPerSecond < Infinity) await this.time.wait(publishMs);
    if (to !== "all" && "device" in to) return this.listeners.get(to.device)?.receive(message);
    if (!this.toMany(message)) return;
    for (const listener of this.listeners.values()) listener.receive(structuredClone(message));
  }

  async #turn(op: string, hash: string): Promise<void> {
    const name = `${op} ${hash.replace(/^([a-z]+)#(device|account|global|.).*$/, "$1#$2")}`;
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    const { time, speed } = this;
    if (speed.requestsPerSecond === Infinity) return;
    this.#freeMs = Math.max(time.sinceMs, this.#freeMs) + 1000 / speed.requestsPerSecond;
    await time.wait(this.#freeMs - time.sinceMs + speed.latencyMs);
  }

  /** All requests so far of names that begin so. */
  count(prefix = ""): number {
    let sum = 0;
    for (const [name, count] of this.counts) if (name.startsWith(prefix)) sum += count;
    return sum;
  }

  #limited(): Tables {
    const log = this.#limitedTable(this.#tables.log), data = this.#limitedTable(this.#tables.data);
    const written = data.write;
    const recording: DataTable = Object.assign(data, {
      stream: () => ({ batches: (signal: AbortSignal) => this.#batches(signal) }),
      write: async (...[writes, options]: Parameters<Table["write"]>) => {
        const results = await written(writes, options);
        results.forEach((result, i) => result.outcome === "written" && this.#record(writes[i]!, result.old));
        return results;
      },
    });
    return { data: recording, log };
  }

  #limitedTable(table: Table): Table {
    const hashOf = (write: Write) => String(write.op === "put" ? write.item.hash ?? write.item.pk : write.key[0]);
    return {
      get: async (keys) => {
        await this.#turn("get", keys[0]?.[0] ?? "");
        return await table.get(keys);
      },
      write: async (writes, options) => {
        await Promise.all(writes.map((write) => this.#turn("write", hashOf(write))));
        const free = writes.filter((write) => !this.isThrottled(hashOf(write)));
        const results = await table.write(free, options);
        return writes.map((write) => free.includes(write) ? results.shift()! : { outcome: "throttled" as const });
      },
      query: async (query) => {
        await this.#turn("query", query.hash);
        return await table.query(query);
      },
      scan: async (options) => {
        await this.#turn("scan", "");
        return await table.scan(options);
      },
      close: () => table.close(),
    };
  }

  #record(write: Write, old: StreamRecord["old"]): void {
    const key = write.op === "put" ? keyOf(this.#schema, write.item) : write.key;
    this.#records.push({ key, old, ...(write.op === "put" ? { new: write.item } : {}) });
  }

  async *#batches(signal: AbortSignal): AsyncGenerator<{ records: StreamRecord[]; checkpoint(): Promise<void> }> {
    while (!signal.aborted) {
      if (this.#records.length === 0) await this.time.wait(pollMs, signal);
      else yield { records: this.#records.splice(0, 100), checkpoint: () => Promise.resolve() };
    }
  }

  /** Passes on what there is, at once. */
  async passOn(): Promise<void> {
    while (this.#records.length > 0) {
      await this.service.fanOutRecords(this.#records.splice(0, 100), this.#stopped.signal);
    }
  }

  /** An application in the cloud puts an item; past the tables' limit. */
  async put(name: string, attributes: Attributes): Promise<void> {
    const item = completeItem(this.#schema, this.#schema.models.get(name)!, attributes, { deviceId: "", accountId });
    const write: Write = { op: "put", item };
    const [result] = await this.#tables.data.write([write]);
    this.#record(write, result!.outcome === "written" ? result!.old : undefined);
  }

  /** Begins to pass the stream on. */
  tail(): void {
    this.#stream = this.service.runStream(this.#stopped.signal);
  }

  /** Adds devices to the registry, past the tables' limit: all with one token, for making one takes time. */
  async register(ids: readonly string[]): Promise<void> {
    const table = this.#tables.log, [first] = ids;
    await new Registry(table, { now: () => this.time.nowMs }).add(first!, accountId);
    const [row] = await table.get([bucketKey("devices", first!)]);
    const items = ids.map((id): Write => {
      const [hash, sort] = bucketKey("devices", id);
      return { op: "put", item: { ...row!, hash, sort } };
    });
    for (let i = 0; i < items.length; i += 500) await table.write(items.slice(i, i + 500));
  }

  /**
   * Makes devices that have missed a change each, on their own channel; past the tables' limit. They are on the channels
   * that are named, their own included.
   */
  async devices(count: number, channels: readonly ("device" | "account" | "global")[]): Promise<LightDevice[]> {
    const { log: table } = this.#tables, { time, random } = this, now = () => time.nowMs;
    const log = new ChannelLog(table, { now, random });
    const timers = {
      nowMs: () => time.sinceMs,
      after: (ms: number, go: () => void) => time.after(ms, go),
    };
    const cursorOf = async (channel: Channel, seq?: number): Promise<CursorOf> => {
      const { epoch, head } = await log.state(channel);
      return { channel, epoch, seq: seq ?? head };
    };
    const shared: CursorOf[] = [];
    for (const kind of ["account", "global"] as const) {
      if (channels.includes(kind)) shared.push(await cursorOf(kind === "account" ? `account:${accountId}` : kind));
    }
    const all: LightDevice[] = [];
    const ids = Array.from({ length: count }, (_, i) => `device-${this.listeners.size + i}`);
    await this.register(ids);
    for (const deviceId of ids) {
      const own = `device:${deviceId}` as const;
      const key: Key = [`d#${deviceId}`, "Down#a"];
      const isMissed = channels.includes("device");
      if (isMissed) await log.append(own, [{ key, bytes: 100 }]);
      const cursors = isMissed ? [await cursorOf(own, 0), ...shared] : shared;
      const device = new LightDevice(deviceId, {
        timers,
        random,
        cursors,
        send: (message) => void this.service.receive(deviceId, message),
      });
      this.listeners.set(deviceId, device);
      all.push(device);
    }
    return all;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.time.pass(60_000);
    await this.#stream;
    await this.#tables.close();
  }
}

/** A connected device that writes now and then: how long until its change is acknowledged and has come back. */
export class Writer {
  readonly waitsMs: number[] = [];
  #sentMs = NaN;
  #batch = 0;

  constructor(
    readonly cloud: VirtualCloud,
    readonly deviceId: string,
    readonly model: string,
    readonly everyMs: number,
  ) {
    cloud.listeners.set(deviceId, this);
  }

  static async register(cloud: VirtualCloud, deviceId: string, model: string, everyMs: number): Promise<Writer> {
    await cloud.service.registry.add(deviceId, accountId);
    return new Writer(cloud, deviceId, model, everyMs);
  }

  start(): void {
    const { time } = this.cloud;
    if (Number.isNaN(this.#sentMs)) this.#write();
    time.after(this.everyMs, () => this.start());
  }

  #write(): void {
    const { time, service } = this.cloud, id = `s${++this.#batch}`;
    this.#sentMs = time.sinceMs;
    void service.receive(this.deviceId, {
      type: "up",
      batch: `w/${this.#batch}`,
      sent: time.nowMs,
      changes: [{ model: this.model, op: "create", item: { id, v: 1 }, stamp: time.nowMs * 1000 }],
    });
  }

  receive(message: FromCloud): void {
    if (message.type !== "changes" || message.channel !== `device:${this.deviceId}`) return;
    if (!Number.isNaN(this.#sentMs)) this.waitsMs.push(this.cloud.time.sinceMs - this.#sentMs);
    this.#sentMs = NaN;
  }
}

/** The value below which that share of them lies. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}
