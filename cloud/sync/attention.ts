/**
 * What people said of devices, so that the fleet's states mean something to them: for how long an account's devices are
 * usually away, and which of a device's rejected changes and items set aside were looked at.
 *
 * In the log table: `silence` / `<account>`, or `*` for all others: `{usual}`, ms; `looked` / `<device>`: `{rejected, aside, at}`,
 * the counts as they were when somebody looked. A device's counts may fall and rise again: then only what came since the
 * lowest is new, so the mark follows a count that falls.
 *
 * Guarantee: both are read once a minute at most while somebody asks for the fleet, and otherwise each ten minutes, so that a
 * worker's samples count as its pages do. No sync rule depends on them.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { DeviceReport } from "../../protocol.ts";
import type { Item } from "../../schema/values.ts";
import type { Table } from "../table/port.ts";
import { lookedHash, lookedKey } from "./buckets.ts";

/** The counts that were looked at. */
export interface Looked {
  readonly rejected: number;
  readonly aside: number;
}

/** A device that is away for longer is worth a look, unless its account says otherwise. */
export const usualDefaultMs = 900_000;
/** The account of the threshold for all that have none of their own: no id has this character. */
export const everyAccount = "*";

const silenceHash = "silence";
const freshMs = 60_000, pageSize = 1_000, batchSize = 100;
const logger = new Log("cloud");

/** See the module. */
export class Attention {
  #usual = new Map<string, number>();
  #looked = new Map<string, Looked>();
  #readMs = -Infinity;
  #reading: Promise<void> | undefined;

  constructor(private readonly table: Table, private readonly now: () => number) {}

  /** For how long a device of this account is usually away, ms. */
  usualMs(accountId: string): number {
    return this.#usual.get(accountId) ?? this.#usual.get(everyAccount) ?? usualDefaultMs;
  }

  /** The thresholds that somebody set, by account. */
  get usual(): ReadonlyMap<string, number> {
    return this.#usual;
  }

  looked(deviceId: string): Looked | undefined {
    return this.#looked.get(deviceId);
  }

  /** Reads what others may have said since. Never rejects: what was read before stays. */
  async refresh(ageMaxMs: number = freshMs): Promise<void> {
    if (this.now() - this.#readMs <= ageMaxMs) return;
    await (this.#reading ??= this.#read().catch((error) => {
      logger.debug("what people said of devices can't be read: {error}", { error });
    }).finally(() => this.#reading = undefined));
  }

  async #read(): Promise<void> {
    const atMs = this.now(), [usual, looked] = await Promise.all([this.#all(silenceHash), this.#all(lookedHash)]);
    this.#usual = new Map(usual.map(({ sort, usual }) => [String(sort), Number(usual)]));
    this.#looked = new Map(looked.map(({ sort, rejected, aside }) => {
      return [String(sort), { rejected: Number(rejected), aside: Number(aside) }];
    }));
    this.#readMs = atMs;
  }

  async #all(hash: string): Promise<Item[]> {
    const items: Item[] = [];
    let after: string | undefined;
    do {
      const page = await this.table.query({ index: "primary", hash, limit: pageSize, after });
      items.push(...page.items);
      after = page.next;
    } while (after !== undefined);
    return items;
  }

  /** @param usualMs absent: as for all others */
  async setUsual(accountId: string, usualMs: number | undefined): Promise<void> {
    await this.table.write([
      usualMs === undefined
        ? { op: "delete", key: [silenceHash, accountId] }
        : { op: "put", item: { hash: silenceHash, sort: accountId, usual: usualMs } },
    ]);
    if (usualMs === undefined) this.#usual.delete(accountId);
    else this.#usual.set(accountId, usualMs);
  }

  /** Somebody has looked at what these devices report now. @returns of how many there was something to look at */
  async look(devices: readonly { readonly deviceId: string; readonly report?: DeviceReport }[]): Promise<number> {
    const marks = devices.flatMap(({ deviceId, report: { rejected = 0, aside = 0 } = {} }) =>
      rejected + aside > 0 ? [{ deviceId, looked: { rejected, aside } }] : []
    );
    for (let at = 0; at < marks.length; at += batchSize) {
      const batch = marks.slice(at, at + batchSize);
      await this.table.write(
        batch.map(({ deviceId, looked }) => ({ op: "put", item: this.#itemOf(deviceId, looked) })),
      );
      for (const { deviceId, looked } of batch) this.#looked.set(deviceId, looked);
    }
    return marks.length;
  }

  /** A device reports: the mark follows counts that fell. Each worker that hears it writes the same. */
  heard(deviceId: string, { rejected = 0, aside = 0 }: DeviceReport): void {
    const looked = this.#looked.get(deviceId);
    if (!looked || (rejected >= looked.rejected && aside >= looked.aside)) return;
    const lower = { rejected: Math.min(rejected, looked.rejected), aside: Math.min(aside, looked.aside) };
    this.#looked.set(deviceId, lower);
    this.table.write([{ op: "put", item: this.#itemOf(deviceId, lower) }]).catch((error) => {
      // It is tried again when it falls further; until then only this worker knows.
      logger.debug("{deviceId}: what was looked at can't be noted: {error}", { deviceId, error });
    });
  }

  #itemOf(deviceId: string, looked: Looked): Item {
    const [hash, sort] = lookedKey(deviceId);
    return { hash, sort, ...looked, at: this.now() };
  }
}
