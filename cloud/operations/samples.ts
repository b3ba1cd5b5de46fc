/**
 * Each worker's activity in each minute, stored in the log table for some days, so that charts survive restarts and
 * show the whole fleet, whichever worker answers. A minute without a sample is a gap, never 0: the worker or the table
 * was unreachable.
 *
 * In the log table: `samples#<day>` / `<minute, ms>#<worker>`: `{values, expires}`, one write unit a minute and worker. Series
 * that are 0 nearly always (`refused_…`) are left out where they are; `v` says that the sample's build knows them.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { Item } from "../../schema/values.ts";
import { noObserver, type Observer } from "../sync/observer.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import type { Table } from "../table/port.ts";

/** How the workers' values of a minute, and the minutes of a step, are combined. */
type Join = "sum" | "max";

/** Codes of refused changes, each a series of its own: `refused_too_large`. */
export const refusals = ["stale", "gone", "invalid", "too-large", "clock", "throttled", "late", "schema"] as const;

/** A code's series. */
export function refusedAs(code: string): string {
  return `refused_${code.replaceAll("-", "_")}`;
}

interface SeriesKind {
  readonly join: Join;
  /** Each worker's view of all devices. */
  readonly fleet?: true;
  /** Left out of a sample where it is 0. */
  readonly sparse?: true;
}

/** The series: counts are for a minute. */
const series: Readonly<Record<string, SeriesKind>> = {
  changes: { join: "sum" },
  changes_refused: { join: "sum" },
  entries_published: { join: "sum" },
  messages_received: { join: "sum" },
  messages_failed: { join: "sum" },
  publish_failed: { join: "sum" },
  stream_records: { join: "sum" },
  stream_failures: { join: "sum" },
  table_requests: { join: "sum" },
  table_failures: { join: "sum" },
  table_throttled: { join: "sum", sparse: true },
  ...Object.fromEntries(refusals.map((code) => [refusedAs(code), { join: "sum", sparse: true } as const])),
  table_ms_max: { join: "max" },
  rcu: { join: "sum" },
  wcu: { join: "sum" },
  tailing: { join: "sum" },
  shards: { join: "max" },
  poll_ms_max: { join: "max" },
  stream_age_ms: { join: "max" },
  connections: { join: "sum" },
  messages_running: { join: "sum" },
  resident_bytes: { join: "max" },
  devices_online: { join: "max", fleet: true },
  devices_lagging: { join: "max", fleet: true },
  devices_trouble: { join: "max", fleet: true },
  devices_silent: { join: "max", fleet: true },
  lag_p50_ms: { join: "max", fleet: true },
  lag_p99_ms: { join: "max", fleet: true },
  outbox: { join: "max", fleet: true },
};

/** Counters, by the series that shows their growth. */
const grown: Readonly<Record<string, string>> = {
  changes: "changesReceived",
  changes_refused: "changesRefused",
  entries_published: "entriesPublished",
  messages_received: "messagesReceived",
  messages_failed: "messagesFailed",
  publish_failed: "publishFailed",
  stream_records: "recordsRead",
  stream_failures: "streamFailures",
  rcu: "unitsRead",
  wcu: "unitsWritten",
};
const optional: ReadonlySet<string> = new Set(["rcu", "wcu"]);

const minuteMs = 60_000, dayMs = 86_400_000;
const keptDays = 8;
/** Samples since this one know the sparse series. */
const knowsSparse = 2;
/** Points of a chart: a week in steps of five minutes. */
export const pointsMax = 2_100;
const pageSize = 1_000;
const logger = new Log("cloud");

/** The measurements at the end of a minute. */
export interface SampleSource {
  /** Counters since the start, by name. */
  counters(): Readonly<Record<string, number>>;
  /** Values by series; undefined if there is nothing to say. */
  gauges(): Readonly<Record<string, number | undefined>>;
}

