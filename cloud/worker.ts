/**
 * The cloud as a process: tables, broker (embedded or any other), service, stream loop and HTTP API, started in the order
 * in which they need one another and closed in the reverse.
 *
 *     device ⇄ broker ⇄ receiver → service → tables ─stream→ service → publisher → broker ⇄ device
 *
 * Any number of workers may run on one DynamoDB table and one external broker; the embedded table and the embedded broker
 * belong to one process.
 *
 * @module
 */
import { createHmac, randomBytes } from "node:crypto";
import process from "node:process";
import { Log } from "../protocol/log.ts";
import type { BrokerConnection } from "../mqtt/session.ts";
import { compiledOf, type OneTableSchema } from "../schema.ts";
import { SyncError } from "../schema/errors.ts";
import type { Schema } from "../schema/model.ts";
import { type Broker, type BrokerOptions, startBroker } from "./broker/broker.ts";
import type { EmbeddedTables, Synchronous } from "./embedded.ts";
import { type HttpServer, serveHttp } from "./api/http_server.ts";
import { CloudMetrics } from "./api/metrics.ts";
import { tableLacking } from "./api/ready.ts";
import type { ApiToken } from "./api/tokens.ts";
import { createHandler } from "./handler.ts";
import { MqttPublisher, MqttReceiver } from "./mqtt.ts";
import { type OpenedTables, openTables } from "./open_tables.ts";
import { EventHub } from "./console/event_hub.ts";
import { tellOfFeed } from "./console/feed_events.ts";
import { tellOfDevices } from "./console/fleet_events.ts";
import type { Travels } from "./console/travels.ts";
import { Feed } from "./feed/feed.ts";
import { FeedWatcher } from "./feed/watcher.ts";
import { bothObservers } from "./sync/observer.ts";
import { Sampler } from "./operations/samples.ts";
import { type DeviceStanding, Fleet } from "./sync/fleet.ts";
import { Registry } from "./sync/registry.ts";
import { CloudService } from "./sync/service.ts";
import type { Tables } from "./table/port.ts";

/** Where the HTTP API listens. */
export interface HttpOptions {
  /** 0 (default): a free port. */
  readonly port?: number;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** The bearer token; absent: open to whoever reaches the port, which is only for loopback. */
  readonly token?: string;
  /** In its place: several, each with what it may do and until when; asked at each request. */
  readonly tokens?: () => readonly ApiToken[];
  /** How many days the audit keeps who did what through the API; default 90. */
  readonly auditDays?: number;
  /** Names beside those of loopback under which the API is open without a token. */
  readonly hosts?: readonly string[];
  /**
   * Devices of this very process, for the console: `dev`.
   *
   * @internal
   */
  readonly travels?: Travels;
  /** What the console calls the table. */
  readonly label?: string;
}

/** Options of {@link startCloud}. Either `mqtt` names a broker, or one is started. */
export interface CloudOptions extends Omit<Partial<BrokerConnection>, "url"> {
  /** A schema literal (`defineSchema`), or one that was loaded and compiled. */
  readonly schema: OneTableSchema | Schema;
  /** `embedded:PATH` or `dynamodb://TABLE…` (opened and closed here), or tables that are the caller's to close. */
  readonly table: string | Tables;
  /** The URL of an external broker, `mqtt://` or `mqtts://`; credentials and PEM texts beside it. */
  readonly mqtt?: string;
  /** The embedded broker; default, without `mqtt`: a free port on `127.0.0.1`. */
  readonly broker?: Pick<
    BrokerOptions,
    | "port"
    | "host"
    | "tls"
    | "packetBytesMax"
    | "bufferBytesMax"
    | "connectionsMax"
    | "perAddressMax"
    | "pendingMax"
    | "packets"
    | "bytes"
    | "recheckMs"
  >;
  /** Absent: no HTTP until {@link Cloud.serveHttp}. */
  readonly http?: HttpOptions;
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** Bytes of one MQTT payload; default 128 KB. */
  readonly payloadBytesMax?: number;
  /**
   * Workers of one group share what comes from an external broker. A device that knew the group's name could take part where
   * the broker's rules do not stop it: by default the name is made of the workers' password or key ({@link shareGroupOf}).
   */
  readonly shareGroup?: string;
  /** Of embedded tables: `full` (default) survives a power cut, `normal` a crash. */
  readonly synchronous?: Synchronous;
  /** How long the channel logs keep entries, ms; default 7 days. */
  readonly retentionMs?: number;
  /** How long the start waits for an external broker before it goes on connecting in the background, ms; default 10,000. */
  readonly connectTimeoutMs?: number;
  /** The cloud's clock, ms; default the machine's. */
  readonly now?: () => number;
  /** Uniform in [0, 1); default `Math.random`. */
  readonly random?: () => number;
}

