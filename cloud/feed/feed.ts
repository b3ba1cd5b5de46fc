/**
 * The feed: events of the whole fleet as they happen, for people. Any worker may serve it, although only one worker
 * reads the stream and devices' batches are distributed among all: each worker sends the others what it handles, only
 * while somebody watches somewhere. At most {@link ratePerSecond} rows a second for each worker; rows beyond that are
 * counted and reported as a gap.
 *
 * The last {@link ringMax} rows are retained, so that a watcher who was away for a moment continues where it was;
 * otherwise a gap says that something is missing. Ids belong to one worker: for another worker, they are a gap.
 *
 *     ingest, fan-out ─▶ tell ─▶ rate ─▶ ring ─▶ watchers
 *                                  └───▶ bus ─▶ rings of other workers
 *     presence ────────▶ tellHere ─────▶ ring
 *
 * @module
 */
import type { Bus, BusMessage } from "./bus.ts";
import type { FeedRow } from "./rows.ts";

/** A row with its place in the feed. */
export interface FeedEvent {
  readonly id: string;
  readonly row: FeedRow;
}

/** A page of the feed. */
export interface FeedPage {
  readonly rows: readonly (FeedRow & { readonly id: string })[];
  /** The id after which to continue. */
  readonly next: string;
  /** Rows that are missing before these; null: an unknown number. */
  readonly gap: number | null;
}

/** Rows that are retained. */
export const ringMax = 1_000;
/** The most rows that a worker sends in a second. */
export const ratePerSecond = 200;
/** How many rows are collected into one message to the others: a message for each would be too expensive. */
const gatherMs = 25;
/** Bytes of a message among workers, well below a payload's limit. */
const messageBytesMax = 60 * 1024;
/** A larger item is left out of its change. */
const itemBytesMax = 4 * 1024;

/** See the module. */
export class Feed {
  readonly #now: () => number;
  readonly #bus: Bus | undefined;
  readonly #name: string;
  readonly #ring: FeedEvent[] = [];
  readonly #listeners = new Set<(event: FeedEvent) => void>();
  readonly #closers = new Set<() => void>();
  readonly #release: () => void;
  #last = 0;
  #wantedUntilMs = -Infinity;
  /** Until when other workers know of the interest here. */
  #toldUntilMs = -Infinity;
  /** Since when the ring has everything. */
  #listensSince = 0;
  #budget = new SecondBudget(ratePerSecond);
  #hereBudget = new SecondBudget(ratePerSecond);
  #gathered: FeedRow[] = [];
  #gap = 0;
  #hereGap = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param options `bus` is absent if there is no connection to others: then the feed has only what this process
   * handles.
   */
  constructor({ now, random, bus }: { now: () => number; random: () => number; bus?: Bus }) {
    this.#now = now;
    this.#bus = bus;
    this.#name = Math.floor(random() * 2 ** 40).toString(36);
    this.#release = bus?.subscribe((message) => this.#heard(message)) ?? (() => {});
  }

  /** Whether the feed has what all workers handle, or only this process. */
  get scope(): "fleet" | "process" {
    return this.#bus ? "fleet" : "process";
  }

  /** Somebody watches, here or at another worker. */
  get wanted(): boolean {
    return this.#now() < this.#wantedUntilMs;
  }

  /** The id of the last row. */
  get last(): string {
    return this.#idOf(this.#last);
  }

