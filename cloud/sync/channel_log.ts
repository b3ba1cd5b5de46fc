/**
 * The channel log: for each channel, the ordered history of changed keys, in the log table. Sequence numbers are
 * contiguous **by construction**: an entry is put at last+1 on the condition that nothing is there. There is no counter
 * and no transaction, and any number of workers may append.
 *
 * In the log table:
 * - `log#<channel>` / `<seq, 16 digits>`: an entry, with `expires`;
 * - `floor#<channel>` / `floor`: `{epoch, atLeast}`, which never expires: no number up to `atLeast` is used again after
 *   the log's entries are gone. It is raised 64 ahead, so that it costs a 64th of a write for each entry;
 * - `epoch` / `epoch`: the epoch of all channels at once, renewed if the change stream lost history, or the table was
 *   restored; with the former epochs (`epochs.ts`).
 *
 * The **head** is the last entry's number, or `atLeast` if there is no entry. An appender that finds no entry raises
 * the floor to exactly the number that it uses: if it raised it 64 ahead, a reader in between would mistake the floor
 * for the head and ignore the next 63 entries. For the same reason, a last entry that is about to expire counts as
 * absent.
 *
 * A channel's **epoch** is both epochs as one text. A cursor of another epoch means nothing.
 *
 * @module
 */
import type { Channel } from "../../protocol.ts";
import { pause } from "../../protocol/within.ts";
import { SyncError } from "../../schema.ts";
import type { Item } from "../../schema/values.ts";
import { absent, all, any, equals } from "../table/condition.ts";
import { type Epoch, epochsFrom, epochsText, sinceOf, withEpoch } from "./epochs.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import type { Table } from "../table/port.ts";
import {
  entryItem,
  entryOf,
  epochKey,
  type Floor,
  floorItem,
  floorKey,
  floorOf,
  keyAttributes,
  type LogEntry,
  type LogKey,
  seqOf,
  sortOf,
} from "./log_items.ts";
import { Lru } from "./lru.ts";
import { type Moment, Moments, SharedRead } from "./shared_read.ts";

/** Options of a {@link ChannelLog}. */
export interface ChannelLogOptions {
  readonly now: () => number;
  /** Numbers in [0, 1), for epochs. */
  readonly random: () => number;
  /** How long an entry is retained: default 7 days, at least a minute. A device away for longer takes a snapshot. */
  readonly retentionMs?: number;
  /** Waits; default by timers. */
  readonly pause?: (ms: number) => Promise<void>;
  /** Is told where a channel's log ends, whenever that was read. */
  readonly read?: (channel: Channel, head: number) => void;
}

interface Head {
  readonly floor: Floor;
  readonly last: number;
  /** There is an entry at `last` that will outlive the next append. */
  readonly live: boolean;
  /** When this was last known to be true. */
  readonly atMs: number;
}

/** The state of a channel's log. */
export interface LogState {
  readonly epoch: string;
  readonly head: number;
  /**
   * There is no entry at all, and the floor was raised less than a minute ago: the entry `head` has not been put yet,
   * but will be soon. Entries live longer than that, so it cannot be one that has expired.
   */
  readonly opening?: true;
}

const floorStep = 64;
const defaultRetentionMs = 7 * 86_400_000;
/** Other workers append as well; each attempt loses to at least one of them, so this many attempts mean a fault. */
const appendAttemptsMax = 100;
/** How long the epoch of all channels is cached. */
const epochCacheMs = 5_000;
/** See {@link LogState.opening}. An entry is retained for a minute at least. */
const openingMaxMs = 60_000;

/** Reads and appends. Caches each channel's head in memory, as a guess that each append verifies. */
export class ChannelLog {
  readonly #table: Table;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #retentionMs: number;
  readonly #heads = new Lru<Channel, Head>({ sizeOf: (channel) => 2 * channel.length + 160 });
  readonly #appending = new Map<Channel, Promise<unknown>>();
  /** Of channels that many devices ask for. */
  readonly #states = new Lru<Channel, SharedRead<LogState>>({ sizeOf: (channel) => 2 * channel.length + 200 });
  readonly #pause: (ms: number) => Promise<void>;
  readonly #moments = new Moments();
  readonly #read: ChannelLogOptions["read"];
  #epoch: { readonly value: string; readonly epochs: readonly Epoch[]; readonly atMs: number } | undefined;

