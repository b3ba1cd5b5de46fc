/**
 * Passing the stream on: from the data table's change stream to the channel logs and the devices. An outage is waited out;
 * a record that can't be passed on for another reason is dropped, counted and logged, and delays nothing but itself.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { Changes, Channel, Key } from "../../protocol.ts";
import { SyncError } from "../../schema.ts";
import { backoffMs } from "../../protocol/backoff.ts";
import { mapBounded, tableBackoff } from "./bounded.ts";
import { ChannelLanes } from "./channel_lanes.ts";
import {
  fanOut,
  fanOutChannel,
  type FanOutContext,
  groupRecords,
  independentParts,
  tellUnidentified,
} from "./fan_out.ts";
import { type Publisher, targetOf } from "../publishers/port.ts";
import { isOutage } from "./faults.ts";
import type { Spread } from "./spread.ts";
import type { Counters } from "./metrics.ts";
import type { Observer } from "./observer.ts";
import { StreamWindow } from "./stream_window.ts";
import { comesDown } from "./visible.ts";
import type { ChannelLog, LogKey } from "./channel_log.ts";
import type { DataTable, StreamBatch, StreamRecord } from "../table/port.ts";

/** What passing the stream on needs. */
export interface PassingContext extends FanOutContext {
  readonly data: DataTable;
  readonly log: ChannelLog;
  readonly publisher: Publisher;
  readonly metrics: Counters;
  /** How many would ask because of one message: see `spread.ts`. */
  readonly spread: Pick<Spread, "spreadMs">;
  readonly observer: Observer;
  /** Somebody watches: devices are to say when they have an entry. Not where an entry has hundreds of readers. */
  readonly tells: () => boolean;
  readonly random: () => number;
  readonly pause: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** Attempts at a record that fails for another reason than an outage, before it is dropped. */
const recordAttemptsMax = 3;
const publishesAtOnce = 64;
/** Parts of an event that are passed on at once. */
const partsAtOnce = 16;
const logger = new Log("cloud");

/** See the module. */
export class StreamPassing {
  readonly #metrics: Counters;

  constructor(readonly context: PassingContext) {
    this.#metrics = context.metrics;
  }

  /**
   * Reads the data table's stream and passes it on, until the signal aborts. An outage is waited out; a record that can't
   * be passed on for another reason is dropped after {@link recordAttemptsMax} attempts, counted and logged.
   */
  async run(signal: AbortSignal): Promise<void> {
    // Nobody reads them: most of what a fleet sends is measurements.
    const unwanted = [...this.context.schema.models.values()].filter((model) => !comesDown(model)).map(({ name }) =>
      name
    );
    const lanes = new ChannelLanes((channel, keys) => this.#passChannel(channel, keys, signal));
    const window = new StreamWindow({
      lanes,
      checkpoint: (batch) => this.#untilDone("the stream's checkpoint", signal, () => batch.checkpoint()),
      pause: this.context.pause,
      now: () => this.context.now(),
    });
    await this.#read(window, unwanted, signal);
    // Everything under way sees the signal, and ends with the request that it waits for.
    await window.settled();
  }

  async #read(window: StreamWindow, unwanted: readonly string[], signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        for await (const batch of this.context.data.stream({ unwanted }).batches(signal)) {
          // Devices must not hear of the new epoch in entries of what is before the gap.
          if ("lost" in batch) await window.settled().then(() => this.#historyIsLost(signal));
          else await this.#take(window, batch, signal);
          attempt = 0;
          if (signal.aborted) return;
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#metrics.streamFailures++;
        logger.error("the change stream stopped and is read again: {error}", { error });
        await this.context.pause(backoffMs(attempt, this.context.random, tableBackoff), signal);
      }
    }
  }

