/**
 * The time series of measured fields (`process.<Model>.metrics`) in the log table, and how they are read.
 *
 * - `fields#<series>` / `<period's start, ms>#<worker>`: `{summary, count, expires}`: what one worker counted in that
 *   period so far. One write unit each time.
 * - `fieldseries#<day>` / `<namespace> <field> <names> <values>`: a mark that the series exists, once for each day and
 *   worker.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Schema } from "../../schema/model.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import type { Table } from "../table/port.ts";
import { type StoredSummary, Summary, type SummaryValues } from "./summary.ts";

/** As long as samples are stored. */
export const keptDays = 8;
/** ms. */
export const dayMs = 86_400_000;
/** The name of the series that collects the values of series beyond the limit. */
export const otherValue = "(other)";
const pageSize = 1_000;

/** A series: a field, and the values of its dimensions by name. */
export interface SeriesName {
  readonly namespace: string;
  readonly field: string;
  /** By name, in the order of the names. */
  readonly dimensions: Readonly<Record<string, string>>;
}

/** A measured field, with one set of dimensions. */
export interface MeasuredField {
  readonly namespace: string;
  readonly field: string;
  /** The dimensions' names. */
  readonly dimensions: readonly string[];
  /** Seconds of one point. */
  readonly period: number;
}

/** The schema's measured fields. */
export function measuredFields(schema: Schema): MeasuredField[] {
  const found = new Map<string, MeasuredField>();
  for (const { metrics = [] } of schema.models.values()) {
    for (const { namespace, fields, dimensions, periodMs } of metrics) {
      for (const field of fields) {
        for (const set of dimensions) {
          const names = set.map(({ name }) => name);
          found.set(JSON.stringify([namespace, field, names]), {
            ...{ namespace, field, dimensions: names },
            period: periodMs / 1000,
          });
        }
      }
    }
  }
  return [...found.values()];
}

/** Names a series in a text. */
export function seriesText({ namespace, field, dimensions }: SeriesName): string {
  const names = Object.keys(dimensions).sort();
  return JSON.stringify([namespace, field, names, names.map((name) => dimensions[name])]);
}

/** The hash value of a series. */
export function seriesHash(text: string): string {
  return `fields#${createHash("sha256").update(text).digest("hex").slice(0, 32)}`;
}

/** Of a day's list of series. */
export function listHash(ms: number): string {
  return `fieldseries#${Math.floor(ms / dayMs)}`;
}

/** Of a period. */
export function periodSort(ms: number): string {
  return String(ms).padStart(16, "0");
}

/** A time that is asked for. */
export interface SeriesTime {
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
}

/** A chart's line: null where nothing arrived. */
export interface FieldLine {
  readonly name: keyof SummaryValues;
  readonly points: readonly (readonly [number, number | null])[];
}

const lines = ["count", "sum", "min", "max", "average", "p95"] as const;

/** A worker's period of a series, of which the table has less or nothing. */
export interface Unsaved {
  readonly worker: string;
  readonly startMs: number;
  readonly summary: Summary;
}

/** A series' values in a time, of all workers; `read`: the read units used. */
export async function readFieldSeries(
  table: Table,
  name: SeriesName,
  { fromMs, toMs, stepMs }: SeriesTime,
  unsaved: (series: string) => Iterable<Unsaved> = () => [],
): Promise<{ readonly series: FieldLine[]; readonly workers: string[]; readonly read: number }> {
  const start = Math.floor(fromMs / stepMs) * stepMs, count = Math.ceil((toMs - start) / stepMs);
  const steps = new Map<number, Summary>(), workers = new Set<string>(), text = seriesText(name);
  // One worker's summaries of one period contain each other: the greatest is what it counted.
  const periods = new Map<string, Unsaved>();
  const add = (one: Unsaved) => {
    if (one.startMs < start || one.startMs >= toMs) return;
    const key = `${one.startMs}#${one.worker}`, known = periods.get(key);
    if (!known || known.summary.count < one.summary.count) periods.set(key, one);
  };
  // Before the table is asked: a period that is written meanwhile is in both, and not in neither.
  for (const one of unsaved(text)) add(one);
  let bytes = 0, after: string | undefined, isOver = false;
  do {
    const hash = seriesHash(text);
    const page = await table.query({ index: "primary", hash, sortAfter: periodSort(start), limit: pageSize, after });
    for (const { sort, summary, ...rest } of page.items) {
      bytes += itemSizeBytes({ sort, summary, ...rest } as Parameters<typeof itemSizeBytes>[0]);
      const [period, worker] = String(sort).split("#");
      isOver = Number(period) >= toMs;
      if (isOver) break;
      workers.add(worker!);
      add({
        worker: worker!,
        startMs: Number(period),
        summary: Summary.of(JSON.parse(String(summary)) as StoredSummary),
      });
    }
    after = isOver ? undefined : page.next;
  } while (after !== undefined);
  for (const { startMs, summary } of periods.values()) {
    const step = Math.floor((startMs - start) / stepMs), joined = steps.get(step) ?? new Summary();
    joined.merge(summary);
    steps.set(step, joined);
  }
  const values = Array.from({ length: count }, (_, i) => steps.get(i)?.values());
  const series = lines.map((line): FieldLine => ({
    name: line,
    points: values.map((value, i) => [start + i * stepMs, value?.[line] ?? null] as const),
  }));
  return { series, workers: [...workers].sort(), read: Math.ceil(bytes / 4096) };
}

/** A listed series. */
export interface SeriesList {
  readonly namespace?: string;
  readonly field?: string;
  readonly limit: number;
  readonly after?: string;
}

/** The series of one day with values, in a stable order. */
export async function listFieldSeries(
  table: Table,
  dayAtMs: number,
  { namespace, field, limit, after }: SeriesList,
): Promise<{ readonly series: SeriesName[]; readonly next?: string }> {
  const parts = namespace === undefined ? [] : field === undefined ? [namespace] : [namespace, field];
  const sortPrefix = parts.length === 0 ? undefined : `${JSON.stringify(parts).slice(0, -1)},`;
  const page = await table.query({ index: "primary", hash: listHash(dayAtMs), sortPrefix, limit, after });
  const series = page.items.map(({ sort }): SeriesName => {
    const [namespace, field, names, values] = JSON.parse(String(sort)) as [string, string, string[], string[]];
    return { namespace, field, dimensions: Object.fromEntries(names.map((name, i) => [name, values[i]!])) };
  });
  return { series, ...(page.next === undefined ? {} : { next: page.next }) };
}
