/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * One side of the Twin page: a model's items, with a cell to type in for each value that may be changed there, and each
 * item's state relative to its twin.
 *
 * @module
 */
import type { Field, Identity, Model } from "../../../schema/model.ts";
import { keyText } from "../../../protocol/keys.ts";
import { renderKey } from "../../../schema.ts";
import { sameValue } from "../compare.ts";
import { Check, Half } from "../icons.tsx";
import { ownIds } from "../lines.ts";
import type { LocalDevice, PlainItem } from "../local_device.ts";
import { grouped } from "../format.ts";
import { Empty, Time } from "../parts.tsx";
import { itemHref } from "./data_query.ts";
import { TwinForm } from "./twin_form.tsx";
import type { Travel } from "../travels.ts";
import { scopeOf } from "./twin_totals.ts";

/** What a side shows. */
export interface SideView {
  readonly side: "device" | "cloud";
  readonly model: Model;
  readonly device: LocalDevice;
  readonly items: readonly PlainItem[];
  /** How many there are; absent: more than are shown. */
  readonly total?: number;
  /** The other side's. */
  readonly other: readonly PlainItem[];
  readonly log: readonly Travel[];
  readonly now: number;
  readonly formToken: string;
  readonly canWrite: boolean;
  /** Items of this model are written on this side. */
  readonly canEdit: boolean;
}

/** Values that are shown beside the key. */
const valuesMax = 2;
/** A change younger than this highlights its row. */
const litMs = 4_000;

export function identityOf({ deviceId, accountId }: LocalDevice): Identity {
  return { deviceId, accountId };
}

function keyOf(model: Model, item: PlainItem): string {
  return JSON.stringify(model.keyFields.map((name) => item[name]));
}

/** Whether two items are equal; timestamps that each side generates do not count. */
export function equalItems(model: Model, a: PlainItem, b: PlainItem | undefined): boolean {
  if (!b) return false;
  return model.fields.every(({ name, template, timestamp, type }) => {
    if (template || timestamp || model.identityFields.includes(name)) return true;
    return sameValue({ type }, a[name], b[name]);
  });
}

/** Fields that a person wants to see: keys first, then values. */
export function shownFields(model: Model): { keys: Field[]; values: Field[] } {
  const identity = new Set<string>(Object.values(model.identityNames));
  const own = model.fields.filter((field) =>
    !field.template && !field.timestamp && !field.hidden && !identity.has(field.name)
  );
  const keys = own.filter(({ name }) => model.keyFields.includes(name));
  return { keys, values: own.filter((field) => !keys.includes(field)).slice(0, valuesMax) };
}

/** Types that can be typed into a cell; others have the Data page's editors. */
export function isTyped({ type }: Field): boolean {
  return type === "string" || type === "number" || type === "boolean";
}

export function Side(view: SideView) {
  const { model, items, side } = view;
  const { keys, values } = shownFields(model), where = side === "device" ? "on the device" : "in the cloud";
  if (items.length === 0) {
    return (
      <Empty title={`No ${model.name} ${where}`}>
        {view.canEdit
          ? <p>Add one on either side that offers it.</p>
          : <p>{side === "device" ? "They come from the cloud." : "They come from devices."}</p>}
        <NewRow {...view} />
      </Empty>
    );
  }
  const there = new Map(view.other.map((item) => [keyOf(model, item), item]));
  return (
    <>
      <div class="scroll" tabindex={0} role="region" aria-label={`${model.name} ${where}`}>
        <table>
          <thead>
            <tr>
              {keys.map(({ name }) => <th scope="col">{name}</th>)}
              {values.map(({ name, type }) => <th scope="col" class={type === "number" ? "num" : undefined}>{name}
              </th>)}
              {model.updatedField ? <th scope="col" class="hide-s">{model.updatedField}</th> : null}
              <th scope="col" class="num">sync</th>
            </tr>
          </thead>
          <tbody>
            {items.map((item) => <Row {...{ view, keys, values, item }} twin={there.get(keyOf(model, item))} />)}
          </tbody>
        </table>
      </div>
      {view.total === items.length ? null : (
        <p class="muted more">
          {`${items.length} of ${view.total === undefined ? "more" : grouped(view.total)}. `}
          {side === "cloud" ? <a href={dataHref(view)}>All of them in Data</a> : null}
        </p>
      )}
      <NewRow {...view} />
    </>
  );
}

function Row(
  { view, keys, values, item, twin }: {
    view: SideView;
    keys: readonly Field[];
    values: readonly Field[];
    item: PlainItem;
    twin: PlainItem | undefined;
  },
) {
  const { model, now } = view, key = keyOf(model, item);
  const travel = travelOf(view, item), isLit = travel !== undefined && now - travel.atMs < litMs;
  const updated = model.updatedField ? Date.parse(String(item[model.updatedField])) : NaN;
  return (
    <tr class={isLit ? "lit" : undefined} data-item={key} id={`${view.side}-${key}`}>
      {keys.map(({ name }, i) => (
        <td class="mono key" title={text(item[name])}>
          {view.side === "cloud" && i === 0
            ? (
              <a class="quiet-link" href={itemHref(model, { ...ownIds(model, identityOf(view.device)), ...item })}>
                {text(item[name])}
              </a>
            )
            : text(item[name])}
        </td>
      ))}
      {values.map((field) => (
        <td class={field.type === "number" ? "v num" : "v"}>
          {isLit && travel.old && text(travel.old[field.name]) !== text(item[field.name])
            ? <span class="was">{text(travel.old[field.name])}</span>
            : null}
          <Cell {...{ view, field, item, key1: key }} />
        </td>
      ))}
      {model.updatedField
        ? (
          <td class="muted hide-s">
            <Time at={Number.isNaN(updated) ? undefined : updated} now={now} />
          </td>
        )
        : null}
      <td class="num muted">
        <span class="typing">Enter saves · Esc</span>
        <span class="stands">
          <Standing {...{ view, values, item, twin, travel: isLit ? travel : undefined }} />
        </span>
      </td>
    </tr>
  );
}

