/**
 * `/metrics`, by Prometheus' conventions, with `prom-client`: counters of the service, durations of table requests,
 * answers to changes, the lag of the stream. Each worker or handler has its own registry and numbers.
 *
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "npm:prom-client@^15.1.3";
import config from "../../deno.json" with { type: "json" };
import type { Labelled } from "../operations/field_metrics.ts";
import { noObserver, type Observer } from "../sync/observer.ts";

/** Seconds: from an embedded table's microseconds to a request that gives up. */
const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What each scrape reads. */
export interface MetricsSources {
  /** Counters by name, `messagesReceived`: they only grow. */
  counters?(): Readonly<Record<string, number>>;
  /** Gauges by name, `messagesRunning`: undefined if there is nothing to say. */
  gauges?(): Readonly<Record<string, number | undefined>>;
  /** Version of the schema. */
  readonly schema?: string;
  /**
   * Values with labels; those that are no longer reported are removed.
   *
   * @internal
   */
  labelled?(): Iterable<Labelled>;
}

/** Descriptions of counters and gauges, for their HELP; those without a line here use their own name. */
const help: Readonly<Record<string, string>> = {
  messagesReceived: "Messages of devices that were accepted.",
  messagesRepeated: "Messages that came again while the one before was being answered, or waited to be.",
  messagesDelayed: "Messages that were answered with later.",
  messagesRefused: "Messages that found no room.",
  messagesPublished: "Messages that were published to devices.",
  messagesUnknown: "Messages of devices that the registry does not know.",
  messagesFailed: "Messages that could not be answered.",
  publishFailed: "Publishes that the broker did not accept.",
  changesReceived: "Changes that devices sent.",
  changesRefused: "Changes that were not answered with ok.",
  batchesRefused: "Batches that could not be read or handled as a whole.",
  channelsIgnored: "Channels that devices asked for and may not read.",
  recordsRead: "Records of the change stream that were read.",
  recordsDropped: "Records that could not be passed on after several attempts.",
  recordsRefused: "Records that were handed back, because their stream lacks images.",
  entriesPublished: "Entries of channel logs that were published.",
  itemsUnidentified: "Changed items that reach no device.",
  streamFailures: "Times that the change stream stopped and was read again.",
  streamLost: "Times that the change stream lost history, so that devices take a snapshot.",
  messagesRunning: "Messages of devices that are being handled.",
  connections: "Clients of the embedded broker.",
  brokerConnected: "Whether both connections to the broker are up.",
  residentBytes: "Resident memory of the process.",
  measuredValues: "Values of measured fields that arrived.",
  measuredValuesFolded: "Values that were counted as (other): their series are too many.",
  measuredPeriodsLost: "Periods of measured fields that could not be written.",
};

/** The metrics of a worker or handler. It is the service's observer. */
export class CloudMetrics implements Observer {
  /** Of no matter here. */
  readonly stored: Observer["stored"] = noObserver.stored;
  /** Measured by {@link answered}. */
  readonly acknowledged: Observer["acknowledged"] = noObserver.acknowledged;
  /** Counted by the service. */
  readonly published: Observer["published"] = noObserver.published;
  readonly #registry = new Registry();
  readonly #sources: MetricsSources[] = [];
  readonly #counters = new Map<string, Counter>();
  readonly #gauges = new Map<string, Gauge>();
  #labelled: string[] = [];
  readonly #requests = this.#histogram("table_request_duration_seconds", "How long requests to a table took.", [
    "table",
    "op",
  ]);
  readonly #failures = this.#counter("table_requests_failed_total", "Requests to a table that failed.", [
    "table",
    "op",
  ]);
  readonly #answers = this.#counter("change_answers_total", "Changes of devices, by how they were answered.", [
    "model",
    "code",
  ]);
  readonly #ages = this.#histogram(
    "stream_record_age_seconds",
    "How old the newest record of a batch was when it was passed on.",
    [],
  );
  readonly #lastPassed = new Gauge({
    name: "twintable_stream_last_passed_timestamp_seconds",
    help: "When this worker passed on records of the stream last.",
    registers: [this.#registry],
  });

  /** Counters and gauges of these sources; more by {@link CloudMetrics.add}. */
  constructor(source: MetricsSources = {}) {
    this.add(source);
    const info = new Gauge({
      name: "twintable_build_info",
      help: "The version that runs, and its schema's.",
      labelNames: ["version", "schema"],
      registers: [this.#registry],
    });
    info.set({ version: config.version, schema: source.schema ?? "" }, 1);
  }

  /** Adds counters and gauges that each scrape reads. */
  add(source: MetricsSources): void {
    this.#sources.push(source);
  }

  request(table: "data" | "log", op: string, seconds: number, failed: boolean): void {
    this.#requests.observe({ table, op }, seconds);
    if (failed) this.#failures.inc({ table, op });
  }

  answered(model: string, code: string): void {
    this.#answers.inc({ model, code });
  }

  passed(_records: number, ageSeconds: number | undefined): void {
    this.#lastPassed.set(Date.now() / 1000);
    if (ageSeconds !== undefined) this.#ages.observe(Math.max(0, ageSeconds));
  }

  /** The text of a scrape. */
  async text(): Promise<string> {
    for (const { counters, gauges } of this.#sources) {
      for (const [name, value] of Object.entries(counters?.() ?? {})) this.#set(name, value);
      for (const [name, value] of Object.entries(gauges?.() ?? {})) {
        if (value !== undefined) this.#gauge(name).set(value);
      }
    }
    this.#setLabelled(this.#sources.flatMap((source) => [...source.labelled?.() ?? []]));
    return await this.#registry.metrics();
  }

  /** Recreated at each scrape, because the labels depend on what has arrived. */
  #setLabelled(values: readonly Labelled[]): void {
    for (const name of this.#labelled) this.#registry.removeSingleMetric(name);
    const byName = Map.groupBy(values, ({ name }) => name);
    this.#labelled = [...byName.keys()];
    for (const [name, own] of byName) {
      const labelNames = [...new Set(own.flatMap(({ labels }) => Object.keys(labels)))], { type, help } = own[0]!;
      const metric = new (type === "counter" ? Counter : Gauge)({
        name,
        help,
        labelNames,
        registers: [this.#registry],
      });
      for (const { labels, value } of own) metric.inc(labels, value);
    }
  }

  /** The `content-type` of the text. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Counters are counted elsewhere: each scrape adds the increase since the last one. */
  #set(name: string, value: number): void {
    let counter = this.#counters.get(name);
    if (!counter) {
      counter = this.#counter(`${snake(name)}_total`, help[name] ?? `${snake(name).replaceAll("_", " ")}.`, []);
      this.#counters.set(name, counter);
    }
    counter.reset();
    counter.inc(value);
  }

  #gauge(name: string): Gauge {
    let gauge = this.#gauges.get(name);
    if (!gauge) {
      gauge = new Gauge({
        name: `twintable_${snake(name)}`,
        help: help[name] ?? `${snake(name).replaceAll("_", " ")}.`,
        registers: [this.#registry],
      });
      this.#gauges.set(name, gauge);
    }
    return gauge;
  }

  #counter(name: string, text: string, labelNames: string[]): Counter {
    return new Counter({ name: `twintable_${name}`, help: text, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, text: string, labelNames: string[]): Histogram {
    return new Histogram({ name: `twintable_${name}`, help: text, labelNames, buckets, registers: [this.#registry] });
  }
}

/** `messagesReceived` becomes `messages_received`. */
function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
