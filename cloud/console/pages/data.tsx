/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/data/:model`: a model's items in the cloud, a page at a time, by a query where the key allows one; otherwise by a
 * scan, whose cost it announces before. Values are shown as they are: null, empty and absent differ.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { isId } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import { canQuery, listItems, modelNamed } from "../../api/items.ts";
import { itemSizeBytes } from "../../table/item_size.ts";
import type { DataTable, ItemPage } from "../../table/port.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { Down } from "../icons.tsx";
import type { PlainItem } from "../local_device.ts";
import type { Routes } from "../mod.tsx";
import { Problem } from "../parts.tsx";
import { type Found, Items } from "./data_items.tsx";
import { dataHref, type DataView, dataViewOf, fitting, fittingKeys, type Indexes, indexesOf } from "./data_query.ts";
import { mountSelected } from "./data_selected.tsx";
import { AskScan, ColumnsMenu, Filters, Tools } from "./data_tools.tsx";
import { faultOf } from "./error.tsx";
import { mountItem } from "./item.tsx";

export const link = { name: "Data", path: "/data", key: "d" };

/** Rows of a page, and the most items that are read for them. */
const pageRows = 50, readMax = 2_000;

/** The page's routes. */
export function mount(routes: Routes): void {
  const { page, options } = routes;
  page("/data", (c) => {
    const first = cloudModels(options)[0];
    if (!first) throw new ApiError(404, "not-found", "The schema has no model in the cloud.");
    return c.redirect(`/data/${encodeURIComponent(first.name)}${new URL(c.req.url).search}`, 303);
  });
  page("/data/:model", (c) => dataPage(options, c));
  mountSelected(routes);
  mountItem(routes);
}

/** Models that have items in the cloud. */
export function cloudModels({ schema }: ConsoleOptions): Model[] {
  return [...schema.models.values()].filter(({ inCloud }) => inCloud);
}

async function dataPage(options: ConsoleOptions, c: PageContext): Promise<Page | Response> {
  const model = modelNamed(options.schema, c.req.param("model"));
  const query = new URL(c.req.url).searchParams, now = options.now();
  let view = dataViewOf(new URLSearchParams()), indexes = indexesOf(options.schema, model, view);
  let found: Found | undefined, fault: { message: string; code: string } | undefined, byQuery = false;
  try {
    view = dataViewOf(query);
    // The form's three fields are one word of the address from here on.
    if (query.has("field")) return c.redirect(dataHref(model.name, view), 303);
    indexes = indexesOf(options.schema, model, view);
    const listing = listingOf(model, view, indexes);
    byQuery = canQuery(options.schema, listing);
    if (byQuery || view.scan) found = await find(options, view, listing, byQuery);
  } catch (error) {
    const { message, code, status } = faultOf(error);
    if (status >= 500) throw error;
    fault = { message, code };
  }
  return {
    title: model.name,
    status: fault ? 400 : 200,
    on: "change,stage",
    scripts: ["data.js"],
    body: (
      <>
        <div class="head">
          <div>
            <h1>{model.name}</h1>
            <p class="muted">{describe(model)}</p>
          </div>
          <Acts {...{ options, model, view }} />
        </div>
        <div
          class="card data"
          id="data"
          data-model={model.name}
          hx-get={dataHref(model.name, view)}
          hx-select="#data"
          hx-swap="outerMorph"
          hx-trigger="tt:refresh, tt:again from:body"
        >
          <Tools {...{ model, view, indexes }} />
          <Filters model={model} view={view} />
          {fault
            ? (
              <div class="pad">
                <Problem {...fault} />
              </div>
            )
            : null}
          {found
            ? (
              <Items
                {...{ model, view, found, now, indexes, byQuery, pageRows }}
                follows={options.events !== undefined}
                mayWrite={c.get("session").mayWrite}
              />
            )
            : fault
            ? null
            : <AskScan {...{ model, view, indexes, readMax }} />}
        </div>
      </>
    ),
  };
}

function Acts({ options, model, view }: { options: ConsoleOptions; model: Model; view: DataView }) {
  return (
    <div class="acts">
      <details class="menu">
        <summary class="btn">
          Model<Down />
        </summary>
        <div>
          {cloudModels(options).map(({ name }) => (
            <a href={`/data/${encodeURIComponent(name)}`} aria-current={name === model.name ? "true" : undefined}>
              {name}
            </a>
          ))}
        </div>
      </details>
      <ColumnsMenu model={model} view={view} />
      <a
        class="btn primary"
        href={`/data/${encodeURIComponent(model.name)}/new?${new URLSearchParams(idsOf(view))}`}
      >
        New
      </a>
    </div>
  );
}

function idsOf({ device, account }: DataView): Record<string, string> {
  return { ...(device ? { device } : {}), ...(account ? { account } : {}) };
}

function scopeOf({ device, account }: DataView): { deviceId?: string; accountId?: string } {
  for (const id of [device, account]) {
    if (id && !isId(id)) {
      throw new ApiError(400, "invalid", `“${id}” is not an id: 1 to 128 of the characters A-Z a-z 0-9 _ . : -`);
    }
  }
  return { ...(device ? { deviceId: device } : {}), ...(account ? { accountId: account } : {}) };
}

/** What is asked: the index with its values, and whose items. @throws ApiError 400 */
function listingOf(model: Model, view: DataView, { chosen }: Indexes) {
  return { model, ...scopeOf(view), by: { index: chosen, values: view.keys }, reverse: view.desc };
}

function describe({ scope, sync, conflict }: Model): string {
  const whose =
    { device: "Each device has its own", account: "Shared by an account's devices", global: "For every device" }[scope];
  const way = {
    both: "travel both ways",
    up: "come from devices",
    down: "go to devices",
    none: "stay in the cloud",
  }[sync as string] ?? sync;
  return `${whose}; items ${way}${sync === "both" ? `; ${conflict} wins` : ""}.`;
}

/** The table, counting the items that are read, and the units that they take. */
function counted(data: DataTable): { data: DataTable; readonly read: { items: number; units: number } } {
  const read = { items: 0, units: 0 };
  const count = (page: ItemPage): ItemPage => {
    read.items += page.items.length;
    read.units += Math.ceil(page.items.reduce((sum, item) => sum + itemSizeBytes(item), 0) / 4096);
    return page;
  };
  const counting = Object.assign(Object.create(data) as DataTable, {
    get: data.get.bind(data),
    query: async (...args: Parameters<DataTable["query"]>) => count(await data.query(...args)),
    scan: async (...args: Parameters<DataTable["scan"]>) => count(await data.scan(...args)),
  });
  return { data: counting, read };
}

type Wanted = ReturnType<typeof listingOf>;

async function find(options: ConsoleOptions, view: DataView, listing: Wanted, byQuery: boolean): Promise<Found> {
  const { model, by } = listing, { data, read } = counted(options.items.data);
  const fitsFilters = fitting(model, view.filters), fitsKeys = fittingKeys(model, by.index, view);
  const fits = (item: PlainItem) => fitsFilters(item) && (byQuery || fitsKeys(item));
  const items: PlainItem[] = [];
  let next = view.after === "" ? undefined : decode(view.after);
  do {
    const page = await listItems({ ...options.items, data }, { ...listing, limit: pageRows - items.length, next });
    items.push(...page.items.filter(fits));
    next = page.next;
  } while (next !== undefined && items.length < pageRows && read.items < readMax);
  return { items, read: read.items, units: read.units, ...(next === undefined ? {} : { next: encode(next) }) };
}

function encode(token: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(token))).replaceAll("+", "-").replaceAll("/", "_");
}

function decode(text: string): string {
  try {
    const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
  } catch {
    throw new ApiError(400, "invalid", "That is not a page of this list: start again.");
  }
}
