/**
 * Answering devices: takes each message, does what it asks for and publishes the answer to the device. A bad message is
 * counted and logged, and delays nothing but itself.
 *
 * Batches (`up`) and questions (everything else) wait in queues of their own, each fair by device: a fleet that catches up
 * does not hold up those who are connected and write. Who will wait for long is told so, where it understands that.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type {
  Ack,
  Compare,
  Fetch,
  FromCloud,
  FromDevice,
  Ordered,
  Probe,
  Refused,
  Sync,
  Up,
  Verified,
} from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Identity } from "../../schema/model.ts";
import { answerFetch, answerSync, type CatchUpContext } from "./catch_up.ts";
import { answerCompare, answerProbe } from "./compare.ts";
import { ingest, throttledAck } from "./ingest.ts";
import type { Publisher } from "../publishers/port.ts";
import type { Item } from "../../schema/values.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import { AskLimit } from "./ask_limit.ts";
import { Budget, type Rate } from "../budget.ts";
import { FairQueue, type Task } from "./fair_queue.ts";
import type { ChannelLog } from "./channel_log.ts";
import type { Orders } from "./orders.ts";
import { Parking } from "./parking.ts";
import type { Moment } from "./shared_read.ts";
import type { Spread } from "./spread.ts";
import type { Counters } from "./metrics.ts";
import type { Observer } from "./observer.ts";
import type { Registry } from "./registry.ts";
import type { DataTable } from "../table/port.ts";

/** What answering devices needs. */
export interface AnsweringContext extends CatchUpContext {
  readonly data: DataTable;
  readonly log: CatchUpContext["log"] & Pick<ChannelLog, "moment" | "ready">;
  readonly registry: Registry;
  readonly publisher: Publisher;
  readonly metrics: Counters;
  readonly orders: Pick<Orders, "answered" | "deliver">;
  readonly spread: Pick<Spread, "keep">;
  readonly observer: Observer;
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

/** As many as DynamoDB's client sends requests at once. */
const upsAtOnceDefault = 32;
/** Of one device: its window; a question for each channel, and no more than half of the slots. Others find some that are free. */
const upsOfDevice = 4, asksOfDevice = 3;
/** A device has four batches in flight; more wait only where it sends again and again. Bytes: all of them large. */
const upBounds = { deviceTasksMax: 64, deviceBytesMax: 8 * 1024 * 1024, tasksMax: 20_000, bytesMax: 12 * 1024 * 1024 };
/** A question for each channel, a fetch and a comparison; some 500 bytes each. */
const askBounds = { deviceTasksMax: 8, deviceBytesMax: 256 * 1024, tasksMax: 20_000, bytesMax: 8 * 1024 * 1024 };
/** Bytes of answers to one device, as they travel: compressed pages of 100 KB are some 200 a second. */
const answeredRate: Rate = { perSecond: 2 * 1024 * 1024, burst: 8 * 1024 * 1024 };
/**
 * Bytes of items that are read for one device. A snapshot takes what it needs; what is asked by key or to be compared is asked
 * seldom, and counts so many times: comparing takes longer than sending.
 */
const readRate: Rate = { perSecond: 16 * 1024 * 1024, burst: 64 * 1024 * 1024 }, askFactor = 8, refusedFactor = 16;
/** Who waits for longer is told how long: well below the 5 s after which a device asks again. */
const patienceMs = 2_500;
/** What is said of a wait is no promise: it may take twice as long. */
const slack = 2, slackMs = 5_000;
/** Who found no room comes back after a second at least. */
const refusedMs = 1_000;
/** Devices that are told at once that they must wait; beyond, they are not told. */
const tellsMax = 256;
const logger = new Log("cloud");

/** A message that waits for its turn, or is being answered. */
class Work implements Task {
  readonly #done = Promise.withResolvers<void>();
  /** Resolves when the message is answered, or another has taken its place. */
  readonly done: Promise<void> = this.#done.promise;