function dataHref({ model, device }: SideView): string {
  const { deviceId } = scopeOf(model, device);
  return `/data/${encodeURIComponent(model.name)}${deviceId ? `?${new URLSearchParams({ device: deviceId })}` : ""}`;
}

function travelOf({ model, device, log }: SideView, item: PlainItem): Travel | undefined {
  const key = renderKey(model, item as never, identityOf(device));
  if (!key) return undefined;
  const wanted = keyText(key);
  return log.find((travel) => travel.key === wanted);
}

function Standing({ view, values, item, twin, travel }: {
  view: SideView;
  values: readonly Field[];
  item: PlainItem;
  twin: PlainItem | undefined;
  travel: Travel | undefined;
}) {
  const { model, device, side } = view;
  if (equalItems(model, item, twin)) {
    if (travel?.kind === "up") return <>{side === "device" ? "sent" : `by ${device.deviceId}`}</>;
    if (travel?.kind === "down") return <>{side === "device" ? "from cloud" : "on device"}</>;
    return (
      <span class="eq">
        <Check />equal
      </span>
    );
  }
  if (twin === undefined && (side === "cloud" ? model.sync === "up" : model.sync === "down")) return <>one side only</>;
  const differs = values.find(({ name }) => twin && text(twin[name]) !== text(item[name]));
  return (
    <span
      class="state warn"
      title={differs
        ? `${text(twin![differs.name])} ${side === "device" ? "in the cloud" : "on the device"}`
        : undefined}
    >
      <Half />waiting
    </span>
  );
}

/** A value in a form for people. */
export function text(value: unknown): string {
  if (value === undefined) return "";
  if (value === null) return "null";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A value; where it may be changed, to type in: Enter saves, Esc leaves it. */
function Cell({ view, field, item, key1 }: { view: SideView; field: Field; item: PlainItem; key1: string }) {
  const { side, model, device, formToken } = view, value = text(item[field.name]);
  if (!view.canEdit || !view.canWrite || !isTyped(field)) {
    return <span class="cell-text" title={value}>{value.length > 60 ? `${value.slice(0, 59)}…` : value}</span>;
  }
  const name = `${field.name} of ${model.keyFields.map((one) => text(item[one])).join(" ")} ${
    side === "device" ? "on the device" : "in the cloud"
  }`;
  return (
    <TwinForm
      action={`/twin/${side}`}
      formToken={formToken}
      device={device.deviceId}
      model={model.name}
      data-edit
      id={`edit-${side}-${field.name}-${key1}`}
    >
      <input type="hidden" name="key" value={key1} />
      <input type="hidden" name="field" value={field.name} />
      {field.enum || field.type === "boolean"
        ? (
          <select class="cell" name="value" aria-label={name} data-was={value}>
            {(field.enum ?? [true, false]).map((one) => (
              <option value={String(one)} selected={String(one) === value}>{String(one)}</option>
            ))}
          </select>
        )
        : (
          <input
            class="cell"
            id={`cell-${side}-${field.name}-${key1}`}
            name="value"
            value={value}
            data-was={value}
            aria-label={name}
            inputmode={field.type === "number" ? "decimal" : undefined}
            size={field.type === "number" ? 6 : Math.min(28, Math.max(8, value.length))}
            autocomplete="off"
            spellcheck={false}
          />
        )}
    </TwinForm>
  );
}

/** Fields that a new item needs from a person. */
function needed(model: Model): Field[] {
  const identity = new Set<string>(Object.values(model.identityNames));
  return model.fields.filter((field) =>
    !field.template && !field.timestamp && !identity.has(field.name) && field.default === undefined &&
    !field.defaultNow &&
    !field.generate && (field.required || model.keyFields.includes(field.name))
  );
}

function NewRow({ side, model, device, formToken, canEdit, canWrite }: SideView) {
  const fields = needed(model);
  if (!canEdit || !canWrite || !fields.every(isTyped)) return null;
  return (
    <details class="add" id={`new-${side}`}>
      <summary class="btn quiet small">{`+ New ${model.name}`}</summary>
      <TwinForm action="/twin/new" formToken={formToken} device={device.deviceId} model={model.name} class="acts">
        <input type="hidden" name="side" value={side} />
        {fields.map((field) => (
          <label>
            {field.name}{" "}
            <input
              name={`field.${field.name}`}
              required
              size={10}
              autocomplete="off"
              aria-label={`${field.name} of the new ${model.name} ${
                side === "device" ? "on the device" : "in the cloud"
              }`}
            />
          </label>
        ))}
        <button class="btn small primary" type="submit">Add</button>
      </TwinForm>
    </details>
  );
}
