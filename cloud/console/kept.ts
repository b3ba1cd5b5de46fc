/**
 * What devices keep for people, as the console shows it: asked from the devices themselves (`cloud/api/kept.ts`), checked, and
 * put beside what the cloud has. A device's answer is its own JSON: whatever does not fit is left out, and never trusted.
 *
 * @module
 */
import type { KeptName, Key } from "../../protocol.ts";
import { digest, renderKey, toPlain } from "../../schema.ts";
import type { Model, Schema } from "../../schema/model.ts";
import { type Attributes, isMap, type Item } from "../../schema/values.ts";
import { askKept, AwayError, keptRowsMax } from "../api/kept.ts";
import type { DeviceStanding } from "../sync/fleet.ts";
import { mapBounded } from "../sync/bounded.ts";
import type { Side } from "./compare.ts";
import type { ConsoleOptions } from "./context.ts";
import { ordersOf } from "./order_tasks.ts";

/** One version that a device keeps. */
export interface KeptRow {
  readonly device: DeviceStanding;
  readonly id: number;
  readonly model: string;
  /** Its key in words: `disk`. */
  readonly name: string;
  readonly key?: Key;
  readonly op: string;
  readonly why: string;
  readonly reason?: string;
  readonly atMs?: number;
  /** The version. */
  readonly lost: Side;
  /** The row on the device now. */
  readonly now: Side;
  /** Why the row can't be looked at. */
  readonly unknown?: string;
  /** Of version and row as they are: what a person has seen. */
  readonly seen: string;
}

/** What a device has told. */
export interface KeptAnswer {
  readonly device: DeviceStanding;
  readonly rows: readonly KeptRow[];
  /** The number to go on after; absent: that is all. */
  readonly next?: number;
  /** It can't be asked now. */
  readonly away?: { readonly why: string; readonly command: string };
}

/** What is asked. */
export interface KeptAsk {
  readonly table: KeptName;
  readonly model?: string;
  readonly after?: number;
  /** Rows at most. */
  readonly most: number;
}

/** Devices that are asked at once. */
export const askedMax = 20;

/** How many a device keeps: as it reported, or in `dev` as it is. */
export function countOf(options: ConsoleOptions, device: DeviceStanding, table: KeptName): number | undefined {
  const local = options.travels?.devices.find(({ deviceId }) => deviceId === device.deviceId);
  return local && table !== "aside" ? local.status()[table] : device.report?.[table];
}

/** How many all devices keep, where that is known without reading. */
export function totalOf({ fleet, travels }: ConsoleOptions, table: "rejected" | "conflicts"): number {
  const local = new Map(travels?.devices.map((device) => [device.deviceId, device.status()[table]]));
  const here = [...local.values()].reduce((sum, one) => sum + one, 0);
  return here + fleet.reported(table, (deviceId) => !local.has(deviceId));
}

/** What a person would type for the device's file. */
export function fileOf({ travels }: ConsoleOptions, deviceId: string): string {
  return travels?.devices.find((device) => device.deviceId === deviceId)?.path ?? `${deviceId}.db`;
}

/** Asks a device, until it has told so many or all. */
export async function askDevice(options: ConsoleOptions, device: DeviceStanding, ask: KeptAsk): Promise<KeptAnswer> {
  const orders = ordersOf(options), rows: KeptRow[] = [];
  let after = ask.after;
  for (;;) {
    const question = { ...ask, after, limit: Math.min(keptRowsMax, ask.most - rows.length) };
    try {
      const told = await askKept(orders, device.deviceId, device, question, fileOf(options, device.deviceId));
      const found = Array.isArray(told.rows) ? told.rows : [];
      rows.push(...found.flatMap((row) => rowOf(options.schema, device, ask.table, row) ?? []));
      const next = told.next;
      // A device that would go on from where it was goes on for ever.
      if (!Number.isSafeInteger(next) || Number(next) <= (after ?? 0)) return { device, rows };
      after = Number(next);
      if (rows.length >= ask.most) return { device, rows, next: after };
    } catch (error) {
      if (!(error instanceof AwayError)) throw error;
      const away = { why: error.why, command: error.command };
      return rows.length > 0 ? { device, rows, next: after } : { device, rows, away };
    }
  }
}

/** Asks several, at once. */
export async function askDevices(
  options: ConsoleOptions,
  devices: readonly DeviceStanding[],
  ask: KeptAsk,
): Promise<KeptAnswer[]> {
  return await mapBounded(devices.slice(0, askedMax), askedMax, (device) => askDevice(options, device, ask));
}

