/**
 * A device and a cloud joined without a network: the real store on a file (so that other processes can write to it), the
 * real `Twin`, `CloudService` and embedded table. Messages are handed over one by one, in order, when the test says so.
 *
 * @module
 */
import { openStore, type Store } from "../../agent/store/store.ts";
import type { Limits } from "../../agent/sync/context.ts";
import type { Clock } from "../../agent/ports.ts";
import { Twin } from "../../agent/twin.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import type { Registry } from "../../cloud/sync/registry.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { DataTable, StreamRecord, Tables } from "../../cloud/table/port.ts";
import type { FromCloud, FromDevice } from "../../protocol.ts";
import { type Identity, type Item, keyOf, type Schema } from "../../schema.ts";
import { SkippingClock } from "../support/clock.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Who the device is. */
export const identity: Identity = { deviceId: "dev-1", accountId: "acme" };

/** Knows the one device. */
const registry = {
  identityOf: () => Promise.resolve(identity),
  identityAt: () => Promise.resolve(identity),
  arrival: () => ({ atMs: 0 }),
  touch: () => Promise.resolve(),
  remembered: () => 0,
  rememberedAccount: () => identity.accountId,
  mayExist: () => true,
} as unknown as Registry;

/** Options of {@link Twinned}. */
export interface TwinnedOptions {
  /** The device's clocks; the cloud has the same wall clock. Default: the machine's, which {@link Twinned.settle} puts forward. */
  readonly clock?: Clock & { skip(ms?: number): void };
  readonly limits?: Partial<Limits>;
  /** The cloud's tables are a file beside the device's; default in memory. */
  readonly cloudOnDisk?: boolean;
}

/** Messages of one {@link Twinned.settle} at most: more is an endless exchange. */
const messagesMax = 20_000;

/** See the module. Use with `await using`. */
export class Twinned implements AsyncDisposable {
  readonly #dir = new TempDir();
  readonly path = this.#dir.file("device.db");
  readonly #clock: NonNullable<TwinnedOptions["clock"]>;
  readonly #mail: ({ to: "cloud"; message: FromDevice } | { to: "device"; message: FromCloud })[] = [];
  readonly #records: StreamRecord[] = [];
  readonly tables: Tables;
  service!: CloudService;
  store!: Store;
  twin!: Twin;
  /** Faults of the store: a test that provokes none must see none. */
  readonly faults: unknown[] = [];
  messages = 0;
  online = true;

  constructor(public schema: Schema, readonly options: TwinnedOptions = {}) {
    this.#clock = options.clock ?? new SkippingClock();
    const path = options.cloudOnDisk ? this.#dir.file("cloud.db") : ":memory:";
    this.tables = openEmbedded(path, { schema, now: () => this.#clock.wallMs(), synchronous: "normal" });
    this.#record(this.tables.data);
    this.rollOut(schema);
    this.openDevice();
  }

  /** Starts the cloud (again), by this schema, on the tables as they are. */
  rollOut(schema: Schema): void {
    this.service = new CloudService({
      schema,
      tables: this.tables,
      registry,
      publisher: { publish: (_to, message) => Promise.resolve(this.#post(message)) },
      now: () => this.#clock.wallMs(),
      random: Math.random,
      pause: () => Promise.resolve(),
    });
  }

  /** The stream is read from what was written, at once: the table's own tailing waits by timers. */
  #record(data: DataTable): void {
    const write = data.write.bind(data);
    data.write = async (writes, options) => {
      const results = await write(writes, options);
      results.forEach((result, i) => {
        const op = writes[i]!;
        if (result.outcome !== "written" || (op.op === "delete" && !result.old)) return;
        const key = op.op === "put" ? keyOf(this.service.schema, op.item) : op.key;
        this.#records.push({ key, old: result.old, new: op.op === "put" ? op.item : undefined });
      });
      return results;
    };
  }

  #post(message: FromCloud): void {
    this.#mail.push({ to: "device", message: structuredClone(message) });
  }

  /** Opens the device's file (again), by this schema, and starts an agent on it. */
  openDevice(schema: Schema = this.schema): void {
    this.schema = schema;
    this.store = openStore({
      path: this.path,
      schema,
      identity,
      synchronous: "normal",
      now: () => this.#clock.wallMs(),
    });
    this.twin = new Twin({
      store: this.store,
      transport: {
        send: (message) => {
          if (!this.online) return false;
          this.#mail.push({ to: "cloud", message: structuredClone(message) });
          return true;
        },
      },
      clock: this.#clock,
      random: Math.random,
      limits: this.options.limits,
      onFault: (error) => this.faults.push(error),
    });
    if (this.online) this.twin.onConnected();
  }

  /** The time of both sides, ms since 1970. */
  get nowMs(): number {
    return this.#clock.wallMs();
  }

  /** Cuts the link: what is on its way is lost. */
  disconnect(): void {
    this.online = false;
    this.#mail.length = 0;
    this.twin.onDisconnected("cut");
  }

  connect(): void {
    this.online = true;
    this.twin.onConnected();
  }

  /** Ends the agent's process. What is on its way is lost. */
  closeDevice(): void {
    this.#mail.length = 0;
    this.store.close();
  }

  /** Lets messages pass that are due now. */
  async exchange(): Promise<void> {
    this.twin.onCommit();
    this.twin.tick();
    await this.#deliver();
    if (this.faults.length > 0) throw this.faults[0];
  }

  /** Lets messages pass until nothing is left to do on either side; time flies where somebody only waits for it. */
  async settle(): Promise<void> {
    for (let round = 0; round < 60; round++) {
      await this.exchange();
      if (this.twin.settled && this.#records.length === 0 && round > 0) return;
      // A removal waits until 30 s have passed since its key was sent last.
      if (!this.twin.settled) this.#clock.skip();
    }
    const { outbox, records } = this.twin.context;
    throw new Error(
      `no rest: outbox ${outbox.head()}, in flight ${this.twin.context.inFlight.batches.size}, to be fetched ` +
        JSON.stringify(records.rechecks(5).map(({ key }) => key)),
    );
  }

  async #deliver(): Promise<void> {
    const { signal } = new AbortController();
    for (;;) {
      if (this.#records.length > 0) await this.service.fanOutRecords(this.#records.splice(0), signal);
      const mail = this.#mail.shift();
      if (!mail) return;
      if (++this.messages > messagesMax) throw new Error("endless traffic");
      if (mail.to === "cloud") await this.service.receive(identity.deviceId, mail.message);
      else this.twin.onMessage(mail.message);
    }
  }

  /** All items of the table, in the order of their keys. */
  async items(): Promise<Item[]> {
    const found: Item[] = [];
    let after: string | undefined;
    do {
      const page = await this.tables.data.scan({ limit: 1000, after });
      found.push(...page.items);
      after = page.next;
    } while (after !== undefined);
    const text = (item: Item) => keyOf(this.service.schema, item).join(" ");
    return found.sort((a, b) => text(a) < text(b) ? -1 : 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.store.close();
    await this.tables.data.close();
    this.#dir[Symbol.dispose]();
  }
}
