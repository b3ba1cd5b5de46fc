/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * The fleet at a glance: devices by state, what waits, what moves, what waits for people.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { DeviceReport } from "../../../protocol.ts";
import type { FleetPage } from "../../api/devices.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import { duration, grouped } from "../format.ts";
import { states } from "../parts.tsx";
import { Spark, type SparkLine } from "../spark.tsx";
import { type Past, pastRanges } from "../past.ts";
import { type FleetView, hrefOf, withoutWord, withWord, wordsOf } from "./fleet_query.ts";

/** How many devices there are, in all states. */
export function sum(states: Readonly<Record<string, number>>): number {
  return Object.values(states).reduce((all, one) => all + one, 0);
}

export function Tiles(
  { found, view, all, past }: {
    found: FleetPage;
    view: FleetView;
    all: readonly DeviceStanding[];
    past: Past;
  },
) {
  const reports = all.flatMap(({ report }) => report ? [report] : []);
  const lags = all.flatMap(({ lagMs }) => lagMs ?? []).sort((a, b) => a - b);
  return (
    <>
      <States {...{ found, view }} reports={reports.length} overdue={all.filter(({ overdue }) => overdue).length} />
      <Waiting reports={reports} lags={lags} past={past} />
      <LastMinute reports={reports} past={past} />
      <Kept reports={reports} past={past} />
    </>
  );
}

type Reports = readonly DeviceReport[];

function total(reports: Reports, name: "outbox" | "rejected" | "conflicts" | "up" | "down"): number {
  return reports.reduce((all, report) => all + (report[name] ?? 0), 0);
}

function Tile({ label, title, more, children }: { label: string; title: string; more?: Child; children?: Child }) {
  return (
    <section class="card tile" aria-label={label}>
      <div class="t">
        <h2>{title}</h2>
        {more ? <span>{more}</span> : null}
      </div>
      {children}
    </section>
  );
}

function Facts({ facts }: { facts: readonly (readonly [name: string, value: string])[] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </>
      ))}
    </dl>
  );
}

function States(
  { found, view, reports, overdue }: { found: FleetPage; view: FleetView; reports: number; overdue: number },
) {
  const all = sum(found.states);
  return (
    <Tile label="Devices by state" title="Devices" more={`${grouped(reports)} ${reports === 1 ? "reports" : "report"}`}>
      <div class="big">{grouped(all)}</div>
      <Bar counts={found.states} total={all} />
      <div class="states">
        {(["online", "lagging", "trouble", "silent"] as const).map((state) => {
          const { word, tone, Icon } = states[state], word2 = `state:${state}`;
          const isOn = wordsOf(view.q).includes(word2);
          return (
            <a
              href={hrefOf(view, { q: isOn ? withoutWord(view.q, word2) : withWord(view.q, word2), from: 0 })}
              aria-current={isOn ? "true" : undefined}
            >
              <span class={`state ${tone}`}>
                <Icon />
                {word}
              </span>
              <b>{grouped(found.states[state] ?? 0)}</b>
            </a>
          );
        })}
      </div>
      <dl class="facts">
        <dt>
          <a href={hrefOf(view, { q: withWord(view.q, "overdue:yes"), from: 0 })}>Silent for longer than usual</a>
        </dt>
        <dd>{grouped(overdue)}</dd>
      </dl>
    </Tile>
  );
}

type OfPast = { readonly past: Past };

/** What the lines of a chart are. */
function Legend({ lines }: { lines: readonly (readonly [name: string, tone: SparkLine["tone"]])[] }) {
  return (
    <span class="legend">
      {lines.map(([name, tone], at) => (
        <span>
          <svg width="14" height="4" viewBox="0 0 14 4" aria-hidden="true" class={`tone-${tone}`}>
            <path d="M0 2H14" stroke="currentColor" stroke-width="2" stroke-dasharray={at > 0 ? "3 2" : undefined} />
          </svg>
          {name}
        </span>
      ))}
    </span>
  );
}

/** What a step's value is called: a mean of minutes where a step is longer than one. */
function aMinute({ stepMs }: Past): string {
  return stepMs > 60_000 ? "a minute, in the mean" : "a minute";
}