  constructor(
    readonly deviceId: string,
    public message: FromDevice,
    readonly bytes: number,
    readonly asked: Moment,
    readonly answer: (work: Work) => Promise<{ after?: Promise<void> }>,
  ) {}

  /** Snapshots and comparisons read all that there is of a channel; everything else what has changed. */
  get dear(): boolean {
    const { message } = this;
    if (message.type === "sync") return message.channels.some(({ seq, snapshot }) => snapshot || seq === undefined);
    return message.type === "compare" || message.type === "probe";
  }

  /** `done` waits for what is left to do after the answer; the next message does not. */
  async run(): Promise<void> {
    const { after } = await this.answer(this);
    if (after) after.finally(() => this.end());
    else this.end();
  }

  end(): void {
    this.#done.resolve();
  }
}

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
  readonly #syncing = new Map<string, Set<Work>>();
  /** What devices were answered of late: who has had much waits for more. */
  readonly #answered = new Budget(answeredRate);
  /** What was read of the table for their questions. */
  readonly #read = new Budget(readRate);
  #tells = 0;

  constructor(readonly context: AnsweringContext, options: AnsweringOptions = {}) {
    const { now } = context;
    this.#metrics = context.metrics;
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
   * Handles a device's message; resolves when the answer is with the broker, was given up, or is another's to give. Never
   * rejects: a device that gets no answer sends again. The device is who the topic says, never what the message says.
   *
   * @param bytes the message's size in memory, about
   */
  receive(deviceId: string, message: FromDevice, bytes = 1024): Promise<void> {
    this.#metrics.messagesReceived++;
    const work = new Work(deviceId, message, bytes, this.context.log.moment(), (work) => this.#handle(work));
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
   * Answers a batch that can't be read as a whole: nothing of it was written, and its device sends it in halves, until the
   * change that is at fault stands alone. Never rejects. Of a device that has too much waiting it is left out: sent again,
   * the batch is refused again.
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
   * A batch that comes again while it is being written is not written twice at once: its answer is on its way. With a slow
   * table each repetition would make all of them slower, until nothing but repetitions were written.
   */
  #takeUp(work: Work, up: Up): Promise<void> {
    const name = `${work.deviceId} ${up.batch}`, known = this.#batches.get(name);
    if (known) {
      this.#metrics.messagesRepeated++;
      // One that still waits for its turn is as old as its newest transmission.
      if (up.sent > (known.message as Up).sent) known.message = up;
      // At once: whoever waited for it would have no room for others.
      return Promise.resolve();
    }
    this.#batches.set(name, work);
    return this.#take(this.#ups, work).finally(() => this.#batches.delete(name));
  }

  /** What many read together is waited for without a slot, if it takes a while. */
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
   * One waiting question for each channel of a device: the newest, in the place of the one before. A device that hears
   * nothing asks again, and each repetition that is worked through makes all the others wait for longer.
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
        const trimmed = new Work(work.deviceId, rest, waiting.bytes, waiting.asked, waiting.answer);
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

  /** A question that waits already, under this id, is not asked twice. */
  #takeAsk(work: Work, request: string): Promise<void> {
    const same = (this.#asks.waitingOf(work.deviceId) as Work[]).some(({ message }) =>
      message.type === work.message.type && "request" in message && message.request === request
    );
    if (!same) return this.#take(this.#asks, work);
    this.#metrics.messagesRepeated++;
    return Promise.resolve();
  }

  /**
   * The answer that is being made serves this question as well: it is the same, asked again. One of another id is a new
   * one (the device was away meanwhile, and waits for no answer from before), though its cursors are the same.
   */
  #isBeingAnswered(deviceId: string, sync: Sync): boolean {
    const running = [...this.#syncing.get(deviceId) ?? []].map(({ message }) => message as Sync)
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
    // What a device writes waits for what it made the cloud read alone.
    return message.type === "up" ? readMs : Math.max(this.#answered.waitMs(deviceId, now), readMs);
  }

  #tellWait(work: Work, waitMs: number): void {
    if (waitMs > patienceMs && work.message.type !== "up") this.#tell(work, waitMs * slack + slackMs);
  }

  /** Tells a device when to ask again, if it understands that. Who asks in vain hears nothing, and asks again by itself. */
  #tell({ deviceId, message }: Work, afterMs: number): void {
    const answer = this.#later(message, Math.ceil(afterMs * (1 + this.context.random() / 2)));
    if (!answer || this.#tells >= tellsMax) return;
    // Not looked up: a thousand who come at once would be as many reads before everything that is live. Somebody who is no
    // device hears nothing on such a topic, or waits for what does not come.
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
    const { deviceId, message } = work, { registry } = this.context;
    const end = message.type === "sync" ? this.#begin(work) : undefined;
    try {
      const identity = await registry.identityOf(deviceId);
      if (!identity) {
        this.#metrics.messagesUnknown++;
        logger.warn("a message of the unknown device {deviceId} was dropped", { deviceId });
        return {};
      }
      const deflate = "z" in message && message.z === 1;
      for (const answer of await this.#answer(identity, work)) await this.#reply(deviceId, answer, deflate);
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
   * Notes that the device was heard of: with its syncs, of which each goes to one worker, so that it is written as often
   * however many there are. Not while others wait for answers: it is for people to look at.
   */
  #note(deviceId: string, { type }: FromDevice): Promise<void> | undefined {
    if (type !== "sync" || this.#asks.waiting > 0) return undefined;
    return this.#noteNow(deviceId).catch((error) =>
      logger.warn("that {deviceId} was heard of could not be noted: {error}", { deviceId, error })
    );
  }

  async #noteNow(deviceId: string): Promise<void> {
    if (await this.context.registry.touch(deviceId)) await this.context.orders.deliver(deviceId);
    await this.context.spread.keep();
  }

  /** Notes a sync that is being answered; what it returns ends that. */
  #begin(work: Work): () => void {
    const { deviceId } = work, running = this.#syncing.get(deviceId) ?? new Set();
    this.#syncing.set(deviceId, running.add(work));
    return () => {
      running.delete(work);
      if (running.size === 0) this.#syncing.delete(deviceId);
    };
  }

  #answer(identity: Identity, { message, asked }: Work): Promise<FromCloud[]> {
    switch (message.type) {
      case "up":
        return this.#ingest(identity, message);
      case "sync":
        return this.#sync(identity, message, asked);
      case "fetch":
        return this.#fetch(identity, message);
      case "compare":
        return this.#compare(identity, message);
      case "probe":
        return this.#probe(identity, message);
      case "verified":
        return this.#verified(identity, message);
      case "ordered":
        return this.#ordered(identity, message);
    }
  }

