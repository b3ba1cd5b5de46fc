/**
 * The addresses of Conflicts and Rejected: which devices, which model, which group, which row is open. All of it stands in the
 * query, so that a reload, Back and a colleague see the same, and links do what JavaScript would.
 *
 * @module
 */

/** The two tables that have pages of their own. */
export type PagedTable = "rejected" | "conflicts";

/** What the address says. */
export interface KeptView {
  readonly table: PagedTable;
  /** Words of the fleet's search. */
  readonly q: string;
  /** The device that is asked. */
  readonly device: string;
  /** All devices that are found are asked. */
  readonly ask: boolean;
  readonly model: string;
  /** All of them must occur in a rejected change's model, key or reason. */
  readonly words: string;
  /** A group of rejected changes (`groupKey`). */
  readonly group: string;
  /** After this number of the device's. */
  readonly after: number;
  /** This one alone, opened. */
  readonly row: number;
}

function wholeIn(query: URLSearchParams, name: string): number {
  const number = Number(query.get(name) ?? 0);
  return Number.isSafeInteger(number) && number > 0 ? number : 0;
}

export function keptViewOf(table: PagedTable, query: URLSearchParams): KeptView {
  return {
    table,
    q: (query.get("q") ?? "").trim().replace(/\s+/g, " "),
    device: (query.get("device") ?? "").trim(),
    ask: query.has("ask"),
    model: query.get("model") ?? "",
    words: table === "rejected" ? (query.get("words") ?? "").trim().replace(/\s+/g, " ") : "",
    group: query.get("group") ?? "",
    after: wholeIn(query, "after"),
    row: wholeIn(query, "row"),
  };
}

/** The words of a view, for an address or a form's hidden fields. */
export function wordsOf(view: KeptView): [name: string, value: string][] {
  const { q, device, ask, model, words, group, after, row } = view;
  const all: [string, string][] = [
    ["q", q],
    ["device", device],
    ["ask", ask ? "1" : ""],
    ["model", model],
    ["words", words],
    ["group", group],
    ["after", after ? String(after) : ""],
    ["row", row ? String(row) : ""],
  ];
  return all.filter(([, value]) => value !== "");
}

/** The address of a view that differs from this one. */
export function keptHref(view: KeptView, change: Partial<KeptView> = {}, more: Record<string, string> = {}): string {
  const next = { ...view, ...change };
  const query = new URLSearchParams([...wordsOf(next), ...Object.entries(more)]).toString()
    .replaceAll("%3A", ":").replaceAll("%2C", ",");
  return query === "" ? `/${next.table}` : `/${next.table}?${query}`;
}

/** What a device keeps of a table: its address. */
export function deviceKeptHref(table: PagedTable, device: string, row?: number): string {
  return `/${table}?${new URLSearchParams({ device, ...(row === undefined ? {} : { row: String(row) }) })}`;
}

/** A kept version, as an address and a form name it. */
export function keptName({ device: { deviceId }, id }: { device: { readonly deviceId: string }; id: number }): string {
  return `${deviceId}/${id}`;
}
