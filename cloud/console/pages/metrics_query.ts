/**
 * The Metrics page's address: which time, whose samples. A time is one of three ranges that end now, or a part that was zoomed
 * into, `from` and `to`.
 *
 * @module
 */
import { ApiError } from "../../api/errors.ts";

const minuteMs = 60_000, hourMs = 60 * minuteMs, dayMs = 24 * hourMs;

/** Ranges that end now. */
export const ranges = { "1h": hourMs, "24h": dayMs, "7d": 7 * dayMs } as const;
export type Range = keyof typeof ranges;

/** What the address says. */
export interface MetricsView {
  /** Absent: a part that does not move on. */
  readonly range?: Range;
  /** The worker that is asked alone, in place of the whole fleet. */
  readonly mine: boolean;
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
  /** Steps that make a row of a table. */
  readonly rowSteps: number;
}

/** Points of a chart, and rows of its table, at most. */
const pointsMax = 340, rowsMax = 30;
const stepsMs = [minuteMs, 5 * minuteMs, 30 * minuteMs];
const spanMaxMs = 8 * dayMs;
/** A minute's sample is there so long after its end. */
const writtenMs = 3_000;

/** @throws ApiError 400 for what can't be */
export function metricsView(query: URLSearchParams, nowMs: number): MetricsView {
  const range = query.get("range"), whose = query.get("whose");
  if (range !== null && !Object.hasOwn(ranges, range)) {
    throw new ApiError(400, "invalid", `“${range}” is no range: ${Object.keys(ranges).join(", ")} are`);
  }
  if (whose !== null && whose !== "fleet" && whose !== "worker") {
    throw new ApiError(400, "invalid", `“${whose}” has no samples: fleet and worker have`);
  }
  const mine = whose === "worker";
  if (query.has("from") || query.has("to")) return { mine, ...partOf(timeIn(query, "from"), timeIn(query, "to")) };
  const name = (range ?? "1h") as Range, length = ranges[name], { stepMs, rowSteps } = stepsOf(length);
  // Whole steps: what is under way would be read anew each minute, and its mean is not known.
  const toMs = Math.floor((nowMs - writtenMs) / stepMs) * stepMs;
  return { range: name, mine, fromMs: toMs - length, toMs, stepMs, rowSteps };
}

function partOf(from: number, to: number) {
  if (from >= to) throw new ApiError(400, "invalid", "from must be before to");
  if (to - from > spanMaxMs) {
    throw new ApiError(400, "invalid", "that is more than eight days, and samples are kept for eight");
  }
  const { stepMs, rowSteps } = stepsOf(to - from);
  const fromMs = Math.floor(from / stepMs) * stepMs;
  return { fromMs, toMs: Math.max(fromMs + stepMs, Math.ceil(to / stepMs) * stepMs), stepMs, rowSteps };
}

function stepsOf(lengthMs: number): { stepMs: number; rowSteps: number } {
  const stepMs = stepsMs.find((step) => lengthMs / step <= pointsMax) ?? stepsMs.at(-1)!;
  const rowSteps = [1, 5, 6, 12, 24].find((steps) => lengthMs / stepMs / steps <= rowsMax) ?? 24;
  return { stepMs, rowSteps };
}

function timeIn(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? "", ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  // A Date's range, without its ends: steps are rounded.
  if (Number.isFinite(ms) && Math.abs(ms) < 8e15) return ms;
  throw new ApiError(400, "invalid", `${name} is a time: 2026-01-31T12:00Z, or ms since 1970`);
}

/** The address of a view that differs from this one. */
export function metricsHref(
  { mine, range, fromMs, toMs }: MetricsView,
  change: { readonly range?: Range; readonly mine?: boolean; readonly fromMs?: number; readonly toMs?: number } = {},
): string {
  const query = new URLSearchParams(), isPart = change.fromMs !== undefined || (!range && !change.range);
  if (isPart) {
    query.set("from", new Date(change.fromMs ?? fromMs).toISOString());
    query.set("to", new Date(change.toMs ?? toMs).toISOString());
  } else query.set("range", change.range ?? range!);
  if (change.mine ?? mine) query.set("whose", "worker");
  return `/metrics-view?${query}`;
}
