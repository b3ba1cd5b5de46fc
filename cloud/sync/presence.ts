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
import { absent, equals } from "../table/condition.ts";
import type { Table } from "../table/port.ts";
import { bucketKey, readRows } from "./buckets.ts";
import { Lru } from "./lru.ts";

/** A device is noted again after so long. It asks for its channels every 5 minutes. */
const seenEveryMs = 300_000;
/** What another worker has noted since counts as this one's. */
const freshMs = 0.8 * seenEveryMs;
/** A report that comes sooner after the last note is not written: a device reports each minute at most. */
const reportEveryMs = 50_000;
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
  async heard(deviceId: string): Promise<void> {
    const looked = this.#looked.get(deviceId), now = this.#now();
    if (looked !== undefined && now - looked < seenEveryMs) return;
    // Before anything is awaited: a device sends several messages at once.
    this.#looked.set(deviceId, now);
    const item = await this.#read(deviceId), seen = seenOf(item);
    if (seen > now - freshMs) return void this.#looked.set(deviceId, seen);
    const isBack = item?.connected === false && seen < now - backAfterMs;
    await this.#write(deviceId, item, isBack ? true : item?.connected);
  }

  /** The broker says that it came or went, or it reports on itself: at most once a minute, and no more often than it may. */
  async connected(deviceId: string, connected: boolean, report?: DeviceReport): Promise<void> {
    const item = await this.#read(deviceId), now = this.#now(), seen = seenOf(item);
    const text = report && JSON.stringify(report);
    const isSame = text === undefined || item?.report === text ||
      Number(item?.reported ?? -Infinity) > now - reportEveryMs;
    const isNoted = item?.connected === connected && seen > now - freshMs && isSame;
    this.#looked.set(deviceId, isNoted ? seen : now);
    if (isNoted) return;
    await this.#write(deviceId, item, connected, text);
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
    };
    const condition = before?.hash === hash ? equals("seen", before.seen!) : absent;
    await this.#table.write([{ op: "put", item, condition }]);
  }
}

function seenOf(item: Item | undefined): number {
  return typeof item?.seen === "number" ? item.seen : -Infinity;
}
