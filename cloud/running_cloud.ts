/**
 * A running cloud: the caller's handle on it, and the HTTP API that it may serve.
 *
 * @module
 */
import process from "node:process";
import { within } from "../protocol/within.ts";
import { SyncError } from "../schema/errors.ts";
import { createHandler } from "./api/app.ts";
import type { ApiToken } from "./api/tokens.ts";
import { type HttpServer, serveHttp } from "./api/http_server.ts";
import { tableLacking } from "./api/ready.ts";
import type { Broker } from "./broker/broker.ts";
import type { DynamoName } from "./console/lines.ts";
import type { Travels } from "./console/travels.ts";
import type { Authority } from "./identity/authority.ts";
import type { ClaimsContext } from "./identity/claims.ts";
import type { Monitor } from "./monitor.ts";
import type { MqttPublisher } from "./publishers/mqtt.ts";
import type { MqttReceiver } from "./receiver.ts";
import type { Registry } from "./sync/registry.ts";
import type { CloudService } from "./sync/service.ts";
import type { Tables } from "./table/port.ts";

/** Where the HTTP API listens. */
export interface HttpOptions {
  /** 0 (default): a free port. */
  readonly port?: number;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** The bearer token; absent: open to everybody who reaches the port, so only for loopback. */
  readonly token?: string;
  /** Instead of `token`: several, each with its scopes and expiry; read at each request. */
  readonly tokens?: () => readonly ApiToken[];
  /** How many days the audit keeps who did what through the API; default 90. */
  readonly auditDays?: number;
  /** Names, in addition to those of loopback, under which the API is open without a token. */
  readonly hosts?: readonly string[];
  /**
   * Devices of this very process, for the console: `dev`.
   *
   * @internal
   */
  readonly travels?: Travels;
  /** The table's name in the console. */
  readonly label?: string;
  /**
   * The table's place at DynamoDB, for the console's lines to paste.
   *
   * @internal
   */
  readonly dynamo?: DynamoName;
}

/** A running cloud. */
export interface Cloud extends AsyncDisposable {
  /** Undefined with an external broker. */
  readonly mqttPort: number | undefined;
  /** Undefined before HTTP is served. */
  readonly httpPort: number | undefined;
  /** Answers devices and passes the stream on. */
  readonly service: CloudService;
  /** Who the devices are. */
  readonly registry: Registry;
  /** Data and log table. */
  readonly tables: Tables;
  /** Both MQTT connections are up. */
  readonly connected: boolean;
  /** Why a connection is not up; undefined while both are up. */
  readonly lastError: SyncError | undefined;
  /** Clients of the embedded broker, the worker's own two among them; undefined with an external one. */
  readonly connections: number | undefined;
  /** MQTT traffic since the start. */
  counters(): Readonly<Record<string, number>>;
  /**
   * Serves the HTTP API and returns its port. Once.
   *
   * @throws {SyncError} `unavailable` if the port is taken, `config` if others could reach it without a token
   */
  serveHttp(options?: HttpOptions): Promise<number>;
  /** Accepts no more, finishes work under way, and closes. Idempotent. */
  close(): Promise<void>;
}

/** What a cloud is made of. */
export interface Parts {
  readonly service: CloudService;
  readonly registry: Registry;
  readonly tables: Tables;
  readonly monitor: Monitor;
  /** The ways to the devices; an external broker has no `broker`. */
  readonly mqtt: {
    readonly publisher: MqttPublisher;
    readonly receiver: MqttReceiver;
    readonly broker?: Broker;
    readonly prefix?: string;
  };
  /** Absent: its key is not here. */
  readonly authority: Authority | undefined;
  /** Admits a device that has claimed its credentials at an external broker; absent: nobody does. */
  readonly tellBroker: ClaimsContext["tellBroker"];
  readonly now: () => number;
  readonly random: () => number;
}

const loopback: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "localhost"]);

/** @throws {TypeError} for an empty token; {SyncError} `config` if others could reach the API without one */
function checkHttp(host: string, { token, tokens }: HttpOptions): void {
  if (token === "") throw new TypeError("an empty token admits nobody: leave it out, or give one");
  if (token === undefined && !tokens && !loopback.has(host)) {
    throw new SyncError("config", `the HTTP API on ${host} wants a token`, {
      hint: "without one it is only for this machine: 127.0.0.1",
    });
  }
}

