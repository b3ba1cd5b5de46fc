/**
 * The shards that a tailer reads, in memory and in the log table: their positions, the children that take the place of a
 * shard that was read to its end, and the finding of lost history.
 *
 * What is stored is enough to tell a loss from mere age. A position says up to which time all was handled (`at`); streams
 * keep 24 h; so a trimmed position is a loss only if `at` is older than that.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";
import type { StreamBatch } from "../table/port.ts";
import type { Lease } from "./lease.ts";
import { childrenOf, newShards, successors } from "./lineage.ts";
import type { Position, Positions } from "./positions.ts";
import type { Shard, ShardPage, StreamSource } from "./stream_source.ts";

/** What a frontier needs from outside. */
export interface FrontierOptions {
  readonly source: StreamSource;
  /** The clock, ms since 1970. */
  readonly now: () => number;
  /** Shards read at once. */
  readonly readersMax: number;
}

/** Streams keep 24 h. With an hour's margin for clocks that differ, what was handled up to then has no gap behind it. */
const keptMs = 23 * 3600_000;
/** How often shards are listed where nothing asks for it, and where children of a closed shard are awaited. */
const listEveryMs = 30_000;
const listAgainMs = 1000;
/** After so long without records a reader's position is stored anew: it is then known to have nothing before that time. */
const quietMs = 3600_000;
/** Past records that are unwanted a position is stored this often: each time costs a write, and to read them again costs little. */
const passedEveryMs = 10_000;
/** Bytes of a shard that are handed out and not checkpointed: four pages of 1 MB. Then its reader waits for them. */
const pendingBytesMax = 4 * 1024 * 1024;
/**
 * Records that a reader asks for: few at first, twice as many after each page that was full. AWS ends a page at 1 MB, emulators
 * don't: a hundred MB that were written while the stream could not be read came as one page.
 */
const limitFirst = 64, limitMax = 1000;
/** A page above this has the next one ask for fewer. */
const pageBytesMax = 2 * 1024 * 1024;
/** A page of so many bytes has more behind it, like one of as many records as were asked for: it is read without a pause. */
const fullPageBytes = 512 * 1024;

/** What a reading of several shards gave: a batch for each that had something wanted. */
export interface ReadBatches {
  readonly batches: readonly StreamBatch[];
  /** Records were read, wanted or not. */
  readonly busy: boolean;
  readonly full: boolean;
}

/** One shard being read. */
export interface Reader {
  readonly shard: string;
  after?: string;
  at: number;
  iterator?: string;
  /** Records to ask for. */
  limit: number;
  /** When the first of the uninterrupted empty pages came. */
  emptySince?: number;
  /** Read to the end of a closed shard. */
  drained: boolean;
  /** What the log table holds as `after`, and when it was stored. */
  stored?: string;
  storedAt?: number;
  /** Batches, and bytes of them, that were handed out and are not checkpointed. */
  pending: number;
  pendingBytes: number;
}

/** The shards being read, in memory and in the log table. */
export class Frontier {
  /** History was trimmed before it was read. */
  lost = false;
  readonly #options: FrontierOptions;
  readonly #lease: Lease;
  readonly #positions: Positions;
  readonly #signal: AbortSignal;
  readonly #readers = new Map<string, Reader>();
  #stream = "";
  #listed: readonly Shard[] = [];
  #listAt = -Infinity;
  /** Rows that no reader stands for any more, to be removed once the loss is settled. */
  #stale: string[] = [];

  constructor(options: FrontierOptions, lease: Lease, positions: Positions, signal: AbortSignal) {
    this.#options = options;
    this.#lease = lease;
    this.#positions = positions;
    this.#signal = signal;
  }

