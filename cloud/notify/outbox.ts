/**
 * What is to be told and has not been: per receiver a queue in the log table, so that a crash loses nothing, sync waits for no
 * receiver, and one receiver for no other. The worker that reads the stream appends, before it moves the stream's position;
 * the one that sends deletes what was taken.
 *
 *     notify#<receiver> / <number, 16 digits>: {events: JSON list of texts, id, at, expires}
 *
 * An entry is put behind the last that is there, where there is none: the queue is in the order of the stream whoever appends.
 * When it is empty numbers begin at 1 again; `id` tells two entries of one number apart, so that a sender that was held up
 * deletes nothing but what it sent.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";
import type { Item } from "../../schema/values.ts";
import { absent, equals } from "../table/condition.ts";
import { utf8Bytes } from "../table/item_size.ts";
import type { Table, Write } from "../table/port.ts";

/** Events of an entry, and bytes of their texts; a larger one is alone. */
const entryEventsMax = 100, entryBytesMax = 48 * 1024;
/** How long an entry waits for its receiver. */
export const keptMs = 7 * 86_400_000;
/** The table forgets it a day later by itself, where nobody was there to count it. */
const graceMs = 86_400_000;

/** An entry of a queue. */
export interface QueueEntry {
  readonly number: number;
  readonly id: string;
  readonly atMs: number;
  /** The events' texts, in their order. */
  readonly events: readonly string[];
}

/** See the module. */
export class NotifyQueue {
  readonly #hash: string;

  constructor(
    private readonly table: Table,
    /** Names the receiver, the same in all workers. */
    receiver: string,
    private readonly now: () => number,
  ) {
    this.#hash = `notify#${receiver}`;
  }

  /** Puts events at the end. @throws SyncError where the table fails; part of them may be there then */
  async append(texts: readonly string[]): Promise<void> {
    let last = await this.last();
    for (const events of partsOf(texts)) {
      while (true) {
        const write: Write = { op: "put", item: this.#item(last + 1, events), condition: absent };
        const [result] = await this.table.write([write]);
        if (result?.outcome === "written") break;
        if (result?.outcome !== "refused") throw unavailable(`did not take an entry (${result?.outcome})`);
        // Another one appended, or our own write worked whose answer was lost: then these events come twice.
        last = Math.max(last + 1, await this.last());
      }
      last++;
    }
  }

  /** The entries after a number, the oldest first. */
  async read(after: number, limit: number): Promise<QueueEntry[]> {
    const entries: QueueEntry[] = [];
    let token: string | undefined;
    do {
      const page = await this.table.query({
        index: "primary",
        hash: this.#hash,
        sortAfter: sortOf(after),
        limit: limit - entries.length,
        after: token,
      });
      entries.push(...page.items.map(entryOf));
      token = page.next;
    } while (token !== undefined && entries.length < limit);
    return entries;
  }

  /** The number of the last entry; 0: there is none. */
  async last(): Promise<number> {
    const { items } = await this.table.query({ index: "primary", hash: this.#hash, reverse: true, limit: 1 });
    return items.length === 0 ? 0 : Number(items[0]!.sort);
  }

  /** Deletes entries that were sent or given up. */
  async remove(entries: readonly Pick<QueueEntry, "number" | "id">[]): Promise<void> {
    const results = await this.table.write(entries.map(({ number, id }): Write => ({
      op: "delete",
      key: [this.#hash, sortOf(number)],
      condition: equals("id", id),
    })));
    const left = results.find(({ outcome }) => outcome !== "written" && outcome !== "refused");
    if (left) throw unavailable(`did not delete an entry (${left.outcome})`);
  }

  #item(number: number, events: readonly string[]): Item {
    const atMs = this.now();
    return {
      hash: this.#hash,
      sort: sortOf(number),
      events: JSON.stringify(events),
      id: crypto.randomUUID(),
      at: atMs,
      expires: Math.ceil((atMs + keptMs + graceMs) / 1000),
    };
  }
}

function partsOf(texts: readonly string[]): string[][] {
  const parts: string[][] = [];
  let bytes = Infinity;
  for (const text of texts) {
    const size = utf8Bytes(text);
    if (bytes + size > entryBytesMax || parts.at(-1)!.length === entryEventsMax) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)!.push(text);
    bytes += size;
  }
  return parts;
}

function entryOf({ sort, id, at, events }: Item): QueueEntry {
  return { number: Number(sort), id: String(id), atMs: Number(at), events: JSON.parse(String(events)) as string[] };
}

function sortOf(number: number): string {
  return String(number).padStart(16, "0");
}

function unavailable(what: string): SyncError {
  return new SyncError("unavailable", `the log table ${what}`, { retryable: true });
}
