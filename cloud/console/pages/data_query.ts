/**
 * The Data page's address: the owner, the filters, the start. Filters apply here, after reading: items that they
 * exclude are read all the same, and the page says how many.
 *
 * @module
 */
import type { Field, Model } from "../../../schema/model.ts";
import { compareDecimals } from "../../../schema/numbers.ts";
import { fieldOf } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import type { PlainItem } from "../local_device.ts";
import { valueOf } from "../typed.ts";

/** The operators of filters, and which of them need a value. */
export const operators = {
  eq: "=",
  ne: "≠",
  lt: "<",
  gt: ">",
  between: "between",
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
    if (op === "between") return betweenOf(field, text, name);
    return checkOf(field, op, bare.has(op) || op === "begins" ? text : valueOf(field, text), name);
  });
  return (item) => checks.every((check) => check(item));
}

/** From one value to another, both included: `10..20`. */
function betweenOf(field: Field, text: string, name: string): (item: PlainItem) => boolean {
  const [from, to, ...more] = text.split("..");
  if (!from || !to || more.length > 0) {
    throw new ApiError(400, "invalid", `${name} between wants two values: 10..20, not “${text}”`);
  }
  const [least, most] = [valueOf(field, from), valueOf(field, to)];
  return (item) => {
    const value = item[name];
    return value !== undefined && value !== null && compare(field, value, least) >= 0 &&
      compare(field, value, most) <= 0;
  };
}

function checkOf(
  field: Field,
  op: Exclude<Operator, "between">,
  wanted: unknown,
  name: string,
): (item: PlainItem) => boolean {
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
  // A double can't hold 38 digits.
  if (field.type === "number") return compareDecimals(String(a), String(b)) ?? NaN;
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
