/**
 * What the tests of the cloud's logic share: a schema with a model of each kind, tables in memory under a clock that the
 * test moves, and a publisher that keeps what it is given.
 *
 * @module
 */
import { ChannelLog } from "../../cloud/sync/channel_log.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import { groupRecords } from "../../cloud/sync/fan_out.ts";
import type { Publisher, PublishOptions, Target } from "../../cloud/publishers/port.ts";
import type { StreamBatch, StreamRecord, Table } from "../../cloud/table/port.ts";
import type { FromCloud } from "../../protocol.ts";
import { compileSchema, completeItem } from "../../schema.ts";
import type { Identity } from "../../schema/model.ts";
import type { Attributes, Item } from "../../schema/values.ts";

/** The table, whose writes are done by `write` instead. */
export function withWrite(table: Table, write: Table["write"]): Table {
  return Object.assign(Object.create(table) as Table, {
    get: table.get.bind(table),
    query: table.query.bind(table),
    write,
  });
}

/** A log table of which an appender gets its first write, the floor's, and no other; and how many it has tried. */
export function dyingLog(log: Table): { table: Table; writes(): number } {
  let writes = 0;
  const table = withWrite(
    log,
    (...args) => ++writes === 1 ? log.write(...args) : Promise.reject(new Error("the process is gone")),
  );
  return { table, writes: () => writes };
}

function model(key: "device" | "account" | "global", more: object = {}): object {
  const hash = key === "device" ? "d#${deviceId}" : key === "account" ? "a#${accountId}" : "g";
  return {
    pk: { type: "string", value: hash },
    sk: { type: "string", value: "${_type}#${id}" },
    id: { type: "string", required: true },
    ...(key === "device" ? { deviceId: { type: "string", required: true } } : {}),
    ...(key === "account" ? { accountId: { type: "string", required: true } } : {}),
    v: { type: "number" },
    ...more,
  };
}

const updated = { updated: { type: "date", isoDates: true } };

/** Models: by scope, direction and policy. `Newest` has an `updated`, as number of ms where its name says `Ms`. */
export const schema = compileSchema({
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" } },
  models: {
    Plain: model("device"),
    Newest: model("device", updated),
    NewestMs: model("device", { updated: { type: "date" } }),
    Cloud: model("device"),
    Device: model("device"),
    Merge: model("device"),
    Up: model("device"),
    UpAccount: model("account"),
    Down: model("device"),
    Account: model("account"),
    Global: model("global"),
    Indexed: {
      ...model("account"),
      pk: { type: "string", value: "indexed#${accountId}#${id}" },
      gs1pk: { type: "string", value: "a#${accountId}" },
      gs1sk: { type: "string", value: "indexed#${id}" },
    },
    Local: model("device"),
  },
  params: { timestamps: "update" },
  process: {
    Plain: { sync: "both" },
    Newest: { sync: "both" },
    NewestMs: { sync: "both" },
    Cloud: { sync: "both", conflict: "cloud" },
    Device: { sync: "both", conflict: "device" },
    Merge: { sync: "both", conflict: "merge" },
    Up: { sync: "up" },
    UpAccount: { sync: "up" },
    Down: { sync: "down" },
    Account: { sync: "both" },
    Global: { sync: "both" },
    Indexed: { sync: "both" },
    Local: {},
  },
});

/** The device of most tests, and another one of the same account. */
export const identity: Identity = { deviceId: "d1", accountId: "acme" };
export const other: Identity = { deviceId: "d2", accountId: "acme" };

/** Tables, their log and a clock. */
export class Fixture implements AsyncDisposable {
  /** The cloud's time; a test moves it. */
  time = 1_800_000_000_000;
  readonly now = (): number => this.time;
  #seed = 1;
  /** A small generator with a fixed seed (Park and Miller's). */
  readonly random = (): number => (this.#seed = this.#seed * 48271 % 2147483647) / 2147483647;
  readonly tables = openEmbedded(":memory:", { schema, now: this.now });
  readonly log = new ChannelLog(this.tables.log, { now: this.now, random: this.random });

  /** Puts a complete item of a model, as somebody in the cloud does. */
  async put(name: string, attributes: Attributes, whose: Identity = identity): Promise<Item> {
    const item = { ...completeItem(schema, schema.models.get(name)!, attributes, whose), ...hiddenOf(attributes) };
    await this.tables.data.write([{ op: "put", item }]);
    return item;
  }

  /** What the stream has, which is then done with. */
  async records(): Promise<StreamRecord[]> {
    const abort = new AbortController();
    const records: StreamRecord[] = [];
    const stream = this.tables.data.stream().batches(abort.signal)[Symbol.asyncIterator]();
    while (true) {
      // What is there comes at once; else the stream waits, and the abort ends it.
      const next = stream.next();
      const timer = setTimeout(() => abort.abort(), 5);
      const { value, done } = await next;
      clearTimeout(timer);
      if (done) return records;
      records.push(...(value as StreamBatch).records);
      await (value as StreamBatch).checkpoint();
    }
  }

  /** The log's keys of the records so far, by channel. */
  async groups(): Promise<ReturnType<typeof groupRecords>> {
    return groupRecords(schema, await this.records());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tables.close();
  }
}

function hiddenOf({ _source, _stamp }: Attributes): Item {
  return { ...(_source === undefined ? {} : { _source }), ...(_stamp === undefined ? {} : { _stamp }) };
}

/** Keeps what is published. `fail` makes the next publishes fail as an outage. */
export class Outbox implements Publisher {
  readonly sent: { to: Target; message: FromCloud; deflate: boolean }[] = [];
  fail: Error | undefined;

  publish(to: Target, message: FromCloud, { deflate = false }: PublishOptions = {}): Promise<void> {
    if (this.fail) return Promise.reject(this.fail);
    this.sent.push({ to, message, deflate });
    return Promise.resolve();
  }

  /** Takes the messages so far. */
  take(): FromCloud[] {
    return this.sent.splice(0).map(({ message }) => message);
  }
}
