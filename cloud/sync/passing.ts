/**
 * Passes the stream on: from the data table's change stream to the channel logs and the devices. During an outage, it
 * waits; a record that can't be passed on for another reason is dropped, counted and logged, and delays nothing but
 * itself.
 *
 * @module
 */
import { isTold, Log } from "../../protocol/log.ts";
import { Outage } from "../../protocol/outage.ts";
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
import type { Notifier, Selected } from "../notify/notifier.ts";
import type { Observer } from "./observer.ts";
import { StreamWindow } from "./stream_window.ts";
import { comesDown } from "./visible.ts";
import { announce } from "./announcement.ts";
import type { ChannelLog } from "./channel_log.ts";
import type { LogKey } from "./log_items.ts";
import type { ChangeStream, DataTable, StreamBatch, StreamRecord, StreamStanding } from "../table/port.ts";

/** The context of passing the stream on. */
export interface PassingContext extends FanOutContext {
  readonly data: DataTable;
  readonly log: ChannelLog;
  readonly publisher: Publisher;
  readonly metrics: Counters;
  /** How many devices would ask because of one message: see `spread.ts`. */
  readonly spread: Pick<Spread, "spreadMs">;
  readonly observer: Observer;
  /** Whom else changes are told; absent: nobody. */
  readonly notifier?: Pick<Notifier, "tells" | "select" | "append">;
  /**
   * Whether somebody watches: then devices must report when they have an entry. Not if an entry has hundreds of
   * readers.
   */
  readonly tells: () => boolean;
  readonly random: () => number;
  readonly pause: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** Attempts at a record that fails for a reason other than an outage, before it is dropped. */
const recordAttemptsMax = 3;
const publishesAtOnce = 64;
/** Bytes of notifications that are on their way to their queues, beyond which nothing further is read. */
const notifyBytesMax = 8 * 1024 * 1024;
/** Parts of an event that are passed on at once. */
const partsAtOnce = 16;
const logger = new Log("cloud");

/** See the module. */
export class StreamPassing {
  readonly #metrics: Counters;
  #stream: ChangeStream | undefined;
  /** The last batch's notifications, in their queues. */
  #notified: Promise<boolean> = Promise.resolve(true);
  #notifyBytes = 0;
  /** By what is tried again and again: few names. */
  readonly #outages = new Map<string, Outage>();

  constructor(readonly context: PassingContext) {
    this.#metrics = context.metrics;
  }

  /** How the stream is read here; undefined: not at all. */
  standing(): StreamStanding | undefined {
    return this.#stream && (this.#stream.standing?.() ?? { tails: true });
  }

  /**
   * Reads the data table's stream and passes it on, until the signal aborts. During an outage, it waits; a record that
   * can't be passed on for another reason is dropped after {@link recordAttemptsMax} attempts, counted and logged.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { schema, notifier } = this.context;
    // Nobody reads these records: most of a fleet's changes are measurements.
    const unwanted = [...schema.models.values()].filter((model) => !comesDown(model) && !notifier?.tells(model))
      .map(({ name }) => name);
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
        this.#stream = this.context.data.stream({ unwanted });
        for await (const batch of this.#stream.batches(signal)) {
          // Entries from before the gap must not contain the new epoch.
          if ("lost" in batch) await window.settled().then(() => this.#historyIsLost(signal));
          else await this.#take(window, batch, signal);
          attempt = 0;
          this.#outages.get("the change stream")?.over();
          if (signal.aborted) return;
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#stream = undefined;
        this.#metrics.streamFailures++;
        this.#failed("the change stream", error);
        await this.context.pause(backoffMs(attempt, this.context.random, tableBackoff), signal);
      }
    }
  }

  async #historyIsLost(signal: AbortSignal): Promise<void> {
    this.#metrics.streamLost++;
    logger.error("the change stream lost history: all devices take a snapshot");
    await this.#untilDone("a new epoch", signal, () => this.context.log.beginEpoch());
    await this.#untilDone("the news of a new epoch", signal, () => announce(this.context));
  }

  /**
   * Makes all devices take a snapshot: for records of the stream that were discarded before they arrived here.
   *
   * @throws SyncError if the log table fails.
   */
  async historyLost(): Promise<void> {
    logger.error("history of the change stream is said to be lost: all devices take a snapshot");
    await this.context.log.beginEpoch();
    this.#metrics.streamLost++;
    try {
      await announce(this.context);
    } catch (error) {
      // The epoch is begun: devices that do not hear of it now hear of it with their next message.
      logger.warn("devices could not be told of the new epoch: {error}", { error });
    }
  }

