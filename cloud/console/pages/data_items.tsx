/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * The items of a page of the Data page, to be opened, selected and sorted by the index's own order.
 *
 * @module
 */
import { renderKey } from "../../../schema.ts";
import type { Field, Model } from "../../../schema/model.ts";
import { count, grouped, unknown as notKnown } from "../format.ts";
import type { PlainItem } from "../local_device.ts";
import { Empty, Time } from "../parts.tsx";
import { dataHref, type DataView, type Indexes, itemHref, keyFieldsOf } from "./data_query.ts";
import { itemName, selectedHref } from "./data_selected.tsx";
import { Value } from "./data_value.tsx";

/** Columns beside the key, if none are chosen; the rest is on the item's page. */
const columnsMax = 5;

/** What was found. */
export interface Found {
  readonly items: readonly PlainItem[];
  readonly read: number;
  /** Read units of 4 KB, as far as these items need them. */
  readonly units: number;
  readonly next?: string;
}

interface ItemsProps {
  readonly model: Model;
  readonly view: DataView;
  readonly found: Found;
  readonly now: number;
  readonly indexes: Indexes;
  readonly byQuery: boolean;
  readonly mayWrite: boolean;
  readonly pageRows: number;
  /** Events say how far changes get: not in a handler. */
  readonly follows: boolean;
}

export function Items(props: ItemsProps) {
  const { model, view, found, mayWrite } = props;
  if (found.items.length === 0) {
    return (
      <>
        <Empty
          title={found.next === undefined
            ? view.filters.length ? "No item matches" : `No ${model.name} items here`
            : "None found so far"}
        >
          {found.next === undefined ? null : <p>{`Read ${grouped(found.read)} items; the list continues.`}</p>}
        </Empty>
        <Foot {...props} />
      </>
    );
  }
  return (
    <>
      <form action={selectedHref(model)} data-selects>
        <div class="bulk" data-bulk>
          <b data-selected>With the selected</b>
          <button class="btn small" name="do" value="copy" type="submit">Copy as…</button>
          <button class="btn small" name="do" value="jsonl" type="submit">Export JSONL</button>
          {mayWrite ? <button class="btn small danger" name="do" value="delete" type="submit">Delete…</button> : null}
        </div>
        <div class="scroll" tabindex={0} role="region" aria-label={`${model.name} items in the cloud`}>
          <Table {...props} />
        </div>
      </form>
      <Foot {...props} />
    </>
  );
}

function Table({ model, view, found, now, indexes, byQuery, follows }: ItemsProps) {
  const columns = columnsOf(model, view.columns);
  const ordering = keyFieldsOf(model, indexes.chosen).sort[0];
  const head = (field: Field, isKey: boolean) => (
    <Head {...{ model, view, field, isKey }} orders={byQuery && field.name === ordering} />
  );
  const hasUpdated = model.updatedField !== undefined &&
    !columns.values.some(({ name }) => name === model.updatedField);
  return (
    <table>
      <thead>
        <tr>
          <th scope="col" class="check">
            <input type="checkbox" class="js" data-all aria-label="Select all rows of this page" />
          </th>
          {columns.keys.map((field) => head(field, true))}
          {columns.values.map((field) => head(field, false))}
          {hasUpdated ? head(model.fields.find(({ name }) => name === model.updatedField)!, false) : null}
          <th scope="col">
            <span class="sr">More</span>
          </th>
          {follows
            ? (
              <th
                scope="col"
                class="js far"
                title="Of changes since this page was opened; an item's page has it of each"
              >
                how far
              </th>
            )
            : null}
        </tr>
      </thead>
      <tbody data-rows>
        {found.items.map((item) => <Row {...{ model, item, now, hasUpdated, follows }} {...columns} />)}
      </tbody>
    </table>
  );
}

function Head({ model, view, field: { name, type }, isKey, orders }: {
  model: Model;
  view: DataView;
  field: Field;
  isKey: boolean;
  orders: boolean;
}) {
  const text = isKey ? `${name} ⚷` : name, kind = type === "number" ? "num" : undefined;
  if (!orders) {
    const why = "A list is in the order of its index: this is not what it is sorted by";
    return <th scope="col" class={kind} title={why}>{text}</th>;
  }
  return (
    <th scope="col" class={kind} aria-sort={view.desc ? "descending" : "ascending"}>
      <a id={`sort-${name}`} href={dataHref(model.name, view, { desc: !view.desc, after: "" })}>
        {text}
        <span aria-hidden="true">{view.desc ? "▾" : "▴"}</span>
      </a>
    </th>
  );
}

/** Keys first, then values, the chosen ones or the first; further ones are counted. */
export function columnsOf(
  model: Model,
  chosen: readonly string[],
): { keys: Field[]; values: Field[]; rest: Field[] } {
  const isKey = ({ name }: Field) => model.keyFields.includes(name) || model.identityFields.includes(name);
  const shown = model.fields.filter(({ template, hidden }) => !template && !hidden);
  const others = shown.filter((field) => !isKey(field));
  const isStamp = ({ name }: Field) => name === model.createdField || name === model.updatedField;
  const first = others.filter((field) => !isStamp(field)).slice(0, columnsMax);
  const values = chosen.length > 0 ? others.filter(({ name }) => chosen.includes(name)) : first;
  return { keys: shown.filter(isKey), values, rest: others.filter((field) => !values.includes(field)) };
}

interface RowProps {
  readonly model: Model;
  readonly item: PlainItem;
  readonly keys: readonly Field[];
  readonly values: readonly Field[];
  readonly rest: readonly Field[];
  readonly now: number;
  readonly hasUpdated: boolean;
  readonly follows: boolean;
}

function Row({ model, item, keys, values, rest, now, hasUpdated, follows }: RowProps) {
  const known = new Set(model.fields.map(({ name }) => name)), key = renderKey(model, item as never);
  const isMore = ({ name }: Field) => name in item && name !== model.createdField && name !== model.updatedField;
  const more = rest.filter(isMore).length, unknown = Object.keys(item).filter((name) => !known.has(name)).length;
  const updated = hasUpdated ? Date.parse(String(item[model.updatedField!])) : NaN;
  return (
    <tr data-row data-key={key ? JSON.stringify(key) : undefined} id={key ? `item-${JSON.stringify(key)}` : undefined}>
      <td class="check">
        <input
          type="checkbox"
          name="item"
          value={itemName(model, item)}
          aria-label={`Select ${
            keys.map(({ name }) => String(item[name] ?? "")).join(" ")
          }`}
        />
      </td>
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
      {hasUpdated
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
      {follows ? <td class="js far muted" data-far>{notKnown}</td> : null}
    </tr>
  );
}

function Foot({ model, view, found, indexes: { chosen }, byQuery, pageRows }: ItemsProps) {
  const how = byQuery ? chosen.isPrimary ? "Query" : `Query of ${chosen.index.name}` : "Scan";
  return (
    <div class="foot">
      <span>
        {`${how}: read ${count(found.read, "item")} for ${grouped(found.items.length)} found, ${
          count(found.units, "unit")
        } (RCU)`}
      </span>
      <span class="hide-s js">
        <kbd>j</kbd> <kbd>k</kbd> move, <kbd>x</kbd> selects, <kbd>Enter</kbd> opens
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
  );
}
