/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/metrics-view`: how the cloud does, in four rows of charts over an hour, a day or a week, or a part that was zoomed into; of
 * the whole fleet, or of the worker that is asked. Drawn from the workers' samples (`operations/samples.ts`): a minute that
 * nobody sampled is a gap.
 *
 * What was read is kept until a step is over: however many people look, the samples are read once a step.
 *
 * @module
 */
import type { Series } from "../../operations/samples.ts";
import { readSeries } from "../../operations/samples.ts";
import { Chart } from "../charts.tsx";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { count, duration } from "../format.ts";
import type { Routes } from "../mod.tsx";
import { Problem } from "../parts.tsx";
import { faultOf } from "./error.tsx";
import { metricsHref, type MetricsView, metricsView, type Range, ranges } from "./metrics_query.ts";
import { chartRows } from "./metrics_rows.ts";

export const link = { name: "Metrics", path: "/metrics-view", key: "m" };

type Read = Awaited<ReturnType<typeof readSeries>>;

/** Answers that are kept: ranges and parts that people look at now. */
const keptMax = 12;

/** The page's routes. */
export function mount({ page, options }: Routes): void {
  const kept = new Map<string, Promise<Read>>();
  const read = (view: MetricsView): Promise<Read> => {
    const { fromMs, toMs, stepMs, mine } = view, worker = mine ? options.worker : undefined;
    const key = JSON.stringify([fromMs, toMs, stepMs, worker]), known = kept.get(key);
    if (known) return known;
    const reading = readSeries(options.tables.log, { fromMs, toMs, stepMs, worker });
    kept.set(key, reading);
    reading.catch(() => kept.delete(key));
    // A part that ends later than now is not over: it is read again.
    if (toMs > options.now()) reading.then(() => kept.delete(key), () => {});
    if (kept.size > keptMax) kept.delete(kept.keys().next().value!);
    return reading;
  };
  page("/metrics-view", (c) => metricsPage(options, c, read));
}

async function metricsPage(
  options: ConsoleOptions,
  c: PageContext,
  read: (view: MetricsView) => Promise<Read>,
): Promise<Page> {
  let view: MetricsView;
  try {
    view = metricsView(new URL(c.req.url).searchParams, options.now());
  } catch (error) {
    const fault = faultOf(error);
    if (fault.status >= 500) throw error;
    return {
      title: "Metrics",
      status: 400,
      body: (
        <>
          <div class="head">
            <h1>Metrics</h1>
          </div>
          <Problem message={fault.message} code={fault.code} retry="/metrics-view" />
        </>
      ),
    };
  }
  const { series, workers, read: units } = await read(view);
  const startMs = Math.floor(view.fromMs / view.stepMs) * view.stepMs;
  const rows = chartRows({ series, startMs, stepMs: view.stepMs, rowSteps: view.rowSteps });
  return {
    title: "Metrics",
    scripts: ["uplot.js", "charts.js"],
    body: (
      <div id="metrics" data-charts data-zooms data-renew={view.range ? view.stepMs : undefined}>
        <div class="head">
          <div>
            <h1>Metrics</h1>
            <p class="muted" data-sentence>{sentence(series, workers.length)}</p>
          </div>
          <Choices view={view} hasWorker={options.worker !== undefined} nowMs={options.now()} />
        </div>
        {rows.map(({ question, charts }) => (
          <section class="chart-row">
            <h2>{question}</h2>
            <div class="charts">{charts.map((chart) => <Chart {...chart} />)}</div>
          </section>
        ))}
        <p class="muted after" data-sentence>
          {`${timeText(view)}. Read ${
            count(units, "unit")
          } (RCU) of the samples. Each worker stores one a minute, for 8 days; ` +
            "a minute without one is a gap. Drag over a chart to zoom in."}
        </p>
      </div>
    ),
  };
}

function Choices({ view, hasWorker, nowMs }: { view: MetricsView; hasWorker: boolean; nowMs: number }) {
  const length = view.toMs - view.fromMs, later = Math.min(view.toMs + length, nowMs);
  return (
    <div class="acts">
      <nav class="choice" aria-label="Time">
        {(Object.keys(ranges) as Range[]).map((range) => (
          <a class="btn" href={metricsHref(view, { range })} aria-current={view.range === range ? "true" : undefined}>
            {range.replace(/(\d+)/, "$1 ")}
          </a>
        ))}
      </nav>
      <nav class="choice" aria-label="Move">
        <a class="btn" href={metricsHref(view, { fromMs: view.fromMs - length, toMs: view.fromMs })}>Earlier</a>
        {view.range ? null : (
          <>
            <a class="btn" href={metricsHref(view, { fromMs: later - length, toMs: later })}>Later</a>
            <a class="btn" href={metricsHref(view, { fromMs: view.fromMs - length, toMs: view.toMs + length })}>
              Zoom out
            </a>
          </>
        )}
      </nav>
      {hasWorker
        ? (
          <nav class="choice" aria-label="Whose samples">
            <a class="btn" href={metricsHref(view, { mine: false })} aria-current={view.mine ? undefined : "true"}>
              Whole fleet
            </a>
            <a class="btn" href={metricsHref(view, { mine: true })} aria-current={view.mine ? "true" : undefined}>
              This worker
            </a>
          </nav>
        )
        : null}
    </div>
  );
}

function timeText({ fromMs, toMs, stepMs, mine }: MetricsView): string {
  const utc = (ms: number) => `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;
  return `${utc(fromMs)} to ${utc(toMs)}, in steps of ${duration(stepMs)}, ${mine ? "this worker" : "the whole fleet"}`;
}

/** What a glance should tell. */
function sentence(series: readonly Series[], workers: number): string {
  if (workers === 0) return "No samples of this time. A worker stores its first one at the end of its first minute.";
  const points = (name: string) => series.find((one) => one.name === name)!.points.map(([, value]) => value);
  const last = (name: string) => points(name).findLast((value) => value !== null) ?? undefined;
  const worst = (name: string) => Math.max(0, ...points(name).map((value) => value ?? 0));
  const lag = last("lag_p99_ms"), age = last("stream_age_ms"), refused = worst("changes_refused");
  return [
    lag === undefined ? "How far devices lag is not known" : `Devices lag by ${duration(lag)} (p99)`,
    age === undefined ? "nothing came down the stream" : `the stream's last records were ${duration(age)} old`,
    refused > 0
      ? `up to ${count(Math.ceil(refused), "change")} a minute ${refused > 1 ? "were" : "was"} refused`
      : "no change was refused",
    `samples of ${count(workers, "worker")}`,
  ].join("; ") + ".";
}