  async #take(window: StreamWindow, batch: StreamBatch, signal: AbortSignal): Promise<void> {
    this.#metrics.recordsRead += batch.records.length;
    for (const why of batch.unreadable ?? []) this.recordDropped(`a stream record is left out: ${why}`);
    const { shard, checkpoint } = batch, groups = this.#groups(batch.records);
    const notified = this.#notify(batch.records, signal);
    const finish = () => {
      this.#passed(batch.records);
      return checkpoint.call(batch);
    };
    const done = notified === undefined ? finish : async () => {
      // False where the signal aborted: then the batch comes again, to whoever reads the stream next.
      if (!await notified) return;
      await finish();
    };
    await window.take({ shard, checkpoint: done }, groups, signal);
    while (this.#notifyBytes > notifyBytesMax && !signal.aborted) await this.#notified;
  }

  /**
   * Puts the records' notifications into their queues, after those of the records before; fan-out does not wait for that, the
   * checkpoint does. A batch's records are let go: only what matches is held.
   *
   * @returns false where the signal aborted first; undefined: there is nothing to tell
   */
  #notify(records: readonly StreamRecord[], signal: AbortSignal): Promise<boolean> | undefined {
    const { notifier } = this.context, selected = notifier && this.#select(notifier, records);
    if (!selected || selected.size === 0) return undefined;
    const bytes = [...selected.values()].flat().reduce((sum, text) => sum + text.length, 0);
    this.#notifyBytes += bytes;
    return this.#notified = this.#notified
      .then(() => this.#untilDone("notifications", signal, () => notifier!.append(selected)))
      .finally(() => this.#notifyBytes -= bytes);
  }

  /** A record that can't be looked at is dropped by fan-out, which counts it. */
  #select(notifier: Pick<Notifier, "select">, records: readonly StreamRecord[]): Selected {
    try {
      return notifier.select(records);
    } catch {
      return joined(records.map((record) => {
        try {
          return notifier.select([record]);
        } catch (error) {
          logger.error("the change of {key} is told nobody: {error}", { key: record.key.join(" "), error });
          return new Map();
        }
      }));
    }
  }

  /** The keys that each channel's log gets. Only an unreadable record is dropped. */
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

