/**
 * When a device last sent anything, and whether it was connected then: for people. It is written rarely, and only over
 * an older row, so the cost does not depend on the number of workers that hear the device.
 *
 * In the log table: `seen#<bucket>` / `<device>`: `{seen, connected, report, reported, recent}`, a KB with the longest
 * report (one write unit); earlier builds: `seen` / `<device>`. `recent`: the numbers of the last hour's reports, see
 * `report_points.ts`.
 *
 * @module
 */
import type { DeviceReport } from "../../protocol.ts";
import type { Item } from "../../schema/values.ts";
import { absent, all, equals, lacks } from "../table/condition.ts";
import type { Condition, Table } from "../table/port.ts";
import { bucketKey, readRows } from "./buckets.ts";
import { Lru } from "./lru.ts";
import { joinPoints, pointOf, pointsRow, readPoints, RecentPoints, type ReportPoint } from "./report_points.ts";

/** The shortest time between two notes of a device. It asks for its channels every 5 minutes. */
const seenEveryMs = 300_000;
/** A later note of another worker counts like this worker's. */
const freshMs = 0.8 * seenEveryMs;
/** A report that comes sooner after the last note is not written: a device reports each minute at most. */
const reportEveryMs = 50_000;
/** If another worker writes something else meanwhile, the note is tried again after this. */
const noteAttemptsMax = 5;
/**
 * A message may have waited while its device disconnected: only this long after a disconnect does a message count as a
 * return.
 */
const backAfterMs = 60_000;

/** See the module. */
export class Presence {
  readonly #table: Table;
  readonly #now: () => number;
  /** When each device was last checked. */
  readonly #looked = new Lru<string, number>({ sizeOf: (deviceId) => 2 * deviceId.length + 8 });

  constructor(table: Table, now: () => number) {
    this.#table = table;
    this.#now = now;
  }

  forget(deviceId: string): void {
    this.#looked.delete(deviceId);
  }

  /** A message of the device arrived. */
  async heard(deviceId: string): Promise<boolean> {
    const looked = this.#looked.get(deviceId), now = this.#now();
    if (looked !== undefined && now - looked < seenEveryMs) return false;
    // Before any await: a device sends several messages at once.
    this.#looked.set(deviceId, now);
    const item = await this.#read(deviceId), seen = seenOf(item);
    if (seen > now - freshMs) this.#looked.set(deviceId, seen);
    else {
      const isBack = item?.connected === false && seen < now - backAfterMs;
      await this.#write(deviceId, item, isBack ? true : item?.connected);
    }
    return item?.orders === 1;
  }

  /** The broker says that the device connected or disconnected, or the device reports: at most once a minute. */
  async connected(deviceId: string, connected: boolean, report?: DeviceReport): Promise<boolean> {
    const item = await this.#read(deviceId), now = this.#now(), seen = seenOf(item);
    const text = report && JSON.stringify(report);
    const isSame = text === undefined || (item?.report === text && new RecentPoints(item.recent).has(now)) ||
      Number(item?.reported ?? -Infinity) > now - reportEveryMs;
    const isNoted = item?.connected === connected && seen > now - freshMs && isSame;
    this.#looked.set(deviceId, isNoted ? seen : now);
    if (!isNoted) await this.#write(deviceId, item, connected, text);
    // An older worker's note does not say so: returning devices are checked.
    return connected && (item?.orders === 1 || item?.connected !== true);
  }

  /**
   * Notes whether the device has open orders. Nothing is noted for a device that never connected: its first connect
   * checks.
   */
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

  /** If another worker has just written, its note is as good. */
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
    const recent = new RecentPoints(before?.recent);
    const point = report === undefined ? undefined : pointOf(JSON.parse(report), this.#now());
    const full = point && recent.add(point, item);
    // First: a crash in between leaves the points twice, and none is lost.
    if (full) await this.#table.write([{ op: "put", item: pointsRow(deviceId, full, this.#now()) }]);
    const text = recent.text;
    await this.#table.write([{ op: "put", item: text === "" ? item : { ...item, recent: text }, condition }]);
  }

  /** What a device's reports said since then, the oldest first. */
  async points(deviceId: string, fromMs: number): Promise<ReportPoint[]> {
    const [rows, seen] = await Promise.all([readPoints(this.#table, deviceId, fromMs), this.#read(deviceId)]);
    return joinPoints([...rows, ...new RecentPoints(seen?.recent).points]).filter(({ atMs }) => atMs >= fromMs);
  }
}

/** Nobody has written since: neither an activity of the device, nor that it has orders. */
function unchanged(before: Item): Condition {
  return all(equals("seen", before.seen!), before.orders === 1 ? equals("orders", 1) : lacks("orders"));
}

function seenOf(item: Item | undefined): number {
  return typeof item?.seen === "number" ? item.seen : -Infinity;
}