/** A running cloud. */
export interface Cloud extends AsyncDisposable {
  /** Undefined with an external broker. */
  readonly mqttPort: number | undefined;
  /** Undefined before HTTP is served. */
  readonly httpPort: number | undefined;
  /** What answers devices and passes the stream on. */
  readonly service: CloudService;
  /** Who the devices are. */
  readonly registry: Registry;
  /** Data and log table. */
  readonly tables: Tables;
  /** Both MQTT connections are up. */
  readonly connected: boolean;
  /** Why a connection is not up; undefined while both are. */
  readonly lastError: SyncError | undefined;
  /** Clients of the embedded broker, the worker's own two among them; undefined with an external one. */
  readonly connections: number | undefined;
  /** What went through MQTT since the start. */
  counters(): Readonly<Record<string, number>>;
  /**
   * Serves the HTTP API and returns its port. Once.
   *
   * @throws {SyncError} `unavailable` where the port is taken, `config` where others could reach it without a token
   */
  serveHttp(options?: HttpOptions): Promise<number>;
  /** Takes no more, finishes what is under way, and closes. Idempotent. */
  close(): Promise<void>;
}

const log = new Log("cloud");
const loopback: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "localhost"]);
const sweepEveryMs = 5_000;
/** Items that one sweep deletes at most before others get their turn: some 20 ms, and as long a pause behind it. */
const sweepItems = 1_000;

async function tablesOf(options: CloudOptions, now: () => number): Promise<{ tables: Tables; owned?: OpenedTables }> {
  const { table, synchronous } = options;
  const schema = compiledOf(options.schema);
  if (typeof table !== "string") return { tables: table };
  const owned = await openTables(table, { schema, now, synchronous });
  return { tables: owned, owned };
}

function sweepRegularly(tables: Tables): () => void {
  if (!("sweepExpired" in tables)) return () => {};
  const { sweepExpired } = tables as EmbeddedTables;
  let sweeping = false, ended = false;
  const timer = setInterval(async () => {
    if (sweeping) return;
    sweeping = true;
    try {
      // Whatever expires in a second has to go in less than one: there is no number of sweeps that is enough.
      for (let full = true; full && !ended;) {
        const began = performance.now();
        full = await sweepExpired.call(tables, sweepItems) >= sweepItems;
        if (full) await new Promise((resolve) => setTimeout(resolve, performance.now() - began));
      }
    } catch (error) {
      log.warn("removing what has expired failed: {error}", { error });
    } finally {
      sweeping = false;
    }
  }, sweepEveryMs);
  return () => {
    ended = true;
    clearInterval(timer);
  };
}

/** The name of the workers' group: the same for all who have the same secret, and known to nobody else. */
export function shareGroupOf({ username = "", password, key }: Partial<BrokerConnection>): string {
  const secret = password ?? key;
  if (secret === undefined) return "twintable";
  return `twintable-${createHmac("sha256", secret).update(`share group of ${username}`).digest("hex").slice(0, 24)}`;
}

/** Resolves when up, or after a while in which the broker could not be reached. @throws {SyncError} where it refuses */
async function firstConnection(
  connections: readonly { start(): Promise<void>; readonly lastError: SyncError | undefined }[],
  timeoutMs: number,
): Promise<void> {
  let up = false;
  const started = Promise.all(connections.map((connection) => connection.start())).then(() => up = true);
  const deadline = performance.now() + timeoutMs;
  while (!up) {
    const refusal = connections.find(({ lastError }) => lastError?.code === "unauthorized")?.lastError;
    if (refusal) throw refusal;
    if (performance.now() > deadline) {
      log.warn("the broker can't be reached yet; connecting goes on in the background");
      return;
    }
    await Promise.race([started, new Promise((resolve) => setTimeout(resolve, 20))]);
  }
}

/**
 * Starts a cloud; resolves when it works (see `connectTimeoutMs` for an external broker).
 *
 * @throws {SyncError} where the table can't be opened, a port is taken, or a broker refuses the credentials
 * @throws {TypeError} for a table or broker URL that is none
 */
