/**
 * Devices and a cloud whose schemas come and go apart, and whose table goes back in time: the real `Twin` on a real store, the real `CloudService` on
 * the embedded table, every message through the codec, and time that the test moves.
 *
 * @module
 */
import { openEmbedded } from "../../cloud/embedded.ts";
import type { Target } from "../../cloud/publishers/port.ts";
import type { Registry } from "../../cloud/sync/registry.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { Query, StreamRecord, Tables, Write } from "../../cloud/table/port.ts";
import type { Limits } from "../../agent/sync/context.ts";
import { Decoder, encode, type FromCloud, type FromDevice, type Key, ProtocolError } from "../../protocol.ts";
import { type Attributes, completeItem, keyOf, modelOf, stripItem } from "../../schema.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { SimDevice } from "../sim/device.ts";
import { Random } from "../sim/random.ts";
import { scratchFolder } from "../sim/scratch.ts";
import { startMs } from "../sim/setup.ts";

const anybody = {
  identityOf: (deviceId: string) => Promise.resolve({ deviceId, accountId: "A" }),
  identityAt: (deviceId: string) => Promise.resolve({ deviceId, accountId: "A" }),
  arrival: () => ({ atMs: 0 }),
  touch: () => Promise.resolve(),
  keepReport: () => Promise.resolve(),
  remembered: () => 0,
  rememberedAccount: () => "A",
  mayExist: () => true,
} as unknown as Registry;

/** The device that there is. */
export const identity: Identity = { deviceId: "D0", accountId: "A" };

/** See the module. */
export class SkewRig implements AsyncDisposable {
  now = startMs;
  readonly random = new Random(7);
  readonly folder = scratchFolder("twintable-skew-");
  readonly devices: SimDevice[] = [];
  /** Everything that the cloud has sent. */
  readonly told: FromCloud[] = [];
  readonly sent: FromDevice[] = [];
  /** Before each read of the table by a worker: throws what the table throws. */
  reading: () => void = () => undefined;
  /** Items of a page at most; taken at the next {@link deployCloud}. */
  pageItems: number | undefined;
  /** What becomes of a message of the cloud on its way: the broker swallows it, or it comes and can't be read. */
  spoils: (message: FromCloud, bytes: number) => "swallowed" | "garbled" | undefined = () => undefined;
  #tables!: Tables;
  #service!: CloudService;
  cloudSchema!: Schema;
  #records: StreamRecord[] = [];
  #parcels: ((() => void) | (() => Promise<void>))[] = [];

  constructor(cloud: Schema, device: Schema, devices = 1, limits: Partial<Limits> = {}) {
    this.deployCloud(cloud);
    for (let i = 0; i < devices; i++) {
      this.devices.push(
        new SimDevice(this, `D${i}`, device, { deviceId: `D${i}`, accountId: "A" }, 0, this.folder, limits),
      );
    }
  }

  /** The first of them. */
  get device(): SimDevice {
    return this.devices[0]!;
  }

  /** The cloud's workers end, and start with this schema. */
  deployCloud(schema: Schema): void {
    void this.#tables?.data.close();
    void this.#tables?.log.close();
    this.cloudSchema = schema;
    const tables = openEmbedded(`${this.folder}/cloud.db`, {
      schema,
      now: () => this.now,
      synchronous: "normal",
      sliceMs: Infinity,
    });
    const write = tables.data.write.bind(tables.data);
    tables.data.write = async (writes, options) => {
      const results = await write(writes, options);
      results.forEach((result, i) => {
        const op = writes[i]!;
        if (result.outcome !== "written" || (op.op === "delete" && !result.old)) return;
        const key = op.op === "put" ? keyOf(schema, op.item) : op.key;
        this.#records.push({ key, old: result.old, new: op.op === "put" ? op.item : undefined });
      });
      return results;
    };
    this.#tables = tables;
    const data = Object.assign(Object.create(tables.data), {
      query: async (query: Query) => {
        this.reading();
        return await tables.data.query(query);
      },
      get: async (keys: readonly Key[]) => {
        this.reading();
        return await tables.data.get(keys);
      },
    });
    this.#service = new CloudService({
      schema,
      tables: { ...tables, data },
      ...(this.pageItems === undefined ? {} : { limits: { pageItemsMax: this.pageItems, pageBytesMax: 100 * 1024 } }),
      publisher: { publish: (to, message) => Promise.resolve(this.#publish(to, message)) },
      registry: anybody,
      now: () => this.now,
      random: () => this.random.next(),
    });
  }

  /** The device's agent ends, and starts with this schema. @throws SyncError `migration`: it goes on with the old one */
  deployDevice(schema: Schema): void {
    try {
      this.device.upgrade(schema);
    } finally {
      // What a migration queues has SQLite's own time, which is the machine's.
      this.device.store.db.sql("UPDATE _outbox SET time = ? WHERE time < ?").run(this.now, startMs);
    }
  }

