/**
 * The cloud's service: takes what devices send, answers, and passes the table's changes on. It ties ingest, fan-out,
 * catch-up and the registry to a {@link Publisher}, and keeps no state that matters: any number may run on the same tables.
 *
 * A bad message, record or item is counted and logged, and delays nothing but itself.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Changes, Compare, Fetch, FromCloud, FromDevice, Probe, Sync, Up, Verified } from "../../protocol.ts";
import { SyncError } from "../../schema.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import { backoffMs, mapBounded, pause, Semaphore } from "./bounded.ts";
import { answerFetch, answerSync, type CatchUpContext, defaultPageLimits } from "./catch_up.ts";
import { ChannelLog } from "./channel_log.ts";
import { answerCompare, answerProbe } from "./compare.ts";
import { comesDown } from "./visible.ts";
import { fanOut, type FanOutContext, independentParts } from "./fan_out.ts";
import { ingest, throttledAck } from "./ingest.ts";
import { type Publisher, targetOf } from "../publishers/port.ts";
import { Registry } from "./registry.ts";
import { noMetrics, type ServiceMetrics } from "./metrics.ts";
import type { PageLimits } from "./snapshot.ts";
import type { StreamBatch, StreamRecord, Tables } from "../table/port.ts";

/** What a service is made of. */
export interface ServiceOptions {
  readonly schema: Schema;
  readonly tables: Tables;
  readonly publisher: Publisher;
  /** Default: a registry in the log table. */
  readonly registry?: Registry;
  /** The cloud's clock, ms. */
  readonly now: () => number;
  /** Numbers in [0, 1): epochs and jitter. */
  readonly random: () => number;
  /** Default {@link defaultPageLimits}. */
  readonly limits?: PageLimits;
  /** How long the channel logs keep their entries: default 7 days. */
  readonly retentionMs?: number;
  /** Messages that are worked on at once: default 64. The rest wait in `receive`. */
  readonly concurrency?: number;
  /** Waits; default by timers. The simulation hands in its own. */
  readonly pause?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** Attempts at a record that fails for another reason than an outage, before it is dropped. */
const recordAttemptsMax = 3;
const publishesAtOnce = 64;
/** Parts of an event that are passed on at once. */
const partsAtOnce = 16;
const logger = getLogger(["twintable", "cloud"]);

/** See the module. */
export class CloudService {
  readonly schema: Schema;
  readonly tables: Tables;
  readonly registry: Registry;
  readonly log: ChannelLog;
  readonly #options: ServiceOptions;
  readonly #room: Semaphore;
  /** Batches that are being written, or wait to be: the newest transmission of each. */
  readonly #batches = new Map<string, Up>();
  readonly #pause: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly #metrics = noMetrics();

  constructor(options: ServiceOptions) {
    const { schema, tables, now, random, retentionMs } = options;
    this.#options = options;
    this.schema = schema;
    this.tables = tables;
    this.registry = options.registry ?? new Registry(tables.log, { now });
    this.log = new ChannelLog(tables.log, { now, random, retentionMs });
    this.#room = new Semaphore(options.concurrency ?? 64);
    this.#pause = options.pause ?? pause;
  }

  /** The counters as they are now. */
  metrics(): ServiceMetrics {
    return { ...this.#metrics };
  }

  /**
   * Handles a device's message; resolves when the answer is with the broker, was given up, or is another's to give. Never
   * rejects: a device that gets no answer sends again. The device is who the topic says, never what the message says.
   *
   * A batch that comes again while it is being written is not written twice at once: its answer is on its way. With a slow
   * table each repetition would make all of them slower, until nothing but repetitions were written.
   */
  receive(deviceId: string, message: FromDevice): Promise<void> {
    this.#metrics.messagesReceived++;
    if (message.type !== "up") return this.#handle(deviceId, () => message);
    const name = `${deviceId} ${message.batch}`, known = this.#batches.get(name);
    if (known) {
      this.#metrics.messagesRepeated++;
      // One that still waits for its turn is as old as its newest transmission.
      if (message.sent > known.sent) this.#batches.set(name, message);
      // At once: whoever waited for it would have no room for others.
      return Promise.resolve();
    }
    this.#batches.set(name, message);
    return this.#handle(deviceId, () => this.#batches.get(name) ?? message).finally(() => this.#batches.delete(name));
  }

  /** @param newest gives the message when its turn has come */
  #handle(deviceId: string, newest: () => FromDevice): Promise<void> {
    return this.#room.run(async () => {
      const message = newest();
      try {
        const identity = await this.registry.identityOf(deviceId);
        if (!identity) {
          this.#metrics.messagesUnknown++;
          logger.warn("a message of the unknown device {deviceId} was dropped", { deviceId });
          return;
        }
        const deflate = "z" in message && message.z === 1;
        for (const answer of await this.#answer(identity, message)) await this.#reply(deviceId, answer, deflate);
        await this.registry.touch(deviceId);
      } catch (error) {
        this.#metrics.messagesFailed++;
        logger.warn("a message {type} of {deviceId} could not be answered: {error}", {
          type: message.type,
          deviceId,
          error,
        });
      }
    });
  }

