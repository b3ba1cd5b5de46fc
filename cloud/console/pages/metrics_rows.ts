/**
 * The four rows of the Metrics page: which question each chart answers, by which series, and from which value on it is bad.
 *
 * @module
 */
import { coarser, refusals, refusedAs, type Series } from "../../operations/samples.ts";
import type { ChartLine, ChartOptions } from "../charts.tsx";
import { behindMs } from "../standing.ts";

/** A row of charts. */
export interface ChartRow {
  readonly question: string;
  readonly charts: readonly ChartOptions[];
}

/** What the charts are made of. */
export interface Sampled {
  readonly series: readonly Series[];
  readonly startMs: number;
  readonly stepMs: number;
  readonly rowSteps: number;
}

type Tone = ChartLine["tone"];

const seconds = 1000;
const heard = "Known once the worker that reads the stream has heard from the devices.";
const units = "Only DynamoDB charges for units.";

/** Makes charts of series. */
class Charts {
  constructor(readonly sampled: Sampled) {}

  line(name: string, label: string, tone: Tone, times = 1): ChartLine {
    const { rowSteps } = this.sampled, series = this.of(name);
    const scaled = (points: Series["points"]) => points.map(([, value]) => value === null ? null : value * times);
    return { label, tone, points: scaled(series.points), rows: scaled(coarser(series, rowSteps).points) };
  }

  of(name: string): Series {
    const found = this.sampled.series.find((one) => one.name === name);
    if (!found) throw new TypeError(`there is no series ${name}`);
    return found;
  }

  chart(chart: Omit<ChartOptions, "startMs" | "stepMs" | "rowMs">): ChartOptions {
    const { startMs, stepMs, rowSteps } = this.sampled;
    return { ...chart, startMs, stepMs, rowMs: stepMs * rowSteps };
  }
}

/** The rows. */
export function chartRows(sampled: Sampled): readonly ChartRow[] {
  const charts = new Charts(sampled);
  return [
    { question: "Is anyone behind?", charts: behind(charts) },
    { question: "Is the stream behind?", charts: stream(charts) },
    { question: "What fails?", charts: failing(charts) },
    { question: "What grows?", charts: growing(charts) },
  ];
}

function behind(charts: Charts): ChartOptions[] {
  return [
    charts.chart({
      id: "lag",
      title: "Lag of devices",
      about: "age of the oldest change that waits",
      unit: "ms",
      lines: [charts.line("lag_p99_ms", "p99", "device"), charts.line("lag_p50_ms", "p50", "quiet")],
      threshold: { value: 60 * seconds, label: "Lagging from 1 min" },
      why: heard,
    }),
    charts.chart({
      id: "states",
      title: "Devices that need a look",
      unit: "count",
      lines: [
        charts.line("devices_trouble", "Trouble", "bad"),
        charts.line("devices_lagging", "Lagging", "warn"),
        charts.line("devices_silent", "Silent", "quiet"),
      ],
      why: heard,
    }),
    charts.chart({
      id: "outbox",
      title: "Changes that wait on devices",
      about: "all outboxes together",
      unit: "count",
      lines: [charts.line("outbox", "waiting", "device")],
      why: heard,
    }),
  ];
}

function stream(charts: Charts): ChartOptions[] {
  return [
    charts.chart({
      id: "age",
      title: "Age of stream records",
      about: "when passed on; the greatest",
      unit: "ms",
      lines: [charts.line("stream_age_ms", "age", "cloud")],
      threshold: { value: behindMs, label: "behind from 10 s" },
      why: "Nothing came down the stream.",
    }),
    charts.chart({
      id: "poll",
      title: "Time between reads of the stream",
      about: "the greatest",
      unit: "ms",
      lines: [charts.line("poll_ms_max", "time", "cloud")],
      threshold: { value: 6 * seconds, label: "the lease ends after 6 s" },
      why: "The embedded table is not polled.",
    }),
    charts.chart({
      id: "lease",
      title: "Who reads the stream",
      unit: "count",
      lines: [charts.line("tailing", "workers that read it", "ok"), charts.line("shards", "shards", "cloud")],
      why: "No worker kept a sample.",
    }),
  ];
}

function failing(charts: Charts): ChartOptions[] {
  const tones: readonly Tone[] = ["warn", "device", "cloud", "accent", "quiet"];
  // Eight lines at 0 would say nothing: a code has a line where a change was refused by it.
  const codes = refusals.filter((code) =>
    charts.of(refusedAs(code)).points.some(([, value]) => value !== null && value > 0)
  );
  return [
    charts.chart({
      id: "refused",
      title: "Refused changes, by code",
      about: "a minute",
      unit: "count",
      lines: [
        charts.line("changes_refused", "all", "bad"),
        ...codes.map((code, at) => charts.line(refusedAs(code), code, tones[at % tones.length]!)),
      ],
    }),
    charts.chart({
      id: "failed",
      title: "What failed",
      about: "a minute",
      unit: "count",
      lines: [
        charts.line("publish_failed", "publishes", "bad"),
        charts.line("messages_failed", "messages", "warn"),
        charts.line("table_failures", "table requests", "accent"),
        charts.line("stream_failures", "stream", "cloud"),
      ],
    }),
    charts.chart({
      id: "throttled",
      title: "Writes that the table throttled",
      about: "a minute",
      unit: "count",
      lines: [charts.line("table_throttled", "throttled", "bad")],
    }),
  ];
}

function growing(charts: Charts): ChartOptions[] {
  return [
    charts.chart({
      id: "changes",
      title: "Changes and log entries",
      about: "a minute",
      unit: "count",
      lines: [
        charts.line("changes", "changes of devices", "device"),
        charts.line("entries_published", "entries of logs", "cloud"),
      ],
    }),
    charts.chart({
      id: "memory",
      title: "Memory of a worker",
      about: "the greatest",
      unit: "bytes",
      lines: [charts.line("resident_bytes", "resident", "accent")],
    }),
    charts.chart({
      id: "units",
      title: "Units of the table, an hour",
      about: "read and write units",
      unit: "count",
      lines: [charts.line("wcu", "WCU", "cloud", 60), charts.line("rcu", "RCU", "device", 60)],
      why: units,
    }),
  ];
}