export async function startCloud(options: CloudOptions): Promise<Cloud> {
  const schema = compiledOf(options.schema);
  const { prefix, payloadBytesMax, now = Date.now, random = Math.random } = options;
  // What was opened so far, closed in reverse: by a start that fails, and by close().
  const closers: (() => unknown)[] = [];
  const closeAll = async () => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const { tables, owned } = await tablesOf(options, now);
    if (owned) closers.push(() => owned.close());
    const registry = new Registry(tables.log, { now });
    const { broker, connection } = await reachBroker(options, registry);
    if (broker) closers.push(registry.onRevoked((deviceId) => broker.disconnect(deviceId)), () => broker.close());
    const fleet = new Fleet({ registry, now });
    const events = new EventHub();
    const told = tellOfDevices(events);
    closers.push(() => told.close());
    const publisher = new MqttPublisher({
      ...connection,
      prefix,
      payloadBytesMax,
      random,
      inflates: true,
      joins: true,
      presence: (deviceId, presence) => {
        fleet.heard(deviceId, presence);
        told.heard(deviceId);
        watcher.presence(deviceId, presence);
      },
    });
    closers.push(() => publisher.close());
    const feed = new Feed({ now, random, bus: publisher.bus }), watcher = new FeedWatcher(schema, feed, now);
    const toldOfFeed = tellOfFeed(feed, events);
    closers.push(() => feed.close(), () => toldOfFeed.close());
    const metrics = new CloudMetrics({ schema: schema.version });
    const sampler: Sampler = new Sampler(tables.log, randomBytes(6).toString("hex"), {
      counters: () => ({ ...service.metrics() }),
      gauges: () => ({
        connections: broker?.connections,
        messages_running: receiver.running,
        resident_bytes: process.memoryUsage.rss(),
        ...fleetValues(fleet.peek()),
      }),
    }, now);
    const service: CloudService = new CloudService({
      observer: bothObservers(bothObservers(metrics, watcher), sampler),
      watched: () => feed.wanted,
      bus: publisher.bus,
      schema,
      tables,
      publisher,
      registry,
      now,
      random,
      retentionMs: options.retentionMs,
    });
    closers.push(() => service.orders.close());
    const stopped = new AbortController();
    closers.push(() => stopped.abort());
    const receiver = new MqttReceiver({
      ...connection,
      prefix,
      random,
      shareGroup: broker ? undefined : options.shareGroup ?? shareGroupOf(options),
      receive: (deviceId, message, bytes) => service.receive(deviceId, message, bytes),
      refuse: (deviceId, batch, reason) => service.refuse(deviceId, batch, reason),
      presence: (deviceId, presence) => service.presence(deviceId, presence),
      subscribed: () => void service.announce(stopped.signal),
      accountOf: (deviceId) => registry.rememberedAccount(deviceId),
    });
    closers.push(sweepRegularly(tables), () => receiver.close());
    sampler.start();
    closers.push(() => sampler.close());
    await firstConnection([publisher, receiver], options.connectTimeoutMs ?? 10_000);
    const stream = service.runStream(stopped.signal).catch((error) =>
      log.error("the stream loop ended: {error}", { error })
    );
    closers.push(() => {
      stopped.abort();
      return stream;
    });
    const cloud = new RunningCloud(
      { service, registry, fleet, feed, events, metrics, tables, publisher, receiver, broker, prefix, now, random },
      closers,
      closeAll,
    );
    if (options.http) await cloud.serveHttp(options.http);
    return cloud;
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** How the devices are, where that is known without reading. */
function fleetValues(devices: readonly DeviceStanding[] | undefined): Readonly<Record<string, number>> {
  if (!devices) return {};
  const count = (state: string) => devices.filter((device) => device.state === state).length;
  const lags = devices.flatMap(({ connected, lagMs }) => connected === true ? [lagMs ?? 0] : []).sort((a, b) => a - b);
  return {
    devices_online: count("online"),
    devices_lagging: count("lagging"),
    devices_trouble: count("trouble"),
    devices_silent: count("silent"),
    outbox: devices.reduce((sum, { report }) => sum + (report?.outbox ?? 0), 0),
    ...(lags.length > 0 ? { lag_p99_ms: lags[Math.ceil(lags.length * 0.99) - 1]! } : {}),
  };
}

/** The external broker's connection, or a broker that is started here and its internal credentials, new at each start. */
async function reachBroker(
  options: CloudOptions,
  registry: Registry,
): Promise<{ broker?: Broker; connection: BrokerConnection }> {
  const { mqtt, username, password, ca, cert, key, protocolVersion, prefix } = options;
  if (mqtt !== undefined) return { connection: { url: mqtt, username, password, ca, cert, key, protocolVersion } };
  const internal = { username: "twintable-cloud", password: randomBytes(32).toString("base64url") };
  const { host = "127.0.0.1" } = options.broker ?? {};
  const broker = await startBroker({
    ...options.broker,
    prefix,
    internal,
    authenticate: (deviceId, token) => registry.admit(deviceId, token),
    identityOf: (deviceId, credential) => registry.identityOf(deviceId, credential),
  });
  // One that listens on all addresses is reached on this machine's own; with TLS the workers' listener is there anyway.
  const local = options.broker?.tls || host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  const address = local.includes(":") ? `[${local}]` : local;
  return { broker, connection: { url: `mqtt://${address}:${broker.internalPort}`, ...internal } };
}

interface Parts {
  readonly service: CloudService;
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly feed: Feed;
  readonly events: EventHub;
  readonly metrics: CloudMetrics;
  readonly tables: Tables;
  readonly publisher: MqttPublisher;
  readonly receiver: MqttReceiver;
  readonly broker: Broker | undefined;
  readonly prefix: string | undefined;
  readonly now: () => number;
  readonly random: () => number;
}

/** Which changes are in a channel's log: `dev` shows it. */
function toldTravels(travels: Travels, feed: Feed): () => void {
  return feed.listen(({ row }) => {
    if (row.type === "stage" && row.stage === "logged") travels.logged(row.keys);
  });
}

class RunningCloud implements Cloud {
  readonly service: CloudService;
  readonly registry: Registry;
  readonly tables: Tables;
  readonly mqttPort: number | undefined;
  #httpPort: number | undefined;
  #serving = false;
  #closed: Promise<void> | undefined;

  constructor(
    private readonly parts: Parts,
    private readonly closers: (() => unknown)[],
    private readonly closeAll: () => Promise<void>,
  ) {
    this.service = parts.service;
    this.registry = parts.registry;
    this.tables = parts.tables;
    this.mqttPort = parts.broker?.port;
  }

  get httpPort(): number | undefined {
    return this.#httpPort;
  }

  get connected(): boolean {
    return this.parts.publisher.connected && this.parts.receiver.connected;
  }

  get connections(): number | undefined {
    return this.parts.broker?.connections;
  }

  get lastError(): SyncError | undefined {
    return this.parts.publisher.lastError ?? this.parts.receiver.lastError;
  }

  counters(): Readonly<Record<string, number>> {
    const { publisher, receiver } = this.parts;
    return {
      mqttPublished: publisher.counters.published,
      mqttPublishedBytes: publisher.counters.publishedBytes,
      mqttPublishFailed: publisher.counters.failed,
      mqttReceived: receiver.counters.received,
      mqttReceivedBytes: receiver.counters.receivedBytes,
      mqttMalformed: receiver.counters.malformed,
      mqttDelayed: receiver.laneCounters.delayed,
      mqttDropped: receiver.laneCounters.dropped,
    };
  }

  async serveHttp(options: HttpOptions = {}): Promise<number> {
    if (this.#serving) throw new TypeError("HTTP is served already");
    const { port = 0, host = "127.0.0.1", token, tokens, hosts, auditDays } = options;
    if (token === "") throw new TypeError("an empty token lets nobody in: leave it out, or give one");
    if (token === undefined && !tokens && !loopback.has(host)) {
      throw new SyncError("config", `the HTTP API on ${host} wants a token`, {
        hint: "without one it is only for this machine: 127.0.0.1",
      });
    }
    const { service, tables, registry, fleet, feed, events, metrics, prefix, now, random } = this.parts;
    if (options.travels) this.closers.push(toldTravels(options.travels, feed));
    metrics.add({
      gauges: () => ({
        brokerConnected: this.connected ? 1 : 0,
        connections: this.connections,
        messagesRunning: this.parts.receiver.running,
        residentBytes: process.memoryUsage.rss(),
      }),
    });
    const handler = createHandler({
      service,
      counters: () => this.counters(),
      prefix,
      tables,
      schema: service.schema,
      registry,
      fleet,
      feed,
      events,
      travels: options.travels,
      label: options.label,
      metrics,
      lacking: () => this.#lacking(),
      token,
      tokens,
      auditDays,
      hosts: hosts ?? [],
      now,
      random,
    });
    let server: HttpServer;
    try {
      this.#serving = true;
      server = await serveHttp(handler, { host, port });
    } catch (cause) {
      this.#serving = false;
      throw new SyncError("unavailable", `HTTP can't listen on ${host}:${port}: ${(cause as Error).message}`, {
        cause,
      });
    }
    this.closers.push(async () => {
      // Streams of events would never end by themselves; their pages come again.
      events.close();
      feed.close();
      let timer: ReturnType<typeof setTimeout> | undefined;
      // Open requests are finished; one that hangs holds nothing up for long.
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, 2_000));
      await Promise.race([server.shutdown(), late]);
      clearTimeout(timer);
      server.destroy();
    });
    this.#httpPort = server.port;
    return this.#httpPort;
  }

  /** What a worker needs and does not reach now. */
  async #lacking(): Promise<string[]> {
    const { lastError } = this;
    const broker = this.connected ? [] : [lastError?.message ?? "the broker is not reached yet"];
    return [...broker, ...await tableLacking(this.tables)];
  }

  close(): Promise<void> {
    return this.#closed ??= this.closeAll();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
