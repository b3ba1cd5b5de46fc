/**
 * Thousands of small stories side by side, one a key: applications on devices and in the cloud, and where in between the
 * sides meet. All stories of a rig meet at the same places, which is what makes exhaustive tests of the conflict policies
 * affordable.
 *
 * @module
 */
import type { Target } from "../../cloud/publishers/port.ts";
import type { Registry } from "../../cloud/sync/registry.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { StreamRecord, Tables, Write } from "../../cloud/table/port.ts";
import type { FromCloud, FromDevice, Key } from "../../protocol.ts";
import { keyOf } from "../../schema.ts";
import type { Model, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { SimDevice } from "./device.ts";
import { Double } from "./double.ts";
import { Random } from "./random.ts";
import { simSchema } from "./schema.ts";
import { SimStream } from "./stream.ts";
import { startMs } from "./setup.ts";
import { cloudItem } from "./workload.ts";

/** How messages come: each once; each twice; each once, and once more at the next meeting and the one after. */
export type Delivery = "once" | "twice" | "late";

/** What an application does to a key: writes `v` (`w` in a merging cloud), or removes it. */
export interface Deed {
  readonly name: string;
  readonly value: number;
  readonly remove: boolean;
}

/** A write takes this long at least: longer than what a device takes for no error of its clock. */
const deedMs = 2000;

const anybody = {
  identityOf: (deviceId: string) => Promise.resolve({ deviceId, accountId: "A" }),
  identityAt: (deviceId: string) => Promise.resolve({ deviceId, accountId: "A" }),
  arrival: () => ({ atMs: 0 }),
  touch: () => Promise.resolve(),
  remembered: () => 0,
  rememberedAccount: () => "A",
  mayExist: () => true,
} as unknown as Registry;

type Parcel =
  | { readonly to: SimDevice; readonly message: FromCloud }
  | { readonly from: SimDevice; readonly message: FromDevice };

/** See the module. */
export class Rig {
  now = startMs;
  readonly random = new Random(1);
  readonly schema: Schema;
  readonly model: Model;
  readonly devices: SimDevice[] = [];
  /** By name, every state of the table's item in order; undefined: removed. */
  readonly history: Map<string, (Item | undefined)[]> = new Map();
  readonly #tables: Tables;
  readonly #service: CloudService;
  #records: StreamRecord[] = [];
  #parcels: Parcel[] = [];
  #late: Parcel[] = [];
  #later: Parcel[] = [];

  constructor(modelName: string, devices: number, readonly delivery: Delivery, folder: string) {
    this.schema = simSchema([modelName], { timed: true });
    this.model = this.schema.models.get(modelName)!;
    const now = () => this.now;
    const stream = new SimStream({ shards: 1, manual: true });
    const changed = (record: StreamRecord) => this.#changed(record);
    this.#tables = new Double({ schema: this.schema, now, lagMs: () => 0, stream, changed }).view();
    this.#service = new CloudService({
      schema: this.schema,
      tables: this.#tables,
      publisher: { publish: (to, message) => Promise.resolve(this.#publish(to, message)) },
      registry: anybody,
      now,
      random: () => this.random.next(),
    });
    for (let i = 0; i < devices; i++) {
      const identity = { deviceId: `D${i}`, accountId: "A" };
      this.devices.push(new SimDevice(this, `D${i}`, this.schema, identity, 0, folder, {}));
    }
  }

  #changed(record: StreamRecord): void {
    this.#records.push(record);
    const name = String((record.new ?? record.old)!.name), states = this.history.get(name) ?? [];
    states.push(record.new);
    this.history.set(name, states);
  }

  /** A device sends. */
  up(from: SimDevice, message: FromDevice): void {
    this.#parcels.push({ from, message });
  }

  #publish(to: Target, message: FromCloud): void {
    const one = typeof to === "object" && "device" in to ? to.device : undefined;
    for (const device of this.devices) {
      if (one === undefined || one === device.identity.deviceId) this.#parcels.push({ to: device, message });
    }
  }

  async #deliver(parcel: Parcel): Promise<void> {
    if ("to" in parcel) parcel.to.receive(parcel.message);
    else await this.#service.receive(parcel.from.identity.deviceId, parcel.message);
  }

  /** Everything that is under way arrives, in order. */
  async #drain(): Promise<void> {
    while (this.#parcels.length > 0 || this.#records.length > 0) {
      for (const parcel of this.#parcels.splice(0)) {
        this.now++;
        await this.#deliver(parcel);
        if (this.delivery === "twice") await this.#deliver(parcel);
        if (this.delivery === "late") this.#later.push(parcel);
      }
      await this.#service.fanOutRecords(this.#records.splice(0), new AbortController().signal);
    }
  }

  /** The sides meet: all that is pending anywhere is exchanged; then late copies come, and what they cause. */
  async meet(): Promise<void> {
    const late = [...this.#late, ...this.#later];
    this.#late = this.#later.splice(0);
    for (const device of this.devices) device.connect();
    // A removal waits for half a minute, an answer that asks for more comes in the next round.
    for (let round = 0; round < 3; round++) {
      for (const device of this.devices) device.pump();
      await this.#drain();
      for (const parcel of late.splice(0)) await this.#deliver(parcel);
      await this.#drain();
      this.now += 31_000;
      for (const device of this.devices) device.tick();
    }
    await this.#drain();
    for (const device of this.devices) device.disconnect();
  }

  /** What happens on a device, in one transaction. */
  local(device: number, deeds: readonly Deed[]): void {
    this.now += deedMs;
    if (deeds.length === 0) return;
    const table = `"${this.model.name}"`;
    this.devices[device]!.write(this.model, (db) => {
      db.exec("BEGIN");
      for (const { name, value, remove } of deeds) {
        if (remove) db.sql(`DELETE FROM ${table} WHERE name = ?`).run(name);
        else {
          db.sql(`INSERT INTO ${table}(name, v) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET v = excluded.v`)
            .run(name, value);
        }
      }
      db.exec("COMMIT");
    });
  }

  /** What a cloud application does: it sets `field` and `updated`, and leaves the rest as it is. */
  async cloud(field: "v" | "w", deeds: readonly Deed[]): Promise<void> {
    this.now += deedMs;
    const { data } = this.#tables, { identity } = this.devices[0]!;
    const keys = deeds.map(({ name }): Key =>
      keyOf(this.schema, cloudItem(this.schema, this.model, identity, { name }))
    );
    const old = await data.get(keys);
    const updated = new Date(this.now).toISOString();
    await data.write(deeds.map(({ name, value, remove }, i): Write => {
      if (remove) return { op: "delete", key: keys[i]! };
      const set: Item = field === "v" ? { v: value } : { w: `w${value}` };
      if (old[i]) return { op: "put", item: { ...old[i], ...set, updated } };
      return { op: "put", item: cloudItem(this.schema, this.model, identity, { name, ...set }, this.now) };
    }));
  }

  /** The table, by name. */
  async items(): Promise<Map<string, Item>> {
    const items = new Map<string, Item>();
    let after: string | undefined;
    do {
      const page = await this.#tables.data.scan({ limit: 10_000, after });
      for (const item of page.items) items.set(String(item.name), item);
      after = page.next;
    } while (after !== undefined);
    return items;
  }

  close(): void {
    for (const device of this.devices) device.close();
  }
}
