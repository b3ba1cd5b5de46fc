/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/devices/:id`: how a device stands and why, what it says of itself, its orders, what it keeps for people, and what an
 * operator may do with it. Orders wait for a device that is away.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { StoredOrder } from "../../sync/orders.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { grouped } from "../format.ts";
import { countOf } from "../kept.ts";
import type { Routes } from "../mod.tsx";
import { giveOrder } from "../order_tasks.ts";
import { FormToken, State, states, Time } from "../parts.tsx";
import { mountEnds } from "./device_erase.tsx";
import { ChangesTab } from "./device_changes.tsx";
import { AsideTab, KeptTab } from "./device_kept.tsx";
import { OrdersTab, orderWord } from "./device_orders.tsx";
import { Overview } from "./device_overview.tsx";
import { tokenPage } from "./fleet_add.tsx";
import { ReportCharts } from "./device_reports.tsx";
import { deviceHref } from "./fleet_columns.tsx";
import { deviceNamed } from "./kept_find.ts";

/** What an operator orders here. */
const orders = {
  sync: { do: "sync" },
  verify: { do: "verify" },
  repair: { do: "verify", repair: true },
  aside: { do: "retry", table: "aside" },
} as const;

/** The page's routes. */
export function mount(routes: Routes): void {
  const { page, action, options } = routes;
  const deviceOf = (c: PageContext) => deviceNamed(options, c.req.param("id") ?? "");
  page("/devices/:id", async (c) => await devicePage(options, c, await deviceOf(c)));
  for (const [name, content] of Object.entries(orders)) {
    action(`/devices/:id/${name}`, async (c) => {
      const device = await deviceOf(c), { outcome } = await giveOrder(options, device, content);
      const asked = outcome?.state === "later" ? "later" : outcome ? "verify" : "sent";
      return c.redirect(`${deviceHref(device.deviceId)}?${new URLSearchParams({ tab: "orders", asked })}`, 303);
    });
  }
  action("/devices/:id/rotate", async (c) => {
    const { deviceId } = await deviceOf(c);
    const token = await options.registry.rotate(deviceId);
    return tokenPage(deviceId, token, "has another token");
  }, "admin");
  mountEnds(routes, deviceOf);
}

const notes: Readonly<Record<string, string>> = {
  verify: "It was asked to verify; the result comes to the overview.",
  sent: "The order is on its way; the result comes here.",
  later: "The order waits for the device: it runs when it connects.",
};

const tabNames = ["overview", "changes", "orders", "rejected", "conflicts", "aside"] as const;
type TabName = typeof tabNames[number];

async function devicePage(options: ConsoleOptions, c: PageContext, device: DeviceStanding): Promise<Page> {
  const { deviceId } = device, { mayWrite, isAdmin, formToken } = c.get("session");
  const tab = tabNames.find((name) => name === c.req.query("tab")) ?? "overview";
  const note = notes[c.req.query("asked") ?? ""], stored = await ordersOf(options, deviceId);
  const href = tab === "changes"
    ? deviceHref(deviceId, new URL(c.req.url).search)
    : deviceHref(deviceId, tab === "overview" ? "" : `?tab=${tab}`);
  // What is on the device is asked from it once, and not at each of its reports.
  const renews = tab === "changes"
    ? { "hx-trigger": "tt:refresh, tt:again from:body" }
    : tab === "overview" || tab === "orders"
    ? { "hx-trigger": "tt:refresh, tt:job from:body throttle:1s, tt:again from:body" }
    : { "hx-trigger": "tt:never" };
  const files = tab === "overview"
    ? {
      scripts: ["device.js", "uplot.js", "charts.js"],
    }
    : {
      scripts: ["device.js", "kept.js"],
    };
  return {
    title: deviceId,
    // Of the changes those are told that the feed brings; its reports change nothing there.
    on: tab === "changes" ? "change,stage" : `device:${deviceId}`,
    ...files,
    body: (
      <>
        <div id="device" hx-get={href} hx-select="#device" hx-swap="outerMorph" {...renews}>
          <div class="head">
            <Title device={device} now={options.now()} />
            {mayWrite ? <Actions {...{ device, isAdmin, formToken }} /> : null}
          </div>
          <Tabs {...{ options, device, tab, stored }} />
          {note ? <p class="note ok" role="status">{note}</p> : null}
          {await tabOf(options, c, { device, tab, stored })}
        </div>
        {tab === "overview" ? await ReportCharts({ registry: options.registry, deviceId, now: options.now() }) : null}
      </>
    ),
  };
}

/** Its orders, the newest first; none where nothing is published. */
async function ordersOf({ service }: ConsoleOptions, deviceId: string): Promise<readonly StoredOrder[]> {
  return await service?.orders.list(deviceId) ?? [];
}

interface Shown {
  readonly device: DeviceStanding;
  readonly tab: TabName;
  readonly stored: readonly StoredOrder[];
}

async function tabOf(options: ConsoleOptions, c: PageContext, { device, tab, stored }: Shown): Promise<Child> {
  const { session, now } = { session: c.get("session"), now: options.now() };
  switch (tab) {
    case "overview":
      return await Overview({ options, device, orders: stored, now });
    case "changes":
      return await ChangesTab({ options, c, device, now });
    case "orders":
      return <OrdersTab orders={stored} now={now} />;
    case "aside":
      return await AsideTab({ options, device, session, now });
    default:
      return await KeptTab({ options, device, session, now, table: tab });
  }
}

function Title({ device, now }: { device: DeviceStanding; now: number }) {
  const { deviceId, accountId, state, why, report, seenMs, connected } = device;
  const versions = [report?.agent, report?.sqlite && `SQLite ${report.sqlite}`].filter((text) => text);
  return (
    <div>
      <p class="muted">
        <a href="/fleet" data-back>Fleet</a>
      </p>
      <h1 class="mono-h">{deviceId}</h1>
      <p class="device-state">
        <State of={state} />
        {why ? <span class={states[state].tone}>{`: ${why}`}</span> : null}
        <span class="muted">
          {connected ? " · connected, heard " : seenMs === undefined ? " · never seen" : " · silent since "}
        </span>
        {seenMs === undefined ? null : <Time at={seenMs} now={now} />}
        <span class="muted">{[` · ${accountId}`, ...versions].join(" · ")}</span>
      </p>
    </div>
  );
}

function Actions({ device: { deviceId, connected }, isAdmin, formToken }: {
  device: DeviceStanding;
  isAdmin: boolean;
  formToken: string;
}) {
  const at = deviceHref(deviceId);
  return (
    <div class="acts">
      <OrderButton {...{ at, formToken }} what="sync" word="Sync" />
      <OrderButton {...{ at, formToken }} what="verify" word="Verify" isPrimary />
      <OrderButton {...{ at, formToken }} what="repair" word="Verify and repair" />
      {isAdmin ? <OrderButton {...{ at, formToken }} what="rotate" word="Rotate token" /> : null}
      <a class="btn danger" href={`${at}/revoke`}>Revoke…</a>
      <a class="btn danger" href={`${at}/erase`}>Decommission…</a>
      {connected ? null : <span class="muted acts-note">Orders run when it connects.</span>}
    </div>
  );
}

function OrderButton({ at, what, word, formToken, isPrimary }: {
  at: string;
  what: string;
  word: string;
  formToken: string;
  isPrimary?: boolean;
}) {
  return (
    <form method="post" action={`${at}/${what}`}>
      <FormToken token={formToken} />
      <button class={isPrimary ? "btn primary" : "btn"} type="submit">{word}</button>
    </form>
  );
}

function Tabs({ options, device, tab, stored }: Shown & { options: ConsoleOptions }) {
  const open = stored.filter(({ state }) => state === "waiting" || state === "running");
  const counts: Readonly<Record<TabName, number | undefined>> = {
    overview: undefined,
    changes: undefined,
    orders: open.length || undefined,
    rejected: countOf(options, device, "rejected"),
    conflicts: countOf(options, device, "conflicts"),
    aside: countOf(options, device, "aside"),
  };
  const words: Readonly<Record<TabName, string>> = {
    overview: "Overview",
    changes: "Changes",
    orders: "Orders",
    rejected: "Rejected",
    conflicts: "Conflicts",
    aside: "Set aside",
  };
  return (
    <nav class="tabs device-tabs" aria-label="Of the device" tabindex={0}>
      {tabNames.map((name) => (
        <a
          href={deviceHref(device.deviceId, name === "overview" ? "" : `?tab=${name}`)}
          aria-current={name === tab ? "page" : undefined}
          title={name === "orders" && open[0] ? `${orderWord(open[0])}: ${open[0].state}` : undefined}
        >
          {words[name]}
          {counts[name] === undefined ? null : <small>{grouped(counts[name])}</small>}
        </a>
      ))}
    </nav>
  );
}
