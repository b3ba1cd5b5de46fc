/**
 * What a worker knows about itself and its fleet, for people: devices in memory, the feed of events, the events of open
 * pages, metrics, and samples for charts. No rule of sync depends on it.
 *
 *     presence ──▶ heard ──▶ fleet, events, feed
 *     service ───▶ observer ──▶ metrics, feed, samples, time series of fields
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import type { Presence, Up } from "../protocol.ts";
import type { Schema } from "../schema/model.ts";
import { CloudMetrics } from "./api/metrics.ts";
import { EventHub } from "./console/event_hub.ts";
import { tellOfFeed } from "./console/feed_events.ts";
import { tellOfDevices } from "./console/fleet_events.ts";
import { ItemVersions } from "./console/item_versions.ts";
import type { Bus } from "./feed/bus.ts";
import { Feed } from "./feed/feed.ts";
import { FeedWatcher } from "./feed/watcher.ts";
import { type FieldMetrics, measured } from "./operations/field_metrics.ts";
import { Sampler, type SampleSource } from "./operations/samples.ts";
import { fleetValues } from "./operations/worker_values.ts";
import { Attention } from "./sync/attention.ts";
import { Fleet } from "./sync/fleet.ts";
import { bothObservers, noObserver, type Observer } from "./sync/observer.ts";
import { traceObserver } from "./sync/tracing.ts";
import type { Registry } from "./sync/registry.ts";
import type { Table } from "./table/port.ts";

/** The options of a monitor. */
export interface MonitorOptions {
  readonly schema: Schema;
  readonly registry: Registry;
  /** Where samples are stored. */
  readonly log: Table;
  /** The way to other workers, for the feed. */
  readonly bus: Bus;
  /** What samples contain in addition to the fleet's values. */
  readonly source: SampleSource;
  readonly now: () => number;
  readonly random: () => number;
}

/** Is told of a device's batch. */
type BatchListener = (deviceId: string, up: Up) => void;

/** See the module. */
export class Monitor {
  readonly fleet: Fleet;
  readonly events: EventHub = new EventHub();
  /** Items' values as the feed brings them. */
  readonly versions: ItemVersions = new ItemVersions();
  /** This worker's name among the samples. */
  readonly worker: string = randomBytes(6).toString("hex");
  readonly feed: Feed;
  readonly metrics: CloudMetrics;
  readonly fieldMetrics: FieldMetrics;
  /** Receives the service's measurements. */
  readonly observer: Observer;
  readonly #watcher: FeedWatcher;
  readonly #sampler: Sampler;
  readonly #devices: ReturnType<typeof tellOfDevices>;
  readonly #told: ReturnType<typeof tellOfFeed>;
  readonly #batches = new Set<BatchListener>();

  constructor({ schema, registry, log, bus, source, now, random }: MonitorOptions) {
    this.fleet = new Fleet({ registry, now, attention: new Attention(log, now) });
    this.feed = new Feed({ now, random, bus });
    this.metrics = new CloudMetrics({ schema: schema.version });
    this.#watcher = new FeedWatcher(schema, this.feed, now);
    this.fieldMetrics = measured(this.metrics, { schema, table: log, worker: this.worker, now });
    this.#sampler = new Sampler(log, this.worker, {
      counters: () => source.counters(),
      gauges: () => {
        const gauges = source.gauges();
        return { ...gauges, ...fleetValues(this.fleet, gauges.tailing === 1) };
      },
    }, now);
    // What other workers append comes by the feed, while somebody watches.
    this.feed.listen(({ row }) => {
      if (row.type === "stage" && row.stage === "logged") this.fleet.appended(row.channel, row.seq);
    });
    const own: Observer = {
      ...noObserver,
      acknowledged: ({ deviceId }, up) => this.#batches.forEach((listener) => listener(deviceId, up)),
      published: ({ channel, seq }) => this.fleet.appended(channel, seq),
      asked: (channel, head) => this.fleet.appended(channel, head),
    };
    this.observer = [this.metrics, this.#watcher, this.#sampler, this.fieldMetrics.observer, own]
      .reduce(bothObservers, traceObserver(now));
    this.#devices = tellOfDevices(this.events);
    this.#told = tellOfFeed(this.feed, this.events, this.versions);
  }

  /** Takes a sample at each minute's end from now on, and writes the series whose periods end. */
  start(): void {
    this.#sampler.start();
    this.fieldMetrics.start();
  }

  /** Handles a device's presence from the broker. */
  heard(deviceId: string, presence: Presence): void {
    this.fleet.heard(deviceId, presence);
    this.#devices.heard(deviceId);
    this.#watcher.presence(deviceId, presence);
  }

  /** The embedded broker refused what somebody showed under this name. */
  refused(clientId: string): void {
    if (this.fleet.refused(clientId)) this.#devices.heard(clientId);
  }

  /** Calls back with each batch of a device that was answered. @returns a function that ends that */
  onBatch(listener: BatchListener): () => void {
    this.#batches.add(listener);
    return () => this.#batches.delete(listener);
  }

  /** Writes what is not written. Call it when no presence comes any more, and no message of a device. */
  async close(): Promise<void> {
    this.#sampler.close();
    await this.fieldMetrics.close();
    this.#told.close();
    this.feed.close();
    this.#devices.close();
  }
}
