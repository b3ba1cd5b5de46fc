/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/twin`, in `dev`: a device's SQLite file on the left, the table on the right. Whatever is written on either side, by whom
 * ever, is seen crossing; the link can be cut, both sides changed, and the link mended.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { listItems } from "../../api/items.ts";
import { goesUp } from "../../../schema/direction.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { ago, grouped } from "../format.ts";
import { Check, Chip, Cloud, Dashed, Dot } from "../icons.tsx";
import { curlLine, ownIds, sqliteLine, typescriptLine, updateSql } from "../lines.ts";
import type { LocalDevice, LocalStatus, PlainItem } from "../local_device.ts";
import type { Routes } from "../mod.tsx";
import { Copy } from "../parts.tsx";
import { TwinForm } from "./twin_form.tsx";
import type { Travel } from "../travels.ts";
import { editIn, mountActions } from "./twin_actions.ts";
import { readItem } from "../save.ts";
import { equalItems, identityOf, Side, type SideView } from "./twin_side.tsx";
import { TravelLog } from "./twin_log.tsx";
import { chosen, shownModels, twinHref } from "./twin_query.ts";

export const link = {
  name: "Twin",
  path: "/twin",
  key: "t",
  isThere: ({ travels }: ConsoleOptions) => travels !== undefined,
};

/** Rows of a side. */
const rowsMax = 100;

/** The page's routes. */
export function mount(routes: Routes): void {
  if (!routes.options.travels) return;
  routes.page("/twin", (c) => twinPage(routes.options, c));
  routes.page("/twin/lines", (c) => linesPart(routes.options, c));
  mountActions(routes);
}

async function twinPage(options: ConsoleOptions, c: PageContext): Promise<Page> {
  const travels = options.travels!, query = new URL(c.req.url).searchParams;
  if (options.events) travels.watch(options.events);
  const { device, model } = chosen(options, query), now = options.now();
  const status = device.status(), formToken = c.get("session").formToken;
  const local = device.items(model.name, rowsMax);
  const listing = { model, ...scopeOf(model, device), limit: rowsMax };
  const remote = (await listItems(options.items, listing)).items as PlainItem[];
  const log = travels.of(device.deviceId);
  const shared = { model, device, now, formToken, canWrite: c.get("session").mayWrite, log };
  const tabs = shownModels(options).map((one) => ({
    name: one.name,
    direction: one.sync === "both" ? "⇅" : goesUp(one) ? "↑" : "↓",
    how: one.sync === "both" ? "both ways" : goesUp(one) ? "device to cloud" : "cloud to device",
    total: device.items(one.name, 1).total,
    href: twinHref(device, one),
    isHere: one === model,
  }));
  const address = { url: new URL(c.req.url).origin, wantsToken: options.tokens !== undefined };
  const left: SideView = { ...shared, side: "device", items: local.items, other: remote, canEdit: goesUp(model) };
  const right: SideView = { ...shared, side: "cloud", items: remote, other: local.items, canEdit: true };
  return {
    title: "Twin",
    on: `twin:${device.deviceId}`,
    scripts: ["twin.js"],
    body: (
      <div
        id="twin"
        hx-get={twinHref(device, model)}
        hx-select="#twin"
        hx-swap="outerMorph"
        hx-trigger="tt:refresh, tt:again from:body"
      >
        <div class="head">
          <div>
            <h1>One table, in two places</h1>
            <p class="muted">
              Left: a SQLite file on a device. Right: the table in the cloud. Write on either side and watch it cross.
            </p>
          </div>
          {travels.devices.length > 1
            ? (
              <details class="menu">
                <summary class="btn">{`Device: ${device.deviceId}`}</summary>
                <div>
                  {travels.devices.map((one) => <a href={twinHref(one, model)}>{one.deviceId}</a>)}
                </div>
              </details>
            )
            : null}
        </div>
        <FirstMinute options={options} device={device} status={status} />
        <div class="twin">
          <section class="card side" aria-label={`Device ${device.deviceId}`}>
            <header>
              <span class="badge">
                <Chip />
              </span>
              <div class="t">
                <h2>
                  {device.deviceId}
                  <span class="muted hide-s">{" · device"}</span>
                </h2>
                <p title={device.path}>{`SQLite · ${device.path}`}</p>
              </div>
              <LinkChip status={status} now={now} />
              <LinkSwitch {...{ device, model, status, formToken }} />
            </header>
            <Tabs tabs={tabs} where="on the device" />
            <Side {...left} />
            <div class="line">
              <div class="cap">
                <span>The same, from any program with SQLite</span>
                <Copy from="#sql-line" />
              </div>
              <pre id="sql-line" data-line="sql">{firstSql(left)}</pre>
            </div>
          </section>
          <Wire {...{ status, log, now, model, differs: differing(model, local.items, remote) }} />
          <section class="card side c" aria-label="Cloud table">
            <header>
              <span class="badge">
                <Cloud />
              </span>
              <div class="t">
                <h2>
                  {options.label ?? "twintable"}
                  <span class="muted hide-s">{" · cloud table"}</span>
                </h2>
                <p>
                  {status.cursor === undefined
                    ? "The table that applications use"
                    : `Device has read ${grouped(status.cursor)} of its log`}
                </p>
              </div>
            </header>
            <Tabs tabs={tabs} where="in the cloud" />
            <Side {...right} />
            <div class="line">
              <div class="cap">
                <span class="langs" role="group" aria-label="Show as">
                  <button type="button" aria-pressed="true" data-lang="curl">curl</button>
                  <button class="js" type="button" aria-pressed="false" data-lang="ts">TypeScript</button>
                </span>
                <Copy from="#cloud-line" />
              </div>
              <pre id="cloud-line" data-line="curl">{curlLine(address, model.name, firstItem(right))}</pre>
              <pre id="ts-line" hidden data-line="ts">{typescriptLine(address, model.name, firstItem(right))}</pre>
            </div>
          </section>
        </div>
        <TravelLog {...{ options, log, now, device, formToken, quiet: travels.quiet }} />
      </div>
    ),
  };
}

/** What is typed, as lines to paste. */
async function linesPart(options: ConsoleOptions, c: PageContext): Promise<Response> {
  const { searchParams, origin } = new URL(c.req.url);
  const { device, model } = chosen(options, searchParams);
  const { item, field, value } = editIn(model, searchParams);
  if (searchParams.get("side") === "device") {
    return c.json({ sql: sqliteLine(device.path, updateSql({ model, item, field, value })) });
  }
  const seen = await readItem(options.items, model, { ...ownIds(model, identityOf(device)), ...item });
  const own = { ...bareItem(model, device, seen?.item ?? item), [field]: value };
  const address = { url: origin, wantsToken: options.tokens !== undefined };
  return c.json({ curl: curlLine(address, model.name, own), ts: typescriptLine(address, model.name, own) });
}

/** Whose items of the model are the device's. */
function scopeOf(model: Model, { deviceId, accountId }: LocalDevice): { deviceId?: string; accountId?: string } {
  if (model.scope === "device") return { deviceId };
  return model.scope === "account" ? { accountId } : {};
}

function firstItem({ items, model, device }: SideView): PlainItem {
  return bareItem(model, device, items[0] ?? {});
}

/** An item without what the cloud makes by itself. */
function bareItem(model: Model, device: LocalDevice, item: PlainItem): PlainItem {
  const boring = new Set([model.createdField, model.updatedField]);
  const own = Object.entries(item).filter(([name]) =>
    !boring.has(name) && !model.fields.find((f) => f.name === name)?.template
  );
  return { ...ownIds(model, identityOf(device)), ...Object.fromEntries(own) };
}

function firstSql(view: SideView): string {
  const { model, items, device } = view, item = items[0];
  const field = model.fields.find(({ name, template, timestamp }) =>
    item && name in item && !template && !timestamp && !model.keyFields.includes(name) &&
    !model.identityFields.includes(name)
  );
  if (!item || !field || model.keyFields.length === 0) return sqliteLine(device.path, `SELECT * FROM ${model.name}`);
  return sqliteLine(device.path, updateSql({ model, item, field: field.name, value: item[field.name] }));
}

/** Keys of items that differ, or are on one side alone. */
function differing(model: Model, local: readonly PlainItem[], remote: readonly PlainItem[]): number {
  const keyOf = (item: PlainItem) => JSON.stringify(model.keyFields.map((name) => item[name]));
  const there = new Map(remote.map((item) => [keyOf(item), item]));
  const here = new Set(local.map(keyOf));
  const changed = local.filter((item) => !equalItems(model, item, there.get(keyOf(item)))).length;
  return changed + remote.filter((item) => !here.has(keyOf(item))).length;
}

interface Tab {
  readonly name: string;
  readonly direction: string;
  readonly how: string;
  readonly total: number;
  readonly href: string;
  readonly isHere: boolean;
}

function Tabs({ tabs, where }: { tabs: readonly Tab[]; where: string }) {
  return (
    <nav class="tabs" aria-label={`Models ${where}`} tabindex={0}>
      {tabs.map(({ name, direction, how, total, href, isHere }) => (
        <a href={href} aria-current={isHere ? "true" : undefined}>
          {name}
          <span class="dir" title={how}>{direction}</span>
          <small>{total > 9_999 ? `${Math.floor(total / 1000)}k` : grouped(total)}</small>
        </a>
      ))}
    </nav>
  );
}

function LinkChip({ status: { connected, pausedMs }, now }: { status: LocalStatus; now: number }) {
  if (pausedMs !== undefined) {
    return (
      <span class="chip warn" id="link-chip">
        <Dashed />
        {`Offline ${ago(now - pausedMs)}`}
      </span>
    );
  }
  return connected
    ? (
      <span class="chip ok" id="link-chip">
        <Dot />Online
      </span>
    )
    : (
      <span class="chip quiet" id="link-chip">
        <Dashed />Connecting
      </span>
    );
}

function LinkSwitch(
  { device, model, status, formToken }: { device: LocalDevice; model: Model; status: LocalStatus; formToken: string },
) {
  const isCut = status.pausedMs !== undefined;
  return (
    <TwinForm action="/twin/link" formToken={formToken} device={device.deviceId} model={model.name}>
      <input type="hidden" name="offline" value={isCut ? "no" : "yes"} />
      <button id="offline" class="switch" type="submit" role="switch" aria-checked={isCut ? "true" : "false"}>
        <i></i>Offline
      </button>
    </TwinForm>
  );
}

function FirstMinute(
  { options, device, status }: { options: ConsoleOptions; device: LocalDevice; status: LocalStatus },
) {
  const { left, right, both } = options.travels!.steps(device.deviceId);
  const isCut = status.pausedMs !== undefined;
  const steps = [
    {
      done: left !== undefined,
      title: "Change a value on the left",
      text: left === undefined
        ? "Click a value, type, press Enter."
        : `It was in the cloud ${Math.round(left)} ms later.`,
    },
    {
      done: right !== undefined,
      title: "Change one on the right",
      text: right === undefined
        ? "Click a value, type, press Enter."
        : `It was on the device ${Math.round(right)} ms later.`,
    },
    {
      done: both === "done",
      title: "Pull the plug, change both, plug in",
      text: both === "done"
        ? "Both are equal; what lost is kept."
        : isCut
        ? "Unplugged. Change both sides, then switch Offline off."
        : "Both end up equal; nothing is lost.",
    },
  ];
  const at = steps.findIndex(({ done }) => !done);
  return (
    <ol class="minute" aria-label="Your first minute">
      {steps.map(({ done, title, text }, i) => (
        <li class={done ? "done" : i === at ? "now" : ""} data-step={i + 1}>
          <span class="mark">{done ? <Check /> : i + 1}</span>
          <span>
            <b>{title}{done ? <span class="sr">{" (done)"}</span> : null}</b>
            <span class="muted">{text}</span>
          </span>
        </li>
      ))}
    </ol>
  );
}

/** What is between the two: the last change each way, or the cut. */
function Wire({ status, log, now, model, differs }: {
  status: LocalStatus;
  log: readonly Travel[];
  now: number;
  model: Model;
  differs: number;
}) {
  const isCut = status.pausedMs !== undefined;
  const [up, down] = (["up", "down"] as const).map((kind) => log.find((travel) => travel.kind === kind));
  const waitsDown = log.filter(({ kind, arrivedMs }) => kind === "down" && arrivedMs === undefined).length;
  if (isCut) {
    return (
      <div class="wire" role="group" aria-label="Between the device and the cloud">
        <div class="lane up">
          <b>{`${grouped(status.outbox)} waiting here`}</b>
          <span class="what">{`since ${ago(now - status.pausedMs!)}`}</span>
        </div>
        <div class="lane cut">
          <svg viewBox="0 0 164 34" aria-hidden="true">
            <path d="M0 17H58M58 8v18M106 8v18M106 17H164" class="w2" />
            <path d="m72 11 6 12M84 11l6 12" class="w2" />
          </svg>
          <b>Unplugged</b>
          <span class="what">Both sides go on working</span>
        </div>
        <div class="lane down">
          <b>{`${grouped(waitsDown)} waiting there`}</b>
          <span class="what">
            {differs > 0 ? `${grouped(differs)} of ${model.name} differ${differs === 1 ? "s" : ""}` : ""}
          </span>
        </div>
      </div>
    );
  }
  return (
    <div class="wire" role="group" aria-label="Between the device and the cloud">
      <Lane travel={up} now={now} direction="up" />
      <div class="mid">{`MQTT, ${grouped(status.outbox)} waiting`}</div>
      <Lane travel={down} now={now} direction="down" />
    </div>
  );
}

/** A change that is younger moves. */
const freshMs = 4_000;

function Lane({ travel, now, direction }: { travel: Travel | undefined; now: number; direction: "up" | "down" }) {
  const isFresh = travel !== undefined && now - travel.atMs < freshMs;
  const colour = direction === "up" ? "var-device" : "var-cloud";
  return (
    <div class={`lane ${direction}`} data-lane={direction} data-travel={travel?.id}>
      <b>{isFresh ? `${travel.model} ${shortKey(travel)}` : "Quiet"}</b>
      <span class="what">
        {travel ? isFresh ? "now" : `last: ${shortKey(travel)}, ${ago(now - travel.atMs)}` : "nothing yet"}
      </span>
      <svg viewBox="0 0 164 34" aria-hidden="true">
        <g transform={direction === "down" ? "rotate(180 82 17)" : undefined}>
          <path d="M0 17H152" class={isFresh ? "w2" : "w2 quiet-line"} />
          <path d="m150 11 8 6-8 6" class="w2" />
          {isFresh
            ? (
              <g class="packet">
                <rect x="66" y="6" width="36" height="22" rx="5" class={colour} />
                <path d="M73 14h22M73 20h13" class="packet-lines" />
              </g>
            )
            : null}
        </g>
      </svg>
      <span class="what">
        {travel?.arrivedMs === undefined ? travel ? "on its way" : "" : `arrived in ${Math.round(travel.arrivedMs)} ms`}
      </span>
    </div>
  );
}

function shortKey({ key }: Travel): string {
  const last = key.split("#").at(-1) ?? key;
  return last.length > 16 ? `${last.slice(0, 6)}…${last.slice(-4)}` : last;
}
