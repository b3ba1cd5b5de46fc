/**
 * Time series of fields: a worker counts each device change that it wrote to the table, and writes the summary of a
 * period to the log table once the period is over. A repeated change finds its own version in the table and is not
 * written, so it is not counted again, whichever worker gets it.
 *
 * While a period runs, its summary so far is written each fifth of it, at most each minute; each later summary replaces
 * the earlier one under the same key, and never the reverse. So a process that is killed loses what it counted since the
 * last of these writes; one that is closed loses nothing. After a restart, another part of the same period is stored
 * beside it.
 *
 * Bounded: {@link seriesMax} series a day, and {@link deviceSeriesMax} that one device starts. Values of further series
 * go to the series `(other)` of their field, and are counted. A period costs five write units at most, and all running
 * periods together {@link partsMax} in 10 s.
 *
 * @module
 */
import { goesUp } from "../../schema/direction.ts";
import type { Dimension, Field, Identity, Model, Schema } from "../../schema/model.ts";
import { type Attributes, isMap, type Json } from "../../schema/values.ts";
import type { CloudMetrics } from "../api/metrics.ts";
import { Log } from "../../protocol/log.ts";
import { noObserver, type Observer } from "../sync/observer.ts";
import { any, atMost, lacks } from "../table/condition.ts";
import type { Table, Write } from "../table/port.ts";
import {
  dayMs,
  keptDays,
  listHash,
  otherValue,
  periodSort,
  seriesHash,
  type SeriesName,
  seriesText,
  type Unsaved,
} from "./field_series.ts";
import { Summary } from "./summary.ts";

/** A series takes about 2 KB in memory, and costs one write unit for each period with values. */
export const seriesMax = 10_000;
/** The series that one device may start in a day: a device that invents values must not use up the series of others. */
export const deviceSeriesMax = 200;
/** The most periods that could not be written yet. Beyond that, the oldest are dropped and counted. */
const unsavedMax = 20_000;
/**
 * The most running periods that are written in one go, those first that waited longest: ten write units a second,
 * however many series there are.
 */
export const partsMax = 100;
/** A running period is written this often, and not more than once a minute. */
const partsOfPeriod = 5, partMsMin = 60_000;
/** Longer values of a dimension are cut. */
const valueLengthMax = 128;
const tickMs = 10_000;
/** Simultaneous writes: the table has other writers, too. */
const writesAtOnce = 100;
const logger = new Log("cloud");

/** The options of a recorder. */
export interface FieldMetricsContext {
  readonly schema: Schema;
  readonly table: Table;
  /** A unique name of this run of the worker. */
  readonly worker: string;
  readonly now: () => number;
}

/** One field by one set of dimensions. */
interface Line {
  readonly namespace: string;
  readonly field: Field;
  readonly dimensions: readonly (Dimension & { readonly attribute: string })[];
  readonly periodMs: number;
}

interface Period {
  readonly series: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly summary: Summary;
  /** What the table has of it: the count, and when that was written, or when the period's first value came. */
  stored: { readonly count: number; readonly atMs: number };
}

/** A series of today. */
interface Known {
  readonly name: SeriesName;
  total: number;
  running?: Period;
  /** The one before, for `/metrics`. */
  ended?: Period;
  /** The day whose list contains it. */
  listedDay?: number;
}

