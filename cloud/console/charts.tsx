/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Charts, as tables: what a chart shows stands under it as rows, in longer steps, and works without JavaScript;
 * `assets/charts.js` draws the line from the same values. Where there is no value there is none: a gap in the line, `no data`
 * in the table, never 0.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import { duration, grouped } from "./format.ts";

/** What numbers are of. */
export type Unit = "count" | "ms" | "bytes";

/** A line of a chart. */
export interface ChartLine {
  readonly label: string;
  readonly tone: "accent" | "device" | "cloud" | "ok" | "warn" | "bad" | "quiet";
  /** One for each step; null: nobody said. */
  readonly points: readonly (number | null)[];
  /** The same for the table, one for each row. */
  readonly rows: readonly (number | null)[];
}

/** A chart. */
export interface ChartOptions {
  readonly id: string;
  readonly title: string;
  /** What a value is, in a few words: "of each minute, the mean of an hour". */
  readonly about?: string;
  readonly unit: Unit;
  readonly startMs: number;
  readonly stepMs: number;
  /** The table's steps: a multiple of the chart's. */
  readonly rowMs: number;
  readonly lines: readonly ChartLine[];
  /** A line that is drawn, and what it means to be above it. */
  readonly threshold?: { readonly value: number; readonly label: string };
  /** Why there may be nothing. */
  readonly why?: string;
}

/** What stands where nobody said anything. */
export const noData = "no data";

const dashes = ["", "7 3", "2 3", "9 3 2 3", "4 4", "12 3"];
const megabyte = 1e6;

/** A value as text. `assets/charts.js` writes axes by the same rule. */
export function valueText(unit: Unit, value: number | null | undefined): string {
  if (value === null || value === undefined) return noData;
  if (unit === "bytes") return `${grouped(Math.round(value / megabyte * 10) / 10)} MB`;
  if (unit === "count") return grouped(Math.round(value * 100) / 100);
  const text = Math.abs(value) < 1000 ? `${Math.round(value)} ms` : duration(Math.abs(value));
  return value < 0 && Math.abs(value) >= 1000 ? `−${text}` : text;
}

/** Gaps are empty words: `1,,3`. */
function pointsText(points: readonly (number | null)[]): string {
  return points.map((value) => value ?? "").join(",");
}

/** The last step, or the one before where the last is under way. */
function lastOf(points: readonly (number | null)[]): number | null {
  return points.at(-1) ?? points.at(-2) ?? null;
}

/** See the module. */
export function Chart(chart: ChartOptions) {
  const { id, title, about, unit, startMs, stepMs, lines, threshold, why } = chart;
  const isEmpty = lines.every(({ points }) => points.every((value) => value === null));
  return (
    <figure class="card chart" id={id} data-chart aria-labelledby={`${id}-title`}>
      <figcaption>
        <h3 id={`${id}-title`}>{title}</h3>
        {about ? <span class="muted">{about}</span> : null}
      </figcaption>
      <ul class="keys" data-keys>
        {lines.map(({ label, tone, points }, at) => (
          <li>
            <Swatch tone={tone} dash={dashes[at % dashes.length]!} />
            {`${label} `}
            <b data-value>{valueText(unit, lastOf(points))}</b>
          </li>
        ))}
        {threshold
          ? (
            <li class="muted">
              <Swatch tone="warn" dash="3 3" />
              {threshold.label}
            </li>
          )
          : null}
      </ul>
      <div
        class="plot js"
        aria-hidden="true"
        data-plot
        data-unit={unit}
        data-start={startMs}
        data-step={stepMs}
        data-threshold={threshold?.value}
        data-lines={JSON.stringify(lines.map(({ points }) => pointsText(points)))}
      >
      </div>
      <p class="nothing-there" data-empty hidden={!isEmpty}>
        <b>No data</b>
        {why ? <span>{why}</span> : null}
      </p>
      <details open>
        <summary>As a table</summary>
        <div class="scroll" tabindex={0} role="region" aria-label={`${title}, as a table`}>
          <ChartTable {...chart} />
        </div>
      </details>
    </figure>
  );
}

function Swatch({ tone, dash }: { tone: string; dash: string }): Child {
  return (
    <svg class={`swatch tone-${tone}`} width="18" height="8" viewBox="0 0 18 8" aria-hidden="true">
      <path d="M0 4h18" stroke="currentColor" stroke-width="2" stroke-dasharray={dash || undefined} />
    </svg>
  );
}

function ChartTable({ title, unit, startMs, rowMs, lines }: ChartOptions) {
  const count = lines[0]?.rows.length ?? 0;
  // The newest first, as everywhere.
  const rows = Array.from({ length: count }, (_, at) => count - 1 - at);
  return (
    <table>
      <caption class="sr">{title}</caption>
      <thead>
        <tr>
          <th scope="col">from (UTC)</th>
          {lines.map(({ label }) => <th scope="col" class="num">{label}</th>)}
        </tr>
      </thead>
      <tbody>
        {rows.map((at) => (
          <tr>
            <th scope="row" class="mono">{clock(startMs + at * rowMs)}</th>
            {lines.map(({ rows }) => (
              <td class={rows[at] == null ? "num nothing" : "num"}>{valueText(unit, rows[at])}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function clock(ms: number): string {
  return new Date(ms).toISOString().slice(5, 16).replace("T", " ");
}