function rowOf(schema: Schema, device: DeviceStanding, table: KeptName, told: unknown): KeptRow | undefined {
  if (!isMap(told)) return undefined;
  const { id, model: modelName, key, op, why, reason, at, lost, now, unknown } = told as Record<string, unknown>;
  if (!Number.isSafeInteger(id) || typeof modelName !== "string") return undefined;
  const model = schema.models.get(modelName), atMs = Date.parse(String(at));
  const attributes = { ...(isMap(lost) ? lost as Attributes : {}), ...(isMap(key) ? key as Attributes : {}) };
  const rendered = table === "aside" ? keyOfPair(key) : keyOfRow(model, attributes, device);
  return {
    device,
    id: id as number,
    model: modelName,
    name: nameOf(model, attributes, rendered, key),
    ...(rendered ? { key: rendered } : {}),
    op: typeof op === "string" ? op : "update",
    why: typeof why === "string" ? why : "",
    ...(typeof reason === "string" ? { reason } : {}),
    ...(Number.isNaN(atMs) ? {} : { atMs }),
    lost: sideOf(schema, model, lost),
    now: sideOf(schema, model, now),
    ...(typeof unknown === "string" ? { unknown } : {}),
    seen: digest({ lost: lost as Item ?? null, now: now as Item ?? null } as Item),
  };
}

function keyOfPair(key: unknown): Key | undefined {
  const [hash, sort, ...more] = Array.isArray(key) ? key as unknown[] : [];
  return typeof hash === "string" && typeof sort === "string" && more.length === 0 ? [hash, sort] : undefined;
}

function keyOfRow(model: Model | undefined, attributes: Attributes, { deviceId, accountId }: DeviceStanding) {
  try {
    return model && renderKey(model, attributes, { deviceId, accountId });
  } catch {
    // Attributes of other types than the cloud's schema has: the key is not known here.
    return undefined;
  }
}

function nameOf(model: Model | undefined, attributes: Attributes, rendered: Key | undefined, key: unknown): string {
  const own = model?.keyFields.map((name) => attributes[name]).filter((value) => value !== undefined) ?? [];
  if (own.length > 0) {
    return own.map((value) => typeof value === "object" ? JSON.stringify(value) : String(value)).join(" ");
  }
  return rendered ? rendered[1] || rendered[0] : JSON.stringify(key) ?? "";
}

function sideOf(schema: Schema, model: Model | undefined, value: unknown): Side {
  if (value === null || value === undefined) return value;
  if (!isMap(value)) return undefined;
  try {
    return model ? toPlain(schema, model, value as Item) : value as Record<string, unknown>;
  } catch {
    // Of another schema than the cloud's: shown as it came.
    return value as Record<string, unknown>;
  }
}

/** What the cloud has of these, read strongly: by row; undefined where the key is not known. */
export async function inCloud(options: ConsoleOptions, rows: readonly KeptRow[]): Promise<Map<KeptRow, Side>> {
  const { schema, items } = options;
  const known = rows.filter(({ key, model }) => key && schema.models.get(model)?.inCloud);
  const found = known.length === 0 ? [] : await items.data.get(known.map(({ key }) => key!));
  return new Map(known.map((row, at) => [
    row,
    found[at] ? sideOf(schema, schema.models.get(row.model), found[at]) : null,
  ]));
}

/** Rejected changes of one kind. */
export interface Group {
  /** Names it in an address: model, code and reason. */
  readonly key: string;
  readonly model: string;
  readonly reason: string;
  readonly why: string;
  readonly rows: readonly KeptRow[];
}

/** What is refused for the same reason is one group, whatever the values were. */
export function groupKey({ model, why, reason }: Pick<KeptRow, "model" | "why" | "reason">): string {
  return JSON.stringify([model, why, reasonOf(reason ?? why)]);
}

/** A reason without the values that it quotes. */
export function reasonOf(text: string): string {
  return text.replaceAll(/"(?:[^"\\]|\\.)*"/g, "“…”");
}

/** The groups, the largest first. */
export function grouped(rows: readonly KeptRow[]): Group[] {
  const byKey = Map.groupBy(rows, groupKey);
  return [...byKey].map(([key, of]) => {
    const { model, why, reason } = of[0]!, texts = new Set(of.map((row) => row.reason));
    return { key, model, why, reason: texts.size === 1 ? reason ?? why : reasonOf(reason ?? why), rows: of };
  }).sort((a, b) => b.rows.length - a.rows.length || (a.key < b.key ? -1 : 1));
}
