/**
 * `GET /api/metrics`: what the workers did, minute by minute, for charts. See `operations/samples.ts`.
 *
 * @module
 */
import type { Hono } from "npm:hono@^4.13.19";
import { pointsMax, readSeries } from "../operations/samples.ts";
import type { Table } from "../table/port.ts";
import { ApiError } from "./errors.ts";
import { checkQuery } from "./query.ts";

const minuteMs = 60_000;

/** Adds the route. */
export function samplesRoutes(app: Hono, { table, now }: { readonly table: Table; readonly now: () => number }): void {
  app.get("/api/metrics", async (c) => {
    checkQuery(c, ["from", "to", "step", "worker"]);
    const toMs = timeOf(c.req.query("to"), "to") ?? now();
    const fromMs = timeOf(c.req.query("from"), "from") ?? toMs - 60 * minuteMs;
    const text = c.req.query("step"), stepMs = text === undefined ? minuteMs : Number(text) * 1000;
    if (!Number.isSafeInteger(stepMs) || stepMs < minuteMs || stepMs % minuteMs !== 0) {
      throw new ApiError(400, "invalid", "step is a whole number of minutes, in seconds: 60, 300, …");
    }
    if (fromMs >= toMs) throw new ApiError(400, "invalid", "from is before to");
    if ((toMs - fromMs) / stepMs > pointsMax) {
      throw new ApiError(400, "invalid", `that is more than ${pointsMax} points: a longer step is required`);
    }
    return c.json(await readSeries(table, { fromMs, toMs, stepMs, worker: c.req.query("worker") }));
  });
}

/** ISO text, or ms since 1970. */
function timeOf(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  if (!Number.isFinite(ms)) throw new ApiError(400, "invalid", `${name} is an ISO time, or ms since 1970`);
  return ms;
}