  async #historyIsLost(signal: AbortSignal): Promise<void> {
    this.#metrics.streamLost++;
    logger.error("the change stream lost history: all devices take a snapshot");
    await this.#untilDone("a new epoch", signal, () => this.context.log.beginEpoch());
  }

  /**
   * Makes all devices take a snapshot: for records of the stream that were given up before they were handed in.
   *
   * @throws SyncError where the log table fails.
   */
  async historyLost(): Promise<void> {
    logger.error("history of the change stream is said to be lost: all devices take a snapshot");
    await this.context.log.beginEpoch();
    this.#metrics.streamLost++;
  }

  async #take(window: StreamWindow, batch: StreamBatch, signal: AbortSignal): Promise<void> {
    this.#metrics.recordsRead += batch.records.length;
    for (const why of batch.unreadable ?? []) this.recordDropped(`a stream record is left out: ${why}`);
    const { shard, checkpoint } = batch, groups = this.#groups(batch.records);
    const done = () => {
      this.#passed(batch.records);
      return checkpoint.call(batch);
    };
    await window.take({ shard, checkpoint: done }, groups, signal);
  }

  /** The keys that each channel's log gets. A record that can't be looked at is dropped, and no other. */
  #groups(records: readonly StreamRecord[]): Map<Channel, LogKey[]> {
    const look = (some: readonly StreamRecord[]) => {
      const groups = groupRecords(this.context.schema, some);
      tellUnidentified(this.#fanOutContext, some);
      return groups;
    };
    try {
      return look(records);
    } catch {
      return look(records.filter((record) => this.#can(() => look([record]), record.key)));
    }
  }

  #can(look: () => unknown, key: Key): boolean {
    try {
      look();
      return true;
    } catch (error) {
      this.#dropped(key, error);
      return false;
    }
  }

  #dropped(key: Key, error: unknown): void {
    this.#metrics.recordsDropped++;
    logger.error("the change of {key} is dropped: {error}", { key, error });
  }

  get #fanOutContext(): FanOutContext {
    return { ...this.context, unidentified: (key, why) => this.#unidentified(key, why) };
  }

  #passed(records: readonly StreamRecord[]): void {
    if (records.length === 0) return;
    const times = records.flatMap(({ atMs }) => atMs ?? []);
    const ageMs = times.length > 0 ? this.context.now() - Math.max(...times) : undefined;
    this.context.observer.passed(records.length, ageMs === undefined ? undefined : ageMs / 1000);
  }

  /** A record that can't be read is left out: counted, told the first time and then now and then. */
  recordDropped(why: string): void {
    if (tellNow(this.#metrics.recordsDropped++)) logger.error("{why}", { why });
  }

  /** A record is handed back, for its stream tells too little. Told as above. */
  recordRefused(why: string): void {
    if (tellNow(this.#metrics.recordsRefused++)) logger.error("{why}", { why });
  }

  /** An item that nobody can be told of. Told as above. */
  #unidentified(key: Key, why: string): void {
    if (tellNow(this.#metrics.itemsUnidentified++)) {
      logger.warn("the change of {key} reaches no device: {why}", { key: key.join(" "), why });
    }
  }

  /**
   * Appends records to their channels' logs and publishes them. Appending and publishing are repeated apart: while only
   * the broker is away, the logs must not grow with each attempt.
   *
   * @returns false where the signal aborted first: the records are to be handed in again.
   */
  async fanOutRecords(records: readonly StreamRecord[], signal: AbortSignal): Promise<boolean> {
    const context = this.#fanOutContext;
    return await this.#passOn(records, (some) => fanOut(context, some), signal);
  }

  #passChannel(channel: Channel, keys: readonly LogKey[], signal: AbortSignal): Promise<boolean> {
    return this.#passOn(keys, (some) => fanOutChannel(this.context, channel, some), signal);
  }

  async #passOn<T extends { readonly key: Key }>(
    changes: readonly T[],
    append: (changes: readonly T[]) => Promise<Changes[]>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const messages = await this.#append(changes, append, signal);
    if (!messages) return false;
    return await this.#untilDone("live messages", signal, () => this.#publishAll(messages));
  }

  /**
   * As {@link fanOutRecords}, but tells which records were passed on when the signal aborted: one channel that fails holds up
   * no other. The records of a channel succeed or fail together, and so keep their order when they are handed in again.
   *
   * @returns the indexes of the records that are to be handed in again, ascending.
   */
  async fanOutParts(records: readonly StreamRecord[], signal: AbortSignal): Promise<number[]> {
    this.#metrics.recordsRead += records.length;
    const failed = new Set(records.keys());
    const work = mapBounded(independentParts(this.context.schema, records), partsAtOnce, async (part) => {
      if (!await this.fanOutRecords(part.map((at) => records[at]!), signal)) return;
      for (const at of part) failed.delete(at);
    });
    // A request that is under way when time is up is not waited for. It may still succeed: then its records come twice.
    await Promise.race([work, aborted(signal)]);
    return [...failed];
  }

  /** The changes' messages; undefined where the signal aborted. */
  async #append<T extends { readonly key: Key }>(
    changes: readonly T[],
    append: (changes: readonly T[]) => Promise<Changes[]>,
    signal: AbortSignal,
  ): Promise<Changes[] | undefined> {
    let faults = 0;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        return await append(changes);
      } catch (error) {
        this.#metrics.streamFailures++;
        logger.warn("fan-out of {count} records failed: {error}", { count: changes.length, error });
        // What a table answers (credentials that expired, a table that is gone) is no record's fault: it is waited out.
        const isOfRecord = !(error instanceof SyncError) || error.code === "invalid";
        if (isOfRecord && ++faults === recordAttemptsMax) {
          return await this.#appendApart(changes, append, signal, error);
        }
        await this.context.pause(backoffMs(attempt, this.context.random, tableBackoff), signal);
      }
    }
    return undefined;
  }

  /** One change among these can't be passed on: each by itself, so that it alone is dropped. */
  async #appendApart<T extends { readonly key: Key }>(
    changes: readonly T[],
    append: (changes: readonly T[]) => Promise<Changes[]>,
    signal: AbortSignal,
    error: unknown,
  ): Promise<Changes[] | undefined> {
    if (changes.length === 1) {
      this.#dropped(changes[0]!.key, error);
      return [];
    }
    const messages: Changes[] = [];
    for (const change of changes) {
      const own = await this.#append([change], append, signal);
      if (!own) return undefined;
      messages.push(...own);
    }
    return messages;
  }

  async #publishAll(messages: Changes[]): Promise<void> {
    await mapBounded(messages.splice(0), publishesAtOnce, async (message) => {
      const to = targetOf(message.channel);
      if (!to) return;
      try {
        const spreadMs = this.context.spread.spreadMs(message.channel);
        const tell = spreadMs === 0 && this.context.tells();
        await this.context.publisher.publish(to, {
          ...message,
          ...(spreadMs > 0 ? { spreadMs } : {}),
          ...(tell ? { tell: 1 } : {}),
        });
        this.context.observer.published(message);
        this.#metrics.messagesPublished++;
        this.#metrics.entriesPublished += message.entries.length;
      } catch (error) {
        this.#metrics.publishFailed++;
        // Refused for good (a message that can't be encoded): it is in the log, and the device will ask.
        if (isOutage(error)) messages.push(message);
        else logger.error("a live message of {channel} is refused: {error}", { channel: message.channel, error });
      }
    });
    if (messages.length > 0) {
      throw new SyncError("unavailable", `${messages.length} live messages could not be published`, {
        retryable: true,
      });
    }
  }

  /** Repeats until it succeeds; false where the signal aborted before. */
  async #untilDone(what: string, signal: AbortSignal, work: () => Promise<void>): Promise<boolean> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await work();
        return true;
      } catch (error) {
        this.#metrics.streamFailures++;
        logger.warn("{what} failed and is tried again: {error}", { what, error });
        await this.context.pause(backoffMs(attempt, this.context.random, tableBackoff), signal);
      }
    }
    return false;
  }
}

/** The first of its kind is told at once, then each tenth, hundredth, … */
function tellNow(before: number): boolean {
  return /^10*$/.test(String(before + 1));
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
