/**
 * Names of which a former device has certificates that are still valid. The embedded broker asks the registry by the
 * certificate's key, and refuses them. Mosquitto takes a device's name from its certificate and knows no more: there, a
 * former certificate would act as the new device. So no name is admitted at Mosquitto before the former device's
 * certificates have expired.
 *
 * In the log table: `former` / `<device>`: `{until, expires}`, written before the device's row is deleted or replaced.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";
import type { Item } from "../../schema/values.ts";
import type { Table } from "../table/port.ts";
import { keysOf } from "./device_keys.ts";

/** To be called before a device's row is deleted or replaced. @returns false: the table did not take it */
export async function noteFormer(table: Pick<Table, "write">, row: Item | undefined): Promise<boolean> {
  const until = Math.max(...(row ? keysOf(row) : []).map((key) => key.until));
  if (!row || until === -Infinity) return true;
  const item: Item = { hash: "former", sort: row.sort!, until, expires: Math.ceil(until / 1000) };
  const [result] = await table.write([{ op: "put", item }]);
  return result?.outcome === "written";
}

/** Until when certificates of a former device of each name are valid, ms since 1970; undefined: there are none. */
export async function formerUntil(
  table: Pick<Table, "get">,
  deviceIds: readonly string[],
  nowMs: number,
): Promise<(number | undefined)[]> {
  const items = await table.get(deviceIds.map((deviceId) => ["former", deviceId] as const));
  return items.map((item) => item && Number(item.until) > nowMs ? Number(item.until) : undefined);
}

/** Before a device is admitted at a broker that knows certificates by their names. @throws SyncError `exists` */
export async function checkFormer(table: Pick<Table, "get">, deviceId: string, nowMs: number): Promise<void> {
  const [until] = await formerUntil(table, [deviceId], nowMs);
  if (until === undefined) return;
  const valid = new Date(until).toISOString();
  throw new SyncError(
    "exists",
    `a former device "${deviceId}" has a certificate until ${valid}: at this broker it would act as the new one`,
    { hint: "give the device another name" },
  );
}
