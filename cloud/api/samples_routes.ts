/**
 * `GET /api/metrics`: what the workers did, minute by minute, for charts (`operations/samples.ts`), or with `namespace` and
 * `field` what the devices sent (`operations/field_series.ts`). `GET /api/metrics/series` lists what there is of the latter.
 *
 * @module
 */
import type { Context, Hono } from "npm:hono@^4.13.19";
import type { FieldMetrics } from "../operations/field_metrics.ts";
import {
  listFieldSeries,
  measuredFields,
  readFieldSeries,
  type SeriesName,
  type SeriesTime,
} from "../operations/field_series.ts";
import { pointsMax, readSeries } from "../operations/samples.ts";
import type { Schema } from "../../schema/model.ts";
import type { Table } from "../table/port.ts";
import { ApiError } from "./errors.ts";
import { checkQuery, pageOf, withToken } from "./query.ts";

const minuteMs = 60_000;

/** What the routes read. */
export interface SamplesContext {
  readonly schema: Schema;
  readonly table: Table;
  readonly now: () => number;
  /** What this process has not written yet. */
  readonly fieldMetrics?: FieldMetrics;
}

/** Adds the routes. */
export function samplesRoutes(app: Hono, { schema, table, now, fieldMetrics }: SamplesContext): void {
  const fields = measuredFields(schema);
  app.get("/api/metrics", async (c) => {
    checkQuery(c, ["from", "to", "step", "worker", "namespace", "field", "dimensions"]);
    const series = seriesOf(c);
    // Unless a finer one is asked for, a step has no gaps where something arrives in each period.
    const measured = fields.filter(({ namespace, field }) => namespace === series?.namespace && field === series.field);
    const time = timesOf(c, now(), Math.max(minuteMs, ...measured.map(({ period }) => period * 1000)));
    if (!series) {
      const { lastMs: _, ...found } = await readSeries(table, { ...time, worker: c.req.query("worker") });
      return c.json({ ...found, fields });
    }
    if (c.req.query("worker") !== undefined) throw new ApiError(400, "invalid", "a field's series is of all workers");
    return c.json(await readFieldSeries(table, series, time, (name) => fieldMetrics?.unsaved(name) ?? []));
  });
  app.get("/api/metrics/series", async (c) => {
    checkQuery(c, ["namespace", "field", "at", "limit", "next"]);
    const { limit, next: after } = pageOf(c), atMs = timeOf(c.req.query("at"), "at") ?? now();
    const { namespace, field } = c.req.query();
    if (field !== undefined && namespace === undefined) throw new ApiError(400, "invalid", "field wants a namespace");
    return c.json(withToken(await listFieldSeries(table, atMs, { namespace, field, limit, after })));
  });
}

function timesOf(c: Context, now: number, usualStepMs: number): SeriesTime {
  const toMs = timeOf(c.req.query("to"), "to") ?? now;
  const fromMs = timeOf(c.req.query("from"), "from") ?? toMs - 60 * minuteMs;
  const text = c.req.query("step"), stepMs = text === undefined ? usualStepMs : Number(text) * 1000;
  if (!Number.isSafeInteger(stepMs) || stepMs < minuteMs || stepMs % minuteMs !== 0) {
    throw new ApiError(400, "invalid", "step is a whole number of minutes, in seconds: 60, 300, …");
  }
  if (fromMs >= toMs) throw new ApiError(400, "invalid", "from is before to");
  if ((toMs - fromMs) / stepMs > pointsMax) {
    throw new ApiError(400, "invalid", `that is more than ${pointsMax} points: a longer step is required`);
  }
  return { fromMs, toMs, stepMs };
}

/** The series that is asked for; undefined: the workers' samples. */
function seriesOf(c: Context): SeriesName | undefined {
  const { namespace, field, dimensions: text = "{}" } = c.req.query();
  if (namespace === undefined && field === undefined && c.req.query("dimensions") === undefined) return undefined;
  if (namespace === undefined || field === undefined) {
    throw new ApiError(400, "invalid", "a field's series wants namespace and field");
  }
  let dimensions: unknown;
  try {
    dimensions = JSON.parse(text);
  } catch {
    dimensions = undefined;
  }
  const isMap = typeof dimensions === "object" && dimensions !== null && !Array.isArray(dimensions);
  if (!isMap || !Object.values(dimensions as object).every((value) => typeof value === "string")) {
    throw new ApiError(400, "invalid", 'dimensions is a JSON object of texts: {"Device":"d1"}');
  }
  return { namespace, field, dimensions: dimensions as Record<string, string> };
}

/** ISO text, or ms since 1970. */
function timeOf(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  if (!Number.isFinite(ms)) throw new ApiError(400, "invalid", `${name} is an ISO time, or ms since 1970`);
  return ms;
}