  async #ingest(identity: Identity, up: Up): Promise<FromCloud[]> {
    const { schema, data, now } = this.context;
    this.#metrics.changesReceived += up.changes.length;
    try {
      const accountOf = async (deviceId: string) => (await this.context.registry.identityOf(deviceId))?.accountId;
      const ack = await ingest({ schema, tables: { data }, now, accountOf }, identity, up);
      const brought = ack.answers.flatMap(({ current, over }) =>
        [current, over].flatMap((one) => one ? [one.item] : [])
      );
      const bytes = brought.reduce((sum, item) => sum + itemSizeBytes(item), 0);
      if (bytes > 0) this.#read.take(identity.deviceId, bytes * refusedFactor, now());
      this.#metrics.changesRefused += ack.answers.filter(({ code }) => code !== "ok").length;
      this.#tellAnswers(up, ack);
      this.context.observer.acknowledged(identity, up, ack);
      return [ack];
    } catch (error) {
      const { deviceId } = identity;
      // What a table answers (it is away, it throttles, credentials have expired) says nothing of the changes: they could not
      // be tried. Anything else is a fault that this batch brought about; in halves the change that does it is found.
      if (error instanceof SyncError) {
        this.#metrics.messagesFailed++;
        logger.warn("a batch of {deviceId} waits: {error}", { deviceId, error });
        return [throttledAck(up, now())];
      }
      this.#metrics.batchesRefused++;
      logger.error("a batch of {deviceId} is refused: {error}", { deviceId, error });
      return [refusal(up.batch, `the cloud can't handle it: ${(error as Error)?.message ?? error}`, now())];
    }
  }

  /** An ack names what is not plainly `ok`. */
  #tellAnswers({ changes }: Up, { answers }: Ack): void {
    const codes = new Map(answers.map(({ at, code }) => [at, code]));
    changes.forEach(({ model }, at) => {
      // A name that the schema lacks is the sender's own invention: it must not become a time series.
      const known = this.context.schema.models.has(model) ? model : "";
      this.context.observer.answered(known, codes.get(at) ?? "ok");
    });
  }

  async #sync(identity: Identity, sync: Sync, asked: Moment): Promise<FromCloud[]> {
    const { messages, ignored } = await answerSync({ ...this.#reading(identity, 1), asked }, identity, sync);
    this.#metrics.channelsIgnored += ignored;
    return messages;
  }

  async #fetch(identity: Identity, fetch: Fetch): Promise<FromCloud[]> {
    return [await answerFetch(this.#reading(identity, askFactor), identity, fetch)];
  }

  async #compare(identity: Identity, compare: Compare): Promise<FromCloud[]> {
    const answer = await answerCompare(this.#reading(identity, askFactor), identity, compare);
    if (answer) return [answer];
    this.#metrics.channelsIgnored++;
    return [];
  }

  async #probe(identity: Identity, probe: Probe): Promise<FromCloud[]> {
    return [await answerProbe(this.#reading(identity, askFactor), identity, probe)];
  }

  async #verified({ deviceId }: Identity, { request, report }: Verified): Promise<FromCloud[]> {
    await this.context.registry.keepReport(deviceId, request, report);
    return [];
  }

  async #ordered({ deviceId }: Identity, message: Ordered): Promise<FromCloud[]> {
    await this.context.orders.answered(deviceId, message);
    return [];
  }

  /** The context, whose reads come out of the device's budget. */
  #reading({ deviceId }: Identity, factor: number): CatchUpContext {
    const { data, now } = this.context;
    const note = (items: readonly (Item | undefined)[]) => {
      const bytes = items.reduce((sum, item) => sum + (item ? itemSizeBytes(item) : 0), 0);
      if (bytes > 0) this.#read.take(deviceId, bytes * factor, now());
    };
    return {
      ...this.context,
      data: {
        async get(keys) {
          const items = await data.get(keys);
          note(items);
          return items;
        },
        async query(query) {
          const page = await data.query(query);
          note(page.items);
          return page;
        },
      },
    };
  }

  async #reply(deviceId: string, message: FromCloud, deflate: boolean): Promise<void> {
    try {
      const bytes = await this.context.publisher.publish({ device: deviceId }, message, { deflate });
      if (typeof bytes === "number") this.#answered.take(deviceId, bytes, this.context.now());
      this.#metrics.messagesPublished++;
    } catch (error) {
      // Not repeated here: the device asks again, and an answer is only good for its question.
      this.#metrics.publishFailed++;
      throw error;
    }
  }
}

/** Reasons may quote what a device sent: they are cut. */
const reasonLengthMax = 500;

function refusal(batch: string, reason: string, time: number): Refused {
  return { type: "refused", batch, time, reason: reason.slice(0, reasonLengthMax) };
}

/** What is left of a waiting sync when another asks anew: itself, fewer channels, or nothing. */
function withoutChannels(waiting: Sync, asked: Sync): Sync | undefined {
  if (waiting.channels.length === 0) return asked.channels.length === 0 ? undefined : waiting;
  const names = new Set(asked.channels.map(({ channel }) => channel));
  const channels = waiting.channels.filter(({ channel }) => !names.has(channel));
  if (channels.length === waiting.channels.length) return waiting;
  return channels.length > 0 ? { ...waiting, channels } : undefined;
}
