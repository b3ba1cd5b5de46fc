/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/fleet`: is anyone in trouble, and who is worst? All devices, searched and sorted in memory
 * (`cloud/api/devices.ts`), a page at a time. Rows update in place; nothing moves under the pointer until it is sorted
 * again.
 *
 * @module
 */
import { ApiError } from "../../api/errors.ts";
import { type FleetPage, queryFleet } from "../../api/devices.ts";
import type { DeviceStanding, Fleet } from "../../sync/fleet.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { count, duration, grouped } from "../format.ts";
import type { Routes } from "../mod.tsx";
import { Empty, FormToken, Problem } from "../parts.tsx";
import { Pasts } from "../past.ts";
import { Positions } from "../positions.ts";
import { workersText } from "../standing.ts";
import { addDevice, addDevicePage } from "./fleet_add.tsx";
import { fleetCsv, fleetOrders } from "./fleet_orders.tsx";
import { chosenColumns, type Column } from "./fleet_columns.tsx";
import { type FleetView, hrefOf, pageRows, viewOf } from "./fleet_query.ts";
import { sum, Tiles } from "./fleet_tiles.tsx";
import { setSilence, silencePage } from "./fleet_silence.tsx";
import { Filters, RangeMenu, Tools } from "./fleet_tools.tsx";

export const link = { name: "Fleet", path: "/fleet", key: "f" };

/** The page's routes. */
export function mount(routes: Routes): void {
  const pasts = new Pasts(routes.options.tables.log, routes.options.now), positions = new Positions(routes.options);
  const { page, action, options } = routes;
  page("/fleet", (c) => fleetPage(routes, c, { pasts, positions }));
  page("/fleet/rows", async (c) => await rowsPart(options, c, positions));
  page("/fleet/add", (c) => addDevicePage(c));
  page("/fleet/silence", (c) => silencePage(options, c));
  action("/fleet/silence", (c, form) => setSilence(options, c, form));
  action("/fleet/add", (c, form) => addDevice(options, c, form), "admin");
  page("/fleet.csv", (c) => fleetCsv(options, new URL(c.req.url).searchParams));
  action("/fleet/do", (c, form) => fleetOrders(routes, c, form));
}

async function fleetPage(
  { options, standings }: Routes,
  c: PageContext,
  { pasts, positions }: { pasts: Pasts; positions: Positions },
): Promise<Page> {
  const view = viewOf(new URL(c.req.url).searchParams);
  // Once for the list and the tiles: all devices are judged anew each time.
  const judged = await options.fleet.all(), all = judged.devices;
  const { found, fault } = await find({ all: () => Promise.resolve(judged) }, view);
  const now = options.now(), standing = await standings.read(), past = await pasts.read(view.range, standing);
  const rows = found.devices.slice(view.from);
  positions.ask(rows);
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
            <p class="muted">
              {`${sentence(found, all.filter(({ overdue }) => overdue).length)} ${workersText(standing)}`}
            </p>
          </div>
          <RangeMenu view={view} />
        </div>
        <div
          id="tiles"
          class="sum"
          hx-get={hrefOf(view)}
          hx-select="#tiles"
          hx-swap="outerHTML"
          hx-trigger="tt:fleet from:body delay:2s"
        >
          <Tiles found={found} view={view} all={all} past={past} />
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
              <input type="hidden" name="view" value={hrefOf(view, {}, "")} />
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
async function rowsPart(options: ConsoleOptions, c: PageContext, positions: Positions): Promise<Response> {
  const query = new URL(c.req.url).searchParams;
  const wanted = new Set(query.getAll("id").slice(0, pageRows));
  const devices = (await options.fleet.all()).devices.filter(({ deviceId }) => wanted.has(deviceId));
  positions.ask(devices);
  const shown = chosenColumns(viewOf(query).columns), now = options.now();
  return c.html(
    <table>
      <tbody>
        {devices.map((device) => <Row {...{ device, now, shown }} />)}
      </tbody>
    </table>,
  );
}

interface Found {
  readonly found: FleetPage;
  readonly fault?: { message: string; code: string };
}

/** The requested page; for an unknown word, the error, with the fleet's counts all the same. */
async function find(fleet: Pick<Fleet, "all">, view: FleetView): Promise<Found> {
  const limit = view.from + pageRows;
  try {
    return { found: await queryFleet(fleet, { q: view.q, sort: view.sort, limit }) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const counts = await queryFleet(fleet, { limit: 1 });
    return { found: { ...counts, total: 0, devices: [] }, fault: { message: error.message, code: error.code } };
  }
}

function sentence(
  { states: { trouble = 0, lagging = 0, silent = 0, online = 0 } }: FleetPage,
  overdue: number,
): string {
  const all = trouble + lagging + silent + online;
  if (all === 0) return "There are no devices yet.";
  const longer = overdue === 0
    ? ""
    : `, ${overdue === silent ? "" : `${grouped(overdue)} of them `}for longer than usual`;
  const rest = silent > 0 ? ` ${count(silent, "device")} ${silent === 1 ? "is" : "are"} silent${longer}.` : "";
  if (trouble + lagging === 0) return `No device needs you.${rest || ` All ${grouped(all)} are online.`}`;
  const need = trouble > 0 ? `${count(trouble, "device")} need${trouble === 1 ? "s" : ""} you` : "";
  const lag = lagging > 0 ? `${count(lagging, "device")} ${lagging === 1 ? "lags" : "lag"}` : "";
  return `${[need, lag].filter((part) => part !== "").join(", ")}.${rest}`;
}

function Bulk({ total }: { total: number }) {
  return (
    <div class="bulk" data-bulk>
      <b data-selected>With the selected</b>
      <button class="btn small" name="do" value="sync" type="submit">Sync</button>
      <button class="btn small" name="do" value="verify" type="submit">Verify</button>
      <button class="btn small" name="do" value="csv" type="submit">Export CSV</button>
      <button
        class="btn small"
        name="do"
        value="looked"
        type="submit"
        title="What they rejected and set aside until now is no trouble any more"
      >
        Looked at
      </button>
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

function Head({ column: { label, title, sort, number, down }, view }: { column: Column; view: FleetView }) {
  const kind = number ? "num" : undefined;
  if (!sort) return <th scope="col" class={kind}>{label}</th>;
  const [isUp, isDown] = [view.sort === sort, view.sort === `-${sort}`];
  const next = isUp ? `-${sort}` : isDown ? sort : down ? `-${sort}` : sort;
  return (
    <th scope="col" class={kind} aria-sort={isUp ? "ascending" : isDown ? "descending" : undefined}>
      <a id={`sort-${sort}`} title={title} href={hrefOf(view, { sort: next, from: 0 })}>
        {label}
        {isUp || isDown ? <span aria-hidden="true">{isUp ? "▴" : "▾"}</span> : null}
      </a>
    </th>
  );
}

function Row({ device, now, shown }: { device: DeviceStanding; now: number; shown: readonly Column[] }) {
  const { deviceId, accountId, report, lagMs, downMs } = device;
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
        {lagMs === undefined ? null : <span>{`lag ↑ ${duration(lagMs)}`}</span>}
        {downMs ? <span>{`lag ↓ ${duration(downMs)}`}</span> : null}
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
    <Empty title="No device matches">
      <p>
        <a href={hrefOf(view, { q: "", from: 0 })}>{`Show all ${grouped(all)}`}</a>
      </p>
    </Empty>
  );
}
