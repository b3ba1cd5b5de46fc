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
import { Spark } from "../spark.tsx";
import type { CloudStanding } from "../standing.ts";
import { type FleetView, hrefOf, withoutWord, withWord, wordsOf } from "./fleet_query.ts";

/** How many devices there are, in all states. */
export function sum(states: Readonly<Record<string, number>>): number {
  return Object.values(states).reduce((all, one) => all + one, 0);
}

export function Tiles(
  { found, view, all, standing }: {
    found: FleetPage;
    view: FleetView;
    all: readonly DeviceStanding[];
    standing: CloudStanding;
  },
) {
  const reports = all.flatMap(({ report }) => report ? [report] : []);
  const lags = all.flatMap(({ lagMs }) => lagMs ?? []).sort((a, b) => a - b);
  return (
    <>
      <States found={found} view={view} reports={reports.length} />
      <Waiting reports={reports} lags={lags} standing={standing} />
      <LastMinute reports={reports} standing={standing} />
      <Kept reports={reports} standing={standing} />
    </>
  );
}

type Reports = readonly DeviceReport[];

function total(reports: Reports, name: "outbox" | "rejected" | "conflicts" | "up" | "down"): number {
  return reports.reduce((all, report) => all + (report[name] ?? 0), 0);
}

function Tile({ label, title, more, children }: { label: string; title: string; more?: string; children?: Child }) {
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

function States({ found, view, reports }: { found: FleetPage; view: FleetView; reports: number }) {
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
    </Tile>
  );
}

type Standing = { readonly standing: CloudStanding };

function Waiting(
  { reports, lags, standing: { minutes, startMs } }: { reports: Reports; lags: readonly number[] } & Standing,
) {
  const outbox = total(reports, "outbox"), of = (ms: number | undefined) => lags.length ? duration(ms) : "–";
  return (
    <Tile label="Waiting on devices" title="Waiting on devices">
      <div class="big">
        {grouped(outbox)} <small>{outbox === 1 ? "change" : "changes"}</small>
      </div>
      <Facts facts={[["Oldest", of(lags.at(-1))], ["Half wait less than", of(lags[lags.length >> 1])]]} />
      <Spark
        label="How long changes wait on devices"
        startMs={startMs}
        text={duration}
        lines={[{ label: "99 of 100 devices", tone: "warn", points: minutes.lag_p99_ms }]}
      />
    </Tile>
  );
}

function LastMinute({ reports, standing: { minutes, startMs } }: { reports: Reports } & Standing) {
  const moved = (name: "up" | "down") => grouped(reports.filter((report) => (report[name] ?? 0) > 0).length);
  return (
    <Tile label="Changes in the last minute" title="Last minute">
      <div class="big">
        {grouped(total(reports, "up"))} <small class="up">up</small> {grouped(total(reports, "down"))}{" "}
        <small class="down">down</small>
      </div>
      <Facts facts={[["Devices that sent", moved("up")], ["Devices that received", moved("down")]]} />
      <Spark
        label="Changes a minute"
        startMs={startMs}
        text={grouped}
        lines={[
          { label: "up", tone: "device", points: minutes.changes },
          { label: "down", tone: "cloud", points: minutes.entries_published },
        ]}
      />
    </Tile>
  );
}

function Kept({ reports, standing: { minutes, startMs } }: { reports: Reports } & Standing) {
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
      <Spark
        label="Refused changes a minute"
        startMs={startMs}
        text={grouped}
        bars
        lines={[{ label: "refused", tone: "bad", points: minutes.changes_refused }]}
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
