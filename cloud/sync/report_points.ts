/**
 * The numbers of devices' reports over the last day, for charts: one point for each ten minutes, the worst of them. They are
 * gathered in the device's `seen` row, which is written anyway, and moved to a row of their own each hour, or before `seen`
 * would cost a second write unit. That is 24 write units a day and device more than the 288 of its notes; a day is read for
 * some 2 read units. Where a device said nothing there is no point.
 *
 * In the log table: `reports#<device>` / `<first point's time, ms>#<time>`: `{points, expires}`, kept for two days.
 *
 * @module
 */
import type { DeviceReport } from "../../protocol.ts";
import type { Item } from "../../schema/values.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import type { Table } from "../table/port.ts";

/** The worst of ten minutes; a number that was not reported is missing. */
export interface ReportPoint {
  /** When the ten minutes began, ms. */
  readonly atMs: number;
  /** Changes that waited, at most. */
  readonly outbox?: number;
  /** For how long the oldest had waited, ms, at most. */
  readonly lagMs?: number;
  /** Bytes free on its disk, at least. */
  readonly free?: number;
  /** By how much its clock was ahead, ms: the one furthest from 0. */
  readonly skew?: number;
}

/** A point stands for so long. A device reports every 5 minutes. */
export const pointMs = 600_000;
const hourMs = 3600_000;
const keptSeconds = 2 * 86_400;
/** A write unit, with room for what a later note of the same report adds. */
const rowBytesMax = 1024 - 24;
const names = ["outbox", "lagMs", "free", "skew"] as const;

/** Where a device's points are. */
export function pointsHash(deviceId: string): string {
  return `reports#${deviceId}`;
}

/** A report's point. */
export function pointOf(report: DeviceReport, nowMs: number): ReportPoint {
  const { outbox, oldest, free, skew } = report;
  // Nothing waits: for no time. An agent that does not say how much waits says nothing of how long.
  const lagMs = oldest === undefined
    ? outbox === 0 ? 0 : undefined
    : Math.max(0, Math.round(nowMs - oldest + (skew ?? 0)));
  return { atMs: Math.floor(nowMs / pointMs) * pointMs, ...defined({ outbox, lagMs, free, skew }) };
}

function defined(point: Partial<ReportPoint>): Partial<ReportPoint> {
  return Object.fromEntries(Object.entries(point).filter(([, value]) => value !== undefined));
}

/** The worse of two. */
function worse(a: ReportPoint, b: ReportPoint): ReportPoint {
  const pick = (name: typeof names[number], choose: (x: number, y: number) => number) => {
    const [x, y] = [a[name], b[name]];
    return x === undefined || y === undefined ? x ?? y : choose(x, y);
  };
  return {
    atMs: a.atMs,
    ...defined({
      outbox: pick("outbox", Math.max),
      lagMs: pick("lagMs", Math.max),
      free: pick("free", Math.min),
      skew: pick("skew", (x, y) => Math.abs(y) > Math.abs(x) ? y : x),
    }),
  };
}

/** The points of several lists: one for each ten minutes, in their order. */
export function joinPoints(points: readonly ReportPoint[]): ReportPoint[] {
  const byTime = new Map<number, ReportPoint>();
  for (const point of points) {
    const known = byTime.get(point.atMs);
    byTime.set(point.atMs, known ? worse(known, point) : point);
  }
  return [...byTime.values()].sort((a, b) => a.atMs - b.atMs);
}

/** The points in a device's `seen` row. */
export class RecentPoints {
  points: readonly ReportPoint[];

  constructor(stored: unknown) {
    this.points = parse(stored);
  }

  /** Whether something was said in these ten minutes. */
  has(nowMs: number): boolean {
    return this.points.at(-1)?.atMs === Math.floor(nowMs / pointMs) * pointMs;
  }

  get text(): string {
    return textOf(this.points);
  }

  /**
   * Takes a point.
   *
   * @param row what the points are stored with
   * @returns those that go to a row of their own now: their hour is over, or there is no room beside the report
   */
  add(point: ReportPoint, row: Item): readonly ReportPoint[] | undefined {
    const first = this.points[0], next = joinPoints([...this.points, point]);
    const isOver = first !== undefined && Math.floor(point.atMs / hourMs) !== Math.floor(first.atMs / hourMs);
    if (isOver) {
      const full = this.points;
      this.points = [point];
      return full;
    }
    this.points = next;
    if (itemSizeBytes({ ...row, recent: this.text }) <= rowBytesMax) return undefined;
    this.points = [];
    return next;
  }
}

/** `<ten minutes since 1970>:outbox:lag:free:skew`, with nothing between where nothing was said. */
function textOf(points: readonly ReportPoint[]): string {
  return points.map((point) => [point.atMs / pointMs, ...names.map((name) => point[name] ?? "")].join(":")).join(" ");
}

function parse(stored: unknown): ReportPoint[] {
  if (typeof stored !== "string" || stored === "") return [];
  return stored.split(" ").map((text) => {
    const [slot, ...values] = text.split(":");
    const numbers = values.map((value) => value === "" ? undefined : Number(value));
    return { atMs: Number(slot) * pointMs, ...defined(Object.fromEntries(names.map((name, i) => [name, numbers[i]]))) };
  });
}

/** A row of points that are not gathered any more. */
export function pointsRow(deviceId: string, points: readonly ReportPoint[], nowMs: number): Item {
  const atMs = points[0]!.atMs;
  return {
    hash: pointsHash(deviceId),
    // Two rows may begin with the same ten minutes, where the first had no room.
    sort: `${sortOf(atMs)}#${nowMs.toString(36)}`,
    points: textOf(points),
    expires: Math.floor(atMs / 1000) + keptSeconds,
  };
}

/** The points in rows of their own, from this time on. */
export async function readPoints(
  table: Pick<Table, "query">,
  deviceId: string,
  fromMs: number,
): Promise<ReportPoint[]> {
  const points: ReportPoint[] = [];
  let after: string | undefined;
  do {
    // A row's first point may be an hour older than its last.
    const page = await table.query({
      index: "primary",
      hash: pointsHash(deviceId),
      sortAfter: sortOf(fromMs - hourMs),
      limit: 100,
      after,
    });
    points.push(...page.items.flatMap((item) => parse(item.points)));
    after = page.next;
  } while (after !== undefined);
  return points;
}

function sortOf(ms: number): string {
  return String(Math.max(0, ms)).padStart(16, "0");
}