  /**
   * Asks a device to compare its database with the table; its report is kept in the registry under the request that this
   * gives. A device that is away now never hears of it.
   *
   * @throws SyncError `unavailable` where the broker does not take it
   */
  async requestVerify(deviceId: string, options: { repair: boolean; keysPerSecond?: number }): Promise<string> {
    const request = `verify/${this.#options.now()}`;
    await this.#options.publisher.publish({ device: deviceId }, { type: "verify", request, ...options });
    this.#metrics.messagesPublished++;
    return request;
  }

  /** Notes that a device came or went. Never rejects: presence is for people to look at. */
  async presence(deviceId: string, connected: boolean): Promise<void> {
    try {
      if (await this.registry.identityOf(deviceId)) await this.registry.touch(deviceId, connected);
    } catch (error) {
      logger.warn("the presence of {deviceId} could not be noted: {error}", { deviceId, error });
    }
  }

  #answer(identity: Identity, message: FromDevice): Promise<FromCloud[]> {
    switch (message.type) {
      case "up":
        return this.#ingest(identity, message);
      case "sync":
        return this.#sync(identity, message);
      case "fetch":
        return this.#fetch(identity, message);
      case "compare":
        return this.#compare(identity, message);
      case "probe":
        return this.#probe(identity, message);
      case "verified":
        return this.#verified(identity, message);
    }
  }

  async #ingest(identity: Identity, up: Up): Promise<FromCloud[]> {
    const { schema, tables, now } = this.#options;
    this.#metrics.changesReceived += up.changes.length;
    try {
      const ack = await ingest({ schema, tables, now }, identity, up);
      this.#metrics.changesRefused += ack.answers.filter(({ code }) => code !== "ok").length;
      return [ack];
    } catch (error) {
      if (!isOutage(error)) throw error;
      this.#metrics.messagesFailed++;
      logger.warn("a batch of {deviceId} waits: {error}", { deviceId: identity.deviceId, error });
      return [throttledAck(up, now())];
    }
  }

  async #sync(identity: Identity, sync: Sync): Promise<FromCloud[]> {
    const { messages, ignored } = await answerSync(this.#catchUp(), identity, sync);
    this.#metrics.channelsIgnored += ignored;
    return messages;
  }

  async #fetch(identity: Identity, fetch: Fetch): Promise<FromCloud[]> {
    return [await answerFetch(this.#catchUp(), identity, fetch)];
  }

  async #compare(identity: Identity, compare: Compare): Promise<FromCloud[]> {
    const answer = await answerCompare(this.#catchUp(), identity, compare);
    if (answer) return [answer];
    this.#metrics.channelsIgnored++;
    return [];
  }

  async #probe(identity: Identity, probe: Probe): Promise<FromCloud[]> {
    return [await answerProbe(this.#catchUp(), identity, probe)];
  }

  async #verified({ deviceId }: Identity, { request, report }: Verified): Promise<FromCloud[]> {
    await this.registry.keepReport(deviceId, request, report);
    return [];
  }

  #catchUp(): CatchUpContext {
    const { schema, tables, now, limits } = this.#options;
    return { schema, data: tables.data, log: this.log, now, limits: limits ?? defaultPageLimits };
  }

  async #reply(deviceId: string, message: FromCloud, deflate: boolean): Promise<void> {
    try {
      await this.#options.publisher.publish({ device: deviceId }, message, { deflate });
      this.#metrics.messagesPublished++;
    } catch (error) {
      // Not repeated here: the device asks again, and an answer is only good for its question.
      this.#metrics.publishFailed++;
      throw error;
    }
  }

  /**
   * Reads the data table's stream and passes it on, until the signal aborts. An outage is waited out; a record that can't
   * be passed on for another reason is dropped after {@link recordAttemptsMax} attempts, counted and logged.
   */
  async runStream(signal: AbortSignal): Promise<void> {
    // Nobody reads them: most of what a fleet sends is measurements.
    const unwanted = [...this.schema.models.values()].filter((model) => !comesDown(model)).map(({ name }) => name);
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        for await (const batch of this.tables.data.stream({ unwanted }).batches(signal)) {
          if ("lost" in batch) await this.#historyLost(signal);
          else await this.#pass(batch, signal);
          attempt = 0;
          if (signal.aborted) return;
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#metrics.streamFailures++;
        logger.error("the change stream stopped and is read again: {error}", { error });
        await this.#pause(backoffMs(attempt, this.#options.random), signal);
      }
    }
  }

  async #historyLost(signal: AbortSignal): Promise<void> {
    this.#metrics.streamLost++;
    logger.error("the change stream lost history: all devices take a snapshot");
    await this.#untilDone("a new epoch", signal, () => this.log.beginEpoch());
  }

  /**
   * Makes all devices take a snapshot: for records of the stream that were given up before they were handed in.
   *
   * @throws SyncError where the log table fails.
   */
  async historyLost(): Promise<void> {
    logger.error("history of the change stream is said to be lost: all devices take a snapshot");
    await this.log.beginEpoch();
    this.#metrics.streamLost++;
  }

  async #pass(batch: StreamBatch, signal: AbortSignal): Promise<void> {
    this.#metrics.recordsRead += batch.records.length;
    if (!await this.fanOutRecords(batch.records, signal)) return;
    // After publishing. A crash before this line delivers the batch again, which is appended and published again.
    await this.#untilDone("the stream's checkpoint", signal, () => batch.checkpoint());
  }

  /**
   * Appends records to their channels' logs and publishes them. Appending and publishing are repeated apart: while only
   * the broker is away, the logs must not grow with each attempt.
   *
   * @returns false where the signal aborted first: the records are to be handed in again.
   */
  async fanOutRecords(records: readonly StreamRecord[], signal: AbortSignal): Promise<boolean> {
    const messages = await this.#append(records, signal);
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
    const work = mapBounded(independentParts(this.schema, records), partsAtOnce, async (part) => {
      if (!await this.fanOutRecords(part.map((at) => records[at]!), signal)) return;
      for (const at of part) failed.delete(at);
    });
    // A request that is under way when time is up is not waited for. It may still succeed: then its records come twice.
    await Promise.race([work, aborted(signal)]);
    return [...failed];
  }

  /** The records' messages; undefined where the signal aborted. */
  async #append(records: readonly StreamRecord[], signal: AbortSignal): Promise<Changes[] | undefined> {
    let faults = 0;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        return await fanOut(this.#fanOutContext(), records);
      } catch (error) {
        this.#metrics.streamFailures++;
        logger.warn("fan-out of {count} records failed: {error}", { count: records.length, error });
        if (!isOutage(error) && ++faults === recordAttemptsMax) return await this.#appendApart(records, signal, error);
        await this.#pause(backoffMs(attempt, this.#options.random), signal);
      }
    }
    return undefined;
  }

  /** One record among these can't be passed on: each by itself, so that it alone is dropped. */
  async #appendApart(
    records: readonly StreamRecord[],
    signal: AbortSignal,
    error: unknown,
  ): Promise<Changes[] | undefined> {
    if (records.length === 1) {
      this.#metrics.recordsDropped++;
      logger.error("the change of {key} is dropped: {error}", { key: records[0]!.key, error });
      return [];
    }
    const messages: Changes[] = [];
    for (const record of records) {
      const own = await this.#append([record], signal);
      if (!own) return undefined;
      messages.push(...own);
    }
    return messages;
  }

  #fanOutContext(): FanOutContext {
    return {
      schema: this.schema,
      data: this.tables.data,
      log: this.log,
      now: this.#options.now,
      identityOf: (deviceId) => this.registry.identityOf(deviceId),
    };
  }

  async #publishAll(messages: Changes[]): Promise<void> {
    await mapBounded(messages.splice(0), publishesAtOnce, async (message) => {
      const to = targetOf(message.channel);
      if (!to) return;
      try {
        await this.#options.publisher.publish(to, message);
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
        await this.#pause(backoffMs(attempt, this.#options.random), signal);
      }
    }
    return false;
  }
}

/** Whether the fault passes by itself. */
function isOutage(error: unknown): boolean {
  return error instanceof SyncError && error.retryable;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
