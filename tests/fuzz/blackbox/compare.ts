/**
 * Whether a device and the table are equal: row by row, attribute by attribute, in the fuzzer's own reading.
 *
 * @module
 */
import { type MadeModel, type MadeSchema, renderKey } from "./made_schema.ts";
import { type DeviceState, type KeptRow, type Seen, seenOf, type TableState } from "./observe.ts";
import { keyText } from "./table.ts";
import type { AvItem } from "./canon.ts";

/** What is wrong: of which kind, and in a sentence. */
export interface Finding {
  readonly kind: string;
  readonly sentence: string;
}

/** A rejected row that could not be read: it stays as it was written. */
export const isUnreadable = ({ table, item, op }: KeptRow) => table === "_rejected" && item === null && op !== "remove";

/** The key of a kept row. */
export function keyOfKept(model: MadeModel, { id, account }: DeviceState, { key }: KeptRow): string {
  const { hash, sort } = renderKey(model, { deviceId: id, accountId: account, ...key });
  return keyText(hash, sort);
}

/** What expires sooner than this after now may be there on one side only. */
const expiryMarginMs = 90_000;

/** Whether an item has expired, or may any moment. */
export function isExpiring(model: MadeModel, { fields }: Seen, nowMs: number): boolean {
  const expires = model.fields.find(({ ttl }) => ttl);
  const canon = expires && fields[expires.name];
  return typeof canon === "string" && canon.startsWith("d:") && Number(canon.slice(2)) * 1000 <= nowMs + expiryMarginMs;
}

/** Whether an item is in the scope of a device. */
export function isInScope(model: MadeModel, item: AvItem, { id, account }: { id: string; account: string }): boolean {
  const text = (name: string) => (item[name] as { S?: string } | undefined)?.S;
  switch (model.scope) {
    case "device":
      return text("deviceId") === id;
    case "account":
      return text("accountId") === account;
    case "global":
      return true;
  }
}

const typeOf = (item: AvItem) => (item._type as { S?: string } | undefined)?.S;

/** Keys whose rows need not be as the table's items: set aside, or as an application wrote them; the device says so. */
export function keptApart(model: MadeModel, device: DeviceState): ReadonlySet<string> {
  const unreadable = device.kept.filter((row) => row.model === model.name && isUnreadable(row));
  return new Set([...device.aside.keys(), ...unreadable.map((row) => keyOfKept(model, device, row))]);
}

/** All that differs between a device and the table, in the models that come down. */
export function differences(schema: MadeSchema, device: DeviceState, table: TableState, nowMs: number): Finding[] {
  const found: Finding[] = [];
  for (const model of schema.models) {
    if (model.enable !== "both" || (model.sync !== "both" && model.sync !== "down")) continue;
    const rows = device.rows.get(model.name) ?? new Map<string, Seen>();
    const apart = keptApart(model, device);
    const items = new Map(
      [...table.items].filter(([, item]) => typeOf(item) === model.name && isInScope(model, item, device))
        .map(([key, item]) => [key, seenOf(model, schema.iso, item)]),
    );
    for (const key of new Set([...rows.keys(), ...items.keys()])) {
      const row = rows.get(key), item = items.get(key);
      if ((row && isExpiring(model, row, nowMs)) || (item && isExpiring(model, item, nowMs))) continue;
      if (apart.has(key)) continue;
      const what = different(model, row, item);
      if (what) found.push({ kind: "different", sentence: `${device.id} ${model.name} ${key}: ${what}` });
    }
  }
  return found;
}

function different(model: MadeModel, row: Seen | undefined, item: Seen | undefined): string | undefined {
  if (!row) return `the table has ${item!.token}, the device has no row`;
  if (!item) return `the device has ${row.token}, the table has no item`;
  if (row.token !== item.token) return `the device has ${row.token}, the table has ${item.token}`;
  const local = new Set(model.fields.filter((field) => field.local).map(({ name }) => name));
  for (const [name, value] of Object.entries(item.fields)) {
    if (!local.has(name) && row.fields[name] !== value) {
      return `${row.token}: ${name} is ${short(row.fields[name])} on the device and ${short(value)} in the table`;
    }
  }
}

const short = (value: string | null | undefined) => JSON.stringify(value)?.slice(0, 200);