/** A chart of the past; while it is being read, that is said. */
function Chart(
  { past, ...chart }: OfPast & Omit<Parameters<typeof Spark>[0], "startMs" | "stepMs" | "time" | "lines"> & {
    lines: readonly (Omit<SparkLine, "points"> & { readonly series: string })[];
  },
) {
  const { points, startMs, stepMs, range } = past;
  if (!points) return <p class="muted spark-none">The samples are being read: look again.</p>;
  const lines = chart.lines.map(({ series, ...line }) => ({ ...line, points: points[series] }));
  return <Spark {...chart} {...{ startMs, stepMs, lines }} time={pastRanges[range].title} />;
}

function Waiting({ reports, lags, past }: { reports: Reports; lags: readonly number[] } & OfPast) {
  const outbox = total(reports, "outbox"), of = (ms: number | undefined) => lags.length ? duration(ms) : "–";
  return (
    <Tile
      label="Waiting on devices"
      title="Waiting on devices"
      more={<Legend lines={[["p99", "warn"], ["p50", "device"]]} />}
    >
      <div class="big">
        {grouped(outbox)} <small>{outbox === 1 ? "change" : "changes"}</small>
      </div>
      <Facts facts={[["Oldest", of(lags.at(-1))], ["Half wait less than", of(lags[lags.length >> 1])]]} />
      <Chart
        label="How long changes wait on devices"
        past={past}
        text={duration}
        lines={[
          { label: "99 of 100 devices, at most", tone: "warn", series: "lag_p99_ms" },
          { label: "half of the devices, at most", tone: "device", series: "lag_p50_ms" },
        ]}
      />
    </Tile>
  );
}

function LastMinute({ reports, past }: { reports: Reports } & OfPast) {
  const moved = (name: "up" | "down") => grouped(reports.filter((report) => (report[name] ?? 0) > 0).length);
  return (
    <Tile
      label="Changes in the last minute"
      title="Last minute"
      more={<Legend lines={[["up", "device"], ["down", "cloud"]]} />}
    >
      <div class="big">
        {grouped(total(reports, "up"))} <small class="up">up</small> {grouped(total(reports, "down"))}{" "}
        <small class="down">down</small>
      </div>
      <Facts facts={[["Devices that sent", moved("up")], ["Devices that received", moved("down")]]} />
      <Chart
        label={`Changes ${aMinute(past)}`}
        past={past}
        text={(value) => grouped(Math.round(value))}
        lines={[
          { label: "up", tone: "device", series: "changes" },
          { label: "down", tone: "cloud", series: "entries_published" },
        ]}
      />
    </Tile>
  );
}

function Kept({ reports, past }: { reports: Reports } & OfPast) {
  const either = reports.filter(({ rejected = 0, conflicts = 0 }) => rejected + conflicts > 0).length;
  return (
    <Tile label="Set aside for you" title="Refused or overridden">
      <div class="big">
        <a href="/rejected" class="quiet-link">
          {grouped(total(reports, "rejected"))} <small>rejected</small>
        </a>
      </div>
      <dl class="facts">
        <dt>
          <a href="/conflicts">Conflict copies</a>
        </dt>
        <dd>{grouped(total(reports, "conflicts"))}</dd>
        <dt>Devices with either</dt>
        <dd>{grouped(either)}</dd>
      </dl>
      <Chart
        label={`Refused changes ${aMinute(past)}`}
        past={past}
        text={(value) => grouped(Math.ceil(value * 10) / 10)}
        bars
        lines={[{ label: "refused", tone: "bad", series: "changes_refused" }]}
      />
    </Tile>
  );
}

/** How many are in which state, as a bar of SVG: widths as attributes, because the policy allows no styles. */
function Bar({ counts, total }: { counts: Readonly<Record<string, number>>; total: number }) {
  const order = ["online", "lagging", "trouble", "silent"] as const;
  // A state with one device of ten thousand stays visible.
  const least = 1.6, present = order.filter((state) => (counts[state] ?? 0) > 0);
  const room = 100 - least * present.length;
  let x = 0;
  return (
    <svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
      <pattern id="hatch" width="1.2" height="12" patternUnits="userSpaceOnUse" patternTransform="skewX(-30)">
        <rect width=".7" height="12" class="lagging" />
      </pattern>
      {present.map((state) => {
        const width = least + room * (counts[state]! / total), at = x;
        x += width;
        return (
          <rect
            x={at}
            y={state === "silent" ? 1 : 0}
            width={Math.max(.4, width - .5)}
            height={state === "silent" ? 10 : 12}
            class={state}
          />
        );
      })}
    </svg>
  );
}
