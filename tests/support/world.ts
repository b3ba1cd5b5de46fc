/**
 * A whole system on any table and any broker: one or more cloud workers in the test's process, devices, and an application
 * in the cloud that writes the table past them. For what must hold whatever the parts are.
 *
 * @module
 */
import assert from "node:assert/strict";
import { openEmbedded } from "../../cloud/embedded.ts";
import { type DynamoTables, openDynamo } from "../../cloud/dynamodb/tables.ts";
import type { Tables } from "../../cloud/table/port.ts";
import type { Cloud } from "../../cloud/running_cloud.ts";
import { startCloud } from "../../cloud/worker.ts";
import { completeItem, fromPlain, type Identity, type Item, keyOf, modelOf, type Schema } from "../../schema.ts";
import { authorityCert, serverCert, serverKey } from "./certificates.ts";
import { type Device, type DeviceOptions, openDevice } from "./device.ts";
import { type Emulator, type EmulatorKind, emulators } from "./dynamo.ts";
import { mosquittoMissing, startMosquitto } from "./mosquitto.ts";
import { e2eCompiled } from "./schema.ts";
import { TempDir } from "./temp_dir.ts";
import { patience, until } from "./until.ts";

/** A broker that a world may have. */
export interface BrokerKind {
  readonly name: string;
  readonly mosquitto: boolean;
  /** Devices and workers both connect by TLS. */
  readonly tls?: boolean;
  readonly protocolVersion?: 4 | 5;
  readonly workers?: number;
  readonly missing: string | undefined;
}

/** All brokers: aedes has neither MQTT 5 nor shared subscriptions. */
export const brokerKinds: readonly BrokerKind[] = [
  { name: "aedes", mosquitto: false, missing: undefined },
  { name: "Mosquitto", mosquitto: true, missing: mosquittoMissing },
  { name: "Mosquitto, MQTT 5", mosquitto: true, protocolVersion: 5, missing: mosquittoMissing },
  { name: "Mosquitto, TLS", mosquitto: true, tls: true, missing: mosquittoMissing },
  { name: "Mosquitto, TLS, MQTT 5", mosquitto: true, tls: true, protocolVersion: 5, missing: mosquittoMissing },
  { name: "Mosquitto, two workers", mosquitto: true, workers: 2, missing: mosquittoMissing },
];

/** A table that a world may have. */
export interface TableKind {
  readonly name: string;
  readonly missing: string | undefined;
  /** Starts what it needs, once for all worlds. */
  start(): Promise<TableSource>;
}

/** Which tables a source opens. */
export interface SourceOptions {
  readonly url?: string;
  /** The cloud's clock. */
  readonly now?: () => number;
}

/** Where worlds get their tables. */
export interface TableSource {
  /** Of an emulator. */
  readonly endpoint?: string;
  /** Of an emulator whose stream takes longer for each record the more it has: how many a test may ask of it. */
  readonly recordsMax?: number;
  /** Opens new tables, or (of an emulator) those at a URL once more: each worker has its own connection. */
  open(schema: Schema, options?: SourceOptions): Promise<{ tables: Tables; url: string; close(): Promise<void> }>;
  stop(): Promise<void>;
}

/** Emulators take any credentials. */
export const credentials = { accessKeyId: "local", secretAccessKey: "local" };
let tableNumber = 0;

/** The URL of a new table at an endpoint. */
export function newTableUrl(endpoint: string): string {
  return `dynamodb://world-${++tableNumber}?region=us-east-1&endpoint=${endpoint}`;
}

/** Opens a table and makes what is missing of it. */
export async function openMade(url: string, schema: Schema, now?: () => number): Promise<DynamoTables> {
  // An emulator on a busy machine is slow, not away.
  const attemptMs = 5_000 * patience;
  const tables = await openDynamo(url, { schema, credentials, tailer: { leaseMs: 1500 }, now, attemptMs });
  await tables.create();
  return tables;
}

/** All tables: embedded and the emulators that can be had here. */
export async function tableKinds(): Promise<TableKind[]> {
  const embedded: TableKind = {
    name: "embedded",
    missing: undefined,
    start: () =>
      Promise.resolve({
        open: (schema, { now = Date.now } = {}) => {
          const tables = openEmbedded(":memory:", { schema, now });
          return Promise.resolve({ tables, url: "embedded::memory:", close: () => tables.close() });
        },
        stop: () => Promise.resolve(),
      }),
  };
  return [embedded, ...(await emulators()).map(emulated)];
}

function emulated(kind: EmulatorKind): TableKind {
  return {
    name: kind.name,
    missing: kind.missing,
    async start() {
      const emulator: Emulator = await kind.start();
      return {
        endpoint: emulator.endpoint,
        ...(kind.name === "dynoxide" ? { recordsMax: 5_000 } : {}),
        async open(schema, { url = newTableUrl(emulator.endpoint), now } = {}) {
          const tables = await openMade(url, schema, now);
          return { tables, url, close: () => tables.close() };
        },
        stop: () => emulator.stop(),
      };
    },
  };
}

/** Devices that Mosquitto lets in: `d1` … `d12` of `acme`, `b1` of `bolt`. */
const devices = [...Array.from({ length: 12 }, (_, i) => [`d${i + 1}`, "acme"] as const), ["b1", "bolt"] as const].map((
  [deviceId, accountId],
) => ({ deviceId, accountId, token: `token-of-${deviceId}` }));

const internal = { username: "twintable-cloud", password: "internal" };

/** Options of {@link openWorld}. */
export interface WorldOptions {
  readonly source: TableSource;
  readonly broker: BrokerKind;
  readonly schema?: Schema;
}

