/**
 * The cloud as a process: tables, broker (embedded or any other), service, stream loop and HTTP API, started in the
 * order of their dependencies and closed in reverse.
 *
 *     device ⇄ broker ⇄ receiver → service → tables ─stream→ service → publisher → broker ⇄ device
 *
 * Any number of workers may run on one DynamoDB table and one external broker; the embedded table and the embedded
 * broker belong to one process.
 *
 * @module
 */
import { createHmac } from "node:crypto";
import process from "node:process";
import { Log } from "../protocol/log.ts";
import { Outage } from "../protocol/outage.ts";
import type { BrokerConnection } from "../mqtt/session.ts";
import { compiledOf, type OneTableSchema } from "../schema.ts";
import type { SyncError } from "../schema/errors.ts";
import type { Schema } from "../schema/model.ts";
import type { BrokerOptions } from "./broker/broker.ts";
import type { JwtOptions } from "./identity/jwt.ts";
import { Audit } from "./operations/audit.ts";
import { FailedSignIns } from "./operations/failed_sign_ins.ts";
import { clearRegularly } from "./operations/retained.ts";
import { authorityOf, reachBroker, renewalsOf, tellBrokerOf } from "./reach_broker.ts";
import type { EmbeddedTables, Synchronous } from "./embedded.ts";
import { sendControl } from "./broker_config/control.ts";
import { FloodGuard } from "./flood_guard.ts";
import { Monitor } from "./monitor.ts";
import { Notifier } from "./notify/notifier.ts";
import { MqttPublisher } from "./publishers/mqtt.ts";
import { MqttReceiver } from "./receiver.ts";
import type { ApiToken } from "./api/tokens.ts";
import { openTables } from "./open_tables.ts";
import { streamValues, unitCounters } from "./operations/worker_values.ts";
import { type Cloud, type HttpOptions, type Parts, RunningCloud } from "./running_cloud.ts";
import { Registry } from "./sync/registry.ts";
import { CloudService } from "./sync/service.ts";
import type { Tables } from "./table/port.ts";

/** Options of {@link startCloud}. Either `mqtt` names a broker, or an embedded one is started. */
export interface CloudOptions extends Omit<Partial<BrokerConnection>, "url"> {
  /** A schema literal (`defineSchema`), or one that was loaded and compiled. */
  readonly schema: OneTableSchema | Schema;
  /** `embedded:PATH` or `dynamodb://TABLE…` (opened and closed here), or tables that the caller closes. */
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
  /**
   * The administrator of an external Mosquitto with its dynamic-security plugin, as `broker config mosquitto` sets it up:
   * the worker then disables a device that floods the broker for a minute ({@link FloodGuard}).
   */
  readonly brokerAdmin?: { readonly username: string; readonly password: string };
  /**
   * The authority that issues devices' certificates (`device ca init`), PEM texts. The embedded broker, over TLS, lets devices in
   * by what it issued for them; with its key, workers renew certificates that are about to expire.
   */
  readonly deviceAuthority?: { readonly cert: string; readonly key?: string; readonly passphrase?: string };
  /** Lets devices log in to the embedded broker by a JWT of this issuer as their password. */
  readonly deviceJwt?: JwtOptions;
  /** Absent: no HTTP until {@link Cloud.serveHttp}. */
  readonly http?: HttpOptions;
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** Bytes of one MQTT payload; default 128 KB. */
  readonly payloadBytesMax?: number;
  /**
   * Workers of one group share what comes from an external broker. A device that knew the group's name could join it if
   * the broker's rules do not prevent that: by default, the name is derived from the workers' password or key ({@link
   * shareGroupOf}).
   */
  readonly shareGroup?: string;
  /** What webhooks of `notify` are signed with, as of Standard Webhooks; of several each signs. Default: they are not signed. */
  readonly notifySecrets?: readonly string[];
  /**
   * API tokens, read at each login: whoever has one with the scope `read` may subscribe to the notifications' topics at the
   * embedded broker. Default: nobody may.
   */
  readonly notifyReaders?: () => readonly ApiToken[];
  /** Of embedded tables: `full` (default) survives a power cut, `normal` a crash. */
  readonly synchronous?: Synchronous;
  /** How long the channel logs retain entries, ms; default 7 days. */
  readonly retentionMs?: number;
  /**
   * How long the start waits for an external broker before it continues connecting in the background, ms; default
   * 10,000.
   */
  readonly connectTimeoutMs?: number;
  /** The cloud's clock, ms; default the machine's. */
  readonly now?: () => number;
  /** Uniform in [0, 1); default `Math.random`. */
  readonly random?: () => number;
}

const log = new Log("cloud");
const sweepEveryMs = 5_000;
/** The most items that one sweep deletes before other work gets its turn: some 20 ms, followed by as long a pause. */
const sweepItems = 1_000;

async function openTablesOf(
  { table, synchronous }: CloudOptions,
  schema: Schema,
  now: () => number,
  opened: AsyncDisposableStack,
): Promise<Tables> {
  if (typeof table !== "string") return table;
  const tables = await openTables(table, { schema, now, synchronous });
  opened.defer(() => tables.close());
  return tables;
}

