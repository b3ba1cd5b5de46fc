/**
 * The audit: who did what through the API, the console or the command line. In the log table:
 *
 * - `audit#<stripe>` / `<time>#<random>`: `{who, via, action, target, outcome, expires}`
 *
 * Append-only: an entry is put on the condition that its key is free, and nothing here alters or deletes one; it
 * expires after its retention. It is written **before** the act, so that nothing is done without it; a second entry
 * records a failure. It names keys, never contents or secrets.
 *
 * There are {@link stripes} hash values, because one takes 1,000 writes a second (DynamoDB).
 *
 * @module
 */
import { SyncError } from "../../schema.ts";
import type { Item } from "../../schema/values.ts";
import { printable } from "../../protocol/log.ts";
import { mapBounded } from "../sync/bounded.ts";
import { absent } from "../table/condition.ts";
import type { Table } from "../table/port.ts";

/** What was done, by whom. */
export interface AuditEntry {
  /** A token's name; the user and host of a command line; `loopback` if the API is open; a device. */
  readonly who: string;
  readonly via: "api" | "console" | "command line" | "broker" | "device";
  /** `items.put`, `device.add`, … */
  readonly action: string;
  /** The target: a device, or a model and a key. */
  readonly target?: string;
  /** Why it failed; absent: it was done, or started. */
  readonly outcome?: string;
}

/** An entry as it is returned. */
export interface AuditRecord extends AuditEntry {
  /** Identifies the entry, and is the place where a list continues. */
  readonly id: string;
  readonly time: string;
}

/** What to record. */
export interface AuditQuery {
  /** ms since 1970; default a day ago. */
  readonly fromMs?: number;
  /** ms since 1970; default now. */
  readonly toMs?: number;
  /** Exactly this one's. */
  readonly who?: string;
  /** The id of the last entry of the page before. */
  readonly after?: string;
  readonly limit: number;
}

const stripes = 8;
const dayMs = 86_400_000;
/** The most characters of a text in an entry: keys may be kilobytes. */
const textMax = 400;
/** The most keys that an entry names. */
const targetMax = 4_000;
export const auditDaysDefault = 90;

/** See the module. */
export class Audit {
  constructor(
    private readonly table: Table,
    private readonly options: {
      readonly now: () => number;
      /** Numbers in [0, 1). Default: the system's. */
      readonly random?: () => number;
      /** How many days an entry is retained. Default {@link auditDaysDefault}. */
      readonly days?: number;
    },
  ) {}

  /** Appends an entry. @throws SyncError `unavailable`: then the act must not happen either */
  async note({ who, via, action, target, outcome }: AuditEntry): Promise<void> {
    const { days = auditDaysDefault, random = systemRandom } = this.options, now = this.options.now();
    const letters = () => Math.floor(random() * 2 ** 32).toString(36).padStart(7, "0");
    const item: Item = {
      hash: hashOf(Math.floor(random() * stripes)),
      sort: `${new Date(now).toISOString()}#${letters()}${letters()}`,
      who: printable(who, textMax),
      via,
      action,
      ...(target === undefined ? {} : { target: printable(target, targetMax) }),
      ...(outcome === undefined ? {} : { outcome: printable(outcome, textMax) }),
      expires: Math.ceil((now + days * dayMs) / 1000),
    };
    const [result] = await this.table.write([{ op: "put", item, condition: absent }]);
    if (result?.outcome === "written") return;
    throw new SyncError("unavailable", `the audit can't be written (${result?.outcome}): nothing is done without it`, {
      retryable: true,
    });
  }

  /** Entries in the order of their times. */
  async list({ fromMs, toMs, who, after, limit }: AuditQuery): Promise<{ entries: AuditRecord[]; next?: string }> {
    const now = this.options.now(), entries: AuditRecord[] = [];
    const end = new Date(Math.min(toMs ?? now, now) + 1).toISOString();
    // An id is a time and more: entries of the first moment itself come after the bare time.
    let cursor = after ?? new Date(fromMs ?? now - dayMs).toISOString();
    for (let isMore = true; isMore;) {
      const page = await this.#page(cursor, limit);
      isMore = page.isMore;
      for (const item of page.items) {
        cursor = String(item.sort);
        if (cursor >= end) return { entries };
        if (who !== undefined && item.who !== who) continue;
        entries.push(recordOf(item));
        if (entries.length === limit) return { entries, next: cursor };
      }
    }
    return { entries };
  }

  /** The next entries of all stripes, complete up to the last one. */
  async #page(sortAfter: string, limit: number): Promise<{ items: Item[]; isMore: boolean }> {
    const hashes = Array.from({ length: stripes }, (_, stripe) => hashOf(stripe));
    const pages = await mapBounded(hashes, stripes, async (hash) => {
      // A page may be empty, and others follow.
      let after: string | undefined;
      while (true) {
        const page = await this.table.query({ index: "primary", hash, sortAfter, limit, after });
        if (page.items.length > 0 || page.next === undefined) return page;
        after = page.next;
      }
    });
    const items = pages.flatMap(({ items }) => items).sort((a, b) => String(a.sort) < String(b.sort) ? -1 : 1);
    // After the last entry of a page that continues, others of its stripe may be missing.
    const ends = pages.flatMap(({ items, next }) => next === undefined ? [] : [String(items.at(-1)!.sort)]);
    const end = ends.reduce((least, sort) => sort < least ? sort : least, "~");
    return { items: items.filter(({ sort }) => String(sort) <= end), isMore: ends.length > 0 };
  }
}

/** A time as people write it, ms since 1970; undefined if invalid. */
export function auditTime(text: string): number | undefined {
  const ms = /^\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : NaN;
  return ms >= 0 ? ms : undefined;
}

function systemRandom(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
}

function hashOf(stripe: number): string {
  return `audit#${stripe}`;
}

function recordOf({ sort, who, via, action, target, outcome }: Item): AuditRecord {
  const id = String(sort);
  return {
    id,
    time: id.slice(0, id.indexOf("#")),
    who: String(who),
    via: via as AuditEntry["via"],
    action: String(action),
    ...(target === undefined ? {} : { target: String(target) }),
    ...(outcome === undefined ? {} : { outcome: String(outcome) }),
  };
}
