/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/twin`, in `dev`: a device's SQLite file on the left, the table on the right. The page shows every write on either
 * side, by anyone, as it crosses; the link can be cut, both sides changed, and the link restored.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { listItems } from "../../api/items.ts";
import { comesDown, goesUp } from "../../../schema/direction.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { ago, grouped } from "../format.ts";
import { Chip, Cloud, Dashed, Dot, Down } from "../icons.tsx";
import { awsLine, curlLine, ownIds, sqliteLine, typescriptLine, updateSql } from "../lines.ts";
import type { LocalDevice, LocalStatus, PlainItem } from "../local_device.ts";
import type { Routes } from "../mod.tsx";
import { Copy } from "../parts.tsx";
import { itemHref } from "./data_query.ts";
import { TwinForm } from "./twin_form.tsx";
import { editIn, mountActions } from "./twin_actions.ts";
import { readItem } from "../save.ts";
import { equalItems, identityOf, Side, type SideView, text } from "./twin_side.tsx";
import { TravelLog } from "./twin_log.tsx";
import { FirstMinute } from "./twin_minute.tsx";
import { chosen, shownModels, twinHref } from "./twin_query.ts";
import { CloudTotals, rowsMax, scopeOf, totalOf } from "./twin_totals.ts";
import { Wire } from "./twin_wire.tsx";

export const link = {
  name: "Twin",
  path: "/twin",
  key: "t",
  isThere: ({ travels }: ConsoleOptions) => travels !== undefined,
};

/** The page's routes. */
export function mount(routes: Routes): void {
  if (!routes.options.travels) return;
  const totals = new CloudTotals(routes.options);
  routes.page("/twin", (c) => twinPage(routes.options, c, totals));
  routes.page("/twin/lines", (c) => linesPart(routes.options, c));
  mountActions(routes);
}

/** What the page shows. */
interface TwinView {
  readonly options: ConsoleOptions;
  readonly device: LocalDevice;
  readonly model: Model;
  readonly status: LocalStatus;
  readonly now: number;
  readonly formToken: string;
  readonly tabs: { readonly device: readonly Tab[]; readonly cloud: readonly Tab[] };
  /** The last entry's number in its own channel's log. */
  readonly head: number;
  readonly left: SideView;
  readonly right: SideView;
}

async function twinViewOf(options: ConsoleOptions, c: PageContext, totals: CloudTotals): Promise<TwinView> {
  const { device, model } = chosen(options, new URL(c.req.url).searchParams), now = options.now();
  const { formToken, mayWrite: canWrite } = c.get("session");
  const local = device.items(model.name, rowsMax);
  const listing = { model, ...scopeOf(model, device), limit: rowsMax };
  const [listed, head] = await Promise.all([
    listItems(options.items, listing),
    options.items.log.state(`device:${device.deviceId}`).then(({ head }) => head),
  ]);
  const remote = listed.items as PlainItem[], total = totalOf(listed);
  const shared = { model, device, now, formToken, canWrite, log: options.travels!.of(device.deviceId) };
  return {
    ...{ options, device, model, now, formToken, head, status: device.status() },
    tabs: await tabsOf(options, device, model, { totals, total }),
    left: { ...shared, side: "device", ...local, other: remote, canEdit: goesUp(model) },
    right: {
      ...shared,
      side: "cloud",
      items: remote,
      total: listed.next === undefined ? remote.length : undefined,
      other: local.items,
      canEdit: true,
    },
  };
}

async function twinPage(options: ConsoleOptions, c: PageContext, totals: CloudTotals): Promise<Page> {
  const travels = options.travels!;
  if (options.events) travels.watch(options.events);
  const view = await twinViewOf(options, c, totals), { device, model, status, now, formToken, left, right } = view;
  const lines = cloudLines(options, new URL(c.req.url).origin, model, firstItem(right));
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
          <DeviceMenu devices={travels.devices} {...{ device, model, now }} />
        </div>
        <FirstMinute steps={travels.steps(device.deviceId)} isCut={status.pausedMs !== undefined} />
        <div class="twin">
          <DeviceSide view={view} />
          <Wire
            {...{
              status,
              log: left.log,
              now,
              models: options.schema.models,
              model,
              differs: differing(model, left.items, right.items),
            }}
          />
          <CloudSide view={view} lines={lines} />
        </div>
        <TravelLog
          {...{
            options,
            log: left.log,
            now,
            device,
            formToken,
            quiet: travels.quiet,
            travelled: travels.travelled(device.deviceId),
          }}
        />
      </div>
    ),
  };
}

/** Both sides' tabs: what each side has may differ. */
async function tabsOf(
  options: ConsoleOptions,
  device: LocalDevice,
  model: Model,
  { totals, total }: { totals: CloudTotals; total: string },
): Promise<TwinView["tabs"]> {
  const models = shownModels(options),
    tabOf = (one: Model, total: string): Tab => ({
      name: one.name,
      direction: one.sync === "both" ? "⇅" : goesUp(one) ? "↑" : "↓",
      how: one.sync === "both" ? "both ways" : goesUp(one) ? "device to cloud" : "cloud to device",
      total,
      href: twinHref(device, one),
      isHere: one === model,
    });
  const short = (total: number) => total > 9_999 ? `${Math.floor(total / 1000)}k` : grouped(total);
  return {
    device: models.map((one) => tabOf(one, short(device.items(one.name, 1).total))),
    cloud: await Promise.all(
      models.map(async (one) => tabOf(one, one === model ? total : await totals.of(one, device))),
    ),
  };
}

function DeviceMenu(
  { devices, device, model, now }: { devices: readonly LocalDevice[]; device: LocalDevice; model: Model; now: number },
) {
  if (devices.length < 2) return null;
  return (
    <details class="menu" id="devices">
      <summary class="btn">
        {`Device: ${device.deviceId}`}
        <Down />
      </summary>
      <div>
        {devices.map((one) => (
          <a href={twinHref(one, model)} aria-current={one === device ? "true" : undefined}>
            {one.deviceId}
            <LinkChip status={one.status()} now={now} />
          </a>
        ))}
      </div>
    </details>
  );
}

function DeviceSide({ view: { device, model, status, now, formToken, tabs, left } }: { view: TwinView }) {
  return (
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
        <LinkChip id="link-chip" status={status} now={now} />
        <LinkSwitch {...{ device, model, status, formToken }} />
      </header>
      <Tabs tabs={tabs.device} where="on the device" />
      <Side {...left} />
      <div class="line">
        <div class="cap">
          <span>The same, from any program with SQLite</span>
          <Copy from="#sql-line" />
        </div>
        <pre id="sql-line" data-line="sql">{firstSql(left)}</pre>
      </div>
    </section>
  );
}

function CloudSide({ view: { options, status, head, tabs, right }, lines }: { view: TwinView; lines: CloudLines }) {
  return (
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
          <p title={`The device's channel in the log: its last entry, and the last one that the device has applied`}>
            <span class="hide-s">{`${options.travels!.dynamo ? "DynamoDB" : "Embedded"} · `}</span>
            {`log at ${grouped(head)} · device has read ${grouped(status.cursor)}`}
          </p>
        </div>
        <HistoryLink view={right} />
      </header>
      <Tabs tabs={tabs.cloud} where="in the cloud" />
      <Side {...right} />
      <div class="line">
        <div class="cap">
          <span class="langs" role="group" aria-label="Show as">
            <button type="button" aria-pressed="true" data-lang="curl">curl</button>
            <button class="js" type="button" aria-pressed="false" data-lang="aws">AWS CLI</button>
            <button class="js" type="button" aria-pressed="false" data-lang="ts">TypeScript</button>
          </span>
          <Copy from="#curl-line" />
        </div>
        <pre id="curl-line" data-line="curl">{lines.curl}</pre>
        <pre id="aws-line" data-line="aws" hidden>{lines.aws}</pre>
        <pre id="ts-line" data-line="ts" hidden>{lines.ts}</pre>
        {options.travels!.dynamo ? null : (
          <p class="muted" data-note="aws" hidden>
            This table is embedded: the line is for a DynamoDB table of the same schema.
          </p>
        )}
      </div>
    </section>
  );
}

