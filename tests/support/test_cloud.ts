/**
 * A cloud in the test's own process: table, broker, service. The test sees and writes its table as a cloud application
 * does, past the sync; what devices write passes a counter. Which table and broker, see `chosen.ts`.
 *
 * @module
 */
import { openEmbedded } from "../../cloud/embedded.ts";
import type { Tables, Write, WriteResult } from "../../cloud/table/port.ts";
import type { Cloud } from "../../cloud/running_cloud.ts";
import { startCloud } from "../../cloud/worker.ts";
import {
  completeItem,
  fromPlain,
  type Identity,
  type Item,
  jsonEquals,
  keyOf,
  modelOf,
  type Schema,
} from "../../schema.ts";
import { authorityCert, serverCert, serverKey } from "./certificates.ts";
import { chosenBroker, chosenTables } from "./chosen.ts";
import { linkSettings } from "./device.ts";
import { startMosquitto } from "./mosquitto.ts";
import { e2eCompiled } from "./schema.ts";
import { until } from "./until.ts";

/** Options of {@link openTestCloud}. */
export interface TestCloudOptions {
  readonly schema?: Schema;
  readonly now?: () => number;
  /** Another broker than the embedded one. */
  readonly mqtt?: { readonly url: string; readonly username: string; readonly password: string };
  /** Devices reach that broker here. */
  readonly deviceUrl?: string;
}

/** See {@link openTestCloud}. */
export interface TestCloud extends AsyncDisposable {
  readonly cloud: Cloud;
  readonly tables: Tables;
  readonly schema: Schema;
  /** Where devices connect. */
  readonly mqttUrl: string;
  /** How often each key was written with success, by key text `<hash> <sort>`; the test's own writes too. */
  readonly writes: ReadonlyMap<string, number>;
  /** A new device's token; of a known device, the one that it got. */
  token(deviceId: string, accountId: string): Promise<string>;
  /** All items, or those of one model, in the order of their keys. */
  items(model?: string): Promise<Item[]>;
  /** Writes an item as an application does that knows nothing of Twintable. Properties as in the HTTP API; timestamps fill themselves. */
  put(model: string, properties: Record<string, unknown>, identity?: Partial<Identity>): Promise<Item>;
  /** Writes items of one model, many at once. */
  putAll(model: string, list: readonly Record<string, unknown>[], identity?: Partial<Identity>): Promise<void>;
  /** Deletes items of one model by their key attributes, many at once. */
  removeAll(model: string, list: readonly Record<string, unknown>[], identity?: Partial<Identity>): Promise<void>;
  /** Deletes one. */
  remove(model: string, properties: Record<string, unknown>, identity?: Partial<Identity>): Promise<void>;
  /** Waits until every change of the table has been appended, published and checkpointed. */
  streamed(timeoutMs?: number): Promise<void>;
  /** How many entries a channel's log has. */
  logLength(channel: string): Promise<number>;
  /** Deletes the oldest entries of a channel's log, as their expiry would, and leaves `keep`. */
  trimLog(channel: string, keep: number): Promise<void>;
}

const internal = { username: "twintable-cloud", password: "internal" };

/** A broker of another kind than the embedded one: how the cloud and devices reach it, and how a device is let in. */
interface OuterBroker {
  readonly mqtt: { readonly url: string; readonly username: string; readonly password: string; readonly ca?: string };
  readonly deviceUrl?: string;
  readonly protocolVersion?: 4 | 5;
  add?(deviceId: string, accountId: string, token: string): Promise<void>;
  stop(): Promise<void>;
}

async function outerBroker({ mqtt, deviceUrl }: TestCloudOptions): Promise<OuterBroker | undefined> {
  if (mqtt) return { mqtt, deviceUrl, stop: () => Promise.resolve() };
  const { mosquitto, tls, protocolVersion } = chosenBroker;
  if (!mosquitto) return undefined;
  const broker = await startMosquitto({
    devices: [],
    internal,
    ...(tls ? { tls: { cert: serverCert, key: serverKey, ca: authorityCert, workers: true } } : {}),
  });
  const address = `${tls ? "mqtts" : "mqtt"}://127.0.0.1`;
  const url = `${address}:${broker.devicePort}`;
  linkSettings.set(url, { ...(tls ? { ca: authorityCert } : {}), protocolVersion });
  return {
    mqtt: { url: `${address}:${broker.workerPort}`, ...internal, ...(tls ? { ca: authorityCert } : {}) },
    deviceUrl: url,
    protocolVersion,
    add: (deviceId, accountId, token) => broker.add({ deviceId, accountId, token }),
    async stop() {
      linkSettings.delete(url);
      await broker.stop();
    },
  };
}

async function openTables(schema: Schema, now: () => number): Promise<{ tables: Tables; close(): Promise<void> }> {
  if (chosenTables) return await chosenTables.open(schema, { now });
  const tables = openEmbedded(":memory:", { schema, now, synchronous: "normal" });
  return { tables, close: () => tables.close() };
}