/** A value with its labels, for `/metrics`. */
export interface Labelled {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A worker's or handler's own series, which its metrics show. */
export function measured(metrics: CloudMetrics, context: FieldMetricsContext): FieldMetrics {
  const fieldMetrics = new FieldMetrics(context);
  metrics.add({ counters: () => fieldMetrics.counters(), labelled: () => fieldMetrics.labelled() });
  return fieldMetrics;
}

/** See the module. */
export class FieldMetrics {
  /** The service's observer that counts. */
  readonly observer: Observer = { ...noObserver, stored: (...args) => this.#stored(...args) };
  readonly #lines = new Map<string, Line[]>();
  #known = new Map<string, Known>();
  #begun = new Map<string, number>();
  #day = 0;
  /** Periods that are over and not written yet. */
  #unsaved = new Set<Period>();
  readonly #counters = { measuredValues: 0, measuredValuesFolded: 0, measuredPeriodsLost: 0 };
  #timer: ReturnType<typeof setInterval> | undefined;
  #saving: Promise<void> | undefined;
  #isAway = false;

  constructor(private readonly context: FieldMetricsContext) {
    const { schema } = context;
    for (const model of schema.models.values()) {
      if (model.metrics && goesUp(model)) this.#lines.set(model.name, linesOf(model));
    }
  }

  /** Whether the schema measures any field. */
  get isUsed(): boolean {
    return this.#lines.size > 0;
  }

  /** For `/metrics`; empty if the schema measures nothing. */
  counters(): Readonly<Record<string, number>> {
    return this.isUsed ? { ...this.#counters } : {};
  }

  /** From now on, writes finished periods every 10 s. */
  start(): void {
    if (this.isUsed) this.#timer = setInterval(() => void this.save(), tickMs);
  }

  /** Writes everything, and accepts no more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#saving;
    for (const known of this.#known.values()) this.#end(known, Infinity);
    await this.save();
  }

  /** Writes the periods that are over, and parts of the running ones. Never rejects: what can't be written waits. */
  save(): Promise<void> {
    return this.#saving ??= this.#save().finally(() => this.#saving = undefined);
  }

  /** The periods of a series that the table has not, or not all of. */
  *unsaved(series: string): Iterable<Unsaved> {
    const running = this.#known.get(series)?.running, { worker } = this.context;
    if (running) yield { worker, startMs: running.startMs, summary: running.summary };
    for (const { series: its, startMs, summary } of this.#unsaved) {
      if (its === series) yield { worker, startMs, summary };
    }
  }

  /** Count and total of each series since the start of the day or of the process, and the last ended period. */
  *labelled(): Iterable<Labelled> {
    const now = this.context.now();
    for (const known of this.#known.values()) {
      this.#end(known, now);
      const { namespace, field, dimensions } = known.name, labels = { namespace, field, ...dimensions };
      yield { ...texts.count, labels, value: known.total };
      const { ended } = known, lengthMs = ended ? ended.endMs - ended.startMs : 0;
      const values = ended && now - ended.endMs < lengthMs ? ended.summary.values() : undefined;
      for (const name of ["sum", "min", "max", "average", "p95"] as const) {
        if (values) yield { ...texts[name], labels, value: values[name] };
      }
    }
  }

  #stored(identity: Identity, model: Model, attributes: Attributes): void {
    const lines = this.#lines.get(model.name);
    if (!lines) return;
    const now = this.context.now();
    this.#turnDay(now);
    for (const line of lines) {
      const value = numberOf(attributes[line.field.attribute]);
      if (value === undefined) continue;
      this.#counters.measuredValues++;
      const known = this.#seriesOf(line, identity, model, attributes);
      this.#end(known, now);
      known.running ??= this.#begin(known, Math.floor(now / line.periodMs) * line.periodMs, line.periodMs, now);
      known.running.summary.add(value);
      known.total++;
    }
  }

  #begin(known: Known, startMs: number, lengthMs: number, now: number): Period {
    const { ended } = known;
    if (ended && ended.startMs >= startMs) {
      // The clock was set back: a second summary of the period would replace the first one in the table.
      this.#unsaved.delete(ended);
      return ended;
    }
    const summary = new Summary(), stored = { count: 0, atMs: now };
    return { series: seriesText(known.name), startMs, endMs: startMs + lengthMs, summary, stored };
  }

  #seriesOf(line: Line, identity: Identity, model: Model, attributes: Attributes): Known {
    const { namespace, field: { name: field } } = line;
    const dimensions = line.dimensions.map(({ name, field, attribute }) =>
      [name, textOf(valueOf(field, attribute, identity, model, attributes))] as const
    );
    const name: SeriesName = { namespace, field, dimensions: Object.fromEntries(dimensions) };
    const known = this.#known.get(seriesText(name));
    if (known) return known;
    const { deviceId } = identity, begun = this.#begun.get(deviceId) ?? 0;
    if (this.#known.size < seriesMax && begun < deviceSeriesMax) {
      this.#begun.set(deviceId, begun + 1);
      return this.#add(name);
    }
    this.#counters.measuredValuesFolded++;
    if (this.#counters.measuredValuesFolded === 1) {
      logger.warn("series of fields are too many: {field} of {deviceId} and others count as (other)", {
        field,
        deviceId,
      });
    }
    const other = { ...name, dimensions: Object.fromEntries(dimensions.map(([name]) => [name, otherValue])) };
    // As many as the schema has fields and sets, in addition to the others.
    return this.#known.get(seriesText(other)) ?? this.#add(other);
  }