/** To the history of what was written last, else of the first row. */
function HistoryLink({ view: { model, items, log, device } }: { view: SideView }) {
  const last = log.find((travel) => travel.model === model.name && travel.now)?.now ?? items[0];
  if (!last || !comesDown(model)) return null;
  const name = model.keyFields.map((field) => text(last[field])).join(" ");
  return (
    <a class="btn small" href={`${itemHref(model, { ...ownIds(model, identityOf(device)), ...last })}#history`}>
      History<span class="sr">{` of ${model.name} ${name}`}</span>
    </a>
  );
}

/** One item's write, in each language. */
interface CloudLines {
  readonly curl: string;
  readonly aws: string;
  readonly ts: string;
}

function cloudLines(options: ConsoleOptions, url: string, model: Model, item: PlainItem): CloudLines {
  const address = { url, wantsToken: options.tokens !== undefined };
  return {
    curl: curlLine(address, model.name, item),
    aws: awsLine(options.travels!.dynamo ?? { table: "TABLE" }, options.items, model, item),
    ts: typescriptLine(address, model.name, item),
  };
}

/** The typed values, as lines to paste. */
async function linesPart(options: ConsoleOptions, c: PageContext): Promise<Response> {
  const { searchParams, origin } = new URL(c.req.url);
  const { device, model } = chosen(options, searchParams);
  const { item, field, value } = editIn(model, searchParams);
  if (searchParams.get("side") === "device") {
    return c.json({ sql: sqliteLine(device.path, updateSql({ model, item, field, value })) });
  }
  const seen = await readItem(options.items, model, { ...ownIds(model, identityOf(device)), ...item });
  const own = { ...bareItem(model, device, seen?.item ?? item), [field]: value };
  return c.json(cloudLines(options, origin, model, own));
}

function firstItem({ items, model, device }: SideView): PlainItem {
  return bareItem(model, device, items[0] ?? {});
}

/** An item without what the cloud derives. */
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

/** Keys of items that differ, or exist only on one side. */
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
  readonly total: string;
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
          <small>{total}</small>
        </a>
      ))}
    </nav>
  );
}

function LinkChip(
  { status: { connected, pausedMs }, now, id }: { status: LocalStatus; now: number; id?: string },
) {
  if (pausedMs !== undefined) {
    return (
      <span class="chip warn" id={id}>
        <Dashed />
        {`Offline ${ago(now - pausedMs)}`}
      </span>
    );
  }
  return connected
    ? (
      <span class="chip ok" id={id}>
        <Dot />Online
      </span>
    )
    : (
      <span class="chip quiet" id={id}>
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