/** Starts a cloud on free ports of the loopback interface. */
export async function openTestCloud(options: TestCloudOptions = {}): Promise<TestCloud> {
  const { schema = e2eCompiled, now = Date.now } = options;
  const { tables, close } = await openTables(schema, now);
  const { writes, unread } = count(tables, schema);
  const outer = await outerBroker(options);
  const { url, ...credentials } = outer?.mqtt ?? {};
  const cloud = await startCloud({
    schema,
    table: tables,
    now,
    ...(outer
      ? { mqtt: url, ...credentials, protocolVersion: outer.protocolVersion }
      : { broker: { port: 0, host: "127.0.0.1" } }),
  });
  const tokens = new Map<string, string>();
  const complete = (model: string, properties: Record<string, unknown>, identity: Partial<Identity> = {}) => {
    const compiled = schema.models.get(model)!;
    const attributes = fromPlain(schema, compiled, properties, {
      now: now(),
      random: Math.random,
      identity,
    });
    return completeItem(schema, compiled, attributes, { deviceId: "", accountId: "", ...identity });
  };
  const entriesOf = async (channel: string): Promise<[string, string][]> => {
    const keys: [string, string][] = [];
    let after: string | undefined;
    do {
      const page = await tables.log.query({ index: "primary", hash: `log#${channel}`, limit: 1000, after });
      for (const item of page.items) keys.push([String(item.hash), String(item.sort)]);
      after = page.next;
    } while (after !== undefined);
    return keys;
  };
  const opened: TestCloud = {
    cloud,
    tables,
    schema,
    mqttUrl: outer?.deviceUrl ?? `mqtt://127.0.0.1:${cloud.mqttPort}`,
    writes,
    async token(deviceId, accountId) {
      let token = tokens.get(deviceId);
      if (token === undefined) {
        tokens.set(deviceId, token = await cloud.registry.add(deviceId, accountId));
        await outer?.add?.(deviceId, accountId, token);
      }
      return token;
    },
    async items(model) {
      const found: Item[] = [];
      let after: string | undefined;
      do {
        const page = await tables.data.scan({ limit: 1000, after });
        for (const item of page.items) if (!model || modelOf(schema, item)?.name === model) found.push(item);
        after = page.next;
      } while (after !== undefined);
      const text = (item: Item) => keyOf(schema, item).join(" ");
      return found.sort((a, b) => text(a) < text(b) ? -1 : 1);
    },
    async put(model, properties, identity) {
      const item = complete(model, properties, identity);
      expectWritten(await tables.data.write([{ op: "put", item }]));
      return item;
    },
    async putAll(model, list, identity) {
      for (let at = 0; at < list.length; at += 500) {
        const ops = list.slice(at, at + 500).map((p) => ({ op: "put" as const, item: complete(model, p, identity) }));
        expectWritten(await tables.data.write(ops));
      }
    },
    async removeAll(model, list, identity) {
      for (let at = 0; at < list.length; at += 500) {
        const keys = list.slice(at, at + 500).map((properties) => keyOf(schema, complete(model, properties, identity)));
        expectWritten(await tables.data.write(keys.map((key) => ({ op: "delete", key }))));
      }
    },
    async remove(model, properties, identity) {
      await opened.removeAll(model, [properties], identity);
    },
    async streamed(timeoutMs = 30_000) {
      await until("every change of the table was passed on", () => unread() === 0, timeoutMs);
    },
    async logLength(channel) {
      return (await entriesOf(channel)).length;
    },
    async trimLog(channel, keep) {
      const keys = await entriesOf(channel);
      const cut = keys.slice(0, keys.length - keep);
      for (let at = 0; at < cut.length; at += 500) {
        expectWritten(await tables.log.write(cut.slice(at, at + 500).map((key) => ({ op: "delete", key }))));
      }
    },
    async [Symbol.asyncDispose]() {
      await cloud.close();
      await outer?.stop();
      await close();
    },
  };
  return opened;
}

function expectWritten(results: readonly WriteResult[]): void {
  const bad = results.find((result) => result.outcome !== "written");
  if (bad) throw new Error(`the table did not take a write: ${JSON.stringify(bad)}`);
}

/** Counts what is written by key, and what the stream still has to pass on. */
function count(tables: Tables, schema: Schema): { writes: Map<string, number>; unread: () => number } {
  const writes = new Map<string, number>();
  let unread = 0;
  const { data } = tables;
  const write = data.write.bind(data), stream = data.stream.bind(data);
  data.write = async (ops, options) => {
    const results = await write(ops, options);
    ops.forEach((op, i) => {
      const result = results[i]!;
      if (result.outcome !== "written") return;
      const text = (op.op === "put" ? keyOf(schema, op.item) : op.key).join(" ");
      writes.set(text, (writes.get(text) ?? 0) + 1);
      if (isStreamed(op, result.old)) unread++;
    });
    return results;
  };
  data.stream = () => ({
    async *batches(signal) {
      for await (const batch of stream().batches(signal)) {
        if ("lost" in batch) yield batch;
        else {
          yield {
            records: batch.records,
            checkpoint: async () => {
              await batch.checkpoint();
              unread -= batch.records.length;
            },
          };
        }
      }
    },
  });
  return { writes, unread: () => unread };
}

/** Whether a write that was done gives a stream record. DynamoDB gives none where nothing was altered. */
function isStreamed(op: Write, old: Item | undefined): boolean {
  if (op.op === "delete") return old !== undefined;
  return !chosenTables || !old || !jsonEquals(op.item, old);
}
