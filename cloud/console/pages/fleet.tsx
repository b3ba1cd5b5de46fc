/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/fleet`: is anyone in trouble, and who is worst? All devices, searched and sorted in memory (`cloud/api/devices.ts`), a
 * page at a time. Rows tick where they stand; nothing moves under the pointer until it is sorted again.
 *
 * @module
 */
import { ApiError } from "../../api/errors.ts";
import { type FleetPage, queryFleet } from "../../api/devices.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { count, duration, grouped } from "../format.ts";
import { CopyIcon, Down, Lens } from "../icons.tsx";
import type { Routes } from "../mod.tsx";
import { Empty, FormToken, Problem, states } from "../parts.tsx";
import { addDevice, addDevicePage } from "./fleet_add.tsx";
import { fleetCsv, fleetOrders } from "./fleet_orders.tsx";
import { chosenColumns, type Column, columns } from "./fleet_columns.tsx";
import { type FleetView, hrefOf, pageRows, viewOf, withoutWord, withWord, wordsOf } from "./fleet_query.ts";

export const link = { name: "Fleet", path: "/fleet", key: "f" };

/** The page's routes. */
export function mount({ page, action, options }: Routes): void {
  page("/fleet", (c) => fleetPage(options, c));
  page("/fleet/rows", async (c) => await rowsPart(options, c));
  page("/fleet/add", (c) => addDevicePage(c));
  action("/fleet/add", (c, form) => addDevice(options, c, form));
  page("/fleet.csv", (c) => fleetCsv(options, new URL(c.req.url).searchParams));
  action("/fleet/do", (c, form) => fleetOrders(options, c, form));
}

async function fleetPage(options: ConsoleOptions, c: PageContext): Promise<Page> {
  const view = viewOf(new URL(c.req.url).searchParams);
  const { found, fault } = await find(options, view);
  const now = options.now();
  const rows = found.devices.slice(view.from);
  return {
    title: "Fleet",
    status: fault ? 400 : 200,
    on: ["fleet", ...rows.map(({ deviceId }) => `device:${deviceId}`)].join(","),
    scripts: ["fleet.js"],
    body: (
      <>
        <div class="head">
          <div>
            <h1>Fleet</h1>
            <p class="muted">{sentence(found)}</p>
          </div>
        </div>
        <div
          id="tiles"
          class="sum"
          hx-get={hrefOf(view)}
          hx-select="#tiles"
          hx-swap="outerHTML"
          hx-trigger="tt:fleet from:body delay:2s"
        >
          <Tiles found={found} view={view} all={await allOf(options)} />
        </div>
        <div class="card fleet">
          <Tools view={view} />
          <div id="fleet" hx-get={hrefOf(view)} hx-select="#fleet" hx-swap="outerHTML" hx-trigger="tt:again from:body">
            <Filters view={view} total={found.total} all={sum(found.states)} />
            {fault
              ? (
                <div class="pad">
                  <Problem {...fault} />
                </div>
              )
              : null}
            <form method="post" action="/fleet/do">
              <FormToken token={c.get("session").formToken} />
              <input type="hidden" name="q" value={view.q} />
              {rows.length === 0 ? fault ? null : <Nothing view={view} all={sum(found.states)} /> : (
                <>
                  <Bulk total={found.total} />
                  <Rows view={view} devices={rows} now={now} />
                  <Foot view={view} total={found.total} shown={rows.length} />
                </>
              )}
            </form>
          </div>
        </div>
      </>
    ),
  };
}

/** Rows that are shown, as they are now: `assets/fleet.js` puts their cells in place. */
async function rowsPart(options: ConsoleOptions, c: PageContext): Promise<Response> {
  const query = new URL(c.req.url).searchParams;
  const wanted = new Set(query.getAll("id").slice(0, pageRows));
  const { devices } = await options.fleet.all();
  const shown = chosenColumns(viewOf(query).columns), now = options.now();
  return c.html(
    <table>
      <tbody>
        {devices.filter(({ deviceId }) => wanted.has(deviceId)).map((device) => <Row {...{ device, now, shown }} />)}
      </tbody>
    </table>,
  );
}

interface Found {
  readonly found: FleetPage;
  readonly fault?: { message: string; code: string };
}

/** The page that is asked for; with a word that is not known the error, and the fleet's counts all the same. */
async function find({ fleet }: ConsoleOptions, view: FleetView): Promise<Found> {
  const limit = view.from + pageRows;
  try {
    return { found: await queryFleet(fleet, { q: view.q, sort: view.sort, limit }) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const counts = await queryFleet(fleet, { limit: 1 });
    return { found: { ...counts, total: 0, devices: [] }, fault: { message: error.message, code: error.code } };
  }
}

async function allOf({ fleet }: ConsoleOptions): Promise<readonly DeviceStanding[]> {
  return (await fleet.all()).devices;
}

function sum(states: Readonly<Record<string, number>>): number {
  return Object.values(states).reduce((all, one) => all + one, 0);
}

function sentence({ states: { trouble = 0, lagging = 0, silent = 0, online = 0 } }: FleetPage): string {
  const all = trouble + lagging + silent + online;
  if (all === 0) return "There are no devices yet.";
  const rest = silent > 0 ? ` ${count(silent, "device")} ${silent === 1 ? "is" : "are"} silent.` : "";
  if (trouble + lagging === 0) return `No device needs you.${rest || ` All ${grouped(all)} are online.`}`;
  const need = trouble > 0 ? `${count(trouble, "device")} need${trouble === 1 ? "s" : ""} you` : "";
  const lag = lagging > 0 ? `${count(lagging, "device")} ${lagging === 1 ? "lags" : "lag"}` : "";
  return `${[need, lag].filter((part) => part !== "").join(", ")}.${rest}`;
}

function Tiles({ found, view, all }: { found: FleetPage; view: FleetView; all: readonly DeviceStanding[] }) {
  const total = sum(found.states);
  const reports = all.flatMap(({ report }) => report ? [report] : []);
  const add = (name: "outbox" | "rejected" | "conflicts" | "up" | "down") =>
    reports.reduce((all, report) => all + (report[name] ?? 0), 0);
  const lags = all.flatMap(({ lagMs }) => lagMs ?? []).sort((a, b) => a - b);
  return (
    <>
      <section class="card tile" aria-label="Devices by state">
        <div class="t">
          <h2>Devices</h2>
          <span>{`${grouped(reports.length)} report`}</span>
        </div>
        <div class="big">{grouped(total)}</div>
        <Bar counts={found.states} total={total} />
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
      </section>
      <section class="card tile" aria-label="Waiting on devices">
        <div class="t">
          <h2>Waiting on devices</h2>
        </div>
        <div class="big">
          {grouped(add("outbox"))} <small>{add("outbox") === 1 ? "change" : "changes"}</small>
        </div>
        <dl class="facts">
          <dt>Oldest</dt>
          <dd>{lags.length ? duration(lags.at(-1)) : "–"}</dd>
          <dt>Half of them wait below</dt>
          <dd>{lags.length ? duration(lags[lags.length >> 1]) : "–"}</dd>
        </dl>
      </section>
      <section class="card tile" aria-label="Changes in the last minute">
        <div class="t">
          <h2>Last minute</h2>
        </div>
        <div class="big">
          {grouped(add("up"))} <small class="up">up</small> {grouped(add("down"))} <small class="down">down</small>
        </div>
        <dl class="facts">
          <dt>Devices that sent</dt>
          <dd>{grouped(reports.filter(({ up = 0 }) => up > 0).length)}</dd>
          <dt>Devices that received</dt>
          <dd>{grouped(reports.filter(({ down = 0 }) => down > 0).length)}</dd>
        </dl>
      </section>
      <section class="card tile" aria-label="Set aside for you">
        <div class="t">
          <h2>Refused or overridden</h2>
        </div>
        <div class="big">
          {grouped(add("rejected"))} <small>rejected</small>
        </div>
        <dl class="facts">
          <dt>Conflict copies</dt>
          <dd>{grouped(add("conflicts"))}</dd>
          <dt>Devices with either</dt>
          <dd>{grouped(reports.filter(({ rejected = 0, conflicts = 0 }) => rejected + conflicts > 0).length)}</dd>
        </dl>
      </section>
    </>
  );
}

/** How many are in which state, as a bar of SVG: widths as attributes, for the policy allows no styles. */
function Bar({ counts, total }: { counts: Readonly<Record<string, number>>; total: number }) {
  const order = ["online", "lagging", "trouble", "silent"] as const;
  // A state with one device of ten thousand is still seen.
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

const views: readonly (readonly [name: string, q: string, sort?: string])[] = [
  ["All devices", ""],
  ["In trouble or lagging", "state:trouble,lagging"],
  ["Silent, longest first", "state:silent", "-seen"],
  ["With rejected changes", "rejected:>0", "-rejected"],
  ["With conflicts", "conflicts:>0", "-conflicts"],
  ["Fullest outboxes", "outbox:>0", "-outbox"],
  ["Agents by version", "", "agent"],
];

function Tools({ view }: { view: FleetView }) {
  return (
    <div class="tools">
      <form
        class="q"
        action="/fleet"
        role="search"
        aria-label="Devices"
        hx-get="/fleet"
        hx-target="#fleet"
        hx-select="#fleet"
        hx-swap="outerHTML"
        hx-push-url="true"
        hx-trigger="submit, input changed delay:300ms from:#q"
      >
        <Lens />
        <input
          id="q"
          class="mono"
          name="q"
          type="search"
          value={view.q}
          aria-label="Search devices"
          placeholder="state:trouble account:acme outbox:>100 lag:>60 or the beginning of an id"
          autocomplete="off"
          spellcheck={false}
        />
        {view.sort === "-worst" ? null : <input type="hidden" name="sort" value={view.sort} />}
        {view.columns.map((id) => <input type="hidden" name="col" value={id} />)}
        <button class="sr" type="submit">Search</button>
      </form>
      <details class="menu">
        <summary class="btn">
          Views<Down />
        </summary>
        <div>
          {views.map(([name, q, sort = "-worst"]) => <a href={hrefOf(view, { q, sort, from: 0 })}>{name}</a>)}
        </div>
      </details>
      <details class="menu hide-s">
        <summary class="btn">
          Columns<Down />
        </summary>
        <div>
          <form action="/fleet">
            {view.q ? <input type="hidden" name="q" value={view.q} /> : null}
            {view.sort === "-worst" ? null : <input type="hidden" name="sort" value={view.sort} />}
            {columns.filter(({ id }) => id !== "state" && id !== "device").map(({ id, label }) => (
              <label>
                <input
                  type="checkbox"
                  name="col"
                  value={id}
                  checked={view.columns.length === 0 || view.columns.includes(id)}
                />
                {label}
              </label>
            ))}
            <p class="acts">
              <button class="btn small primary" type="submit">Show</button>
              <a class="btn small" href={hrefOf(view, { columns: [] })}>Reset</a>
            </p>
          </form>
        </div>
      </details>
      <button class="btn js" type="button" data-copy="url">
        <CopyIcon />Link
      </button>
      <a class="btn primary" href="/fleet/add">Add device</a>
    </div>
  );
}

const suggestions: readonly (readonly [label: string, word: string])[] = [
  ["Trouble or lagging", "state:trouble,lagging"],
  ["Outbox above 100", "outbox:>100"],
  ["Not seen for 15 min", "seen:>900"],
  ["Rejected", "rejected:>0"],
];

function Filters({ view, total, all }: { view: FleetView; total: number; all: number }) {
  const words = wordsOf(view.q);
  return (
    <div class="filters">
      {words.map((word) => (
        <span class="f">
          <span class="mono">{word}</span>
          <a href={hrefOf(view, { q: withoutWord(view.q, word), from: 0 })} aria-label={`Without ${word}`}>×</a>
        </span>
      ))}
      {suggestions.filter(([, word]) => !words.some((one) => one.startsWith(word.split(":")[0]!))).map((
        [label, word],
      ) => <a class="f add" href={hrefOf(view, { q: withWord(view.q, word), from: 0 })}>{`+ ${label}`}</a>)}
      <span role="status">{words.length ? `${grouped(total)} of ${count(all, "device")}` : count(all, "device")}</span>
    </div>
  );
}

function Bulk({ total }: { total: number }) {
  return (
    <div class="bulk" data-bulk>
      <b data-selected>With the selected</b>
      <button class="btn small" name="do" value="verify" type="submit">Verify</button>
      <button class="btn small" name="do" value="csv" type="submit">Export CSV</button>
      <label>
        <input type="checkbox" name="all" value={String(total)} /> {`all ${grouped(total)} found`}
      </label>
    </div>
  );
}

function Rows({ view, devices, now }: { view: FleetView; devices: readonly DeviceStanding[]; now: number }) {
  const shown = chosenColumns(view.columns);
  return (
    <div class="scroll" tabindex={0} role="region" aria-label="Devices">
      <table>
        <thead>
          <tr>
            <th scope="col">
              <input type="checkbox" class="js" data-all aria-label="Select all rows of this page" />
            </th>
            {shown.map((column) => <Head {...{ column, view }} />)}
          </tr>
        </thead>
        <tbody data-rows>
          {devices.map((device) => <Row {...{ device, now, shown }} />)}
        </tbody>
      </table>
    </div>
  );
}

function Head({ column: { label, sort, number, down }, view }: { column: Column; view: FleetView }) {
  const kind = number ? "num" : undefined;
  if (!sort) return <th scope="col" class={kind}>{label}</th>;
  const [isUp, isDown] = [view.sort === sort, view.sort === `-${sort}`];
  const next = isUp ? `-${sort}` : isDown ? sort : down ? `-${sort}` : sort;
  return (
    <th scope="col" class={kind} aria-sort={isUp ? "ascending" : isDown ? "descending" : undefined}>
      <a id={`sort-${sort}`} href={hrefOf(view, { sort: next, from: 0 })}>
        {label}
        {isUp || isDown ? <span aria-hidden="true">{isUp ? "▴" : "▾"}</span> : null}
      </a>
    </th>
  );
}

function Row({ device, now, shown }: { device: DeviceStanding; now: number; shown: readonly Column[] }) {
  const { deviceId, accountId, report, lagMs } = device;
  return (
    <tr data-row data-device={deviceId}>
      <td>
        <input type="checkbox" name="id" value={deviceId} aria-label={`Select ${deviceId}`} />
      </td>
      {shown.map((column) => (
        <td class={[column.class, column.number ? "num" : ""].join(" ").trim()} data-col={column.id}>
          {column.cell(device, now)}
        </td>
      ))}
      <td class="m" data-col="m">
        <span>{accountId}</span>
        <span>{`outbox ${grouped(report?.outbox)}`}</span>
        {lagMs === undefined ? null : <span>{`lag ${duration(lagMs)}`}</span>}
      </td>
    </tr>
  );
}

function Foot({ view, total, shown }: { view: FleetView; total: number; shown: number }) {
  const { from } = view;
  return (
    <div class="foot">
      <span>{`${grouped(from + 1)}–${grouped(from + shown)} of ${grouped(total)}`}</span>
      <span class="hide-s js">
        <kbd>j</kbd> <kbd>k</kbd> move, <kbd>x</kbd> selects, <kbd>Enter</kbd> opens
      </span>
      <span class="right">
        <span id="moved" hidden>
          <span data-moved></span> <a class="btn small" href={hrefOf(view)}>Sort again</a>
        </span>
        {from > 0
          ? <a class="btn small" rel="prev" href={hrefOf(view, { from: Math.max(0, from - pageRows) })}>Back</a>
          : null}
        {from + shown < total
          ? <a class="btn small" rel="next" href={hrefOf(view, { from: from + pageRows })}>Next</a>
          : null}
      </span>
    </div>
  );
}

function Nothing({ view, all }: { view: FleetView; all: number }) {
  if (all === 0) {
    return (
      <Empty title="No devices yet">
        <p>A device gets an id, an account and a token; with these its agent connects.</p>
        <p class="after">
          <a class="btn primary" href="/fleet/add">Add device</a>
        </p>
      </Empty>
    );
  }
  if (/^state:(trouble|trouble,lagging|lagging)$/.test(view.q)) return <Empty title="None in trouble ✓" />;
  return (
    <Empty title="No device fits">
      <p>
        <a href={hrefOf(view, { q: "", from: 0 })}>{`Show all ${grouped(all)}`}</a>
      </p>
    </Empty>
  );
}
