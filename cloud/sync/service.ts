/**
 * The cloud's service: accepts devices' messages, answers them ({@link Answering}), and passes the table's changes on
 * ({@link StreamPassing}). It connects both to tables, registry and a {@link Publisher}, and has no state that must
 * survive: any number may run on the same tables.
 *
 * A bad message, record or item is counted and logged, and delays nothing but itself.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { Channel, FromDevice, Presence as PresenceMessage } from "../../protocol.ts";
import type { Schema } from "../../schema/model.ts";
import { announce } from "./announcement.ts";
import { Answering, type AnsweringOptions } from "./answering.ts";
import type { RenewalPort } from "./replies.ts";
import { backoffMs } from "../../protocol/backoff.ts";
import { pause } from "../../protocol/within.ts";
import { tableBackoff } from "./bounded.ts";
import { defaultPageLimits } from "./catch_up.ts";
import { ChannelLog } from "./channel_log.ts";
import type { Notifier } from "../notify/notifier.ts";
import type { Bus } from "../feed/bus.ts";
import { Orders } from "./orders.ts";
import { Spread } from "./spread.ts";
import { type Publisher, targetOf } from "../publishers/port.ts";
import { type Arrival, Registry } from "./registry.ts";
import { noMetrics, type ServiceMetrics } from "./metrics.ts";
import { noObserver, observedTables, type Observer } from "./observer.ts";
import { StreamPassing } from "./passing.ts";
import { telling } from "./telling.ts";
import type { PageLimits } from "./snapshot.ts";
import type { StreamRecord, StreamStanding, Tables } from "../table/port.ts";

/** The options of a service. */
export interface ServiceOptions {
  /** The compiled schema. */
  readonly schema: Schema;
  /** Data and log table. */
  readonly tables: Tables;
  /** How messages reach devices. */
  readonly publisher: Publisher;
  /** Default: a registry in the log table. */
  readonly registry?: Registry;
  /** The cloud's clock, ms. */
  readonly now: () => number;
  /** A monotonic clock, ms, for how long tables take; default the machine's. */
  readonly monotonicMs?: () => number;
  /** Numbers in [0, 1): epochs and jitter. */
  readonly random: () => number;
  /** Default {@link defaultPageLimits}. */
  readonly limits?: PageLimits;
  /** How long the channel logs retain entries: default 7 days. */
  readonly retentionMs?: number;
  /** How many messages are answered at once. The rest waits in `receive`. */
  readonly answering?: AnsweringOptions;
  /**
   * Issues certificates to devices that ask for their next one; without it they are told that nobody does.
   *
   * @internal
   */
  readonly renewals?: RenewalPort;
  /** Waits; default by timers. The simulation supplies its own. */
  readonly pause?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /**
   * The connection to other workers; absent: this is the only one, or a handler.
   *
   * @internal
   */
  readonly bus?: Bus;
  /**
   * Whom else changes are told, as `notify` in the schema says.
   *
   * @internal
   */
  readonly notifier?: Pick<Notifier, "tells" | "select" | "append">;
  /** Receives measurements; default: nobody. */
  readonly observer?: Observer;
  /**
   * Whether somebody watches how far changes get: then devices are asked to report when they have them. Default:
   * nobody.
   */
  readonly watched?: () => boolean;
}

const logger = new Log("cloud");

/** See the module. */
export class CloudService {
  /** The compiled schema. */
  readonly schema: Schema;
  /** Data and log table. */
  readonly tables: Tables;
  /** Who the devices are. */
  readonly registry: Registry;
  /**
   * The channel logs.
   *
   * @internal
   */
  readonly log: ChannelLog;
  /**
   * The orders to devices.
   *
   * @internal
   */
  readonly orders: Orders;
  readonly #options: ServiceOptions;
  readonly #answering: Answering;
  readonly #passing: StreamPassing;
  readonly #spread: Spread;
  readonly #metrics = noMetrics();