  /** Loads the positions and makes readers of them. */
  async open(): Promise<void> {
    const { source, now } = this.#options;
    this.#stream = await source.stream(this.#signal);
    const last = await this.#positions.lastStream();
    // A table restored under another name has no positions under it: its stream is another one all the same.
    if (last !== undefined && last !== this.#stream) this.lost = true;
    if (last === undefined) await this.#positions.noteStream(this.#stream);
    for (const { stream, shard, after, at } of await this.#positions.load()) {
      if (stream !== this.#stream) {
        // The stream was switched off and on, or the table is a new one: what was written in between is in no stream.
        this.#stale.push(shard);
        this.lost = true;
        continue;
      }
      this.#readers.set(shard, {
        shard,
        after,
        at,
        limit: limitFirst,
        drained: false,
        stored: after,
        pending: 0,
        pendingBytes: 0,
      });
      if (after === undefined && now() - at > keptMs) this.#begin(this.#readers.get(shard)!);
    }
  }

  /**
   * Lists the shards when it is time, drops readers of shards that are gone, and begins new ones. False: the table has
   * another stream by now, which wants another frontier.
   */
  async list(): Promise<boolean> {
    const { source, now } = this.#options;
    if (now() < this.#listAt || this.lost) return true;
    // A stream that was replaced closes its shards without children, but emulators leave them open for ever: it is known by
    // its name alone. (DescribeTable costs nothing.)
    if (await source.stream(this.#signal) !== this.#stream) return false;
    const readers = [...this.#readers.values()];
    this.#listed = await source.shards(this.#stream, this.#signal);
    this.#listAt = now() + (readers.some((reader) => reader.drained) ? listAgainMs : listEveryMs);
    const ids = new Set(this.#listed.map(({ id }) => id));
    for (const reader of readers.filter(({ shard }) => !ids.has(shard))) {
      // All that it still held is older than 24 h by now. If its reader was behind that, records are lost.
      if (now() - reader.at > keptMs) this.lost = true;
      this.#readers.delete(reader.shard);
      this.#stale.push(reader.shard);
    }
    if (this.lost) return true;
    await this.#add(newShards(this.#listed, new Set(this.#readers.keys())));
    await this.#removeStale();
    return true;
  }

  /** After the reader of the stream has handled a loss: stores what the readers begin with from now on. */
  async settleLoss(): Promise<void> {
    const at = this.#options.now();
    for (const reader of this.#readers.values()) reader.at = at;
    await this.#save([...this.#readers.values()]);
    await this.#removeStale();
    await this.#positions.noteStream(this.#stream);
    this.lost = false;
    this.#listAt = -Infinity;
  }

  /** The readers that have something to read, in groups that are read at once. */
  groups(): Reader[][] {
    // One that is far ahead of what is done waits: memory is bounded, and the others go on.
    const readers = [...this.#readers.values()].filter((r) => !r.drained && r.pendingBytes < pendingBytesMax);
    const { readersMax } = this.#options;
    return Array.from(
      { length: Math.ceil(readers.length / readersMax) },
      (_, i) => readers.slice(i * readersMax, (i + 1) * readersMax),
    );
  }

  /** Reads one page of each reader, all at once: a batch of each shard, its records in order. */
  async read(group: readonly Reader[]): Promise<ReadBatches> {
    const asked = group.map(({ limit }) => limit);
    const pages = await Promise.all(group.map((reader) => this.#readPage(reader)));
    const batches = group.flatMap((reader, i) => this.#batchOf(reader, pages[i]) ?? []);
    const now = this.#options.now();
    await this.#storePassed(group.filter((r) => r.drained || now - (r.storedAt ?? 0) >= passedEveryMs));
    return {
      batches,
      busy: pages.some((page) => countOf(page) > 0),
      full: pages.some((page, i) => isFull(page, asked[i]!)),
    };
  }

  #batchOf(reader: Reader, page: ShardPage | undefined): StreamBatch | undefined {
    const records = page?.records ?? [], unreadable = page?.unreadable ?? [], bytes = page?.bytes ?? 0;
    if (records.length === 0 && unreadable.length === 0) return undefined;
    const position = this.#positionOf(reader);
    reader.pending++;
    reader.pendingBytes += bytes;
    return {
      shard: reader.shard,
      records,
      ...(unreadable.length > 0 ? { unreadable } : {}),
      // The batch was handled. A crash before this delivers it again; after it, never.
      checkpoint: async () => {
        await this.#store(reader, position);
        reader.pending--;
        reader.pendingBytes -= bytes;
      },
    };
  }

  async #store(reader: Reader, position: Position): Promise<void> {
    if (!await this.#positions.save([position])) return this.#lease.lose();
    Object.assign(reader, { stored: position.after, storedAt: this.#options.now() });
  }

  /** Stores the positions of readers that have passed unwanted records alone. Never beyond a batch that is under way. */
  async #storePassed(readers: readonly Reader[]): Promise<void> {
    for (const reader of readers) {
      if (reader.pending === 0 && reader.stored !== reader.after) await this.#store(reader, this.#positionOf(reader));
    }
  }

  /** Puts children in the place of shards that were read to the end and checkpointed. */
  async retire(): Promise<void> {
    await this.#storePassed([...this.#readers.values()].filter(({ drained }) => drained));
    for (const reader of [...this.#readers.values()]) {
      if (!reader.drained || reader.stored !== reader.after) continue;
      if (childrenOf(this.#listed, reader.shard).length === 0) {
        // They are listed a moment later. Without any, the stream was switched off.
        this.#listAt = Math.min(this.#listAt, this.#options.now() + listAgainMs);
        continue;
      }
      // Children first: a crash in between leaves the parent, which is then found drained once more.
      await this.#add(successors(this.#listed, reader.shard, new Set(this.#readers.keys())));
      if (!await this.#positions.remove([reader.shard])) return this.#lease.lose();
      this.#readers.delete(reader.shard);
    }
  }

  async #readPage(reader: Reader): Promise<ShardPage | undefined> {
    const { source, now } = this.#options;
    let page: ShardPage;
    try {
      reader.iterator ??= await source.iterator(this.#stream, reader.shard, reader.after, this.#signal);
      page = await source.read(reader.iterator, reader.limit, this.#signal);
    } catch (error) {
      const code = error instanceof SyncError ? error.code : undefined;
      if (code !== "iterator-expired" && code !== "trimmed") throw error;
      // Iterators live 15 minutes; a consumer that takes longer gets a new one, at the position that it has reached.
      reader.iterator = undefined;
      if (code === "trimmed") this.#begin(reader);
      return undefined;
    }
    reader.iterator = page.next;
    reader.limit = limitAfter(page, reader.limit);
    if (page.next === undefined) {
      reader.drained = true;
      this.#listAt = -Infinity;
    }
    if (countOf(page) > 0) {
      reader.after = page.last ?? reader.after;
      reader.at = Math.max(reader.at, page.lastAt ?? 0);
      reader.emptySince = undefined;
    } else await this.#noteQuiet(reader, now());
    return page;
  }

  /** A page may be empty with records behind it, so only a long row of empty ones says that there are none. */
  async #noteQuiet(reader: Reader, now: number): Promise<void> {
    reader.emptySince ??= now;
    if (now - reader.emptySince < quietMs) return;
    reader.emptySince = now;
    reader.at = now;
    if (reader.stored === reader.after) await this.#save([reader]);
  }

  /** Begins a shard at its oldest record, after its position was trimmed. That is a loss only if some was left unread. */
  #begin(reader: Reader): void {
    if (this.#options.now() - reader.at > keptMs) this.lost = true;
    reader.after = undefined;
    reader.stored = undefined;
    reader.iterator = undefined;
    this.#listAt = -Infinity;
  }

  async #add(shards: readonly Shard[]): Promise<void> {
    if (shards.length === 0) return;
    const at = this.#options.now();
    const readers = shards.map(({ id }): Reader => ({
      shard: id,
      at,
      limit: limitFirst,
      drained: false,
      pending: 0,
      pendingBytes: 0,
    }));
    await this.#save(readers);
    for (const reader of readers) this.#readers.set(reader.shard, reader);
  }

  async #save(readers: readonly Reader[]): Promise<void> {
    if (!await this.#positions.save(readers.map((reader) => this.#positionOf(reader)))) this.#lease.lose();
  }

  async #removeStale(): Promise<void> {
    if (this.#stale.length > 0 && !await this.#positions.remove(this.#stale)) this.#lease.lose();
    this.#stale = [];
  }

  #positionOf({ shard, after, at }: Reader): Position {
    return { stream: this.#stream, shard, ...(after === undefined ? {} : { after }), at };
  }
}

/** How many records a page had, wanted or not. */
function countOf(page: ShardPage | undefined): number {
  return page?.count ?? page?.records.length ?? 0;
}

function isFull(page: ShardPage | undefined, limit: number): boolean {
  return countOf(page) >= limit || (page?.bytes ?? 0) >= fullPageBytes;
}

/** How many records to ask for after a page. */
function limitAfter(page: ShardPage, limit: number): number {
  const count = countOf(page), { bytes = 0 } = page;
  if (bytes > pageBytesMax) return Math.max(1, Math.floor(count * pageBytesMax / bytes));
  return count >= limit ? Math.min(limitMax, limit * 2) : limit;
}
