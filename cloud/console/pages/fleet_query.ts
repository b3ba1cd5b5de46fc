/**
 * The fleet page's address: search, sort, start, columns, and the time of the charts. All of it is in the query, so that a reload, Back and a
 * colleague see the same.
 *
 * @module
 */

import { type PastRange, pastRanges } from "../past.ts";

/** Rows of a page. */
export const pageRows = 50;

/** What the address says. */
export interface FleetView {
  readonly q: string;
  readonly sort: string;
  readonly from: number;
  readonly columns: readonly string[];
  /** What the charts show. */
  readonly range: PastRange;
}

export function viewOf(query: URLSearchParams): FleetView {
  const from = Number(query.get("from") ?? 0);
  return {
    q: (query.get("q") ?? "").trim().replace(/\s+/g, " "),
    sort: query.get("sort") || "-worst",
    from: Number.isSafeInteger(from) && from > 0 ? from : 0,
    columns: query.getAll("col").filter((name) => name !== ""),
    range: rangeOf(query.get("range") ?? "30m"),
  };
}

function rangeOf(name: string): PastRange {
  return Object.hasOwn(pastRanges, name) ? name as PastRange : "30m";
}

/** The address of a view that differs from this one. */
export function hrefOf(view: FleetView, change: Partial<FleetView> = {}, path = "/fleet"): string {
  const { q, sort, from, columns, range } = { ...view, ...change };
  const query = new URLSearchParams();
  if (q !== "") query.set("q", q);
  if (sort !== "-worst") query.set("sort", sort);
  if (from > 0) query.set("from", String(from));
  for (const column of columns) query.append("col", column);
  if (range !== "30m") query.set("range", range);
  const text = query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return text === "" ? path : `${path}?${text}`;
}

/** The words of a search. */
export function wordsOf(q: string): string[] {
  return q.split(" ").filter((word) => word !== "");
}

/** The search with another word, which replaces one of the same field. */
export function withWord(q: string, word: string): string {
  const field = word.slice(0, word.indexOf(":") + 1);
  return [...wordsOf(q).filter((one) => field === "" || !one.startsWith(field)), word].join(" ");
}

/** The search silently. */
export function withoutWord(q: string, word: string): string {
  return wordsOf(q).filter((one) => one !== word).join(" ");
}
