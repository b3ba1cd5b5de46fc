/**
 * A device's report on its last verification: `verified` / `<device>`: `{request, report, time}`.
 *
 * @module
 */
import type { Attributes, Item } from "../../schema/values.ts";
import type { Table } from "../table/port.ts";

/** A device's report on a verification that the cloud requested. */
export interface StoredReport {
  /** The request's id. */
  readonly request: string;
  /** When it came, ms since 1970. */
  readonly atMs: number;
  /** What the device told. */
  readonly report: Attributes;
}

/** Stores a report in the place of the last one. @returns whether the table took it */
export async function keepReport(
  table: Table,
  deviceId: string,
  { request, report, atMs }: StoredReport,
): Promise<boolean> {
  const item: Item = { hash: "verified", sort: deviceId, request, report: JSON.stringify(report), time: atMs };
  const [result] = await table.write([{ op: "put", item }]);
  return result?.outcome === "written";
}

/** The last report, if any. */
export async function storedReport(table: Table, deviceId: string): Promise<StoredReport | undefined> {
  const [item] = await table.get([["verified", deviceId]]);
  if (!item) return undefined;
  const report = JSON.parse(String(item.report)) as Attributes;
  return { request: String(item.request), atMs: Number(item.time), report };
}