  constructor(table: Table, options: ChannelLogOptions) {
    this.#table = table;
    this.#now = options.now;
    this.#random = options.random;
    this.#retentionMs = options.retentionMs ?? defaultRetentionMs;
    this.#pause = options.pause ?? pause;
    this.#read = options.read;
    if (!(this.#retentionMs >= 60_000)) {
      throw new RangeError(`the log's retention is ${this.#retentionMs} ms: 60,000 or more is required`);
    }
  }

  /** An entry with less than this to live does not count: far less than an entry's lifetime. */
  get #marginMs(): number {
    return Math.min(600_000, this.#retentionMs / 4);
  }

  /** How long a cached head is trusted. */
  get #trustMs(): number {
    return Math.min(60_000, this.#marginMs);
  }

  /**
   * Appends an entry after the last one. Durable when it resolves. Appending twice is harmless: it is read twice.
   * @throws SyncError `unavailable` (retryable) if the table is unreachable or throttled, or the log too contended.
   */
  append(channel: Channel, keys: readonly LogKey[]): Promise<{ epoch: string; seq: number }> {
    // One after the other within the process: concurrent puts would only conflict.
    const before = this.#appending.get(channel) ?? Promise.resolve();
    const result = before.then(() => this.#append(channel, keys));
    const settled = result.catch(() => undefined).then(() => {
      if (this.#appending.get(channel) === settled) this.#appending.delete(channel);
    });
    this.#appending.set(channel, settled);
    return result;
  }

  async #append(channel: Channel, keys: readonly LogKey[]): Promise<{ epoch: string; seq: number }> {
    for (let attempt = 0; attempt < appendAttemptsMax; attempt++) {
      const head = await this.#appendHead(channel);
      const seq = head.last + 1;
      // The floor first: a crash in between leaves a floor that is too high, which costs a snapshot at worst.
      const floor = seq > head.floor.atLeast
        ? await this.#raise(channel, head.floor, head.live ? seq + floorStep - 1 : seq)
        : head.floor;
      // A stalled put must not start when later entries of others may already have expired: the number would look free,
      // although it was used before (sim: clock2 4002046).
      if (floor && await this.#put(channel, seq, keys, head.atMs + 1.5 * this.#trustMs)) {
        // Too long after the floor was raised, others may have continued after this number, and no reader may ever
        // reach it.
        if (!head.live && !this.#isFresh(floor)) {
          this.#heads.delete(channel);
          continue;
        }
        this.#heads.set(channel, { floor, last: seq, live: true, atMs: this.#now() });
        return { epoch: await this.#fullEpoch(floor), seq };
      }
      this.#heads.delete(channel);
    }
    throw new SyncError("unavailable", `the log of ${channel} refused ${appendAttemptsMax} appends`, {
      retryable: true,
    });
  }

  async #appendHead(channel: Channel): Promise<Head> {
    const known = this.#heads.get(channel);
    if (known && this.#now() - known.atMs < this.#trustMs) return known;
    const { floor, last } = await this.#load(channel);
    const live = last !== undefined && Number(last.expires) * 1000 > this.#now() + this.#marginMs;
    const lastSeq = last === undefined ? 0 : seqOf(last);
    return { floor, live, last: live ? lastSeq : this.#lastOfNone(floor, lastSeq), atMs: this.#now() };
  }

  /**
   * The number that the next one follows if no entry will last. Usually it is the floor, because the entry may expire
   * at any moment. But a floor that was raised just now belongs to an entry that is not put yet: its number goes to
   * whoever puts it first. If it were skipped and that appender died, the log would have a gap for good, and each
   * device would need a snapshot, which shows no removals.
   */
  #lastOfNone(floor: Floor, lastSeq: number): number {
    const opening = floor.atLeast > lastSeq && this.#isFresh(floor);
    return opening ? floor.atLeast - 1 : Math.max(floor.atLeast, lastSeq);
  }

  #isFresh(floor: Floor): boolean {
    return this.#now() - floor.raisedMs < openingMaxMs;
  }

  /**
   * Read the floor first: it is raised far ahead only after an entry, which the second read then finds. In the other
   * order, if the first entry were put and the floor raised between the two reads, the log would look empty with a high
   * floor, and this appender would continue from there, beside the other one.
   */
  async #load(channel: Channel): Promise<{ floor: Floor; last: Item | undefined }> {
    const [item] = await this.#table.get([floorKey(channel)]);
    const floor = item ? floorOf(item) : await this.#makeFloor(channel);
    return { floor, last: await this.#last(channel) };
  }

  async #makeFloor(channel: Channel): Promise<Floor> {
    const last = await this.#last(channel);
    return await this.#floor(channel, last === undefined ? 0 : seqOf(last));
  }

  async #last(channel: Channel): Promise<Item | undefined> {
    const page = await this.#table.query({ index: "primary", hash: `log#${channel}`, reverse: true, limit: 1 });
    return page.items[0];
  }

