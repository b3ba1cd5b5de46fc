/**
 * One device and one cloud whose schemas come and go apart: the real `Twin` on a real store, the real `CloudService` on
 * the embedded table, every message through the codec, and time that the test moves.
 *
 * @module
 */
import { openEmbedded } from "../../cloud/embedded.ts";
import type { Target } from "../../cloud/publishers/port.ts";
import type { Registry } from "../../cloud/sync/registry.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { StreamRecord, Tables, Write } from "../../cloud/table/port.ts";
import { Decoder, encode, type FromCloud, type FromDevice } from "../../protocol.ts";
import { type Attributes, completeItem, keyOf, modelOf, stripItem } from "../../schema.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { SimDevice } from "../sim/device.ts";
import { Random } from "../sim/random.ts";
import { startMs } from "../sim/setup.ts";

const anybody = {
  identityOf: (deviceId: string) => Promise.resolve({ deviceId, accountId: "A" }),
  touch: () => Promise.resolve(),
  keepReport: () => Promise.resolve(),
} as unknown as Registry;

/** The device that there is. */
export const identity: Identity = { deviceId: "D0", accountId: "A" };

/** See the module. */
export class SkewRig implements AsyncDisposable {
  now = startMs;
  readonly random = new Random(7);
  readonly folder = Deno.makeTempDirSync({ prefix: "twintable-skew-" });
  readonly device: SimDevice;
  /** Everything that the cloud has sent. */
  readonly told: FromCloud[] = [];
  readonly sent: FromDevice[] = [];
  #tables!: Tables;
  #service!: CloudService;
  cloudSchema!: Schema;
  #records: StreamRecord[] = [];
  #parcels: ((() => void) | (() => Promise<void>))[] = [];

  constructor(cloud: Schema, device: Schema) {
    this.deployCloud(cloud);
    this.device = new SimDevice(this, "D0", device, identity, 0, this.folder, {});
  }

  /** The cloud's workers end, and start with this schema. */
  deployCloud(schema: Schema): void {
    void this.#tables?.data.close();
    void this.#tables?.log.close();
    this.cloudSchema = schema;
    const tables = openEmbedded(`${this.folder}/cloud.db`, { schema, now: () => this.now, synchronous: "normal" });
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
    this.#service = new CloudService({
      schema,
      tables,
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

  up(_device: SimDevice, message: FromDevice): void {
    this.sent.push(message);
    const payloads = encode(message);
    this.#parcels.push(async () => {
      const decoder = new Decoder({ now: () => this.now });
      for (const payload of payloads) await this.#service.receive("D0", decoder.accept(payload, "up")!);
    });
  }

  #publish(_to: Target, message: FromCloud): void {
    this.told.push(message);
    const payloads = encode(message);
    this.#parcels.push(() => {
      const decoder = new Decoder({ now: () => this.now });
      for (const payload of payloads) this.device.receive(decoder.accept(payload, "down")!);
    });
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
  async pass(ms = 100_000): Promise<void> {
    this.device.connect();
    for (let left = ms; left > 0; left -= 30_000) {
      this.device.pump();
      await this.#drain();
      this.now += Math.min(left, 30_000);
      this.device.tick();
      await this.#drain();
    }
  }

  /** An application's statement on the device. */
  sql(model: string, statement: string): void {
    this.device.write(this.device.schema.models.get(model)!, (db) => db.exec(statement));
  }

  rows(statement: string): Record<string, unknown>[] {
    return this.device.store.db.prepare(statement).all().map((row) => ({ ...row }));
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
    this.device.close();
    await this.#tables.data.close();
    await this.#tables.log.close();
    Deno.removeSync(this.folder, { recursive: true });
  }
}
