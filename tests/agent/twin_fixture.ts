/**
 * A real store and a real `Twin` against a cloud of a few lines: one channel, a table in memory, every change taken. For
 * tests of what the device does with what it is sent; the real cloud's part is in the end-to-end tests and the simulation.
 *
 * @module
 */
import { Twin, type TwinOptions } from "../../agent/twin.ts";
import type { Store } from "../../agent/store/store.ts";
import {
  type Answer,
  type Change,
  type Current,
  type Entry,
  type FromDevice,
  itemDigest,
  type Key,
  type Page,
  type SnapshotPage,
} from "../../protocol.ts";
import { type Attributes, compileSchema, defineSchema, renderKey } from "../../schema.ts";
import type { Identity, Model } from "../../schema/model.ts";
import { memoryStore } from "./store_fixture.ts";

/** `Slot` has two unique fields, a constraint and a field of the device's own; `Sample` only goes up. */
export const twinSchema = defineSchema({
  version: "1.0.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  params: { isoDates: true, timestamps: true },
  models: {
    Slot: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "slot#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      slot: { type: "string", required: true, unique: true },
      code: { type: "number", unique: true },
      kind: { type: "string", enum: ["a", "b"] },
      note: { type: "string", sync: "none" },
    },
    Sample: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "sample#${id}" },
      deviceId: { type: "string", required: true },
      id: { type: "string", generate: "ulid" },
      n: { type: "number" },
    },
    Reading: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "reading#${id}" },
      deviceId: { type: "string", required: true },
      id: { type: "string", generate: "ulid" },
      n: { type: "number" },
    },
  },
  process: { Slot: { sync: "both" }, Sample: { sync: "up" }, Reading: { sync: "up", keep: "newest" } },
});

/** The compiled schema. */
export const twinCompiled = compileSchema(twinSchema);
const identity: Identity = { deviceId: "dev-1", accountId: "acme" };
const channel = "device:dev-1";

/** Who writes in the cloud. */
const elsewhere = "other#1";

/** The device and its cloud. Nothing happens but in calls. */
export class Scripted implements Disposable {
  readonly store: Store;
  readonly twin: Twin;
  /** The table: items by `<hash> <sort>`. */
  readonly table: Map<string, Current> = new Map();
  readonly sent: FromDevice[] = [];
  /** What was told of the cursor when the cloud asked, with the rows of `Slot` by then. */
  readonly told: { readonly seq: number; readonly rows: number }[] = [];
  /** Live entries ask where the device is. */
  asks = false;
  readonly faults: unknown[] = [];
  nowMs = Date.UTC(2026, 0, 1);
  monotonicMs = 1000;
  /** How far the cloud's clock is ahead of the device's. */
  aheadMs = 0;
  connected = false;
  /** Messages that the broker takes and passes on to nobody. */
  swallows: (message: FromDevice) => boolean = () => false;
  /** Keys (`<hash> <sort>`) that a list does not show, though the table has them. */
  readonly hidden: Set<string> = new Set();
  /** The list is read from an index that lags, and says so. */
  lags = false;
  /** Keys that a fetch can't read, and leaves out. */
  readonly unread: Set<string> = new Set();
  epoch = "e";
  /** How the cloud answers a change; undefined: it is written. */
  judge: (change: Change, at: number) => Answer | undefined = () => undefined;
  #seq = 0;
  #stamp = this.nowMs * 1000;
  #queue: FromDevice[] = [];

  /** @param options.nowMs what the device's wall clock shows at its start */
  constructor(options: { store?: Store; nowMs?: number } & Partial<Pick<TwinOptions, "limits">> = {}) {
    this.nowMs = options.nowMs ?? this.nowMs;
    this.store = options.store ?? memoryStore({ schema: twinCompiled, identity, now: () => this.nowMs });
    this.twin = new Twin({
      store: this.store,
      transport: {
        send: (message) => {
          this.sent.push(message);
          if (!this.swallows(message)) this.#queue.push(message);
          return this.connected;
        },
        tell: (at) => {
          this.told.push({ seq: at[channel] ?? 0, rows: this.rows("SELECT _id FROM Slot").length });
          return this.connected;
        },
      },
      clock: { wallMs: () => this.nowMs, monotonicMs: () => this.monotonicMs },
      random: Math.random,
      onFault: (error) => this.faults.push(error),
      limits: options.limits,
    });
  }

  connect(): void {
    this.connected = true;
    this.twin.onConnected();
    this.answer();
  }

  disconnect(): void {
    this.connected = false;
    this.#queue = [];
    this.twin.onDisconnected("cut");
  }

  /** Lets time pass, a tick a second. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 1000) {
      const step = Math.min(1000, left);
      this.nowMs += step;
      this.monotonicMs += step;
      this.twin.tick();
      this.answer();
    }
  }

  /** An application's write, by plain SQL, and the wake-up that follows it. */
  sql(text: string): void {
    this.store.db.exec(text);
    this.twin.onCommit();
    this.answer();
  }

