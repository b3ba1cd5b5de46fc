/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/data/:model`: a model's items in the cloud, a page at a time, by a query where the key allows one; otherwise by a
 * scan, whose cost it announces before. Values are shown as they are: null, empty and absent differ.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { Field, Model } from "../../../schema/model.ts";
import { isId, renderKey } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import { canQuery, listItems, modelNamed } from "../../api/items.ts";
import type { DataTable } from "../../table/port.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { count, grouped } from "../format.ts";
import { Down } from "../icons.tsx";
import type { PlainItem } from "../local_device.ts";
import type { Routes } from "../mod.tsx";
import { Empty, Problem, Time } from "../parts.tsx";
import {
  dataHref,
  type DataView,
  dataViewOf,
  type Filter,
  filterText,
  fitting,
  itemHref,
  operators,
} from "./data_query.ts";
import { mountItem } from "./item.tsx";
import { faultOf } from "./error.tsx";

export const link = { name: "Data", path: "/data", key: "d" };

/** Rows of a page, and the most items that are read for them. */
const pageRows = 50, readMax = 2_000;
/** Columns beside the key; the rest is on the item's page. */
const columnsMax = 5;

/** The page's routes. */
export function mount(routes: Routes): void {
  const { page, options } = routes;
  page("/data", (c) => {
    const first = cloudModels(options)[0];
    if (!first) throw new ApiError(404, "not-found", "The schema has no model in the cloud.");
    return c.redirect(`/data/${encodeURIComponent(first.name)}`, 303);
  });
  page("/data/:model", (c) => dataPage(options, c));
  mountItem(routes);
}

/** Models that have items in the cloud. */
export function cloudModels({ schema }: ConsoleOptions): Model[] {
  return [...schema.models.values()].filter(({ inCloud }) => inCloud);
}

interface Found {
  readonly items: readonly PlainItem[];
  readonly read: number;
  readonly next?: string;
}

async function dataPage(options: ConsoleOptions, c: PageContext): Promise<Page | Response> {
  const model = modelNamed(options.schema, c.req.param("model"));
  const query = new URL(c.req.url).searchParams, now = options.now();
  let view: DataView = { device: "", account: "", filters: [], after: "", scan: false };
  let found: Found | undefined, fault: { message: string; code: string } | undefined, byQuery = false;
  try {
    view = dataViewOf(query);
    // The form's three fields are one word of the address from here on.
    if (query.has("field")) return c.redirect(dataHref(model.name, view), 303);
    const scope = scopeOf(view);
    byQuery = canQuery(options.schema, { model, ...scope });
    if (byQuery || view.scan) found = await find(options, model, view, scope);
  } catch (error) {
    const { message, code, status } = faultOf(error);
    if (status >= 500) throw error;
    fault = { message, code };
  }
  return {
    title: model.name,
    status: fault ? 400 : 200,
    on: "change",
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
          <Tools model={model} view={view} />
          <Filters model={model} view={view} />
          {fault
            ? (
              <div class="pad">
                <Problem {...fault} />
              </div>
            )
            : null}
          {found
            ? <Items {...{ model, view, found, now, byQuery }} />
            : fault
            ? null
            : <AskScan model={model} view={view} />}
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

/** The table, counting the items that are read. */
function counted(data: DataTable): { data: DataTable; read(): number } {
  let read = 0;
  const count = <P extends { readonly items: readonly unknown[] }>(page: P): P => {
    read += page.items.length;
    return page;
  };
  const counting = Object.assign(Object.create(data) as DataTable, {
    get: data.get.bind(data),
    query: async (...args: Parameters<DataTable["query"]>) => count(await data.query(...args)),
    scan: async (...args: Parameters<DataTable["scan"]>) => count(await data.scan(...args)),
  });
  return { data: counting, read: () => read };
}

async function find(options: ConsoleOptions, model: Model, view: DataView, scope: object): Promise<Found> {
  const fits = fitting(model, view.filters), { data, read } = counted(options.items.data);
  const items: PlainItem[] = [];
  let next = view.after === "" ? undefined : decode(view.after);
  do {
    const page = await listItems({ ...options.items, data }, { model, ...scope, limit: pageRows - items.length, next });
    items.push(...page.items.filter(fits));
    next = page.next;
  } while (next !== undefined && items.length < pageRows && read() < readMax);
  return { items, read: read(), ...(next === undefined ? {} : { next: encode(next) }) };
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

function Tools({ model, view }: { model: Model; view: DataView }) {
  const names = new Set(model.fields.map(({ name }) => name)), { deviceId, accountId } = model.identityNames;
  return (
    <form
      class="tools"
      action={`/data/${encodeURIComponent(model.name)}`}
      role="search"
      aria-label={`${model.name} items`}
    >
      {names.has(deviceId) || model.scope === "device"
        ? (
          <label>
            Device{" "}
            <input class="mono" name="device" value={view.device} size={14} autocomplete="off" spellcheck={false} />
          </label>
        )
        : null}
      {names.has(accountId) || names.has(deviceId)
        ? (
          <label>
            Account{" "}
            <input class="mono" name="account" value={view.account} size={12} autocomplete="off" spellcheck={false} />
          </label>
        )
        : null}
      {view.filters.map((filter) => <input type="hidden" name="f" value={filterText(filter)} />)}
      {view.scan ? <input type="hidden" name="scan" value="1" /> : null}
      <button class="btn" type="submit">Show</button>
      <span class="add-filter">
        <select name="field" aria-label="Filter by">
          <option value="">Filter by…</option>
          {model.fields.filter(({ hidden }) => !hidden).map(({ name }) => <option value={name}>{name}</option>)}
        </select>
        <select name="op" aria-label="How">
          {Object.entries(operators).map(([op, word]) => <option value={op}>{word}</option>)}
        </select>
        <input name="text" aria-label="Value" size={10} autocomplete="off" />
        <button class="btn" type="submit">Add filter</button>
      </span>
    </form>
  );
}

function Filters({ model, view }: { model: Model; view: DataView }) {
  if (view.filters.length === 0) return null;
  const without = (filter: Filter) =>
    dataHref(model.name, view, { filters: view.filters.filter((one) => one !== filter), after: "" });
  return (
    <div class="filters">
      {view.filters.map((filter) => (
        <span class="f">
          <span>
            {`${filter.field} ${operators[filter.op]} `}
            <b>{filter.text}</b>
          </span>
          <a href={without(filter)} aria-label={`Without ${filter.field} ${operators[filter.op]} ${filter.text}`}>×</a>
        </span>
      ))}
    </div>
  );
}

function AskScan({ model, view }: { model: Model; view: DataView }) {
  return (
    <Empty title="This needs a scan">
      <p>
        {`A query needs ${
          model.scope === "account" ? "an account" : "a device"
        }. A scan reads items of every model to find these: up to ${grouped(readMax)} a page, 1 RCU for each 8 KB.`}
      </p>
      <p class="after">
        <a class="btn" href={dataHref(model.name, view, { scan: true })}>Scan</a>
      </p>
    </Empty>
  );
}

function Items(
  { model, view, found, now, byQuery }: { model: Model; view: DataView; found: Found; now: number; byQuery: boolean },
) {
  const { keys, values, rest } = columnsOf(model);
  return (
    <>
      {found.items.length === 0
        ? (
          <Empty
            title={found.next === undefined
              ? view.filters.length ? "No item matches" : `No ${model.name} items here`
              : "None found so far"}
          >
            {found.next === undefined ? null : <p>{`Read ${grouped(found.read)} items; the list continues.`}</p>}
          </Empty>
        )
        : (
          <div class="scroll" tabindex={0} role="region" aria-label={`${model.name} items in the cloud`}>
            <table>
              <thead>
                <tr>
                  {keys.map(({ name }) => (
                    <th scope="col" title="Part of the key: the list is in its order">{`${name} ⚷`}</th>
                  ))}
                  {values.map((field) => (
                    <th
                      scope="col"
                      class={field.type === "number" ? "num" : undefined}
                      title="A list is in the order of an index only"
                    >
                      {field.name}
                    </th>
                  ))}
                  {model.updatedField ? <th scope="col">{model.updatedField}</th> : null}
                  <th scope="col">
                    <span class="sr">More</span>
                  </th>
                </tr>
              </thead>
              <tbody data-rows>
                {found.items.map((item) => <Row {...{ model, item, keys, values, rest, now }} />)}
              </tbody>
            </table>
          </div>
        )}
      <div class="foot">
        <span>
          {`${byQuery ? "Query" : "Scan"}: read ${count(found.read, "item")} for ${grouped(found.items.length)} found`}
        </span>
        <span class="right">
          {view.after ? <a class="btn small" href={dataHref(model.name, view, { after: "" })}>From the start</a> : null}
          {found.next === undefined
            ? null
            : (
              <a class="btn small" rel="next" href={dataHref(model.name, view, { after: found.next })}>
                {found.items.length < pageRows ? "Read on" : "Next"}
              </a>
            )}
        </span>
      </div>
    </>
  );
}

/** Keys first, then values; further ones are counted. */
function columnsOf(model: Model): { keys: Field[]; values: Field[]; rest: Field[] } {
  const shown = model.fields.filter(({ template, hidden, name }) =>
    !template && !hidden && name !== model.createdField && name !== model.updatedField
  );
  const isKey = ({ name }: Field) => model.keyFields.includes(name) || model.identityFields.includes(name);
  const others = shown.filter((field) => !isKey(field));
  return { keys: shown.filter(isKey), values: others.slice(0, columnsMax), rest: others.slice(columnsMax) };
}

function Row({ model, item, keys, values, rest, now }: {
  model: Model;
  item: PlainItem;
  keys: readonly Field[];
  values: readonly Field[];
  rest: readonly Field[];
  now: number;
}) {
  const known = new Set(model.fields.map(({ name }) => name));
  const more = rest.filter(({ name }) => name in item).length,
    unknown = Object.keys(item).filter((name) => !known.has(name)).length;
  const key = renderKey(model, item as never),
    updated = model.updatedField ? Date.parse(String(item[model.updatedField])) : NaN;
  return (
    <tr data-row data-key={key ? JSON.stringify(key) : undefined} id={key ? `item-${JSON.stringify(key)}` : undefined}>
      {keys.map(({ name }, i) => (
        <td class="mono">
          {i === keys.length - 1
            ? <a data-open href={itemHref(model, item)}>{String(item[name] ?? "")}</a>
            : String(item[name] ?? "")}
        </td>
      ))}
      {values.map((field) => (
        <td class={field.type === "number" ? "num" : undefined}>
          <Value value={item[field.name]} has={field.name in item} />
        </td>
      ))}
      {model.updatedField
        ? (
          <td class="muted">
            <Time at={Number.isNaN(updated) ? undefined : updated} now={now} />
          </td>
        )
        : null}
      <td class="muted">
        {[more ? `+${more}` : "", unknown ? `${unknown} unknown` : ""].filter((text) =>
          text
        ).join(", ")}
      </td>
    </tr>
  );
}

const shownMax = 60;

/** A value as it is: null, empty and absent are words of their own. */
export function Value({ value, has, whole }: { value: unknown; has: boolean; whole?: boolean }): Child {
  if (!has || value === undefined) return <span class="nothing">absent</span>;
  if (value === null) return <span class="nothing">null</span>;
  if (value === "") return <span class="nothing">empty</span>;
  if (typeof value === "boolean") return <span class="chip quiet">{String(value)}</span>;
  if (typeof value === "object") {
    const text = JSON.stringify(value);
    return <code title={text}>{whole || text.length <= shownMax ? text : `${text.slice(0, shownMax)}…`}</code>;
  }
  const text = String(value);
  return whole || text.length <= shownMax ? text : <span title={text}>{`${text.slice(0, shownMax)}…`}</span>;
}