  #add(name: SeriesName): Known {
    const known: Known = { name, total: 0 };
    this.#known.set(seriesText(name), known);
    return known;
  }

  /** Drops yesterday's series, after writing what is unwritten. */
  #turnDay(now: number): void {
    const day = Math.floor(now / dayMs);
    // The clock may be set back over midnight: the series' last periods are still needed then.
    if (day <= this.#day) return;
    for (const known of this.#known.values()) this.#end(known, Infinity);
    this.#known = new Map();
    this.#begun = new Map();
    this.#day = day;
  }

  /** Ends the series' running period if it is over by then. */
  #end(known: Known, now: number): void {
    const { running } = known;
    if (!running || now < running.endMs) return;
    known.ended = running;
    known.running = undefined;
    this.#unsaved.add(running);
    for (const oldest of this.#unsaved) {
      if (this.#unsaved.size <= unsavedMax) break;
      this.#unsaved.delete(oldest);
      this.#counters.measuredPeriodsLost++;
    }
  }

  async #save(): Promise<void> {
    const now = this.context.now();
    for (const known of this.#known.values()) this.#end(known, now);
    try {
      while (this.#unsaved.size > 0) {
        const periods = [...this.#unsaved].slice(0, writesAtOnce);
        await this.#write(periods, now);
        for (const period of periods) if (period.stored.count === period.summary.count) this.#unsaved.delete(period);
      }
      await this.#write(this.#dueParts(now), now);
      if (this.#isAway) logger.info("what was counted of fields is written again");
      this.#isAway = false;
    } catch (error) {
      if (!this.#isAway) logger.warn("what was counted of fields can't be written yet: {error}", { error });
      this.#isAway = true;
    }
  }

  /** The running periods of which a part must be written now. */
  #dueParts(now: number): Period[] {
    const due: Period[] = [];
    for (const { running } of this.#known.values()) {
      if (!running || running.stored.count === running.summary.count) continue;
      const lengthMs = running.endMs - running.startMs, everyMs = Math.max(lengthMs / partsOfPeriod, partMsMin);
      if (everyMs < lengthMs && now - running.stored.atMs >= everyMs) due.push(running);
    }
    return due.sort((a, b) => a.stored.atMs - b.stored.atMs).slice(0, partsMax);
  }

  /**
   * The list comes first, so that nothing is unlisted. A write that the table carries out late, after its call failed,
   * replaces no later one: counts only grow. A crash after the first leaves a listed series without points.
   */
  async #write(periods: readonly Period[], now: number): Promise<void> {
    const { table, worker } = this.context, expires = Math.floor(now / 1000) + keptDays * 86_400;
    const dayOf = (ms: number) => Math.floor(ms / dayMs);
    const fresh = new Map(periods.flatMap(({ series, startMs }) => {
      const known = this.#known.get(series);
      const isListed = known?.listedDay === dayOf(startMs);
      return isListed ? [] : [[`${listHash(startMs)} ${series}`, { known, series, startMs }] as const];
    }));
    const listed = [...fresh.values()].map(({ series, startMs }): Write => ({
      op: "put",
      item: { hash: listHash(startMs), sort: series, expires },
    }));
    await writeAll(table, listed);
    for (const { known, startMs } of fresh.values()) if (known) known.listedDay = dayOf(startMs);
    const counts = periods.map(({ summary }) => summary.count);
    await writeAll(
      table,
      periods.map(({ series, startMs, summary }): Write => {
        const sort = `${periodSort(startMs)}#${worker}`, { count } = summary;
        const item = { hash: seriesHash(series), sort, summary: JSON.stringify(summary.stored()), count, expires };
        return { op: "put", item, condition: any(lacks("count"), atMost("count", count)) };
      }),
    );
    periods.forEach((period, i) => period.stored = { count: counts[i]!, atMs: now });
  }
}

/** Makes the writes; one that is refused is superseded by what is there. */
async function writeAll(table: Table, writes: readonly Write[]): Promise<void> {
  if (writes.length === 0) return;
  const results = await table.write(writes);
  const failed = results.find(({ outcome }) => outcome !== "written" && outcome !== "refused");
  if (failed) throw new Error(`the log table's answer is ${failed.outcome}`);
}

const texts = {
  count: { name: "twintable_field_values_total", help: "Values of the field that arrived.", type: "counter" },
  sum: { name: "twintable_field_added_up", help: "Sum of the values of the last whole period.", type: "gauge" },
  min: { name: "twintable_field_minimum", help: "Least value of the last whole period.", type: "gauge" },
  max: { name: "twintable_field_maximum", help: "Greatest value of the last whole period.", type: "gauge" },
  average: { name: "twintable_field_average", help: "Average of the last whole period.", type: "gauge" },
  p95: {
    name: "twintable_field_p95",
    help: "What 95% of the last whole period's values are at or below.",
    type: "gauge",
  },
} as const;

function linesOf({ metrics = [], fields }: Model): Line[] {
  const fieldOf = (name: string) => fields.find((field) => field.name === name);
  return metrics.flatMap(({ namespace, fields: measured, dimensions, periodMs }) =>
    measured.flatMap((name) =>
      dimensions.map((set): Line => ({
        namespace,
        field: fieldOf(name)!,
        dimensions: set.map((one) => ({ ...one, attribute: fieldOf(one.field)?.attribute ?? one.field })),
        periodMs,
      }))
    )
  );
}

function valueOf(
  field: string,
  attribute: string,
  identity: Identity,
  { identityNames }: Model,
  attributes: Attributes,
): Json | undefined {
  const role = (["deviceId", "accountId"] as const).find((role) => identityNames[role] === field);
  return attributes[attribute] ?? (role && identity[role]);
}

/** A number, also one that a double can't hold exactly. */
function numberOf(value: Json | undefined): number | undefined {
  const number = typeof value === "number" ? value : isMap(value) && "$n" in value ? Number(value.$n) : NaN;
  return Number.isFinite(number) ? number : undefined;
}

function textOf(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  const text = typeof value === "object" ? String(numberOf(value) ?? "") : String(value);
  return text.slice(0, valueLengthMax).toWellFormed();
}