function sweepRegularly(tables: Tables): () => void {
  if (!("sweepExpired" in tables)) return () => {};
  const { sweepExpired } = tables as EmbeddedTables;
  let sweeping = false, ended = false;
  const outage = new Outage(log, "removing what has expired");
  const timer = setInterval(async () => {
    if (sweeping) return;
    sweeping = true;
    try {
      // Deleting must be faster than expiring, so the number of sweeps is not limited.
      for (let full = true; full && !ended;) {
        const began = performance.now();
        full = await sweepExpired.call(tables, sweepItems) >= sweepItems;
        if (full) await new Promise((resolve) => setTimeout(resolve, performance.now() - began));
      }
      outage.over();
    } catch (error) {
      outage.failed(error as Error);
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

/** Resolves when up, or after a while in which the broker could not be reached. @throws {SyncError} if it refuses */
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
      log.info("connecting goes on in the background");
      return;
    }
    await Promise.race([started, new Promise((resolve) => setTimeout(resolve, 20))]);
  }
}

/**
 * Starts a cloud; resolves when it works (see `connectTimeoutMs` for an external broker).
 *
 * @throws {SyncError} if the table can't be opened, a port is taken, or a broker refuses the credentials
 * @throws {TypeError} for an invalid table or broker URL
 */
export async function startCloud(options: CloudOptions): Promise<Cloud> {
  // What is open so far; a failed start and close() close it in reverse order.
  const opened = new AsyncDisposableStack();
  try {
    const parts = await openParts(options, opened);
    const { service, mqtt: { publisher, receiver } } = parts;
    await firstConnection([publisher, receiver], options.connectTimeoutMs ?? 10_000);
    runStream(service, opened);
    const cloud = new RunningCloud(parts, opened);
    if (options.http) await cloud.serveHttp(options.http);
    return cloud;
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

/** Everything except the connections, which are not started. */
async function openParts(options: CloudOptions, opened: AsyncDisposableStack): Promise<Parts> {
  const { prefix, payloadBytesMax, retentionMs, now = Date.now, random = Math.random } = options;
  const schema = compiledOf(options.schema), tables = await openTablesOf(options, schema, now, opened);
  const registry = new Registry(tables.log, { now });
  const authority = await authorityOf(options, now);
  const failed = new FailedSignIns(new Audit(tables.log, { now }), now);
  const refusals = new Set<(clientId: string) => void>();
  const refused = (clientId: string) => refusals.forEach((listener) => listener(clientId));
  const { broker, connection: known } = await reachBroker(options, schema, { registry, failed, refused }, opened);
  // Both connections lose the same broker: it is told once. A URL that is none is for the session to refuse.
  const host = URL.canParse(known.url) ? new URL(known.url).host : "";
  const connection = { ...known, outage: new Outage(log, `the broker ${host}`) };
  const publisher = new MqttPublisher({
    ...connection,
    ...{ prefix, payloadBytesMax, random, inflates: true, joins: true },
    presence: (deviceId, presence) => monitor.heard(deviceId, presence),
  });
  const { bus } = publisher;
  const source = {
    counters: () => ({ ...service.metrics(), ...unitCounters(tables) }),
    gauges: () => ({
      ...streamValues(service.streamStanding()),
      connections: broker?.connections,
      messages_running: receiver.running,
      resident_bytes: process.memoryUsage.rss(),
    }),
  };
  const monitor: Monitor = new Monitor({ schema, registry, log: tables.log, bus, source, now, random });
  opened.defer(() => monitor.close());
  refusals.add((clientId) => monitor.refused(clientId));
  opened.defer(() => publisher.close());
  const { observer, feed } = monitor;
  const secrets = options.notifySecrets;
  const notifier = new Notifier({ schema, log: tables.log, publisher, prefix, secrets, now, random });
  monitor.metrics.add({ labelled: () => notifier.labelled() });
  const service: CloudService = new CloudService({
    ...{ schema, tables, publisher, registry, bus, observer, notifier, now, random, retentionMs },
    watched: () => feed.wanted,
    renewals: renewalsOf(authority, registry, tables, now),
  });
  opened.defer(() => service.orders.close());
  opened.defer(() => notifier.close());
  const announcing = new AbortController();
  const guard = floodGuardOf(options, tables, now);
  const receiver: MqttReceiver = new MqttReceiver({
    ...connection,
    ...{ prefix, random, shareGroup: broker ? undefined : options.shareGroup ?? shareGroupOf(options) },
    receive: (deviceId, message, bytes, arrival) => service.receive(deviceId, message, bytes, arrival),
    arrival: (deviceId) => registry.arrival(deviceId),
    refuse: (deviceId, batch, reason) => service.refuse(deviceId, batch, reason),
    presence: (deviceId, presence, arrival) => service.presence(deviceId, presence, arrival),
    subscribed: () => void service.announce(announcing.signal),
    accountOf: (deviceId) => registry.rememberedAccount(deviceId),
    overflowed: (deviceId) => void guard?.dropped(deviceId),
  });
  opened.defer(() => announcing.abort());
  opened.defer(sweepRegularly(tables));
  opened.defer(() => guard?.close());
  opened.defer(clearRegularly({ table: tables.log, registry, publisher }));
  opened.defer(() => receiver.close());
  guard?.start();
  monitor.start();
  notifier.start();
  const mqtt = { publisher, receiver, broker, prefix };
  return { service, registry, tables, monitor, mqtt, authority, tellBroker: tellBrokerOf(options), now, random };
}

function floodGuardOf(
  { mqtt, ca, brokerAdmin }: CloudOptions,
  tables: Tables,
  now: () => number,
): FloodGuard | undefined {
  if (mqtt === undefined || brokerAdmin === undefined) return undefined;
  return new FloodGuard({
    log: tables.log,
    now,
    send: (commands) => sendControl({ url: mqtt, ...brokerAdmin, ...(ca === undefined ? {} : { ca }) }, commands),
  });
}

/** Passes the stream on until the cloud is closed. */
function runStream(service: CloudService, opened: AsyncDisposableStack): void {
  const stopped = new AbortController();
  const ended = service.runStream(stopped.signal)
    .catch((error) => log.error("the stream loop ended: {error}", { error }));
  opened.defer(() => {
    stopped.abort();
    return ended;
  });
}