/** See the module. Use with `await using`. */
export class World implements AsyncDisposable {
  readonly dir = new TempDir();
  readonly #tokens = new Map<string, string>();

  constructor(
    readonly schema: Schema,
    readonly tables: Tables,
    /** The table's URL, for whoever opens it by itself. */
    readonly url: string,
    readonly workers: readonly Cloud[],
    /** Where devices connect. */
    readonly mqttUrl: string,
    private readonly kind: BrokerKind,
    private readonly closers: (() => Promise<unknown>)[],
  ) {}

  /** A device's token: what the broker knows, or what the registry gives. */
  async token(deviceId: string, accountId: string): Promise<string> {
    let token = this.#tokens.get(deviceId);
    if (token === undefined) {
      const given = await this.workers[0]!.registry.add(deviceId, accountId);
      token = this.kind.mosquitto ? `token-of-${deviceId}` : given;
      this.#tokens.set(deviceId, token);
    }
    return token;
  }

  /** Opens a device; close it before the world. */
  device(deviceId: string, options: Omit<DeviceOptions, "device"> = {}): Promise<Device> {
    const account = devices.find((device) => device.deviceId === deviceId)?.accountId ?? "acme";
    const { tls, protocolVersion } = this.kind;
    return openDevice(this.dir, this, {
      account,
      ...options,
      device: deviceId,
      link: { ...(tls ? { ca: authorityCert } : {}), protocolVersion },
    });
  }

  /** Writes an item as an application does that knows nothing of Twintable. */
  async put(model: string, properties: Record<string, unknown>, identity: Partial<Identity> = {}): Promise<Item> {
    const item = this.#complete(model, properties, identity);
    assert.equal((await this.tables.data.write([{ op: "put", item }]))[0]!.outcome, "written");
    return item;
  }

  /** Deletes an item by its key attributes. */
  async remove(model: string, properties: Record<string, unknown>, identity: Partial<Identity> = {}): Promise<void> {
    const key = keyOf(this.schema, this.#complete(model, properties, identity));
    assert.equal((await this.tables.data.write([{ op: "delete", key }]))[0]!.outcome, "written");
  }

  #complete(model: string, properties: Record<string, unknown>, identity: Partial<Identity>): Item {
    const compiled = this.schema.models.get(model)!;
    const made = fromPlain(this.schema, compiled, properties, { now: Date.now(), random: Math.random, identity });
    return completeItem(this.schema, compiled, made, { deviceId: "", accountId: "", ...identity });
  }

  /** All items of a model, in the order of their keys. */
  async items(model: string): Promise<Item[]> {
    const found: Item[] = [];
    let after: string | undefined;
    do {
      const page = await this.tables.data.scan({ limit: 1000, after });
      found.push(...page.items.filter((item) => modelOf(this.schema, item)?.name === model));
      after = page.next;
    } while (after !== undefined);
    const text = (item: Item) => keyOf(this.schema, item).join(" ");
    return found.sort((a, b) => text(a) < text(b) ? -1 : 1);
  }

  /**
   * Waits until a device's rows of these models are the table's items in its scope, and nothing is left to be sent. What it
   * compares are `name`, `value` and `text`.
   */
  async converged(device: Device, models: readonly string[], timeoutMs = 20_000): Promise<void> {
    const { deviceId, accountId } = device.agent.store.identity;
    let last: unknown;
    const sides = async () => {
      for (const model of models) {
        const items = (await this.items(model)).filter((item) =>
          (item.deviceId ?? deviceId) === deviceId && (item.accountId ?? accountId) === accountId
        ).map(({ name, value = null, text = null }) => ({ name, value, text }));
        const rows = device.query(`SELECT name, value, text FROM ${model} ORDER BY pk, sk`);
        last = { model, items, rows };
        if (JSON.stringify(items) !== JSON.stringify(rows)) return false;
      }
      return device.count("SELECT count(*) FROM _outbox") === 0;
    };
    await until(`${deviceId} has what the table has`, sides, timeoutMs).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last).slice(0, 2000)}`, { cause: error });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.closers.reverse()) await close();
    this.dir[Symbol.dispose]();
  }
}

/** Opens a world: tables, broker, workers. */
export async function openWorld({ source, broker, schema = e2eCompiled }: WorldOptions): Promise<World> {
  const closers: (() => Promise<unknown>)[] = [];
  const opened = await source.open(schema);
  closers.push(() => opened.close());
  const tls = broker.tls ? { cert: serverCert, key: serverKey, ca: authorityCert, workers: true } : undefined;
  const mosquitto = broker.mosquitto ? await startMosquitto({ devices, internal, tls }) : undefined;
  if (mosquitto) closers.push(() => mosquitto.stop());
  const address = `${tls ? "mqtts" : "mqtt"}://127.0.0.1`;
  const connection = mosquitto
    ? {
      mqtt: `${address}:${mosquitto.workerPort}`,
      ...internal,
      ...(tls ? { ca: authorityCert } : {}),
      protocolVersion: broker.protocolVersion,
    }
    : {};
  const workers: Cloud[] = [];
  for (let n = 0; n < (broker.workers ?? 1); n++) {
    const { tables, close } = n === 0
      ? { ...opened, close: undefined }
      : await source.open(schema, { url: opened.url });
    if (close) closers.push(close);
    const worker = await startCloud({ schema, table: tables, ...connection });
    workers.push(worker);
    closers.push(() => worker.close());
  }
  const mqttUrl = mosquitto ? `${address}:${mosquitto.devicePort}` : `mqtt://127.0.0.1:${workers[0]!.mqttPort}`;
  return new World(schema, opened.tables, opened.url, workers, mqttUrl, broker, closers);
}
