/**
 * When a device was heard of last, and whether it was connected then: for people to look at. Written seldom, and only where
 * what stands there is older, so that it costs the same however many workers hear of the device.
 *
 * In the log table: `seen#<bucket>` / `<device>`: `{seen, connected, report, reported}`, a KB with the longest report (one
 * write unit); before, `seen` / `<device>`.
 *
 * @module
 */
import type { DeviceReport } from "../../protocol.ts";
import type { Item } from "../../schema/values.ts";
import { absent, all, equals, lacks } from "../table/condition.ts";
import type { Condition, Table } from "../table/port.ts";
import { bucketKey, readRows } from "./buckets.ts";
import { Lru } from "./lru.ts";

/** A device is noted again after so long. It asks for its channels every 5 minutes. */
const seenEveryMs = 300_000;
/** What another worker has noted since counts as this one's. */
const freshMs = 0.8 * seenEveryMs;
/** A report that comes sooner after the last note is not written: a device reports each minute at most. */
const reportEveryMs = 50_000;
/** Who notes something else meanwhile is tried again after. */
const noteAttemptsMax = 5;
/** A message may have waited while its device went: only so long after it does the device count as back. */
const backAfterMs = 60_000;

/** See the module. */
export class Presence {
  readonly #table: Table;
  readonly #now: () => number;
  /** When each was looked at last. */
  readonly #looked = new Lru<string, number>({ sizeOf: (deviceId) => 2 * deviceId.length + 8 });

  constructor(table: Table, now: () => number) {
    this.#table = table;
    this.#now = now;
  }

  forget(deviceId: string): void {
    this.#looked.delete(deviceId);
  }

  /** A message of the device came. */
  async heard(deviceId: string): Promise<boolean> {
    const looked = this.#looked.get(deviceId), now = this.#now();
    if (looked !== undefined && now - looked < seenEveryMs) return false;
    // Before anything is awaited: a device sends several messages at once.
    this.#looked.set(deviceId, now);
    const item = await this.#read(deviceId), seen = seenOf(item);
    if (seen > now - freshMs) this.#looked.set(deviceId, seen);
    else {
      const isBack = item?.connected === false && seen < now - backAfterMs;
      await this.#write(deviceId, item, isBack ? true : item?.connected);
    }
    return item?.orders === 1;
  }

  /** The broker says that it came or went, or it reports on itself: at most once a minute, and no more often than it may. */
  async connected(deviceId: string, connected: boolean, report?: DeviceReport): Promise<boolean> {
    const item = await this.#read(deviceId), now = this.#now(), seen = seenOf(item);
    const text = report && JSON.stringify(report);
    const isSame = text === undefined || item?.report === text ||
      Number(item?.reported ?? -Infinity) > now - reportEveryMs;
    const isNoted = item?.connected === connected && seen > now - freshMs && isSame;
    this.#looked.set(deviceId, isNoted ? seen : now);
    if (!isNoted) await this.#write(deviceId, item, connected, text);
    // An older worker's note does not say: whoever comes back is looked at.
    return connected && (item?.orders === 1 || item?.connected !== true);
  }

  /** Notes whether the device has orders that it has not done. Of a device that was never heard of nothing is noted: it comes. */
  async expectOrders(deviceId: string, has: boolean): Promise<void> {
    for (let attempt = 0; attempt < noteAttemptsMax; attempt++) {
      const before = await this.#read(deviceId);
      if (!before || (before.orders === 1) === has) return;
      const { orders: _orders, ...rest } = before;
      const item: Item = has ? { ...rest, orders: 1 } : rest;
      const [result] = await this.#table.write([{ op: "put", item, condition: unchanged(before) }]);
      if (result?.outcome === "written") return;
    }
  }

  async #read(deviceId: string): Promise<Item | undefined> {
    return (await readRows(this.#table, "seen", [deviceId]))[0];
  }

  /** Where another worker has just written, its note is as good. */
  async #write(deviceId: string, before: Item | undefined, connected: unknown, report?: string): Promise<void> {
    const [hash, sort] = bucketKey("seen", deviceId);
    // The last report stays while the device is away: it says why.
    const kept = report ?? before?.report;
    const item: Item = {
      hash,
      sort,
      seen: this.#now(),
      ...(typeof connected === "boolean" ? { connected } : {}),
      ...(typeof kept === "string"
        ? { report: kept, reported: report === undefined ? before!.reported! : this.#now() }
        : {}),
      ...(before?.orders === 1 ? { orders: 1 } : {}),
    };
    const condition = before?.hash === hash ? unchanged(before) : absent;
    await this.#table.write([{ op: "put", item, condition }]);
  }
}

/** Nobody has noted anything since: not that the device was heard of, nor that it has orders. */
function unchanged(before: Item): Condition {
  return all(equals("seen", before.seen!), before.orders === 1 ? equals("orders", 1) : lacks("orders"));
}

function seenOf(item: Item | undefined): number {
  return typeof item?.seen === "number" ? item.seen : -Infinity;
}