  /** Notes that somebody watches here, for this long from now. */
  watch(ttlMs: number): void {
    const now = this.#now(), untilMs = now + ttlMs;
    this.#begin();
    this.#wantedUntilMs = Math.max(this.#wantedUntilMs, untilMs);
    if (this.#toldUntilMs > now + ttlMs / 2) return;
    this.#toldUntilMs = untilMs;
    this.#bus?.publish({ kind: "interest", ttlMs });
  }

  /** Adds an event that this process handled. Does nothing while nobody watches. */
  tell(rows: readonly FeedRow[]): void {
    if (!this.wanted) return;
    for (const row of rows) {
      if (this.#budget.take(this.#now())) this.#gathered.push(withoutLargeItem(row));
      else this.#gap++;
    }
    if (this.#gathered.length > 0 || this.#gap > 0) this.#timer ??= setTimeout(() => this.#flush(), gatherMs);
  }

  /** Adds an event that each worker hears by itself: devices' presence. */
  tellHere(row: FeedRow): void {
    if (!this.wanted) return;
    if (!this.#hereBudget.take(this.#now())) return void this.#hereGap++;
    if (this.#hereGap > 0) this.#add({ type: "gap", at: this.#now(), n: this.#hereGap });
    this.#hereGap = 0;
    this.#add(row);
  }

  /** Calls back with each row from now on. @returns a function that ends it */
  listen(listener: (event: FeedEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The rows after an id; without an id none, and the place from which to continue. */
  after(id: string | undefined, limit = ringMax): FeedPage {
    if (id === undefined) return { rows: [], next: this.last, gap: 0 };
    const from = this.#numberOf(id);
    const first = this.#last - this.#ring.length;
    // There are no rows from before somebody watched, and another worker's ids are unknown.
    if (from === undefined || from < this.#listensSince) {
      return { rows: [], next: this.last, gap: null };
    }
    const start = Math.max(from, first), events = this.#ring.slice(start - first, start - first + limit);
    return {
      rows: events.map(({ id, row }) => ({ ...row, id })),
      next: events.at(-1)?.id ?? this.#idOf(start),
      gap: start - from,
    };
  }

  /** Calls back when the feed closes. @returns a function that cancels that */
  closing(listener: () => void): () => void {
    this.#closers.add(listener);
    return () => this.#closers.delete(listener);
  }

  /** Tells no more. */
  close(): void {
    for (const closer of [...this.#closers]) closer();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wantedUntilMs = -Infinity;
    this.#listeners.clear();
    this.#release();
  }

  #heard(message: BusMessage): void {
    if (message.kind === "interest") {
      this.#begin();
      this.#wantedUntilMs = Math.max(this.#wantedUntilMs, this.#now() + message.ttlMs);
    } else if (message.kind === "rows" && this.wanted) {
      for (const row of message.rows) this.#add(row);
      if (message.gap !== undefined) this.#add({ type: "gap", at: this.#now(), n: message.gap });
    }
  }

  /** The ring lacks events while nobody watched: a watcher that continues from before must learn that. */
  #begin(): void {
    if (this.wanted) return;
    this.#listensSince = ++this.#last;
    this.#ring.length = 0;
  }

  #flush(): void {
    this.#timer = undefined;
    const rows = this.#gathered, gap = this.#gap;
    this.#gathered = [];
    this.#gap = 0;
    for (const row of rows) this.#add(row);
    if (gap > 0) this.#add({ type: "gap", at: this.#now(), n: gap });
    if (!this.#bus) return;
    const parts = partsOf(rows);
    parts.forEach((part, i) =>
      this.#bus!.publish({ kind: "rows", rows: part, ...(gap > 0 && i === parts.length - 1 ? { gap } : {}) })
    );
  }

  #add(row: FeedRow): void {
    const event = { id: this.#idOf(++this.#last), row };
    this.#ring.push(event);
    if (this.#ring.length > ringMax) this.#ring.shift();
    for (const listener of this.#listeners) listener(event);
  }

  #idOf(number: number): string {
    return `${this.#name}.${number}`;
  }

  #numberOf(id: string): number | undefined {
    const [name, text] = id.split("."), number = Number(text);
    return name === this.#name && Number.isSafeInteger(number) && number <= this.#last ? number : undefined;
  }
}

/** Counts rows in each second of the clock. */
class SecondBudget {
  #second = -1;
  #left = 0;

  constructor(private readonly perSecond: number) {}

  take(nowMs: number): boolean {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#left = this.perSecond;
    }
    return this.#left > 0 && this.#left-- > 0;
  }
}

function withoutLargeItem(row: FeedRow): FeedRow {
  if (row.type !== "change" || !row.item || JSON.stringify(row.item).length <= itemBytesMax) return row;
  const { item: _large, ...rest } = row;
  return rest;
}

/** The rows, divided into messages of the right size; at least one. */
function partsOf(rows: readonly FeedRow[]): FeedRow[][] {
  const parts: FeedRow[][] = [[]];
  let bytes = 0;
  for (const row of rows) {
    const size = 3 * JSON.stringify(row).length;
    if (bytes > 0 && bytes + size > messageBytesMax) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)!.push(row);
    bytes += size;
  }
  return parts;
}
