/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * What a device reported over the last day, as charts: the worst of each ten minutes (`sync/report_points.ts`). Where it said
 * nothing, because it was away or does not know, there is a gap.
 *
 * @module
 */
import type { Registry } from "../../sync/registry.ts";
import { Chart, type ChartLine, type ChartOptions } from "../charts.tsx";

type Point = Awaited<ReturnType<Registry["points"]>>[number];
type Name = Exclude<keyof Point, "atMs">;

const slotMs = 600_000, hourMs = 3600_000, rowSlots = hourMs / slotMs;

/** The section; it is asked for once with the page, and again by `assets/charts.js`. */
export async function ReportCharts(
  { registry, deviceId, now }: { registry: Pick<Registry, "points">; deviceId: string; now: number },
) {
  // Whole hours, as rows are, up to the ten minutes that it is.
  const startMs = Math.floor(now / hourMs) * hourMs - 23 * hourMs;
  const points = await registry.points(deviceId, startMs);
  const why = points.length === 0 ? "It reported nothing in this time." : "It did not report this.";
  return (
    <section class="after" aria-labelledby="reports-title" data-charts data-renew={300_000}>
      <h2 id="reports-title" class="muted">Reports of the last 24 h: the worst value of each ten minutes</h2>
      <div class="charts four after">
        {chartsOf(points, startMs, now).map((chart) => <Chart {...chart} why={why} />)}
      </div>
    </section>
  );
}

function chartsOf(points: readonly Point[], startMs: number, now: number): ChartOptions[] {
  const slots = Math.floor((now - startMs) / slotMs) + 1;
  const times = { startMs, stepMs: slotMs, rowMs: rowSlots * slotMs };
  const line = (name: Name, label: string, tone: ChartLine["tone"], worst: (values: number[]) => number): ChartLine => {
    const values: (number | null)[] = Array.from({ length: slots }, () => null);
    for (const point of points) if (point.atMs <= now) values[(point.atMs - startMs) / slotMs] = point[name] ?? null;
    const rows = Array.from({ length: Math.ceil(slots / rowSlots) }, (_, at) => {
      const said = values.slice(at * rowSlots, (at + 1) * rowSlots).filter((value) => value !== null);
      return said.length === 0 ? null : worst(said);
    });
    return { label, tone, points: values, rows };
  };
  const most = (values: number[]) => Math.max(...values), least = (values: number[]) => Math.min(...values);
  const furthest = (values: number[]) => values.reduce((a, b) => Math.abs(b) > Math.abs(a) ? b : a);
  return [
    {
      ...times,
      id: "report-outbox",
      title: "Waiting changes",
      unit: "count",
      lines: [line("outbox", "outbox", "device", most)],
    },
    {
      ...times,
      id: "report-lag",
      title: "Oldest waits for",
      unit: "ms",
      lines: [line("lagMs", "lag", "device", most)],
      threshold: { value: 60_000, label: "Lagging from 1 min" },
    },
    {
      ...times,
      id: "report-disk",
      title: "Free on its disk",
      unit: "bytes",
      lines: [line("free", "free", "accent", least)],
    },
    {
      ...times,
      id: "report-clock",
      title: "Clock",
      about: "ahead of the cloud's",
      unit: "ms",
      lines: [line("skew", "ahead by", "cloud", furthest)],
    },
  ];
}