  /** The channel's floor, created if there is none yet. */
  async #floor(channel: Channel, atLeast = 0): Promise<Floor> {
    const [item] = await this.#table.get([floorKey(channel)]);
    if (item) return floorOf(item);
    const made: Floor = { epoch: this.#newEpoch(), atLeast, raisedMs: 0 };
    const item2 = await this.#putOrCurrent(floorItem(channel, made));
    return item2 ? floorOf(item2) : made;
  }

  /** Puts an item if there is none; otherwise returns the existing one. */
  async #putOrCurrent(item: Item): Promise<Item | undefined> {
    const [result] = await this.#table.write([{ op: "put", item, condition: absent }]);
    if (result?.outcome === "written") return undefined;
    if (result?.outcome === "refused" && result.current) return result.current;
    throw throttled();
  }

  /** Raises the floor; undefined if somebody else changed it meanwhile. */
  async #raise(channel: Channel, floor: Floor, atLeast: number): Promise<Floor | undefined> {
    const raised: Floor = { epoch: floor.epoch, atLeast, raisedMs: this.#now() };
    const item = floorItem(channel, raised);
    const condition = any(absent, all(equals("epoch", floor.epoch), equals("atLeast", floor.atLeast)));
    const [result] = await this.#table.write([{ op: "put", item, condition }]);
    if (result?.outcome === "written") return raised;
    if (result?.outcome === "refused") return undefined;
    throw throttled();
  }

  /** False if the number is taken, or it was too late to start. */
  async #put(channel: Channel, seq: number, keys: readonly LogKey[], deadline: number): Promise<boolean> {
    const now = this.#now();
    const item = entryItem(channel, { seq, timeMs: now, keys }, now + this.#retentionMs);
    const [result] = await this.#table.write([{ op: "put", item, condition: absent }], { deadline });
    if (result?.outcome === "written") return true;
    if (result?.outcome === "refused" || result?.outcome === "late") return false;
    if (result?.outcome === "too-large" || result?.outcome === "invalid") {
      throw new SyncError(result.outcome, `a log entry of ${channel}: ${result.message}`);
    }
    throw throttled();
  }

  /** The entries after `seq`, without a gap, at most `limit`: empty if the next one is not in the log. */
  async read(channel: Channel, seq: number, limit: number): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    let after: string | undefined;
    do {
      const page = await this.#table.query({
        index: "primary",
        hash: `log#${channel}`,
        sortAfter: sortOf(seq),
        limit: limit - entries.length,
        after,
      });
      for (const item of page.items) {
        if (seqOf(item) !== seq + entries.length + 1) return entries;
        entries.push(entryOf(item));
      }
      after = page.next;
    } while (after !== undefined && entries.length < limit);
    return entries;
  }

  /** The present moment: reads from now on start after it. */
  moment(): Moment {
    return this.#moments.next();
  }

  /**
   * A page of the channel's entries, the newest first, for a history. It may be short, even empty, with a `next`.
   * @returns also the bytes that were read, for which a table charges
   */
  async back(
    channel: Channel,
    { limit, after }: { readonly limit: number; readonly after?: string },
  ): Promise<{ readonly entries: LogEntry[]; readonly bytes: number; readonly next?: string }> {
    const hash = `log#${channel}`;
    const { items, next } = await this.#table.query({ index: "primary", hash, reverse: true, limit, after });
    const bytes = items.reduce((sum, item) => sum + itemSizeBytes(item), 0);
    return { entries: items.map(entryOf), bytes, ...(next === undefined ? {} : { next }) };
  }

  /**
   * The channel's epoch and head, as the table had them after that moment. If many devices ask for one channel, they
   * share the reads.
   */
  state(channel: Channel, asked: Moment = this.moment()): Promise<LogState> {
    return isShared(channel) ? this.#sharedState(channel).get(asked) : this.#state(channel);
  }

  /** Undefined if {@link state} need not wait for its turn; otherwise resolves when it no longer has to. */
  ready(channels: readonly Channel[], asked: Moment): Promise<void> | undefined {
    const waits = channels.filter(isShared).flatMap((channel) => this.#sharedState(channel).ready(asked) ?? []);
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined);
  }

  #sharedState(channel: Channel): SharedRead<LogState> {
    const known = this.#states.get(channel);
    if (known) return known;
    const time = { moments: this.#moments, now: this.#now, pause: this.#pause };
    const shared = new SharedRead(() => this.#state(channel), time);
    this.#states.set(channel, shared);
    return shared;
  }

  async #state(channel: Channel): Promise<LogState> {
    const { floor, last } = await this.#load(channel);
    const epoch = await this.#fullEpoch(floor);
    const head = last === undefined ? floor.atLeast : seqOf(last);
    this.#read?.(channel, head);
    if (last !== undefined) return { epoch, head };
    return { epoch, head, ...(this.#isFresh(floor) ? { opening: true } : {}) };
  }

  /** The channel's epoch, as the table has it now. */
  async epoch(channel: Channel): Promise<string> {
    return await this.#fullEpoch(await this.#floor(channel));
  }

  /**
   * The head as it was `ageMs` ago: everything appended since comes after it. For a snapshot from an index that lags.
   *
   * @param head The head now, from {@link state}.
   */
  async headBefore(channel: Channel, head: number, ageMs: number): Promise<number> {
    const since = this.#now() - ageMs;
    let after: string | undefined, oldest = head;
    do {
      const page = await this.#table.query({
        index: "primary",
        hash: `log#${channel}`,
        reverse: true,
        limit: 100,
        after,
      });
      for (const item of page.items) {
        const seq = seqOf(item);
        if (seq > head) continue;
        // A gap, or an old entry: the entries after it are contiguous and younger.
        if (seq !== oldest || Number(item.time) < since) return oldest;
        oldest = seq - 1;
      }
      after = page.next;
    } while (after !== undefined);
    return oldest;
  }

  /**
   * Starts a new epoch, in one channel or (none given) in all: every device takes a snapshot. Only for lost history.
   */
  async beginEpoch(channel?: Channel): Promise<void> {
    if (channel === undefined) {
      await this.#beginOfAll({ epoch: this.#newEpoch() });
      return;
    }
    const value = this.#newEpoch();
    for (let attempt = 0; attempt < appendAttemptsMax; attempt++) {
      const floor = await this.#floor(channel);
      const item = floorItem(channel, { ...floor, epoch: value });
      const condition = all(equals("epoch", floor.epoch), equals("atLeast", floor.atLeast));
      const [result] = await this.#table.write([{ op: "put", item, condition }]);
      if (result?.outcome === "throttled") throw throttled();
      if (result?.outcome !== "written") continue;
      this.#heads.delete(channel);
      return;
    }
    throw throttled();
  }

  /**
   * Starts a new epoch of all channels because the table was restored: it has nothing that was written after this time,
   * and each device offers what it has that is newer.
   *
   * @returns the epoch
   */
  restored(sinceMs: number): Promise<string> {
    return this.#beginOfAll({ epoch: this.#newEpoch(), sinceMs });
  }

  async #beginOfAll(next: Epoch): Promise<string> {
    for (let attempt = 0; attempt < appendAttemptsMax; attempt++) {
      const [item] = await this.#table.get([epochKey]);
      const present = item?.value as string | undefined;
      const epochs = withEpoch(epochsFrom(item?.epochs), present, next);
      const condition = present === undefined ? absent : equals("value", present);
      const put: Item = { ...keyAttributes(epochKey), value: next.epoch, epochs: epochsText(epochs) };
      const [result] = await this.#table.write([{ op: "put", item: put, condition }]);
      if (result?.outcome === "refused") continue;
      if (result?.outcome !== "written") throw throttled();
      this.#epoch = { value: next.epoch, epochs, atMs: this.#now() };
      return next.epoch;
    }
    throw throttled();
  }

  /**
   * The epoch of the table: of all channels at once. It may be a few seconds old, or older if the log table can't be
   * read just now.
   */
  async tableEpoch(): Promise<string> {
    try {
      return (await this.#globalEpoch()).value;
    } catch (error) {
      if (this.#epoch) return this.#epoch.value;
      throw error;
    }
  }

  /** Since when the table may lack what a device that knows this epoch has; undefined: it lacks nothing. */
  async restoredSince(known: string): Promise<number | undefined> {
    return sinceOf((await this.#globalEpoch()).epochs, known);
  }

  #newEpoch(): string {
    return Math.floor(this.#random() * 36 ** 8).toString(36).padStart(8, "0");
  }

  async #fullEpoch(floor: Floor): Promise<string> {
    return `${(await this.#globalEpoch()).value}-${floor.epoch}`;
  }

  async #globalEpoch(): Promise<{ readonly value: string; readonly epochs: readonly Epoch[] }> {
    if (this.#epoch && this.#now() - this.#epoch.atMs < epochCacheMs) return this.#epoch;
    let [item] = await this.#table.get([epochKey]);
    if (item?.value === undefined) {
      const made = { ...keyAttributes(epochKey), value: this.#newEpoch() };
      item = await this.#putOrCurrent(made) ?? made;
    }
    const epoch = { value: item.value as string, epochs: epochsFrom(item.epochs), atMs: this.#now() };
    this.#epoch = epoch;
    return epoch;
  }
}

function isShared(channel: Channel): boolean {
  return !channel.startsWith("device:");
}

function throttled(): SyncError {
  return new SyncError("unavailable", "the log table is throttled", { retryable: true });
}