  up({ identity: { deviceId } }: SimDevice, message: FromDevice): void {
    this.sent.push(message);
    const payloads = encode(message);
    this.#parcels.push(async () => {
      const decoder = new Decoder({ now: () => this.now });
      for (const payload of payloads) await this.#service.receive(deviceId, decoder.accept(payload, "up")!);
    });
  }

  #publish(to: Target, message: FromCloud): void {
    this.told.push(message);
    const payloads = encode(message), bytes = payloads.reduce((sum, { length }) => sum + length, 0);
    const fate = this.spoils(message, bytes);
    if (fate === "swallowed") return;
    if (fate === "garbled") payloads[payloads.length - 1] = payloads.at(-1)!.subarray(0, -1);
    for (const device of this.devices) {
      if (typeof to === "object" && "device" in to && to.device !== device.identity.deviceId) continue;
      this.#parcels.push(() => {
        const decoder = new Decoder({ now: () => this.now });
        for (const payload of payloads) {
          try {
            const whole = decoder.accept(payload, "down");
            if (whole) device.receive(whole);
          } catch (error) {
            if (!(error instanceof ProtocolError)) throw error;
            device.receiveUnreadable(error);
          }
        }
      });
    }
  }

  /** The table as it is now. */
  async keep(): Promise<{ readonly atMs: number; readonly items: Map<string, Item> }> {
    return { atMs: this.now, items: await this.items() };
  }

  /**
   * The table is what it was, and its stream another one; the log table is kept. `tell`: the operator's command is run, with
   * this time in place of the copy's. `announced`: the worker says that it is there, as each does.
   */
  async restore(
    copy: { readonly atMs: number; readonly items: Map<string, Item> },
    sinceMs = copy.atMs,
    announced = false,
  ): Promise<void> {
    this.#parcels = [];
    const present = await this.items();
    const writes: Write[] = [...copy.items.values()].map((item) => ({ op: "put", item }));
    for (const [key, item] of present) {
      if (!copy.items.has(key)) writes.push({ op: "delete", key: keyOf(this.cloudSchema, item) });
    }
    await this.write(writes);
    this.#records = [];
    this.deployCloud(this.cloudSchema);
    await this.#service.log.restored(sinceMs);
    if (announced) await this.#service.announce(new AbortController().signal);
  }

  /** An epoch begins that restores nothing: history of the change stream was lost. */
  async beginEpoch(): Promise<void> {
    await this.#service.historyLost();
  }

  async #drain(): Promise<void> {
    for (let i = 0; this.#parcels.length > 0 || this.#records.length > 0; i++) {
      if (i > 5000) throw new Error("endless traffic");
      for (const deliver of this.#parcels.splice(0)) {
        this.now++;
        await deliver();
      }
      await this.#service.fanOutRecords(this.#records.splice(0), new AbortController().signal);
    }
  }

  /** So much time passes, both sides connected, with a tick each half minute or less. */
  async pass(ms = 100_000, devices: readonly SimDevice[] = this.devices): Promise<void> {
    for (const device of devices) device.connect();
    for (let left = ms; left > 0; left -= 30_000) {
      for (const device of devices) device.pump();
      await this.#drain();
      this.now += Math.min(left, 30_000);
      for (const device of devices) device.tick();
      await this.#drain();
    }
  }

  /** An application's statement on the device. */
  sql(model: string, statement: string, device: SimDevice = this.device): void {
    device.write(device.schema.models.get(model)!, (db) => db.exec(statement));
  }

  rows(statement: string, device: SimDevice = this.device): Record<string, unknown>[] {
    return device.store.db.prepare(statement).all().map((row) => ({ ...row }));
  }

  count(table: string): number {
    return Number(this.rows(`SELECT count(*) AS n FROM ${table}`)[0]!.n);
  }

  get problem(): string | undefined {
    return this.device.twin.facts.get("problem") as string | undefined;
  }

  /** A cloud application puts an item of the cloud's schema. */
  async put(model: string, attributes: Attributes): Promise<void> {
    const item = completeItem(this.cloudSchema, this.cloudSchema.models.get(model)!, attributes, identity);
    await this.write([{ op: "put", item }]);
  }

  /** Raw writes, past every worker. */
  async write(writes: readonly Write[]): Promise<void> {
    await this.#tables.data.write(writes);
  }

  /** The table's items by key. */
  async items(): Promise<Map<string, Item>> {
    const items = new Map<string, Item>();
    let after: string | undefined;
    do {
      const page = await this.#tables.data.scan({ limit: 1000, after });
      for (const item of page.items) items.set(keyOf(this.cloudSchema, item).join("|"), item);
      after = page.next;
    } while (after !== undefined);
    return items;
  }

  /** What the table has of a model, as attributes, by their `name`. */
  async itemsOf(model: string): Promise<Record<string, Attributes>> {
    const items = [...(await this.items()).values()].filter((item) => item[this.cloudSchema.typeField] === model);
    return Object.fromEntries(items.map((item) => {
      const known = modelOf(this.cloudSchema, item);
      return [String(item.name), known ? stripItem(this.cloudSchema, known, item, identity) : item];
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of this.devices) device.close();
    await this.#tables.data.close();
    await this.#tables.log.close();
    Deno.removeSync(this.folder, { recursive: true });
  }
}