  /** Starts nothing by itself. */
  constructor(options: ServiceOptions) {
    const { schema, now, random, retentionMs, answering, observer = noObserver } = options;
    const monotonicMs = options.monotonicMs ?? (() => performance.now());
    const isTimed = options.observer !== undefined || answering?.asksAtOnce === undefined;
    const tables = isTimed
      ? observedTables(options.tables, { observer, monotonicMs, readTook: (ms) => this.#answering.readTook(ms) })
      : options.tables;
    this.#options = options;
    this.schema = schema;
    this.tables = tables;
    const registry = this.registry = options.registry ?? new Registry(tables.log, { now });
    const log = this.log = new ChannelLog(tables.log, {
      ...{ now, random, retentionMs, pause: options.pause },
      read: (channel, head) => observer.asked?.(channel, head),
    });
    const publisher = telling(options.publisher, schema, log);
    const { data } = tables, metrics = this.#metrics, limits = options.limits ?? defaultPageLimits;
    const spread = this.#spread = new Spread(tables.log, registry, now);
    const shared = { schema, data, log, publisher, metrics, spread, now, random, observer };
    const orders = this.orders = new Orders({ table: tables.log, registry, publisher, now, random, bus: options.bus });
    this.#answering = new Answering(
      { ...shared, registry, orders, limits, monotonicMs, renewals: options.renewals, pause: options.pause ?? pause },
      answering,
    );
    this.#passing = new StreamPassing({
      ...shared,
      notifier: options.notifier,
      pause: options.pause ?? pause,
      tells: options.watched ?? (() => false),
      identityOf: (deviceId) => registry.identityOf(deviceId),
    });
  }

  /** The counters as they are now. */
  metrics(): ServiceMetrics {
    return { ...this.#metrics };
  }

  /**
   * How the stream is read here; undefined: not at all.
   *
   * @internal
   */
  streamStanding(): StreamStanding | undefined {
    return this.#passing.standing();
  }

  /** Handles a device's message: see {@link Answering.receive}. Never rejects. */
  receive(deviceId: string, message: FromDevice, bytes?: number, arrival?: Arrival): Promise<void> {
    return this.#answering.receive(deviceId, message, bytes, arrival);
  }

  /** Answers a batch that can't be read: see {@link Answering.refuse}. Never rejects. */
  refuse(deviceId: string, batch: string, reason: string): Promise<void> {
    return this.#answering.refuse(deviceId, batch, reason);
  }

  /**
   * Tells all devices that this worker has started to receive: their earlier questions, while nobody was subscribed,
   * are lost. Devices that wait for an answer ask again, spread over a window, and so does each device that knows another
   * epoch of the table. Retries until it succeeds, or the signal aborts.
   */
  async announce(signal: AbortSignal): Promise<void> {
    const { publisher, now, random, pause: wait = pause } = this.#options;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await this.#spread.load();
        await announce({ log: this.log, publisher, spread: this.#spread, metrics: this.#metrics, now });
        return;
      } catch (error) {
        logger.warn("could not announce that this worker is back: {error}", { error });
        await wait(backoffMs(attempt, random, tableBackoff), signal);
      }
    }
  }

  /**
   * Asks a device to compare its database with the table; its report is stored in the registry under the returned
   * request. A device that is not connected now never gets the request.
   * @throws SyncError `unavailable` if the broker does not accept it
   */
  async requestVerify(deviceId: string, options: { repair: boolean; keysPerSecond?: number }): Promise<string> {
    const request = `verify/${this.#options.now()}`;
    await this.#options.publisher.publish({ device: deviceId }, { type: "verify", request, ...options, progress: 1 });
    this.#metrics.messagesPublished++;
    return request;
  }

  /**
   * Asks a channel's devices for their position at once: they answer by presence, which {@link MqttPublisher} receives.
   * @throws SyncError `unavailable` if the broker does not accept it
   */
  async askWhere(channel: Channel): Promise<void> {
    const to = targetOf(channel);
    if (!to) return;
    const epoch = await this.log.epoch(channel), time = this.#options.now();
    await this.#options.publisher.publish(to, { type: "changes", channel, epoch, seq: 0, entries: [], time, tell: 1 });
    this.#metrics.messagesPublished++;
  }

  /** Notes that a device connected or disconnected. Never rejects: presence is only for people. */
  async presence(
    deviceId: string,
    { online, report, at }: PresenceMessage,
    arrival: Arrival = this.registry.arrival(deviceId),
  ): Promise<void> {
    // The answer to a `tell` is not a change of presence: only the asker uses it.
    if (at && !report) return;
    try {
      if (!await this.registry.identityAt(deviceId, arrival)) return;
      if (await this.registry.touch(deviceId, online, report)) await this.orders.deliver(deviceId);
    } catch (error) {
      logger.warn("the presence of {deviceId} could not be noted: {error}", { deviceId, error });
    }
  }

  /** Reads the data table's stream and passes it on, until the signal aborts: see {@link StreamPassing.run}. */
  runStream(signal: AbortSignal): Promise<void> {
    return this.#passing.run(signal);
  }

  /** See {@link StreamPassing.recordDropped}. */
  recordDropped(why: string): void {
    this.#passing.recordDropped(why);
  }

  /** See {@link StreamPassing.recordRefused}. */
  recordRefused(why: string): void {
    this.#passing.recordRefused(why);
  }

  /** See {@link StreamPassing.historyLost}. */
  historyLost(): Promise<void> {
    return this.#passing.historyLost();
  }

  /** See {@link StreamPassing.fanOutRecords}. */
  fanOutRecords(records: readonly StreamRecord[], signal: AbortSignal): Promise<boolean> {
    return this.#passing.fanOutRecords(records, signal);
  }

  /** See {@link StreamPassing.fanOutParts}. */
  fanOutParts(records: readonly StreamRecord[], signal: AbortSignal): Promise<number[]> {
    return this.#passing.fanOutParts(records, signal);
  }
}