  rows(sql: string): Record<string, unknown>[] {
    return this.store.db.prepare(sql).all().map((row) => ({ ...row }));
  }

  /** Writes items in the cloud, or removes them (null), and tells the device of all in one entry. */
  write(items: Record<string, Attributes | null>): void {
    const entries = Object.entries(items).map(([name, item]): Entry => {
      const key: Key = ["device#dev-1", `slot#${name}`];
      if (item === null) {
        const was = this.table.get(key.join(" "))?.version;
        this.table.delete(key.join(" "));
        return { key, was };
      }
      const current: Current = { model: "Slot", item: { name, ...item }, version: [elsewhere, ++this.#stamp] };
      this.table.set(key.join(" "), current);
      return { key, current };
    });
    this.tell(entries);
  }

  /** The live message of one entry. */
  tell(entries: readonly Entry[]): void {
    const seq = ++this.#seq;
    if (!this.connected) return;
    const time = this.nowMs + this.aheadMs, asks = this.asks ? { tell: 1 as const } : {};
    this.twin.onMessage({ type: "changes", channel, epoch: this.epoch, seq, entries, time, ...asks });
    this.answer();
  }

  /** The cloud asks where the device is, with no entry. */
  ask(): void {
    const time = this.nowMs + this.aheadMs;
    this.twin.onMessage({ type: "changes", channel, epoch: this.epoch, seq: 0, entries: [], time, tell: 1 });
    this.answer();
  }

  /** Answers all that the device sent. */
  answer(): void {
    let answered = 0;
    for (let message = this.#queue.shift(); message; message = this.#queue.shift()) {
      if (++answered > 10_000) throw new Error("endless traffic");
      if (!this.connected) continue;
      if (message.type === "sync") this.#sync(message);
      else if (message.type === "compare") this.#compare(message.request);
      else if (message.type === "up") this.#up(message.batch, message.changes);
      else if (message.type === "fetch") {
        const read = message.keys.filter((key) => !this.unread.has(key.join(" ")));
        const entries = read.map((key): Entry => ({ key, current: this.table.get(key.join(" ")) }));
        this.twin.onMessage({ type: "items", request: message.request, entries, time: this.nowMs + this.aheadMs });
      }
    }
  }

  #sync({ request, channels }: Extract<FromDevice, { type: "sync" }>): void {
    if (channels.length === 0) this.twin.onMessage({ type: "time", request, time: this.nowMs + this.aheadMs });
    for (const { seq, epoch } of channels) {
      const base = { request, channel, epoch: this.epoch, time: this.nowMs + this.aheadMs };
      const shown = [...this.table].filter(([text, c]) => c.model === "Slot" && !this.hidden.has(text));
      const entries = shown.map(([text, current]): Entry => ({
        key: text.split(" ") as [string, string],
        current,
      }));
      const answer: Page | SnapshotPage = seq === undefined || epoch !== this.epoch
        ? { ...base, type: "snapshot", head: this.#seq, entries, ...(this.lags ? { lags: true } : {}) }
        // Everything is told again: harmless, and the tests need no log.
        : { ...base, type: "page", from: seq, to: this.#seq, more: false, entries: seq === this.#seq ? [] : entries };
      this.twin.onMessage(answer);
    }
  }

  /** The digests of what the list shows, as of a secondary index: each item is named. */
  #compare(request: string): void {
    const shown = [...this.table].filter(([text, { model }]) => model === "Slot" && !this.hidden.has(text));
    const items = shown.map(([text, { item }]) => {
      const key = text.split(" ") as [string, string];
      return { model: "Slot", key, digest: itemDigest(key, item) };
    });
    const models = [{ model: "Slot", count: items.length, digest: "0".repeat(16) }];
    this.twin.onMessage({ type: "digests", request, models, items, time: this.nowMs + this.aheadMs });
  }

  #up(batch: string, changes: readonly Change[]): void {
    const source = `dev-1#${batch.slice(0, batch.lastIndexOf("/"))}`;
    const answers: Answer[] = [];
    const marks = changes.flatMap((change, at): Entry[] => {
      const { model, op, key: names, item, stamp } = change, answer = this.judge(change, at);
      if (answer) {
        answers.push(answer);
        return [];
      }
      const key = renderKey(twinCompiled.models.get(model) as Model, names ?? item!, identity)!;
      const was = this.table.get(key.join(" "))?.version;
      if (op === "remove") this.table.delete(key.join(" "));
      else this.table.set(key.join(" "), { model, item: item!, version: [source, stamp] });
      if (model !== "Slot") return [];
      return [op === "remove" ? { key, was } : { key, mark: { model, version: [source, stamp] } }];
    });
    this.twin.onMessage({ type: "ack", batch, time: this.nowMs + this.aheadMs, answers });
    if (marks.length > 0) this.tell(marks);
  }

  [Symbol.dispose](): void {
    this.store.close();
  }
}