/** Takes a worker's samples. It is one of the service's observers. */
export class Sampler implements Observer {
  readonly stored: Observer["stored"] = noObserver.stored;
  readonly acknowledged = noObserver.acknowledged;
  readonly published = noObserver.published;
  #before: Readonly<Record<string, number>> = {};
  #requests = 0;
  #failures = 0;
  #sparse = new Map<string, number>();
  #slowestMs: number | undefined;
  #ageMs: number | undefined;
  #sampledMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly table: Table,
    private readonly worker: string,
    private readonly source: SampleSource,
    private readonly now: () => number,
  ) {
    this.#sampledMs = now();
  }

  /** See {@link Observer.request}. */
  request(_table: string, _op: string, seconds: number, failed: boolean, throttled: number): void {
    this.#requests++;
    if (failed) this.#failures++;
    if (throttled > 0) this.#add("table_throttled", throttled);
    this.#slowestMs = Math.max(this.#slowestMs ?? 0, Math.round(seconds * 1000));
  }

  /** See {@link Observer.answered}. */
  answered(_model: string, code: string): void {
    if (code !== "ok") this.#add(refusedAs(code), 1);
  }

  #add(name: string, count: number): void {
    this.#sparse.set(name, (this.#sparse.get(name) ?? 0) + count);
  }

  /** See {@link Observer.passed}. */
  passed(_records: number, ageSeconds: number | undefined): void {
    if (ageSeconds !== undefined) this.#ageMs = Math.max(this.#ageMs ?? 0, Math.round(ageSeconds * 1000));
  }

  /** Takes a sample at each minute's end from now on. */
  start(): void {
    const untilMs = minuteMs - this.now() % minuteMs;
    this.#timer = setTimeout(() => {
      this.sample().finally(() => this.#timer !== undefined && this.start());
    }, untilMs);
  }

  /** Takes no more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** The sample of the minute that has just ended. Never rejects: a sample that can't be stored is a gap. */
  async sample(): Promise<void> {
    const now = this.now(), minutes = Math.max((now - this.#sampledMs) / minuteMs, 1 / 60);
    const counters = this.source.counters(), values: Record<string, number> = { v: knowsSparse };
    for (const [name, counter] of Object.entries(grown)) {
      // A counter that is not there counts nothing here, as the units of a table that charges for none.
      if (optional.has(name) && counters[counter] === undefined) continue;
      const grew = (counters[counter] ?? 0) - (this.#before[counter] ?? 0);
      values[name] = Math.round(grew / minutes);
    }
    // One in many minutes is one, and not none.
    for (const [name, count] of this.#sparse) values[name] = Math.ceil(count / minutes);
    values.table_requests = Math.round(this.#requests / minutes);
    values.table_failures = Math.round(this.#failures / minutes);
    const gauges = { table_ms_max: this.#slowestMs, stream_age_ms: this.#ageMs, ...this.source.gauges() };
    for (const [name, value] of Object.entries(gauges)) if (value !== undefined) values[name] = Math.round(value);
    this.#before = counters;
    this.#requests = this.#failures = 0;
    this.#sparse.clear();
    this.#slowestMs = this.#ageMs = undefined;
    this.#sampledMs = now;
    const atMs = Math.round(now / minuteMs) * minuteMs - minuteMs;
    const item: Item = {
      hash: hashOf(atMs),
      sort: `${sortOf(atMs)}#${this.worker}`,
      values: JSON.stringify(values),
      expires: Math.floor(atMs / 1000) + keptDays * 86_400,
    };
    try {
      await this.table.write([{ op: "put", item }]);
    } catch (error) {
      logger.debug("a minute's sample is not kept: {error}", { error });
    }
  }
}

/** What is asked for. */
export interface SeriesQuery {
  readonly fromMs: number;
  readonly toMs: number;
  /** A whole number of minutes, ms. */
  readonly stepMs: number;
  /** Only this worker; default: the whole fleet. */
  readonly worker?: string;
}

/** A chart's line: null if there is no sample. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [number, number | null])[];
}

/** The samples of a time. */
export interface ReadSeries {
  readonly series: Series[];
  readonly workers: string[];
  /** By worker, the last minute of which it stored a sample, ms. */
  readonly lastMs: ReadonlyMap<string, number>;
  /** Read units used. */
  readonly read: number;
}

/** The samples of a time, by series. */
export async function readSeries(table: Table, { fromMs, toMs, stepMs, worker }: SeriesQuery): Promise<ReadSeries> {
  const start = Math.floor(fromMs / stepMs) * stepMs, count = Math.ceil((toMs - start) / stepMs);
  const buckets = new Map<string, Bucket[]>();
  const lastMs = new Map<string, number>();
  let bytes = 0;
  for (let day = Math.floor(start / dayMs); day * dayMs < toMs; day++) {
    let after: string | undefined;
    do {
      const hash = hashOf(day * dayMs), sortAfter = sortOf(Math.max(start, day * dayMs));
      const page = await table.query({ index: "primary", hash, sortAfter, limit: pageSize, after });
      for (const item of page.items) {
        bytes += itemSizeBytes(item);
        const [minute, ...rest] = String(item.sort).split("#"), name = rest.join("#"), atMs = Number(minute);
        if (atMs >= toMs) continue;
        lastMs.set(name, Math.max(atMs, lastMs.get(name) ?? 0));
        if (worker !== undefined && name !== worker) continue;
        const values = JSON.parse(String(item.values)) as Record<string, number>;
        add(buckets, values, Math.floor((atMs - start) / stepMs), count, atMs);
      }
      after = page.next;
    } while (after !== undefined);
  }
  const lines = Object.entries(series).map(([name, { join }]): Series => {
    const own = buckets.get(name) ?? [];
    const points = Array.from({ length: count }, (_, i) => [start + i * stepMs, valueOf(own[i], join)] as const);
    return { name, points };
  });
  return { series: lines, workers: [...lastMs.keys()].sort(), lastMs, read: Math.ceil(bytes / 4096) };
}

const sparseZeroes: Readonly<Record<string, number>> = Object.fromEntries(
  Object.entries(series).flatMap(([name, { sparse }]) => sparse ? [[name, 0]] : []),
);

/** By minute, the workers' values as one. */
type Bucket = Map<number, number>;

function add(
  buckets: Map<string, Bucket[]>,
  values: Readonly<Record<string, number>>,
  at: number,
  count: number,
  minute: number,
): void {
  const sparse = Number(values.v) >= knowsSparse ? sparseZeroes : {};
  for (const [name, value] of Object.entries({ ...sparse, ...values })) {
    if (!Object.hasOwn(series, name) || typeof value !== "number") continue;
    const line = buckets.get(name) ?? Array.from<Bucket>({ length: count });
    buckets.set(name, line);
    const bucket = line[at] ??= new Map(), before = bucket.get(minute);
    const both = before === undefined ? value : series[name]!.join === "sum" ? before + value : Math.max(before, value);
    bucket.set(minute, both);
  }
}

/** Of a step: the mean of its minutes, or the greatest. */
function valueOf(bucket: Bucket | undefined, join: Join): number | null {
  if (!bucket || bucket.size === 0) return null;
  const values = [...bucket.values()];
  return joined(values, join);
}

/** Of a step: the mean of what there is, or the greatest. */
function joined(values: readonly number[], join: Join): number {
  if (join === "max") return Math.max(...values);
  return Math.round(values.reduce((sum, value) => sum + value, 0) / values.length * 100) / 100;
}

/** The same line in steps that are so many times as long, for a table of fewer rows. A step without any value has none. */
export function coarser({ name, points }: Series, times: number): Series {
  const { join } = series[name]!, rows: (readonly [number, number | null])[] = [];
  for (let at = 0; at < points.length; at += times) {
    const part = points.slice(at, at + times), values = part.flatMap(([, value]) => value ?? []);
    rows.push([part[0]![0], values.length === 0 ? null : joined(values, join)]);
  }
  return { name, points: rows };
}

/** What a step's value is of its minutes. */
export function joinOf(name: string): "mean" | "greatest" {
  return series[name]?.join === "max" ? "greatest" : "mean";
}

function hashOf(ms: number): string {
  return `samples#${Math.floor(ms / dayMs)}`;
}

function sortOf(ms: number): string {
  return String(ms).padStart(16, "0");
}
