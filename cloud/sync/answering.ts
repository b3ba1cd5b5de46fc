/**
 * Answers devices: accepts each message, does what it asks for and publishes the answer to the device. A bad message is
 * counted and logged, and delays nothing but itself.
 *
 * Batches (`up`) and questions (everything else) wait in separate queues, each fair by device: a fleet that catches up
 * does not hold up connected devices that write. A device that will wait for long gets `later`, if it understands that.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { FromCloud, FromDevice, Sync, Up } from "../../protocol.ts";
import type { CatchUpContext } from "./catch_up.ts";
import { throttledAck } from "./ingest.ts";
import type { Publisher } from "../publishers/port.ts";
import { AskLimit } from "./ask_limit.ts";
import { Budget, type Rate } from "../budget.ts";
import { FairQueue } from "./fair_queue.ts";
import type { ChannelLog } from "./channel_log.ts";
import type { Orders } from "./orders.ts";
import { Parking } from "./parking.ts";
import type { Arrival } from "./registry.ts";
import { refusal, Replies, type ReplyContext } from "./replies.ts";
import { withoutChannels, Work } from "./work.ts";
import type { Spread } from "./spread.ts";
import type { Counters } from "./metrics.ts";

/** The context of {@link Answering}. */
export interface AnsweringContext extends ReplyContext {
  readonly log: CatchUpContext["log"] & Pick<ChannelLog, "moment" | "ready">;
  readonly publisher: Publisher;
  readonly orders: Pick<Orders, "answered" | "deliver">;
  readonly spread: Pick<Spread, "keep">;
  /** A monotonic clock, ms. */
  readonly monotonicMs: () => number;
  /** Numbers in [0, 1): jitter. */
  readonly random: () => number;
}

/** Options of {@link Answering}. */
export interface AnsweringOptions {
  /** Batches that are written at once: default 32. */
  readonly upsAtOnce?: number;
  /** Questions that are answered at once; default: as many as leave the table fast, see `ask_limit.ts`. */
  readonly asksAtOnce?: number;
}

/** As many as DynamoDB's client has requests open at once. */
const upsAtOnceDefault = 32;
/**
 * For one device: its window; a question for each channel, and no more than half of the slots, so that others find free
 * ones.
 */
const upsOfDevice = 4, asksOfDevice = 3;
/**
 * A device has four batches in flight; more wait only if it resends again and again. The bytes allow for large batches.
 */
const upBounds = { deviceTasksMax: 64, deviceBytesMax: 8 * 1024 * 1024, tasksMax: 20_000, bytesMax: 12 * 1024 * 1024 };
/** A question for each channel, a fetch and a comparison; some 500 bytes each. */
const askBounds = { deviceTasksMax: 8, deviceBytesMax: 256 * 1024, tasksMax: 20_000, bytesMax: 8 * 1024 * 1024 };
/** Bytes of answers to one device, on the wire: compressed pages of 100 KB are some 200 a second. */
const answeredRate: Rate = { perSecond: 2 * 1024 * 1024, burst: 8 * 1024 * 1024 };
/** Bytes of items that are read for one device. */
const readRate: Rate = { perSecond: 16 * 1024 * 1024, burst: 64 * 1024 * 1024 };
/** A device that waits for longer than this gets `later`: well below the 5 s after which a device asks again. */
const patienceMs = 2_500;
/** The announced wait is an estimate: it may take twice as long. */
const slack = 2, slackMs = 5_000;
/** A device that found no room comes back after a second at least. */
const refusedMs = 1_000;
/** The most `later` messages under way at once; beyond that, none are sent. */
const tellsMax = 256;
const logger = new Log("cloud");

