/**
 * A change stream in memory, in shards: in order for each key, in no order between shards. A reader begins at the
 * checkpoints, keeps positions of its own, and several may read the same records. Left alone it hands out what there is;
 * the simulation steps it, repeats batches, splits shards, and loses history. A shard that was split takes nothing more; a
 * reader comes to its children when it is through with it.
 *
 * @module
 */
import type { ChangeStream, StreamBatch, StreamOptions, StreamRecord } from "../../cloud/table/port.ts";

/** Splits of one shard and its children, one below the other. */
const splitsMax = 3;

interface Shard {
  readonly records: StreamRecord[];
  /** Records up to here were handled and checkpointed by some reader. */
  checkpoint: number;
  /** Records up to here are gone. */
  trimmed: number;
  /** The shard that this one came from; its children, once it is split itself. */
  readonly parent?: number;
  children?: readonly [number, number];
  /** Splits above it. */
  readonly depth: number;
}

/** One reader's place. */
export class StreamReader {
  /** Lets the waiting reader take up to so many records; `draw` in [0, 1) chooses the shard. */
  wake: ((most: number, draw: number) => void) | undefined;

  constructor(readonly owner: number, readonly positions: number[]) {}
}

/** How a reader's batches are taken: whose they are, and through which turn a checkpoint passes. */
export interface ReadOptions extends StreamOptions {
  readonly owner?: number;
  readonly checkpointTurn?: () => Promise<void>;
}

/** See the module. `manual`: a reader waits to be woken; otherwise it reads whatever comes, at once. */
export class SimStream {
  readonly readers: StreamReader[] = [];
  readonly #shards: Shard[];
  /** Shards that there were in the beginning. */
  readonly #roots: number;

  /** @param options `isOther`: it is not the stream that the readers know: to them, its beginning is lost */
  constructor(readonly options: { readonly shards: number; readonly manual: boolean; readonly isOther?: boolean }) {
    this.#roots = options.shards;
    this.#shards = Array.from({ length: options.shards }, () => ({ records: [], checkpoint: 0, trimmed: 0, depth: 0 }));
    if (!options.isOther) return;
    this.#shards[0]!.records.push({ key: ["", ""], old: undefined, new: undefined } as unknown as StreamRecord);
    this.#shards[0]!.trimmed = 1;
  }

  /** Adds a change of the table. Records are kept: a batch may be repeated. */
  add(record: StreamRecord): void {
    let sum = 0;
    for (const unit of record.key.join("|")) sum = (sum * 31 + unit.codePointAt(0)!) >>> 0;
    this.#shardOf(sum).records.push({ ...record, id: `${++this.#added}` });
    if (!this.options.manual) { for (const reader of this.readers) reader.wake?.(Infinity, 0); }
  }

  #added = 0;

  #shardOf(sum: number): Shard {
    let shard = this.#shards[sum % this.#roots]!;
    while (shard.children) shard = this.#shards[shard.children[sum >>> (4 + shard.depth) & 1]!]!;
    return shard;
  }

  /** Splits an open shard in two; `draw` in [0, 1) chooses it. Returns false where there are too many already. */
  split(draw: number): boolean {
    const open = this.#shards.filter(({ children }) => !children);
    const shard = open[Math.floor(draw * open.length)]!, at = this.#shards.length;
    if (shard.depth >= splitsMax) return false;
    const child = { checkpoint: 0, trimmed: 0, parent: this.#shards.indexOf(shard), depth: shard.depth + 1 };
    this.#shards.push({ ...child, records: [] }, { ...child, records: [] });
    shard.children = [at, at + 1];
    return true;
  }

  /** The port, for one reader. */
  reading(options: ReadOptions = {}): ChangeStream {
    return { batches: (signal) => this.#batches(signal, options) };
  }

  async *#batches(
    signal: AbortSignal,
    { owner = 0, checkpointTurn, unwanted = [] }: ReadOptions,
  ): AsyncGenerator<StreamBatch | { readonly lost: true }> {
    const reader = new StreamReader(owner, this.#shards.map(({ checkpoint }) => checkpoint));
    this.readers.push(reader);
    try {
      while (!signal.aborted) {
        const [most, draw] = await this.#turn(reader, signal);
        const unread = this.#unread(reader);
        if (signal.aborted || unread.length === 0) continue;
        const at = unread[Math.floor(draw * unread.length)]!;
        const shard = this.#shards[at]!, from = placeOf(reader, at);
        if (from < shard.trimmed) {
          reader.positions[at] = shard.trimmed;
          yield { lost: true };
          continue;
        }
        const upTo = Math.min(shard.records.length, from + most);
        reader.positions[at] = upTo;
        const records = shard.records.slice(from, upTo).filter((record) => isWanted(record, unwanted));
        if (records.length === 0) continue;
        yield {
          records,
          checkpoint: async () => {
            await checkpointTurn?.();
            shard.checkpoint = Math.max(shard.checkpoint, upTo);
          },
        };
      }
    } finally {
      this.remove(reader);
    }
  }

  #turn(reader: StreamReader, signal: AbortSignal): Promise<[most: number, draw: number]> {
    if (!this.options.manual && this.#unread(reader).length > 0) return Promise.resolve([Infinity, 0]);
    return new Promise((resolve) => {
      const done = (most: number, draw: number) => {
        reader.wake = undefined;
        signal.removeEventListener("abort", aborted);
        resolve([most, draw]);
      };
      const aborted = () => done(0, 0);
      reader.wake = done;
      signal.addEventListener("abort", aborted);
    });
  }

  /** The shards that have something for a reader. */
  #unread(reader: StreamReader): number[] {
    const through = (at: number | undefined): boolean =>
      at === undefined ||
      (placeOf(reader, at) >= this.#shards[at]!.records.length && through(this.#shards[at]!.parent));
    return this.#shards.flatMap(({ records, parent }, i) =>
      placeOf(reader, i) < records.length && through(parent) ? [i] : []
    );
  }

  /** Readers that wait and have something to read. */
  ready(): StreamReader[] {
    return this.readers.filter((reader) => reader.wake && this.#unread(reader).length > 0);
  }

  /** Whether a reader that begins now would find something. */
  get unhandled(): boolean {
    return this.#shards.some(({ records, checkpoint }) => checkpoint < records.length);
  }

  /** The reader's process is gone. */
  remove(reader: StreamReader): void {
    const at = this.readers.indexOf(reader);
    if (at >= 0) this.readers.splice(at, 1);
  }

  /** Everything from up to `back` records before its place is delivered to a reader again. */
  rewind(reader: StreamReader, back: number): void {
    this.#shards.forEach(({ trimmed }, i) => {
      const at = placeOf(reader, i);
      reader.positions[i] = Math.max(Math.min(trimmed, at), at - back);
    });
  }

  /** What nobody has read yet is gone, as after a day without a worker. Returns false where there was nothing. */
  lose(): boolean {
    let lost = false;
    for (const shard of this.#shards) {
      if (shard.checkpoint >= shard.records.length) continue;
      shard.trimmed = shard.records.length;
      lost = true;
    }
    return lost;
  }
}

/** Where a reader stands in a shard; one that came into being since it began is read from its beginning. */
function placeOf({ positions }: StreamReader, at: number): number {
  return positions[at] ?? 0;
}

function isWanted({ old, new: item }: StreamRecord, unwanted: readonly string[]): boolean {
  return [old, item].some((image) => image && !unwanted.includes(String(image._type)));
}
