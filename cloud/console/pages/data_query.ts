/**
 * The Data page's address: the index and its keys, the owner, the filters, the columns, the start. Filters apply here, after reading: items that they
 * exclude are read all the same, and the page says how many.
 *
 * @module
 */
import { fieldsOfIndex, type IndexKeys, indexKeysOf } from "../../../schema/index_keys.ts";
import type { Field, Model, Schema } from "../../../schema/model.ts";
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
  /** An index's name; empty: the one that lists the model best. */
  readonly index: string;
  /** Values of the index's fields, beside device and account. */
  readonly keys: Readonly<Record<string, string>>;
  /** The last of the index first. */
  readonly desc: boolean;
  /** Names of the columns; none: the first ones. */
  readonly columns: readonly string[];
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
    index: query.get("index") ?? "",
    keys: Object.fromEntries(
      [...query].flatMap(([name, text]) => name.startsWith("k.") && text !== "" ? [[name.slice(2), text]] : []),
    ),
    desc: query.has("desc"),
    columns: query.getAll("col"),
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

/** A view as the words of an address, or hidden fields of a form. */
export function dataWords(view: DataView): (readonly [name: string, value: string])[] {
  const { device, account, index, keys, desc, columns, filters, after, scan } = view;
  const given: (readonly [string, string])[] = [
    ["index", index],
    ["device", device],
    ["account", account],
    ...Object.entries(keys).map(([name, text]) => [`k.${name}`, text] as const),
    ["desc", desc ? "1" : ""],
    ...filters.map((filter) => ["f", filterText(filter)] as const),
    ...columns.map((name) => ["col", name] as const),
    ["scan", scan ? "1" : ""],
    ["after", after],
  ];
  return given.filter(([, text]) => text !== "");
}

/** The index that is asked, and all that could be. */
export interface Indexes {
  readonly all: readonly IndexKeys[];
  readonly chosen: IndexKeys;
}

/** The index of a view: the given one, or the one that a device or an account is enough for. @throws ApiError 400 */
export function indexesOf(schema: Schema, model: Model, { index: name }: DataView): Indexes {
  const all = indexKeysOf(schema, model), [primary] = all;
  if (name !== "") {
    const chosen = all.find(({ index }) => index.name === name);
    if (!chosen) throw new ApiError(400, "invalid", `${model.name} is in no index “${name}” that can be asked by text`);
    return { all, chosen };
  }
  const identity = Object.values(model.identityNames) as string[];
  const needsMore = fieldsOfIndex(primary!).hash.some((field) => !identity.includes(field));
  const lists = needsMore ? all.find(({ index }) => index.name === model.enumeration?.index) : undefined;
  return { all, chosen: lists ?? primary! };
}

/** The fields of an index that are asked for beside device and account; of those of the sort value the last is a prefix. */
export function keyFieldsOf(model: Model, keys: IndexKeys): { readonly hash: string[]; readonly sort: string[] } {
  const { hash, sort } = fieldsOfIndex(keys), { deviceId, accountId } = model.identityNames;
  const own = (names: string[]) => names.filter((name) => name !== deviceId && name !== accountId);
  return { hash: own(hash), sort: own(sort) };
}

/** The address of a view that differs from this one. */
export function dataHref(model: string, view: DataView, change: Partial<DataView> = {}): string {
  const text = new URLSearchParams(dataWords({ ...view, ...change }).map((word) => [...word])).toString();
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

/** What a scan is narrowed to by the values of an index's fields, as a query of it would be. */
export function fittingKeys(model: Model, keys: IndexKeys, view: DataView): (item: PlainItem) => boolean {
  const { hash, sort } = keyFieldsOf(model, keys), last = sort.at(-1);
  const given = [...hash, ...sort].filter((name) => view.keys[name]);
  return (item) =>
    given.every((name) => {
      const text = String(item[name] ?? "");
      return name === last ? text.startsWith(view.keys[name]!) : text === view.keys[name];
    });
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
