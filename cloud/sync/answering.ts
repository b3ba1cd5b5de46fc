/**
 * Answering devices: takes each message, does what it asks for and publishes the answer to the device. A bad message is
 * counted and logged, and delays nothing but itself.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { Compare, Fetch, FromCloud, FromDevice, Probe, Sync, Up, Verified } from "../../protocol.ts";
import type { Identity } from "../../schema/model.ts";
import { Semaphore } from "./bounded.ts";
import { answerFetch, answerSync, type CatchUpContext } from "./catch_up.ts";
import { answerCompare, answerProbe } from "./compare.ts";
import { ingest, throttledAck } from "./ingest.ts";
import type { Publisher } from "../publishers/port.ts";
import { isOutage } from "./faults.ts";
import type { Counters } from "./metrics.ts";
import type { Registry } from "./registry.ts";
import type { DataTable } from "../table/port.ts";

/** What answering devices needs. */
export interface AnsweringContext extends CatchUpContext {
  readonly data: DataTable;
  readonly registry: Registry;
  readonly publisher: Publisher;
  readonly metrics: Counters;
}

/** Options of {@link Answering}. */
export interface AnsweringOptions {
  /** Messages that are worked on at once: default 64. The rest wait in `receive`. */
  readonly concurrency?: number;
}

const logger = new Log("cloud");

/** See the module. */
export class Answering {
  readonly #room: Semaphore;
  readonly #metrics: Counters;
  /** Batches that are being written, or wait to be: the newest transmission of each. */
  readonly #batches = new Map<string, Up>();

  constructor(readonly context: AnsweringContext, options: AnsweringOptions = {}) {
    this.#metrics = context.metrics;
    this.#room = new Semaphore(options.concurrency ?? 64);
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
        const identity = await this.context.registry.identityOf(deviceId);
        if (!identity) {
          this.#metrics.messagesUnknown++;
          logger.warn("a message of the unknown device {deviceId} was dropped", { deviceId });
          return;
        }
        const deflate = "z" in message && message.z === 1;
        for (const answer of await this.#answer(identity, message)) await this.#reply(deviceId, answer, deflate);
        await this.context.registry.touch(deviceId);
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
    const { schema, data, now } = this.context;
    this.#metrics.changesReceived += up.changes.length;
    try {
      const ack = await ingest({ schema, tables: { data }, now }, identity, up);
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
    const { messages, ignored } = await answerSync(this.context, identity, sync);
    this.#metrics.channelsIgnored += ignored;
    return messages;
  }

  async #fetch(identity: Identity, fetch: Fetch): Promise<FromCloud[]> {
    return [await answerFetch(this.context, identity, fetch)];
  }

  async #compare(identity: Identity, compare: Compare): Promise<FromCloud[]> {
    const answer = await answerCompare(this.context, identity, compare);
    if (answer) return [answer];
    this.#metrics.channelsIgnored++;
    return [];
  }

  async #probe(identity: Identity, probe: Probe): Promise<FromCloud[]> {
    return [await answerProbe(this.context, identity, probe)];
  }

  async #verified({ deviceId }: Identity, { request, report }: Verified): Promise<FromCloud[]> {
    await this.context.registry.keepReport(deviceId, request, report);
    return [];
  }

  async #reply(deviceId: string, message: FromCloud, deflate: boolean): Promise<void> {
    try {
      await this.context.publisher.publish({ device: deviceId }, message, { deflate });
      this.#metrics.messagesPublished++;
    } catch (error) {
      // Not repeated here: the device asks again, and an answer is only good for its question.
      this.#metrics.publishFailed++;
      throw error;
    }
  }
}
