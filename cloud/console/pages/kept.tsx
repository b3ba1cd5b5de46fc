/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/conflicts` and `/rejected`: what was overridden or refused, and how to put it right. The counts are those that devices
 * report; the versions themselves are on the devices, so that whoever opens one asks it: two seconds, or it is away.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { count, grouped as inGroups } from "../format.ts";
import { Lens } from "../icons.tsx";
import { askDevices, askedMax, inCloud, type KeptAnswer, totalOf } from "../kept.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { Routes } from "../mod.tsx";
import { Empty, Problem, State, Time } from "../parts.tsx";
import { faultOf } from "./error.tsx";
import { deviceHref } from "./fleet_columns.tsx";
import { confirmPage, doKept } from "./kept_confirm.tsx";
import { askedOf, found as rowsFound, type Keeper, type Keepers, keepersOf, readMax } from "./kept_find.ts";
import { Groups } from "./kept_groups.tsx";
import { Away } from "./kept_parts.tsx";
import { keptHref, type KeptView, keptViewOf, type PagedTable, wordsOf } from "./kept_query.ts";
import { KeptList } from "./kept_list.tsx";

/** Devices that are listed. */
const devicesMax = 50;
/** Versions of a device that are shown at a time, where it is alone; and where there are several. */
const pageRows = 50, sampleRows = 10;

/** What the two pages differ in. */
interface Words {
  readonly title: string;
  readonly about: string;
  readonly none: string;
  said(number: number, devices: string): string;
}

const words: Readonly<Record<PagedTable, Words>> = {
  conflicts: {
    title: "Conflicts",
    about:
      "When two sides change one item, the newer version wins. The other one stays on its device until you restore or drop it.",
    none: "No conflicts ✓",
    said: (number, devices) => `${count(number, "version")} on ${devices} lost to a newer one.`,
  },
  rejected: {
    title: "Rejected",
    about: "A refused change stays on its device until you retry or drop it.",
    none: "Nothing is rejected ✓",
    said: (number, devices) => `The cloud refused ${count(number, "change")} of ${devices}.`,
  },
};

/** A page's link, with how many there are. */
export function keptLink(table: PagedTable, key: string) {
  const tone: "warn" | "bad" = table === "rejected" ? "bad" : "warn";
  return {
    name: words[table].title,
    path: `/${table}`,
    key,
    count(options: ConsoleOptions) {
      const number = totalOf(options, table);
      return number > 0 ? { number, tone } : undefined;
    },
  };
}

/** A page's routes. */
export function mountKept(routes: Routes, table: PagedTable): void {
  const { page, action, options } = routes;
  page(`/${table}`, (c) => keptPage(options, c, table));
  page(`/${table}/confirm`, (c) => confirmPage(options, c, table));
  action(`/${table}/do`, (c, form) => doKept(routes, c, table, form));
}

interface Found extends Keepers {
  readonly asked: readonly DeviceStanding[];
  readonly answers: readonly KeptAnswer[];
  readonly fault?: { readonly message: string; readonly code: string };
}

async function keptPage(options: ConsoleOptions, c: PageContext, table: PagedTable): Promise<Page> {
  const view = keptViewOf(table, new URL(c.req.url).searchParams), now = options.now();
  const found = await find(options, view), { keepers, fault } = found;
  const total = keepers.reduce((sum, { count }) => sum + count, 0);
  const contents = fault ? null : await contentsOf(options, c, view, found);
  return {
    title: words[table].title,
    status: fault ? 400 : 200,
    on: "kept",
    scripts: ["kept.js"],
    body: (
      <>
        <div class="head">
          <div>
            <h1>{words[table].title}</h1>
            <p class="muted">
              {total > 0 ? `${words[table].said(total, count(keepers.length, "device"))} ` : ""}
              {words[table].about}
            </p>
          </div>
        </div>
        <p id="kept-news" class="note" role="status" hidden>
          <span data-news></span>
          <a class="btn small" href={keptHref(view)}>Look again</a>
        </p>
        {fault ? <Problem {...fault} /> : null}
        <div class="card kept-card">
          <Tools view={view} models={modelsOf(options)} />
          <Chips view={view} />
          <Devices {...{ view, found, now }} />
        </div>
        {contents}
      </>
    ),
  };
}

function modelsOf({ schema }: ConsoleOptions): string[] {
  return [...schema.models.values()].filter(({ onDevice }) => onDevice).map(({ name }) => name);
}

async function find(options: ConsoleOptions, view: KeptView): Promise<Found> {
  try {
    const keepers = await keepersOf(options, view);
    const asked = await askedOf(options, view, keepers);
    const most = view.row ? 1 : view.table === "rejected" ? readMax : asked.length === 1 ? pageRows : sampleRows;
    const after = view.row ? view.row - 1 : view.after || undefined;
    const model = view.model || undefined;
    const answers = asked.length > 0 ? await askDevices(options, asked, { table: view.table, model, after, most }) : [];
    return { ...keepers, asked, answers };
  } catch (error) {
    const { message, code, status } = faultOf(error);
    if (status !== 400) throw error;
    return { keepers: [], unknown: 0, asked: [], answers: [], fault: { message, code } };
  }
}

/** What the devices that were asked have told. */
async function contentsOf(options: ConsoleOptions, c: PageContext, given: KeptView, found: Found): Promise<Child> {
  const { asked, answers } = found, { mayWrite, formToken } = c.get("session");
  const [only, ...others] = asked;
  if (!only) return null;
  // Named from here on: that nobody else keeps anything may have changed by the next request.
  const view = others.length === 0 ? { ...given, device: only.deviceId } : given;
  const told = rowsFound(answers, view), rows = view.row ? told.filter(({ id }) => id === view.row) : told;
  const shared = { schema: options.schema, view, now: options.now(), mayWrite, formToken };
  const aways = answers.filter(({ away }) => away !== undefined);
  const isCut = answers.some(({ next }) => next !== undefined) && !view.row;
  return (
    <>
      {aways.map((answer) => (
        <div class="card pad after">
          <Away answer={answer}>
            {mayWrite ? <WhenItConnects {...{ view, formToken }} deviceId={answer.device.deviceId} /> : null}
          </Away>
        </div>
      ))}
      {rows.length === 0
        ? answers.length > aways.length ? <NothingTold view={view} asked={asked} /> : null
        : view.table === "rejected" && !view.row
        ? <Groups {...shared} rows={rows} isCut={isCut} cloudOf={(shown) => inCloud(options, shown)} />
        : <KeptList {...shared} rows={rows} cloud={await inCloud(options, rows)} next={nextOf(answers, view)} />}
    </>
  );
}

function nextOf(answers: readonly KeptAnswer[], view: KeptView): number | undefined {
  return answers.length === 1 && !view.row ? answers[0]!.next : undefined;
}

/** Of a device that is away all can be tried again, without having been seen. */
function WhenItConnects({ view, formToken, deviceId }: { view: KeptView; formToken: string; deviceId: string }) {
  // An order knows models, not words: it would retry more than what is filtered.
  if (view.table !== "rejected" || view.words !== "") return null;
  return (
    <form method="post" action="/rejected/do" class="acts">
      <input type="hidden" name="_form" value={formToken} />
      <input type="hidden" name="do" value="retry-all" />
      <input type="hidden" name="device" value={deviceId} />
      {view.model ? <input type="hidden" name="model" value={view.model} /> : null}
      <button class="btn" type="submit">
        {`Retry all${view.model ? ` of ${view.model}` : ""} when it connects`}
      </button>
      <span class="muted">The order waits for it for 7 days.</span>
    </form>
  );
}

function NothingTold({ view, asked }: { view: KeptView; asked: readonly DeviceStanding[] }) {
  const who = asked.length === 1 ? asked[0]!.deviceId : `The ${asked.length} devices that were asked`;
  const of = `${view.model ? ` of ${view.model}` : ""}${view.words ? ` with “${view.words}”` : ""}`;
  const none = view.words ? "No rejected change has these words" : words[view.table].none;
  return (
    <div class="card after">
      <Empty title={view.row ? "It is not there any more" : none}>
        <p>
          {view.row ? "It was put back or dropped." : `${who} ${asked.length === 1 ? "keeps" : "keep"} none${of} now.`}
        </p>
        {view.row
          ? (
            <p>
              <a href={keptHref(view, { row: 0 })}>{`All of ${view.device}`}</a>
            </p>
          )
          : null}
      </Empty>
    </div>
  );
}

function Tools({ view, models }: { view: KeptView; models: readonly string[] }) {
  return (
    <form class="tools" action={`/${view.table}`} role="search" aria-label={words[view.table].title}>
      <label class="q">
        <Lens />
        <span class="sr">Devices</span>
        <input
          class="mono"
          name="q"
          type="search"
          value={view.q}
          placeholder="account:acme or the beginning of a device's id"
          autocomplete="off"
          spellcheck={false}
        />
      </label>
      <select name="model" aria-label="Model">
        <option value="">All models</option>
        {models.map((name) => <option value={name} selected={name === view.model}>{name}</option>)}
      </select>
      {view.table === "rejected"
        ? (
          <label class="q">
            <Lens />
            <span class="sr">Words of the reason or key</span>
            <input name="words" type="search" value={view.words} placeholder="reason or key" autocomplete="off" />
          </label>
        )
        : null}
      {wordsOf({ ...view, q: "", model: "", words: "", after: 0, row: 0 }).map(([name, value]) => (
        <input type="hidden" name={name} value={value} />
      ))}
      <button class="btn" type="submit">Filter</button>
    </form>
  );
}

/** What narrows the list, each with a way out. */
function Chips({ view }: { view: KeptView }) {
  const chips: [text: string, without: Partial<KeptView>][] = [
    ...(view.device ? [[view.device, { device: "", after: 0, row: 0 }] as [string, Partial<KeptView>]] : []),
    ...(view.model ? [[view.model, { model: "", after: 0, row: 0 }] as [string, Partial<KeptView>]] : []),
    ...(view.words ? [[view.words, { words: "", after: 0, row: 0 }] as [string, Partial<KeptView>]] : []),
    ...(view.group ? [[groupText(view.group), { group: "" }] as [string, Partial<KeptView>]] : []),
    ...(view.row ? [[`number ${view.row}`, { row: 0 }] as [string, Partial<KeptView>]] : []),
  ];
  if (chips.length === 0) return null;
  return (
    <div class="filters">
      {chips.map(([text, without]) => (
        <span class="f">
          <span>{text}</span>
          <a href={keptHref(view, without)} aria-label={`Without ${text}`}>×</a>
        </span>
      ))}
    </div>
  );
}

function groupText(group: string): string {
  try {
    const [, , reason] = JSON.parse(group) as unknown[];
    return String(reason);
  } catch {
    // Somebody has changed the address: it finds nothing, and is shown as it is.
    return group;
  }
}

function Devices({ view, found, now }: { view: KeptView; found: Found; now: number }) {
  const { keepers, unknown, asked, fault } = found;
  if (fault || view.device !== "") return null;
  const silent = unknown > 0 ? ` ${count(unknown, "device has", "devices have")} not reported a number.` : "";
  if (keepers.length === 0) {
    return (
      <Empty title={view.q ? "No matching device keeps any" : words[view.table].none}>
        {silent ? <p>{silent.trim()}</p> : null}
      </Empty>
    );
  }
  const reachable = keepers.filter(({ device }) => device.connected === true).length;
  return (
    <>
      <div class="scroll" tabindex={0} role="region" aria-label="Devices that keep some">
        <table>
          <thead>
            <tr>
              <th scope="col">State</th>
              <th scope="col">Device</th>
              <th scope="col" class="hide-s">Account</th>
              <th scope="col" class="num">{words[view.table].title}</th>
              <th scope="col" class="num hide-s">As of</th>
            </tr>
          </thead>
          <tbody>
            {keepers.slice(0, devicesMax).map((keeper) => <DeviceRow {...{ view, keeper, now }} />)}
          </tbody>
        </table>
      </div>
      <div class="foot">
        <span>
          {keepers.length > devicesMax ? `${devicesMax} of ${count(keepers.length, "device")}: search for others.` : ""}
          {silent}
        </span>
        <span class="right">
          {keepers.length > 1 && reachable > 0 && !view.ask
            ? (
              <a class="btn small" href={keptHref(view, { ask: true })}>
                {askWord(reachable, keepers.length)}
              </a>
            )
            : asked.length > 1
            ? <span>{`${count(asked.length, "device was", "devices were")} asked`}</span>
            : null}
        </span>
      </div>
    </>
  );
}

function askWord(reachable: number, all: number): string {
  if (reachable > askedMax) return `Ask the first ${askedMax} that are connected`;
  if (reachable === all) return `Ask all ${all}`;
  return reachable === 1 ? "Ask the one that is connected" : `Ask the ${reachable} that are connected`;
}

function DeviceRow({ view, keeper: { device, count }, now }: { view: KeptView; keeper: Keeper; now: number }) {
  const { deviceId, accountId, state, reportedMs } = device;
  return (
    <tr data-device={deviceId}>
      <td>
        <State of={state} />
      </td>
      <td>
        <a class="mono" href={keptHref(view, { device: deviceId, ask: false, after: 0 })}>{deviceId}</a>
      </td>
      <td class="hide-s">
        <a href={deviceHref(deviceId)} class="quiet-link">{accountId}</a>
      </td>
      <td class="num">{inGroups(count)}</td>
      <td class="num hide-s">
        <Time at={reportedMs} now={now} />
      </td>
    </tr>
  );
}
