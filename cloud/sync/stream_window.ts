/**
 * The part of the stream that is under way: batches that were read and are not checkpointed. Channels are passed on apart
 * (`channel_lanes.ts`), so that a log that is throttled holds up its own channel only; the checkpoint of each shard follows
 * its oldest batch that is not done. A batch is waited for a moment, so that what comes meanwhile is read together; where
 * some of its channels are busy from before, the others alone are waited for. All that is under way is bounded in bytes.
 *
 *     read ─▶ channels ─▶ each in its lane ─▶ all done, and the batch before ─▶ checkpoint
 *       ▲                    │
 *       └─ done, or after a moment, while there is room ◀┘
 *
 * @module
 */
import type { Channel } from "../../protocol.ts";
import type { LogKey } from "./channel_log.ts";
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
 * How long a batch is waited for: twice as long as they take usually. Where the first channel of a batch meets a throttled
 * log, all others' next changes wait for this.
 */
const momentMinMs = 20, momentMaxMs = 250, usualTimes = 2;
/** How much of what is usual one batch is. */
const learning = 0.1;
/** Bytes of the keys that are under way, about. The records themselves are let go. */
const bytesMax = 16 * 1024 * 1024;
/** What a key takes in memory beside its text. */
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

  /** Takes a batch with its channels' keys. Resolves when the next may be read. */
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

  /** The checkpoint comes after all was published, and after that of the batch before. */
  async #finish(
    batch: Position,
    channels: readonly Promise<boolean>[],
    before: Promise<boolean> | undefined,
  ): Promise<boolean> {
    const passed = (await Promise.all(channels)).every((one) => one);
    // What was not passed on is not passed by: the batch comes again after a restart.
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
