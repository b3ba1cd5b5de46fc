/**
 * The cloud's service: takes what devices send, answers ({@link Answering}), and passes the table's changes on
 * ({@link StreamPassing}). It ties both to tables, registry and a {@link Publisher}, and keeps no state that matters: any
 * number may run on the same tables.
 *
 * A bad message, record or item is counted and logged, and delays nothing but itself.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { Channel, FromDevice, Presence as PresenceMessage } from "../../protocol.ts";
import type { Schema } from "../../schema/model.ts";
import { Answering, type AnsweringOptions } from "./answering.ts";
import { backoffMs } from "../../protocol/backoff.ts";
import { pause, tableBackoff } from "./bounded.ts";
import { defaultPageLimits } from "./catch_up.ts";
import { ChannelLog } from "./channel_log.ts";
import type { Bus } from "../feed/bus.ts";
import { Orders } from "./orders.ts";
import { Spread } from "./spread.ts";
import { type Publisher, targetOf } from "../publishers/port.ts";
import { Registry } from "./registry.ts";
import { noMetrics, type ServiceMetrics } from "./metrics.ts";
import { noObserver, observedTables, type Observer } from "./observer.ts";
import { StreamPassing } from "./passing.ts";
import { telling } from "./telling.ts";
import type { PageLimits } from "./snapshot.ts";
import type { StreamRecord, Tables } from "../table/port.ts";

/** What a service is made of. */
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
  /** How long the channel logs keep their entries: default 7 days. */
  readonly retentionMs?: number;
  /** How much is answered at once. The rest waits in `receive`. */
  readonly answering?: AnsweringOptions;
  /** Waits; default by timers. The simulation hands in its own. */
  readonly pause?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /**
   * The way to other workers; absent: this is the only one, or a handler.
   *
   * @internal
   */
  readonly bus?: Bus;
  /** Told of what is done and how long it took; default: nobody. */
  readonly observer?: Observer;
  /** Whether somebody watches where changes get: then devices are asked to say when they have them. Default: nobody. */
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
   * What devices are told to do.
   *
   * @internal
   */
  readonly orders: Orders;
  readonly #options: ServiceOptions;
  readonly #answering: Answering;
  readonly #passing: StreamPassing;
  readonly #spread: Spread;
  readonly #metrics = noMetrics();

  /** Begins nothing by itself. */
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
    const log = this.log = new ChannelLog(tables.log, { now, random, retentionMs, pause: options.pause });
    const publisher = telling(options.publisher, schema, log);
    const { data } = tables, metrics = this.#metrics, limits = options.limits ?? defaultPageLimits;
    const spread = this.#spread = new Spread(tables.log, registry, now);
    const shared = { schema, data, log, publisher, metrics, spread, now, random, observer };
    const orders = this.orders = new Orders({ table: tables.log, registry, publisher, now, random, bus: options.bus });
    this.#answering = new Answering({ ...shared, registry, orders, limits, monotonicMs }, answering);
    this.#passing = new StreamPassing({
      ...shared,
      pause: options.pause ?? pause,
      tells: options.watched ?? (() => false),
      identityOf: (deviceId) => registry.identityOf(deviceId),
    });
  }

  /** The counters as they are now. */
  metrics(): ServiceMetrics {
    return { ...this.#metrics };
  }

  /** Handles a device's message: see {@link Answering.receive}. Never rejects. */
  receive(deviceId: string, message: FromDevice, bytes?: number): Promise<void> {
    return this.#answering.receive(deviceId, message, bytes);
  }

  /** Answers a batch that can't be read: see {@link Answering.refuse}. Never rejects. */
  refuse(deviceId: string, batch: string, reason: string): Promise<void> {
    return this.#answering.refuse(deviceId, batch, reason);
  }

  /**
   * Says to all devices that this worker has begun to receive: what they asked before, while nobody was subscribed, is
   * lost. Those who wait for an answer ask again, spread over a window. Tried again until it is said, or the signal aborts.
   */
  async announce(signal: AbortSignal): Promise<void> {
    const { publisher, now, random, pause: wait = pause } = this.#options, channel = "global";
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await this.#spread.load();
        const epoch = await this.log.epoch(channel), spreadMs = this.#spread.spreadMs(channel);
        await publisher.publish("all", { type: "changes", channel, epoch, seq: 0, entries: [], time: now(), spreadMs });
        this.#metrics.messagesPublished++;
        return;
      } catch (error) {
        logger.warn("that this worker is back could not be said: {error}", { error });
        await wait(backoffMs(attempt, random, tableBackoff), signal);
      }
    }
  }

  /**
   * Asks a device to compare its database with the table; its report is kept in the registry under the request that this
   * gives. A device that is away now never hears of it.
   *
   * @throws SyncError `unavailable` where the broker does not take it
   */
  async requestVerify(deviceId: string, options: { repair: boolean; keysPerSecond?: number }): Promise<string> {
    const request = `verify/${this.#options.now()}`;
    await this.#options.publisher.publish({ device: deviceId }, { type: "verify", request, ...options });
    this.#metrics.messagesPublished++;
    return request;
  }

  /**
   * Asks a channel's devices to say where they are, at once: they do so by presence, which {@link MqttPublisher} hears.
   *
   * @throws SyncError `unavailable` where the broker does not take it
   */
  async askWhere(channel: Channel): Promise<void> {
    const to = targetOf(channel);
    if (!to) return;
    const epoch = await this.log.epoch(channel), time = this.#options.now();
    await this.#options.publisher.publish(to, { type: "changes", channel, epoch, seq: 0, entries: [], time, tell: 1 });
    this.#metrics.messagesPublished++;
  }

  /** Notes that a device came or went. Never rejects: presence is for people to look at. */
  async presence(deviceId: string, { online, report, at }: PresenceMessage): Promise<void> {
    // The answer to a `tell` is no news of whether the device is there: it is heard by who asked.
    if (at && !report) return;
    try {
      if (!await this.registry.identityOf(deviceId)) return;
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
