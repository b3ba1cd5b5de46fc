/**
 * The part of the stream that is under way: batches that were read and are not checkpointed. Channels are passed on
 * separately (`channel_lanes.ts`), so that a throttled log holds up only its own channel; the checkpoint of each shard
 * follows its oldest unfinished batch. The reader waits a moment for a batch, so that what arrives meanwhile is read
 * together; if some of its channels are still busy with earlier batches, it waits only for the others. Everything under
 * way is bounded in bytes.
 *
 *     read ─▶ channels ─▶ each in its lane ─▶ all done, and the batch before ─▶ checkpoint
 *       ▲                    │
 *       └─ done, or after a moment, while there is room ◀┘
 *
 * @module
 */
import type { Channel } from "../../protocol.ts";
import type { LogKey } from "./log_items.ts";
import type { ChannelLanes } from "./channel_lanes.ts";
import type { StreamBatch } from "../table/port.ts";

/** A batch without its records. */
export type Position = Pick<StreamBatch, "shard" | "checkpoint">;

/** What a window works with. */
export interface WindowOptions {
  readonly lanes: ChannelLanes;
  /** Stores a batch's position. Never rejects. */
  checkpoint(batch: Position): Promise<unknown>;
  pause(ms: number, signal?: AbortSignal): Promise<void>;
  /** Any clock, ms. */
  now(): number;
}

/**
 * How long the reader waits for a batch: twice the usual duration. If the first channel of a batch meets a throttled
 * log, the next changes of all others wait for this.
 */
const momentMinMs = 20, momentMaxMs = 250, usualTimes = 2;
/** The weight of one batch in the usual duration. */
const learning = 0.1;
/** The approximate bytes of the keys under way. The records themselves are released. */
const bytesMax = 16 * 1024 * 1024;
/** The memory of a key in addition to its text. */
const keyBytes = 160;

/** See the module. */
export class StreamWindow {
  readonly #options: WindowOptions;
  /** The last batch of each shard that is not checkpointed. */
  readonly #last = new Map<string, Promise<boolean>>();
  readonly #running = new Set<Promise<boolean>>();
  #bytes = 0;
  #usualMs = momentMaxMs / usualTimes;

  constructor(options: WindowOptions) {
    this.#options = options;
  }

  /** Accepts a batch with its channels' keys. Resolves when the next may be read. */
  async take(batch: Position, groups: ReadonlyMap<Channel, readonly LogKey[]>, signal: AbortSignal): Promise<void> {
    const { lanes } = this.#options, { shard = "" } = batch, before = this.#last.get(shard);
    const all: Promise<boolean>[] = [], fresh: Promise<boolean>[] = [];
    for (const [channel, keys] of groups) {
      const isBusy = lanes.isBusy(channel), done = lanes.add(channel, keys);
      all.push(done);
      if (!isBusy) fresh.push(done);
    }
    const done = this.#finish(batch, all, before);
    this.#track(shard, done, bytesOf(groups));
    if (groups.size > 0) this.#learn(done);
    const isBehind = before !== undefined || fresh.length < all.length;
    await this.#moment(isBehind ? Promise.all(fresh) : done, signal);
    while (this.#bytes > bytesMax && !signal.aborted) await Promise.race(this.#running);
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** The checkpoint follows after everything was published, and after the checkpoint of the batch before. */
  async #finish(
    batch: Position,
    channels: readonly Promise<boolean>[],
    before: Promise<boolean> | undefined,
  ): Promise<boolean> {
    const passed = (await Promise.all(channels)).every((one) => one);
    // The checkpoint does not skip what was not passed on: the batch comes again after a restart.
    if (before && !await before || !passed) return false;
    await this.#options.checkpoint(batch);
    return true;
  }

  #track(shard: string, done: Promise<boolean>, bytes: number): void {
    this.#last.set(shard, done);
    this.#running.add(done);
    this.#bytes += bytes;
    void done.then(() => {
      this.#bytes -= bytes;
      this.#running.delete(done);
      if (this.#last.get(shard) === done) this.#last.delete(shard);
    });
  }

  #learn(done: Promise<boolean>): void {
    const { now } = this.#options, began = now();
    void done.then(() => {
      const tookMs = Math.min(momentMaxMs, Math.max(0, now() - began));
      this.#usualMs += (tookMs - this.#usualMs) * learning;
    });
  }

  async #moment(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const momentMs = Math.min(momentMaxMs, Math.max(momentMinMs, usualTimes * this.#usualMs));
    const over = new AbortController(), end = () => over.abort();
    signal.addEventListener("abort", end);
    try {
      await Promise.race([work, this.#options.pause(momentMs, over.signal)]);
    } finally {
      signal.removeEventListener("abort", end);
      end();
    }
  }
}

function bytesOf(groups: ReadonlyMap<Channel, readonly LogKey[]>): number {
  let bytes = 0;
  for (const keys of groups.values()) {
    for (const { key: [hash, sort] } of keys) bytes += 2 * (hash.length + sort.length) + keyBytes;
  }
  return bytes;
}