/** When devices sent their changes, and which changes are in a channel's log: `dev` shows it. */
function toldTravels(travels: Travels, monitor: Monitor): () => void {
  const releases = [
    monitor.onBatch((deviceId, { sent, changes }) => travels.sent(deviceId, sent, changes.map(({ stamp }) => stamp))),
    monitor.feed.listen(({ row }) => {
      if (row.type === "stage" && row.stage === "logged") travels.logged(row.keys);
    }),
  ];
  return () => releases.forEach((release) => release());
}

/** See {@link Cloud}. */
export class RunningCloud implements Cloud {
  readonly service: CloudService;
  readonly registry: Registry;
  readonly tables: Tables;
  readonly mqttPort: number | undefined;
  #httpPort: number | undefined;
  #serving = false;
  #closed: Promise<void> | undefined;

  /** @param opened resources that are closed with the cloud, in reverse order */
  constructor(private readonly parts: Parts, private readonly opened: AsyncDisposableStack) {
    this.service = parts.service;
    this.registry = parts.registry;
    this.tables = parts.tables;
    this.mqttPort = parts.mqtt.broker?.port;
  }

  get httpPort(): number | undefined {
    return this.#httpPort;
  }

  get connected(): boolean {
    const { publisher, receiver } = this.parts.mqtt;
    return publisher.connected && receiver.connected;
  }

  get connections(): number | undefined {
    return this.parts.mqtt.broker?.connections;
  }

  get lastError(): SyncError | undefined {
    const { publisher, receiver } = this.parts.mqtt;
    return publisher.lastError ?? receiver.lastError;
  }

  counters(): Readonly<Record<string, number>> {
    const { publisher, receiver } = this.parts.mqtt;
    return {
      mqttPublished: publisher.counters.published,
      mqttPublishedBytes: publisher.counters.publishedBytes,
      mqttPublishFailed: publisher.counters.failed,
      mqttReceived: receiver.counters.received,
      mqttReceivedBytes: receiver.counters.receivedBytes,
      mqttMalformed: receiver.counters.malformed,
      mqttParts: receiver.counters.parts,
      mqttDelayed: receiver.laneCounters.delayed,
      mqttDropped: receiver.laneCounters.dropped,
    };
  }

  async serveHttp(options: HttpOptions = {}): Promise<number> {
    if (this.#serving) throw new TypeError("HTTP is served already");
    const { port = 0, host = "127.0.0.1" } = options;
    checkHttp(host, options);
    const { events, feed, metrics } = this.parts.monitor;
    if (options.travels) this.opened.defer(toldTravels(options.travels, this.parts.monitor));
    metrics.add({ gauges: () => this.#gauges() });
    let server: HttpServer;
    try {
      this.#serving = true;
      server = await serveHttp(this.#handler(options), { host, port });
    } catch (cause) {
      this.#serving = false;
      throw new SyncError("unavailable", `HTTP can't listen on ${host}:${port}: ${(cause as Error).message}`, {
        cause,
      });
    }
    this.opened.defer(async () => {
      // Event streams would never end by themselves; their pages reconnect.
      events.close();
      feed.close();
      // Open requests are finished; one that hangs holds nothing up for long.
      await within(2_000, server.shutdown());
      server.destroy();
    });
    this.#httpPort = server.port;
    return this.#httpPort;
  }

  #handler(options: HttpOptions): ReturnType<typeof createHandler> {
    const { travels, label, dynamo, token, tokens, auditDays, hosts = [] } = options;
    const { service, tables, registry, monitor, mqtt, authority, tellBroker, now, random } = this.parts;
    const { fleet, feed, events, versions, worker, metrics, fieldMetrics } = monitor;
    return createHandler({
      ...{ service, tables, schema: service.schema, registry, prefix: mqtt.prefix, now, random },
      ...{
        fleet,
        feed,
        events,
        versions,
        worker,
        metrics,
        fieldMetrics,
        counters: () => this.counters(),
        lacking: () => this.#lacking(),
      },
      ...{ travels, label, dynamo, token, tokens, auditDays, hosts, publisher: mqtt.publisher },
      claims: { authority: authority && (() => Promise.resolve(authority)), tellBroker },
    });
  }

  #gauges(): Readonly<Record<string, number | undefined>> {
    return {
      brokerConnected: this.connected ? 1 : 0,
      connections: this.connections,
      messagesRunning: this.parts.mqtt.receiver.running,
      residentBytes: process.memoryUsage.rss(),
    };
  }

  /** The services that a worker needs and cannot reach now. */
  async #lacking(): Promise<string[]> {
    const { lastError } = this;
    const broker = this.connected ? [] : [lastError?.message ?? "the broker is not reached yet"];
    return [...broker, ...await tableLacking(this.tables)];
  }

  close(): Promise<void> {
    return this.#closed ??= this.opened.disposeAsync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
