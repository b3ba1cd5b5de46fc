/**
 * A cloud process: the product's `startCloud`, with a look at what its table is given. Calls are in `methods`.
 *
 * @module
 */
import process from "node:process";
import { openEmbedded } from "../../cloud/embedded.ts";
import type { DataTable, Tables, Write, WriteResult } from "../../cloud/table/port.ts";
import type { Cloud } from "../../cloud/running_cloud.ts";
import { startCloud } from "../../cloud/worker.ts";
import type { Identity } from "../../schema/model.ts";
import { answerCalls, nowMs } from "../child.ts";
import { compileSchema, completeItem, fromPlain } from "../../schema.ts";
import { schemaWith } from "../schema.ts";
import { until } from "../until.ts";

let compiled = compileSchema(schemaWith(0));
let cloud: Cloud, tables: Tables & { close(): Promise<void> };
/** Changes that the stream has not passed on; only this process's writes of items that come down are counted. */
let unread = 0;
/** When the item with this `n` was committed, while `watch` is on. */
let committed: Map<number, number> | undefined;
let writtenItems = 0;

/** Counts what is written, and when, at the table's port. */
function observe(data: DataTable): void {
  const write = data.write.bind(data), stream = data.stream.bind(data);
  data.write = async (writes, options) => {
    const results = await write(writes, options);
    const at = nowMs();
    writes.forEach((op, i) => {
      const result = results[i]!;
      if (result.outcome !== "written") return;
      if (op.op === "put" && compiled.models.get(String(op.item[compiled.typeField]))?.sync !== "up") unread++;
      writtenItems++;
      if (committed && op.op === "put" && typeof op.item.n === "number") committed.set(op.item.n, at);
    });
    return results;
  };
  data.stream = (options) => ({
    async *batches(signal) {
      for await (const batch of stream(options).batches(signal)) {
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
}

function itemOf(model: string, properties: Record<string, unknown>, identity: Identity) {
  const found = compiled.models.get(model)!;
  const attributes = fromPlain(compiled, found, properties, { now: Date.now(), random: Math.random, identity });
  return completeItem(compiled, found, attributes, identity);
}

function expectWritten(results: readonly WriteResult[]): void {
  const bad = results.find((result) => result.outcome !== "written");
  if (bad) throw new Error(`the table did not take a write: ${JSON.stringify(bad)}`);
}

async function openTables(url: string, synchronous: "full" | "normal") {
  if (!url.startsWith("dynamodb:")) return openEmbedded(url, { schema: compiled, now: Date.now, synchronous });
  const { openDynamo } = await import("../../cloud/dynamodb/tables.ts");
  const dynamo = await openDynamo(url, { schema: compiled });
  await dynamo.create();
  return dynamo;
}

const methods = {
  async start({ table, synchronous, broker, modelsMore = 0 }: {
    table: string;
    synchronous: "full" | "normal";
    broker?: { url: string; username: string; password: string };
    modelsMore?: number;
  }) {
    compiled = compileSchema(schemaWith(modelsMore));
    tables = await openTables(table, synchronous);
    observe(tables.data);
    cloud = await startCloud({
      schema: compiled,
      table: tables,
      ...(broker ? { mqtt: broker.url, ...broker } : { broker: { port: 0, host: "127.0.0.1" } }),
    });
    return { mqtt: `mqtt://127.0.0.1:${cloud.mqttPort}` };
  },
  /** Serves the API and the console. */
  serve: async () => ({ url: `http://127.0.0.1:${await cloud.serveHttp()}` }),
  addDevice: ({ device, account }: { device: string; account: string }) => cloud.registry.add(device, account),
  async addDevices({ devices, account }: { devices: string[]; account: string }) {
    const tokens: string[] = [];
    for (const device of devices) tokens.push(await cloud.registry.add(device, account));
    return tokens;
  },
  /** Writes items `from … from+count-1` as a cloud application does, `batch` at a time; ms. */
  async put({ model, from = 0, count, batch = 500, device, account, text }: {
    model: string;
    from?: number;
    count: number;
    batch?: number;
    device: string;
    account: string;
    text?: string;
  }) {
    const identity = { deviceId: device, accountId: account };
    const start = performance.now();
    for (let at = from; at < from + count; at += batch) {
      const writes: Write[] = [];
      for (let n = at; n < Math.min(at + batch, from + count); n++) {
        const properties = { name: `item-${String(n).padStart(7, "0")}`, n, value: n / 7, text };
        writes.push({ op: "put", item: itemOf(model, properties, identity) });
      }
      expectWritten(await tables.data.write(writes));
    }
    return performance.now() - start;
  },
  /** Writes single items, `gapMs` apart, and says when each was committed. */
  async putApart({ model, from, count, gapMs, device, account }: {
    model: string;
    from: number;
    count: number;
    gapMs: number;
    device: string;
    account: string;
  }) {
    const times: [number, number][] = [];
    for (let n = from; n < from + count; n++) {
      const item = itemOf(model, { name: `item-${n}`, n, value: n }, { deviceId: device, accountId: account });
      expectWritten(await tables.data.write([{ op: "put", item }]));
      times.push([n, nowMs()]);
      await new Promise((resolve) => setTimeout(resolve, gapMs));
    }
    return times;
  },
  /** Until every change has been appended, published and checkpointed. */
  streamed: () => until("every change was passed on", () => unread <= 0, 600_000),
  /** How many entries a channel's log has had. */
  head: async ({ channel }: { channel: string }) => (await cloud.service.log.state(channel)).head,
  watch() {
    committed = new Map();
  },
  times: () => [...committed ?? []],
  written: () => writtenItems,
  counters: () => ({ ...cloud.counters(), ...cloud.service.metrics(), clients: cloud.connections }),
  cpuMs() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

async function close(): Promise<void> {
  await cloud?.close();
  await tables?.close();
}

await answerCalls(methods, close);