/** See the module. */
export class Answering {
  readonly #metrics: Counters;
  readonly #ups: FairQueue;
  readonly #asks: FairQueue;
  readonly #parking = new Parking(askBounds);
  readonly #askLimit: AskLimit;
  /** Batches that are being written, or wait to be. */
  readonly #batches = new Map<string, Work>();
  /** Syncs that are being answered. */
  readonly #asking = new Map<string, Set<Work>>();
  /** Bytes recently sent to devices: a device that got much waits for more. */
  readonly #answered = new Budget(answeredRate);
  /** Bytes read from the table for their questions. */
  readonly #read = new Budget(readRate);
  readonly #replies: Replies;
  #tells = 0;

  constructor(readonly context: AnsweringContext, options: AnsweringOptions = {}) {
    const { now } = context;
    this.#metrics = context.metrics;
    this.#replies = new Replies(context, this.#read);
    this.#ups = new FairQueue({
      ...upBounds,
      slots: options.upsAtOnce ?? upsAtOnceDefault,
      deviceSlots: upsOfDevice,
      now,
    });
    this.#askLimit = new AskLimit(context.monotonicMs);
    const slots = options.asksAtOnce === undefined ? () => this.#askLimit.slots : options.asksAtOnce;
    this.#asks = new FairQueue({
      ...askBounds,
      slots,
      deviceSlots: () => Math.min(asksOfDevice, typeof slots === "number" ? slots : Math.ceil(slots() / 2)),
      now,
    });
  }

  /** A small read of the table took so long: see `ask_limit.ts`. */
  readTook(ms: number): void {
    this.#askLimit.took(ms, this.#asks.running);
  }

  /**
   * Handles a device's message; resolves when the broker has the answer, when the message was dropped, or when another
   * call gives the answer. Never rejects: a device that gets no answer sends again. The topic identifies the device,
   * never the message.
   *
   * @param bytes the message's size in memory, about
   * @param arrival what was known of the device as the message arrived, if that was not now
   */
  receive(deviceId: string, message: FromDevice, bytes = 1024, arrival?: Arrival): Promise<void> {
    this.#metrics.messagesReceived++;
    const { log, registry } = this.context, arrived = arrival ?? registry.arrival(deviceId);
    const work = new Work(deviceId, message, bytes, log.moment(), arrived, (work) => this.#handle(work));
    switch (message.type) {
      case "up":
        return this.#takeUp(work, message);
      case "sync":
        return this.#takeSyncWhenReady(work, message);
      case "ordered":
        return this.#takeAsk(work, message.order);
      default:
        return this.#takeAsk(work, message.request);
    }
  }

  /**
   * Answers a batch that can't be read as a whole: nothing of it was written, and its device sends it in halves, until
   * the faulty change is alone. Never rejects. If the device has too many messages waiting, the answer is left out:
   * when the batch comes again, it is refused again.
   */
  async refuse(deviceId: string, batch: string, reason: string): Promise<void> {
    this.#metrics.batchesRefused++;
    if (this.#tells >= tellsMax) return;
    this.#tells++;
    try {
      logger.warn("a batch of {deviceId} is refused: {reason}", { deviceId, reason });
      if (!await this.context.registry.identityOf(deviceId)) return;
      await this.#reply(deviceId, refusal(batch, reason, this.context.now()), false);
    } catch (error) {
      this.#metrics.messagesFailed++;
      logger.warn("the refusal of a batch of {deviceId} could not be sent: {error}", { deviceId, error });
    } finally {
      this.#tells--;
    }
  }

  /**
   * A batch that arrives again while it is being written is not written a second time: its answer is under way. With a
   * slow table, each repetition would slow down all batches, until only repetitions were written.
   */
  #takeUp(work: Work, up: Up): Promise<void> {
    const name = `${work.deviceId} ${up.batch}`, known = this.#batches.get(name);
    if (known) {
      this.#metrics.messagesRepeated++;
      // If it still waits for its turn, its newest transmission counts.
      if (up.sent > (known.message as Up).sent) known.message = up;
      // Without waiting, because a waiting message would take the room of others.
      return Promise.resolve();
    }
    this.#batches.set(name, work);
    return this.#take(this.#ups, work).finally(() => this.#batches.delete(name));
  }

  /** A shared read that takes a while is awaited without a slot. */
  #takeSyncWhenReady(work: Work, sync: Sync): Promise<void> {
    const { log, registry } = this.context, { deviceId, asked } = work;
    const accountId = registry.rememberedAccount(deviceId);
    const shared = sync.channels.flatMap(({ channel, snapshot }) => {
      const isOwn = channel === "global" || (accountId !== undefined && channel === `account:${accountId}`);
      return isOwn && !snapshot ? [channel] : [];
    });
    const ready = this.#parking.wait(deviceId, log.ready(shared, asked));
    return ready ? ready.then(() => this.#takeSync(work, sync)) : this.#takeSync(work, sync);
  }

  /**
   * Only one question waits for each channel of a device: the newest replaces the one before. A device without an
   * answer asks again, and answering each repetition would make all others wait longer.
   */
  #takeSync(work: Work, sync: Sync): Promise<void> {
    if (sync.later && this.#isBeingAnswered(work.deviceId, sync)) {
      this.#metrics.messagesRepeated++;
      return Promise.resolve();
    }
    let placed = false;
    for (const waiting of this.#asks.waitingOf(work.deviceId) as Work[]) {
      const { message, dear }: { message: FromDevice; dear: boolean } = waiting;
      if (message.type !== "sync") continue;
      const rest = withoutChannels(message, sync);
      if (rest === message) continue;
      if (rest) {
        const trimmed = new Work(work.deviceId, rest, waiting.bytes, waiting.asked, waiting.arrival, waiting.answer);
        if (trimmed.dear === dear) waiting.message = rest;
        continue;
      }
      this.#metrics.messagesRepeated++;
      const takesPlace: boolean = !placed && work.dear === dear;
      this.#asks.replace(waiting, takesPlace ? work : undefined);
      placed ||= takesPlace;
      waiting.end();
    }
    if (!placed) return this.#take(this.#asks, work);
    this.#tellWait(work, this.#asks.waitMs(work.dear));
    return work.done;
  }

  /** A question with this id already waits, or is being answered: it is not answered twice (sim: storm 7702847). */
  #takeAsk(work: Work, request: string): Promise<void> {
    const known = [...this.#asks.waitingOf(work.deviceId) as Work[], ...this.#asking.get(work.deviceId) ?? []];
    const same = known.some(({ message }) =>
      message.type === work.message.type && "request" in message && message.request === request
    );
    if (!same) return this.#take(this.#asks, work);
    this.#metrics.messagesRepeated++;
    return Promise.resolve();
  }

  /**
   * The answer that is being made serves this repetition as well. A question with another id is a new one, even with
   * the same cursors: the device was away meanwhile, and expects no earlier answer.
   */
  #isBeingAnswered(deviceId: string, sync: Sync): boolean {
    const running = [...this.#asking.get(deviceId) ?? []].map(({ message }) => message)
      .filter((message): message is Sync => message.type === "sync")
      .filter(({ request }) => request === sync.request);
    if (sync.channels.length === 0) return running.some(({ channels }) => channels.length === 0);
    const cursors = new Set(running.flatMap(({ channels }) => channels.map((cursor) => JSON.stringify(cursor))));
    return sync.channels.every((cursor) => cursors.has(JSON.stringify(cursor)));
  }

  #take(queue: FairQueue, work: Work): Promise<void> {
    const debtMs = this.#debtMs(work);
    if (debtMs > 0) {
      this.#metrics.messagesRefused++;
      this.#tell(work, Math.max(refusedMs, debtMs));
      return Promise.resolve();
    }
    const waitMs = queue.waitMs(work.dear);
    if (queue.push(work)) {
      this.#tellWait(work, waitMs);
      return work.done;
    }
    this.#metrics.messagesRefused++;
    this.#tell(work, Math.max(refusedMs, waitMs));
    return Promise.resolve();
  }

  #debtMs({ deviceId, message }: Work): number {
    const now = this.context.now(), readMs = this.#read.waitMs(deviceId, now);
    // A device's batch waits only for reads that the device itself caused.
    return message.type === "up" ? readMs : Math.max(this.#answered.waitMs(deviceId, now), readMs);
  }

  #tellWait(work: Work, waitMs: number): void {
    if (waitMs > patienceMs && work.message.type !== "up") this.#tell(work, waitMs * slack + slackMs);
  }

  /**
   * Tells a device when to ask again, if it understands that; otherwise it gets no answer, and asks again by itself.
   */
  #tell({ deviceId, message }: Work, afterMs: number): void {
    const answer = this.#later(message, Math.ceil(afterMs * (1 + this.context.random() / 2)));
    if (!answer || this.#tells >= tellsMax) return;
    // The registry is not read: a thousand devices at once would cause as many reads ahead of live work. A client that
    // is not a device cannot read such a topic, or waits in vain.
    if (!this.context.registry.mayExist(deviceId)) return;
    this.#tells++;
    this.#metrics.messagesDelayed++;
    this.#reply(deviceId, answer, false)
      .catch((error) => logger.debug("{deviceId} could not be told to wait: {error}", { deviceId, error }))
      .finally(() => this.#tells--);
  }

  #later(message: FromDevice, afterMs: number): FromCloud | undefined {
    const time = this.context.now();
    if (message.type === "up") return { ...throttledAck(message, time), afterMs };
    const reads = "later" in message && message.later === 1;
    return reads ? { type: "later", request: message.request, afterMs, time } : undefined;
  }

  async #handle(work: Work): Promise<{ after?: Promise<void> }> {
    const { deviceId, message, arrival } = work, { registry } = this.context;
    const end = message.type === "up" ? undefined : this.#begin(work);
    try {
      const identity = await registry.identityAt(deviceId, arrival);
      if (!identity) {
        this.#metrics.messagesUnknown++;
        logger.warn("a message of {deviceId} was dropped: there is no such device, or its name was given again since", {
          deviceId,
        });
        return {};
      }
      const deflate = "z" in message && message.z === 1;
      for (const answer of await this.#replies.to(identity, work)) await this.#reply(deviceId, answer, deflate);
      return { after: this.#note(deviceId, message) };
    } catch (error) {
      this.#metrics.messagesFailed++;
      logger.warn("a message {type} of {deviceId} could not be answered: {error}", {
        type: message.type,
        deviceId,
        error,
      });
      return {};
    } finally {
      end?.();
    }
  }

  /**
   * Notes that the device is active: at its syncs, each of which goes to one worker, so that the number of writes does
   * not depend on the number of workers. Not while others wait for answers: it is only for people.
   */
  #note(deviceId: string, { type }: FromDevice): Promise<void> | undefined {
    if (type !== "sync" || this.#asks.waiting > 0) return undefined;
    return this.#noteNow(deviceId).catch((error) =>
      logger.warn("the activity of {deviceId} could not be noted: {error}", { deviceId, error })
    );
  }

  async #noteNow(deviceId: string): Promise<void> {
    if (await this.context.registry.touch(deviceId)) await this.context.orders.deliver(deviceId);
    await this.context.spread.keep();
  }

  /** Registers a question that is being answered; the returned function ends that. */
  #begin(work: Work): () => void {
    const { deviceId } = work, running = this.#asking.get(deviceId) ?? new Set();
    this.#asking.set(deviceId, running.add(work));
    return () => {
      running.delete(work);
      if (running.size === 0) this.#asking.delete(deviceId);
    };
  }

  async #reply(deviceId: string, message: FromCloud, deflate: boolean): Promise<void> {
    try {
      const bytes = await this.context.publisher.publish({ device: deviceId }, message, { deflate });
      if (typeof bytes === "number") this.#answered.take(deviceId, bytes, this.context.now());
      this.#metrics.messagesPublished++;
    } catch (error) {
      // Not retried here: the device asks again, and an answer only fits its question.
      this.#metrics.publishFailed++;
      throw error;
    }
  }
}
