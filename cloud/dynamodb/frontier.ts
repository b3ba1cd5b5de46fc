/**
 * The shards that the stream's reader reads, in memory and in the log table: their positions, the children that replace
 * a shard that was read to its end, and the detection of lost history.
 *
 * The stored state is enough to distinguish a loss from mere age. A position says up to which time everything was
 * handled (`at`); streams retain 24 h; so a trimmed position is a loss only if `at` is older than that.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";
import type { StreamBatch } from "../table/port.ts";
import type { Lease } from "./lease.ts";
import { childrenOf, newShards, successors } from "./lineage.ts";
import type { Position, Positions } from "./positions.ts";
import type { Shard, ShardPage, StreamSource } from "./stream_source.ts";

/** The context of a frontier. */
export interface FrontierOptions {
  readonly source: StreamSource;
  /** The clock, ms since 1970. */
  readonly now: () => number;
  /** Shards read at once. */
  readonly readersMax: number;
}

/**
 * Streams retain 24 h. With an hour's margin for different clocks, there is no gap after a position that is younger
 * than this.
 */
const keptMs = 23 * 3600_000;
/** How often shards are listed without a reason, and how often while the children of a closed shard are awaited. */
const listEveryMs = 30_000;
const listAgainMs = 1000;
/** After this time without records, a reader's position is stored again: nothing before that time is missing. */
const quietMs = 3600_000;
/**
 * How often the position is stored while only unwanted records come: each time costs a write, and reading them again
 * costs little.
 */
const passedEveryMs = 10_000;
/**
 * The most bytes of a shard that are handed out and not checkpointed: four pages of 1 MB. Beyond that, its reader
 * waits.
 */
const pendingBytesMax = 4 * 1024 * 1024;
/**
 * Records that a reader asks for: few at first, twice as many after each full page. AWS ends a page at 1 MB; emulators
 * do not, and returned a hundred MB as one page after an outage.
 */
const limitFirst = 64, limitMax = 1000;
/** After a page larger than this, the next one asks for fewer records. */
const pageBytesMax = 2 * 1024 * 1024;
/**
 * After a page of so many bytes, more follow, as after a page with as many records as requested: the next is read
 * without a pause.
 */
const fullPageBytes = 512 * 1024;

/** The result of reading several shards: a batch for each with wanted records. */
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
  /** It was read to the end of a closed shard. */
  drained: boolean;
  /** The log table's `after`, and when it was stored. */
  stored?: string;
  storedAt?: number;
  /** Batches, and bytes of them, that were handed out and are not checkpointed. */
  pending: number;
  pendingBytes: number;
}

/** The shards being read, in memory and in the log table. */
export class Frontier {
  /** Whether history was trimmed before it was read. */
  lost = false;
  readonly #options: FrontierOptions;
  readonly #lease: Lease;
  readonly #positions: Positions;
  readonly #signal: AbortSignal;
  readonly #readers = new Map<string, Reader>();
  #stream = "";
  #listed: readonly Shard[] = [];
  #listAt = -Infinity;
  /** Rows without a reader, to be removed once the loss is handled. */
  #stale: string[] = [];

  constructor(options: FrontierOptions, lease: Lease, positions: Positions, signal: AbortSignal) {
    this.#options = options;
    this.#lease = lease;
    this.#positions = positions;
    this.#signal = signal;
  }

  /** Loads the positions and creates readers from them. */
  async open(): Promise<void> {
    const { source, now } = this.#options;
    this.#stream = await source.stream(this.#signal);
    const last = await this.#positions.lastStream();
    // A table restored under another name has no positions under that name: its stream is a new one all the same.
    if (last !== undefined && last !== this.#stream) this.lost = true;
    if (last === undefined) await this.#positions.noteStream(this.#stream);
    for (const { stream, shard, after, at } of await this.#positions.load()) {
      if (stream !== this.#stream) {
        // The stream was switched off and on, or the table is new: writes in between are in no stream.
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
   * Lists the shards when due, drops readers of shards that are gone, and starts new ones. False: the table now has
   * another stream, which needs another frontier.
   */
  async list(): Promise<boolean> {
    const { source, now } = this.#options;
    if (now() < this.#listAt || this.lost) return true;
    // A replaced stream closes its shards without children, but emulators leave them open for ever: only its name shows
    // the replacement. (DescribeTable costs nothing.)
    if (await source.stream(this.#signal) !== this.#stream) return false;
    const readers = [...this.#readers.values()];
    this.#listed = await source.shards(this.#stream, this.#signal);
    this.#listAt = now() + (readers.some((reader) => reader.drained) ? listAgainMs : listEveryMs);
    const ids = new Set(this.#listed.map(({ id }) => id));
    for (const reader of readers.filter(({ shard }) => !ids.has(shard))) {
      // Everything that it held is now older than 24 h. If its reader had not read up to there, records are lost.
      if (now() - reader.at > keptMs) this.lost = true;
      this.#readers.delete(reader.shard);
      this.#stale.push(reader.shard);
    }
    if (this.lost) return true;
    await this.#add(newShards(this.#listed, new Set(this.#readers.keys())));
    await this.#removeStale();
    return true;
  }

  /** After the caller has handled a loss: stores the readers' new starting positions. */
  async settleLoss(): Promise<void> {
    const at = this.#options.now();
    for (const reader of this.#readers.values()) reader.at = at;
    await this.#save([...this.#readers.values()]);
    await this.#removeStale();
    await this.#positions.noteStream(this.#stream);
    this.lost = false;
    this.#listAt = -Infinity;
  }

  /** The readers with something to read, in groups that are read at once. */
  groups(): Reader[][] {
    // A reader that is far ahead of the checkpoint waits: memory is bounded, and the others continue.
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

  /** Stores the positions of readers that saw only unwanted records. Never beyond a batch that is under way. */
  async #storePassed(readers: readonly Reader[]): Promise<void> {
    for (const reader of readers) {
      if (reader.pending === 0 && reader.stored !== reader.after) await this.#store(reader, this.#positionOf(reader));
    }
  }

  /** Replaces shards that were read to the end and checkpointed by their children. */
  async retire(): Promise<void> {
    await this.#storePassed([...this.#readers.values()].filter(({ drained }) => drained));
    for (const reader of [...this.#readers.values()]) {
      if (!reader.drained || reader.stored !== reader.after) continue;
      if (childrenOf(this.#listed, reader.shard).length === 0) {
        // The children are listed a moment later. Without any, the stream was switched off.
        this.#listAt = Math.min(this.#listAt, this.#options.now() + listAgainMs);
        continue;
      }
      // Children first: a crash in between leaves the parent, which is then found to be fully read again.
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
      // Iterators live 15 minutes; a slower consumer gets a new one, at its position.
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

  /** Records may follow an empty page, so only a long run of empty pages means that there are none. */
  async #noteQuiet(reader: Reader, now: number): Promise<void> {
    reader.emptySince ??= now;
    if (now - reader.emptySince < quietMs) return;
    reader.emptySince = now;
    reader.at = now;
    if (reader.stored === reader.after) await this.#save([reader]);
  }

  /**
   * Starts a shard at its oldest record, after its position was trimmed. That is a loss only if records were unread.
   */
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
