/**
 * The Data page's address: whose items, which filters, from where on. Filters are judged here, after reading: what they leave
 * out is read all the same, and the page says how much that was.
 *
 * @module
 */
import type { Field, Model } from "../../../schema/model.ts";
import { fieldOf } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import type { PlainItem } from "../local_device.ts";
import { valueOf } from "../typed.ts";

/** How a value can be asked for, and which of them want a value. */
export const operators = {
  eq: "=",
  ne: "≠",
  lt: "<",
  gt: ">",
  begins: "begins with",
  null: "is null",
  empty: "is empty",
  absent: "is absent",
} as const;
export type Operator = keyof typeof operators;
const bare: ReadonlySet<Operator> = new Set(["null", "empty", "absent"]);

/** One condition. */
export interface Filter {
  readonly field: string;
  readonly op: Operator;
  readonly text: string;
}

/** What the address says. */
export interface DataView {
  readonly device: string;
  readonly account: string;
  readonly filters: readonly Filter[];
  readonly after: string;
  /** The person has seen what a scan reads. */
  readonly scan: boolean;
}

export function dataViewOf(query: URLSearchParams): DataView {
  const filters = query.getAll("f").filter((text) => text !== "").map(filterOf);
  const [field, op] = [query.get("field"), query.get("op")];
  // The form adds one: its three fields become one word of the address.
  if (field && op) filters.push(filterOf(`${field}:${op}:${query.get("text") ?? ""}`));
  return {
    device: (query.get("device") ?? "").trim(),
    account: (query.get("account") ?? "").trim(),
    filters,
    after: query.get("after") ?? "",
    scan: query.has("scan"),
  };
}

function filterOf(text: string): Filter {
  const [, field, op, value] = /^([^:]+):([a-z]+):(.*)$/s.exec(text) ?? [];
  if (!field || !op || !Object.hasOwn(operators, op)) {
    throw new ApiError(400, "invalid", `“${text}” is not a filter: field:operator:value`);
  }
  return { field, op: op as Operator, text: value! };
}

export function filterText({ field, op, text }: Filter): string {
  return `${field}:${op}:${text}`;
}

/** The address of a view that differs from this one. */
export function dataHref(model: string, view: DataView, change: Partial<DataView> = {}): string {
  const { device, account, filters, after, scan } = { ...view, ...change };
  const query = new URLSearchParams();
  if (device) query.set("device", device);
  if (account) query.set("account", account);
  for (const filter of filters) query.append("f", filterText(filter));
  if (scan) query.set("scan", "1");
  if (after) query.set("after", after);
  const text = query.toString();
  return `/data/${encodeURIComponent(model)}${text ? `?${text}` : ""}`;
}

/** Whether an item fits all filters. @throws ApiError 400 for a field or a value that can't be */
export function fitting(model: Model, filters: readonly Filter[]): (item: PlainItem) => boolean {
  const checks = filters.map(({ field: name, op, text }) => {
    const field = fieldOf(model, name);
    if (!field) throw new ApiError(400, "invalid", `${model.name} has no ${name}`);
    return checkOf(field, op, bare.has(op) || op === "begins" ? text : valueOf(field, text), name);
  });
  return (item) => checks.every((check) => check(item));
}

function checkOf(field: Field, op: Operator, wanted: unknown, name: string): (item: PlainItem) => boolean {
  const has = (item: PlainItem) => Object.hasOwn(item, name) && item[name] !== undefined;
  switch (op) {
    case "absent":
      return (item) => !has(item);
    case "null":
      return (item) => has(item) && item[name] === null;
    case "empty":
      return (item) => item[name] === "" || (Array.isArray(item[name]) && (item[name] as unknown[]).length === 0);
    case "begins":
      return (item) => has(item) && item[name] !== null && String(item[name]).startsWith(String(wanted));
    case "eq":
      return (item) => has(item) && compare(field, item[name], wanted) === 0;
    case "ne":
      return (item) => !has(item) || compare(field, item[name], wanted) !== 0;
    case "lt":
      return (item) => has(item) && item[name] !== null && compare(field, item[name], wanted) < 0;
    case "gt":
      return (item) => has(item) && item[name] !== null && compare(field, item[name], wanted) > 0;
  }
}

function compare(field: Field, a: unknown, b: unknown): number {
  if (field.type === "number") return Number(a) - Number(b);
  const [x, y] = [a, b].map((value) => typeof value === "object" ? JSON.stringify(value) : String(value)) as [
    string,
    string,
  ];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** Where an item's page is. */
export function itemHref(model: Model, item: PlainItem, more: Record<string, string> = {}): string {
  const key = Object.fromEntries([...model.identityFields, ...model.keyFields].map((name) => [name, item[name]]));
  return `/data/${encodeURIComponent(model.name)}/item?${new URLSearchParams({ key: JSON.stringify(key), ...more })}`;
}
