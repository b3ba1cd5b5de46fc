/**
 * Rows of the log table with one for each device: spread over {@link bucketCount} hash values, because one hash value
 * accepts only 1,000 writes and 3,000 reads a second (DynamoDB), too few for a whole fleet. Earlier builds stored all
 * of them under one hash value; such rows are still read.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import type { Item } from "../../schema/values.ts";
import type { Table } from "../table/port.ts";
import { mapBounded } from "./bounded.ts";

const bucketCount = 64;
/** Buckets that are listed at once. */
const listedAtOnce = 16;

/** The key of a device's row of this kind. */
export function bucketKey(kind: string, deviceId: string): Key {
  return [`${kind}#${bucketOf(deviceId)}`, deviceId];
}

/** The row's former key, where it may still be. */
export function formerKey(kind: string, deviceId: string): Key {
  return [kind, deviceId];
}

/** Two digits, by FNV-1a over the name. */
function bucketOf(deviceId: string): string {
  let sum = 0x811c9dc5;
  for (let i = 0; i < deviceId.length; i++) sum = Math.imul(sum ^ deviceId.charCodeAt(i), 0x01000193);
  return digits((sum >>> 0) % bucketCount);
}

function digits(bucket: number): string {
  return String(bucket).padStart(2, "0");
}

/** Devices' rows of each kind, in either form; undefined if there is none. In the order of the devices. */
export async function readRows(
  table: Pick<Table, "get">,
  kind: string,
  deviceIds: readonly string[],
): Promise<(Item | undefined)[]> {
  const found = await table.get(deviceIds.flatMap((id) => [bucketKey(kind, id), formerKey(kind, id)]));
  return deviceIds.map((_, i) => found[2 * i] ?? found[2 * i + 1]);
}

/**
 * A page of rows of a kind by the devices' names: at most `limit` after `after`. `next`: the last one's name, if there
 * may be more.
 */
export async function listRows(
  table: Pick<Table, "query">,
  kind: string,
  limit: number,
  after?: string,
): Promise<{ rows: Item[]; next?: string }> {
  const hashes = [kind, ...Array.from({ length: bucketCount }, (_, bucket) => `${kind}#${digits(bucket)}`)];
  // Twice a bucket's share: usually enough; otherwise the rest is read.
  const share = Math.min(limit, Math.ceil(2 * limit / bucketCount) + 2);
  const lists = await mapBounded(hashes, listedAtOnce, (hash) => Rows.open(table, hash, share, after));
  const rows: Item[] = [];
  while (rows.length < limit) {
    const next = lists.reduce<Rows | undefined>((least, list) => list.isBefore(least) ? list : least, undefined);
    if (!next) return { rows };
    const row = await next.take();
    // The device has rows in both forms: the newer one was listed first.
    if (rows.at(-1)?.sort !== row.sort) rows.push(row);
  }
  const more = lists.some((list) => list.head !== undefined);
  return more ? { rows, next: String(rows.at(-1)!.sort) } : { rows };
}

/** One hash value's rows, in pages. */
class Rows {
  #rows: Item[] = [];
  #more = true;

  private constructor(
    readonly table: Pick<Table, "query">,
    readonly hash: string,
    readonly share: number,
    public after: string | undefined,
  ) {}

  static async open(table: Pick<Table, "query">, hash: string, share: number, after?: string): Promise<Rows> {
    const rows = new Rows(table, hash, share, after);
    await rows.#fill();
    return rows;
  }

  get head(): Item | undefined {
    return this.#rows[0];
  }

  /** Of two of one name the bucket's: `kind#…` is after `kind`, and not before it only where it is less. */
  isBefore(other: Rows | undefined): boolean {
    if (!this.head) return false;
    if (!other?.head) return true;
    const [own, its] = [String(this.head.sort), String(other.head.sort)];
    return own < its || (own === its && this.hash.length > other.hash.length);
  }

  async take(): Promise<Item> {
    const row = this.#rows.shift()!;
    this.after = String(row.sort);
    if (this.#rows.length === 0) await this.#fill();
    return row;
  }

  async #fill(): Promise<void> {
    while (this.#more && this.#rows.length === 0) {
      const { hash, share, after } = this;
      const page = await this.table.query({ index: "primary", hash, limit: share, sortAfter: after });
      this.#rows = [...page.items];
      this.#more = page.next !== undefined;
      if (this.#rows.length === 0) break;
    }
  }
}

/** What was looked at of devices (`attention.ts`): few have such a row, so they are together. */
export const lookedHash = "looked";

/** Its key: the row goes with the device. */
export function lookedKey(deviceId: string): Key {
  return [lookedHash, deviceId];
}
