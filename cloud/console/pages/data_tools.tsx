/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * What the Data page is asked by: the index with its keys, filters, columns; and what a scan costs before one is made.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { grouped } from "../format.ts";
import { Down } from "../icons.tsx";
import { Empty } from "../parts.tsx";
import {
  dataHref,
  type DataView,
  dataWords,
  type Filter,
  filterText,
  type Indexes,
  keyFieldsOf,
  operators,
} from "./data_query.ts";
import { columnsOf } from "./data_items.tsx";

interface ToolsProps {
  readonly model: Model;
  readonly view: DataView;
  readonly indexes: Indexes;
}

export function Tools({ model, view, indexes }: ToolsProps) {
  const { deviceId, accountId } = model.identityNames, names = new Set(model.fields.map(({ name }) => name));
  const kept = dataWords({ ...view, index: "", device: "", account: "", keys: {}, after: "" });
  return (
    <form
      class="tools"
      action={`/data/${encodeURIComponent(model.name)}`}
      role="search"
      aria-label={`${model.name} items`}
    >
      <IndexChoice {...{ indexes, view }} />
      {names.has(deviceId) || model.scope === "device"
        ? <KeyInput label="Device" name="device" value={view.device} size={14} />
        : null}
      {names.has(accountId) || names.has(deviceId)
        ? <KeyInput label="Account" name="account" value={view.account} size={12} />
        : null}
      <IndexFields {...{ model, view, indexes }} />
      {kept.map(([name, value]) => <input type="hidden" name={name} value={value} />)}
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

function KeyInput({ label, name, value, size }: { label: string; name: string; value: string; size: number }) {
  return (
    <label>
      {`${label} `}
      <input class="mono" name={name} value={value} size={size} autocomplete="off" spellcheck={false} />
    </label>
  );
}

/** Only where there is a choice; `assets/data.js` shows another one's fields at once. */
function IndexChoice({ indexes: { all, chosen }, view }: { indexes: Indexes; view: DataView }) {
  if (all.length < 2) return view.index ? <input type="hidden" name="index" value={view.index} /> : null;
  return (
    <label>
      {"Index "}
      <select name="index" data-submits>
        {all.map(({ index: { name } }) => <option value={name} selected={name === chosen.index.name}>{name}</option>)}
      </select>
    </label>
  );
}

function IndexFields({ model, view, indexes: { chosen } }: ToolsProps) {
  const { hash, sort } = keyFieldsOf(model, chosen);
  return (
    <>
      {hash.map((name) => <KeyInput label={name} name={`k.${name}`} value={view.keys[name] ?? ""} size={12} />)}
      {sort.map((name, at) => (
        <KeyInput
          label={at === sort.length - 1 ? `${name} begins` : name}
          name={`k.${name}`}
          value={view.keys[name] ?? ""}
          size={10}
        />
      ))}
    </>
  );
}

/** Which columns there are; the rest of an item is on its page. */
export function ColumnsMenu({ model, view }: { model: Model; view: DataView }) {
  const { values, rest } = columnsOf(model, view.columns), shown = new Set(values.map(({ name }) => name));
  const all = model.fields.filter((field) => values.includes(field) || rest.includes(field));
  if (all.length < 2) return null;
  return (
    <details class="menu hide-s">
      <summary class="btn">
        Columns<Down />
      </summary>
      <div>
        <form action={`/data/${encodeURIComponent(model.name)}`}>
          {dataWords({ ...view, columns: [] }).map(([name, value]) => (
            <input
              type="hidden"
              name={name}
              value={value}
            />
          ))}
          {all.map(({ name }) => (
            <label>
              <input type="checkbox" name="col" value={name} checked={shown.has(name)} />
              {name}
            </label>
          ))}
          <p class="acts">
            <button class="btn small primary" type="submit">Show</button>
            <a class="btn small" href={dataHref(model.name, view, { columns: [] })}>Reset</a>
          </p>
        </form>
      </div>
    </details>
  );
}

export function Filters({ model, view }: { model: Model; view: DataView }) {
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
          <a href={without(filter)} aria-label={`Without ${filterText(filter)}`}>×</a>
        </span>
      ))}
    </div>
  );
}

/** What is missing for a query, and what a scan costs. */
export function AskScan({ model, view, indexes: { chosen }, readMax }: ToolsProps & { readMax: number }) {
  const { hash } = keyFieldsOf(model, chosen), missing = hash.filter((name) => !view.keys[name]);
  const owner = model.scope === "account" ? "an account" : "a device";
  const needs = missing.length > 0 ? missing.join(" and ") : owner;
  return (
    <Empty title="This needs a scan">
      <p>
        {`A query of the index ${chosen.index.name} needs ${needs}. A scan reads items of every model to find these: up to ${
          grouped(readMax)
        } a page, 1 RCU for each 4 KB. Items of 500 bytes take ${grouped(readMax / 8)} RCU a page.`}
      </p>
      <p class="after">
        <a class="btn" href={dataHref(model.name, view, { scan: true })}>Scan</a>
      </p>
    </Empty>
  );
}