  /** An unreadable record is left out: it is counted, and logged the first time and then from time to time. */
  recordDropped(why: string): void {
    if (tellNow(this.#metrics.recordsDropped++)) logger.error("{why}", { why });
  }

  /** A record is handed back, because its stream lacks images. Logged as above. */
  recordRefused(why: string): void {
    if (tellNow(this.#metrics.recordsRefused++)) logger.error("{why}", { why });
  }

  /** An item that reaches no device. Logged as above. */
  #unidentified(key: Key, why: string): void {
    if (tellNow(this.#metrics.itemsUnidentified++)) {
      logger.warn("the change of {key} reaches no device: {why}", { key: key.join(" "), why });
    }
  }

  /**
   * Appends records to their channels' logs and publishes them. Appending and publishing are retried separately: while
   * only the broker is unreachable, the logs must not grow with each attempt.
   *
   * @returns false if the signal aborted first: the caller must pass the records in again.
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
   * As {@link fanOutRecords}, but reports which records were not passed on when the signal aborted: a failing channel
   * holds up no other. The records of a channel succeed or fail together, so they keep their order when they come
   * again. @returns the indexes of the records that must be passed in again, ascending.
   */
  async fanOutParts(records: readonly StreamRecord[], signal: AbortSignal): Promise<number[]> {
    this.#metrics.recordsRead += records.length;
    const failed = new Set(records.keys()), notified = this.#notify(records, signal);
    const work = mapBounded(independentParts(this.context.schema, records), partsAtOnce, async (part) => {
      if (!await this.fanOutRecords(part.map((at) => records[at]!), signal)) return;
      for (const at of part) failed.delete(at);
    });
    // When time is up, an open request is not awaited. It may still succeed: then its records come twice.
    await Promise.race([Promise.all([work, notified]), aborted(signal)]);
    if (notified === undefined) return [...failed];
    // Whose notifications are not in their queues are told again, with all that were: that does no harm.
    return await Promise.race([notified, Promise.resolve(false)]) ? [...failed] : [...records.keys()];
  }

  /** The changes' messages; undefined if the signal aborted. */
  async #append<T extends { readonly key: Key }>(
    changes: readonly T[],
    append: (changes: readonly T[]) => Promise<Changes[]>,
    signal: AbortSignal,
  ): Promise<Changes[] | undefined> {
    let faults = 0;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const messages = await append(changes);
        this.#outages.get("the channel log")?.over();
        return messages;
      } catch (error) {
        this.#metrics.streamFailures++;
        // A table's error (expired credentials, a missing table) is not a record's fault: wait and retry.
        const isOfRecord = !(error instanceof SyncError) || error.code === "invalid";
        if (!isOfRecord) this.#failed("the channel log", error);
        else logger.debug("fan-out of {count} records failed: {error}", { count: changes.length, error });
        if (isOfRecord && ++faults === recordAttemptsMax) {
          return await this.#appendApart(changes, append, signal, error);
        }
        await this.context.pause(backoffMs(attempt, this.context.random, tableBackoff), signal);
      }
    }
    return undefined;
  }

  /** One of these changes can't be passed on: try each by itself, so that only the faulty one is dropped. */
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
    let cause: unknown;
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
        // Refused for good (a message that can't be encoded): the change is in the log, and the device will ask.
        if (isOutage(error)) {
          cause = error;
          messages.push(message);
        } else logger.error("a live message of {channel} is refused: {error}", { channel: message.channel, error });
      }
    });
    if (messages.length > 0) {
      throw new SyncError("unavailable", `${messages.length} live messages could not be published`, {
        retryable: true,
        cause,
      });
    }
  }

  #outage(what: string): Outage {
    let outage = this.#outages.get(what);
    if (!outage) this.#outages.set(what, outage = new Outage(logger, what));
    return outage;
  }

  /** It is tried again. Where what it depends on has told its outage, there is nothing more to say. */
  #failed(what: string, error: unknown): void {
    if (isTold(error)) logger.debug("{what} failed and is tried again: {error}", { what, error });
    else this.#outage(what).failed(error instanceof Error ? error : new Error(String(error)));
  }

  /** Repeats until it succeeds; false if the signal aborted before. */
  async #untilDone(what: string, signal: AbortSignal, work: () => Promise<void>): Promise<boolean> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await work();
        this.#outages.get(what)?.over();
        return true;
      } catch (error) {
        this.#metrics.streamFailures++;
        this.#failed(what, error);
        await this.context.pause(backoffMs(attempt, this.context.random, tableBackoff), signal);
      }
    }
    return false;
  }
}

/** The first of its kind is logged at once, then each tenth, hundredth, … */
function tellNow(before: number): boolean {
  return /^10*$/.test(String(before + 1));
}

function joined(all: readonly Selected[]): Selected {
  const result = new Map<string, string[]>();
  for (const [queue, texts] of all.flatMap((one) => [...one])) {
    result.set(queue, [...result.get(queue) ?? [], ...texts]);
  }
  return result;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
