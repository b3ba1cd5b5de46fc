/**
 * Telling one receiver: from its queue, in order per item, up to {@link atOnce} items at a time, each event until it is taken.
 *
 *     read ─▶ by item, one after the other ─▶ send ─taken─▶ the whole entry done ─▶ deleted
 *                                              ▲  │
 *                 wait, longer each time ◀──────┴──┘ not taken
 *
 * - A receiver that has failed {@link downAfter} times in a row is **down**: one event at a time tries again, after longer and
 *   longer waits up to a minute or as long as it asks for. One line in the log says when that begins, one when it ends.
 * - An event that it does not want, or that has failed {@link triesMax} times with others taken in between, is given up, counted
 *   and told: it must not hold up what comes after it on its item for ever.
 * - While it stays down, entries wait for 7 days and so many at most; beyond, the oldest are given up and counted.
 *
 * Entries are deleted only then: whatever crashes, what was not taken is sent, and what was taken may come again.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import { backoffMs } from "../../protocol/backoff.ts";
import { SyncError } from "../../schema/errors.ts";
import { Semaphore } from "../sync/bounded.ts";
import type { ChangeEvent } from "./event.ts";
import { keptMs, type NotifyQueue, type QueueEntry } from "./outbox.ts";
import { NotTaken, type Receiver, timeoutMs } from "./receivers.ts";

/** What a delivery works with. */
export interface DeliveryContext {
  readonly queue: NotifyQueue;
  readonly receiver: Receiver;
  readonly now: () => number;
  readonly random: () => number;
  readonly pause: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Entries that may wait for a receiver; default 10,000, each of 100 events at most. */
  readonly entriesMax?: number;
}

/** Items that are told of at once. */
const atOnce = 8;
/** Entries in memory: some 50 KB each. */
const windowMax = 50;
const downAfter = 3, triesMax = 20, unwantedTries = 3;
const wait = { firstMs: 1_000, maxMs: 60_000 };
/** How long an empty queue is left alone; an append in this process wakes it. */
const pollMs = 1_000;
const backlogEveryMs = 60_000;
/** What is under way when a worker ends may take so long. */
const closeMs = 2_000;
const logger = new Log("notify");

interface Taking {
  readonly entry: QueueEntry;
  left: number;
  /** Given up as a whole. */
  dropped?: true;
}

/** What has happened since the start. */
export interface DeliveryCounters {
  /** Events that were taken. */
  delivered: number;
  /** Attempts that failed. */
  failed: number;
  /** Events that were given up: the receiver did not want them. */
  refused: number;
  /** Events that were given up: they waited for too long, or too many did. */
  dropped: number;
}

/** See the module. One at a time for a receiver: its caller holds a lease. */
export class Delivery {
  readonly counters: DeliveryCounters = { delivered: 0, failed: 0, refused: 0, dropped: 0 };
  readonly #context: DeliveryContext;
  readonly #window = new Map<number, Taking>();
  readonly #items = new Map<string, Promise<void>>();
  readonly #done: QueueEntry[] = [];
  readonly #room = new Semaphore(atOnce);
  #readTo = 0;
  #failures = 0;
  #downSinceMs: number | undefined;
  #pauseUntilMs = 0;
  #probe: Promise<void> | undefined;
  #backlogAtMs = -Infinity;
  #wake = new AbortController();

  constructor(context: DeliveryContext) {
    this.#context = context;
  }

  /** How old the oldest event is that waits, ms; undefined: none is known to. */
  get oldestMs(): number | undefined {
    const first = this.#window.values().next().value;
    return first && Math.max(0, this.#context.now() - first.entry.atMs);
  }

  /** There is something in the queue. */
  wake(): void {
    this.#wake.abort();
  }

  /** Tells, until the signal aborts. @throws SyncError where the table fails */
  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController(),
      end = () => {
        stop.abort();
        this.wake();
      };
    signal.addEventListener("abort", end, { once: true });
    try {
      while (!signal.aborted) {
        const wake = this.#wake = new AbortController();
        await this.#remove();
        const isFull = this.#window.size >= windowMax, more = isFull ? 0 : await this.#read(stop.signal);
        if (this.#window.size > 0) await this.#limitBacklog();
        if (more === 0 && this.#done.length === 0 && !signal.aborted) await this.#context.pause(pollMs, wake.signal);
      }
    } finally {
      signal.removeEventListener("abort", end);
      end();
      await Promise.all(this.#items.values());
      await this.#remove().catch((error) => logger.debug("events that were taken come again: {error}", { error }));
      // What is left is read again by whoever comes next.
      this.#window.clear();
      this.#done.length = 0;
      this.#readTo = 0;
    }
  }

  async #read(signal: AbortSignal): Promise<number> {
    // An empty queue's numbers begin anew.
    if (this.#window.size === 0) this.#readTo = 0;
    const entries = await this.#context.queue.read(this.#readTo, windowMax - this.#window.size);
    for (const entry of entries) {
      this.#readTo = entry.number;
      const taking: Taking = { entry, left: entry.events.length };
      this.#window.set(entry.number, taking);
      for (const text of entry.events) this.#follow(taking, text, signal);
    }
    return entries.length;
  }

  /** After the item's event before. */
  #follow(taking: Taking, text: string, signal: AbortSignal): void {
    const { subject } = JSON.parse(text) as ChangeEvent;
    const own: Promise<void> = (this.#items.get(subject) ?? Promise.resolve())
      .then(() => this.#tell(taking, text, signal))
      .then((isDone) => {
        if (isDone && --taking.left === 0) {
          this.#done.push(taking.entry);
          this.wake();
        }
        if (this.#items.get(subject) === own) this.#items.delete(subject);
      });
    this.#items.set(subject, own);
  }

  /** Whether the event is over with: taken, or given up. False where the signal aborted first. */
  async #tell(taking: Taking, text: string, signal: AbortSignal): Promise<boolean> {
    const { random, pause } = this.#context;
    // Failures with something taken since the one before: those of an outage say nothing of this event.
    let own = 0, delivered = this.counters.delivered;
    for (let tries = 1; !signal.aborted; tries++) {
      if (taking.dropped) return true;
      if (this.#isOver(taking)) {
        this.counters.dropped++;
        return true;
      }
      const fault = await this.#attempt(taking, text, signal);
      if (!fault) return true;
      if (signal.aborted || this.#isOver(taking)) continue;
      if (this.counters.delivered > delivered) own++;
      delivered = this.counters.delivered;
      if (fault.retryable ? own >= triesMax : tries >= unwantedTries) return this.#giveUp(text, fault);
      await pause(fault.afterMs ?? backoffMs(tries - 1, random, wait), signal);
    }
    return false;
  }

  /** Given up with its entry, or has waited for too long: it takes no turn of those that still can be told. */
  #isOver({ dropped, entry }: Taking): boolean {
    return dropped === true || this.#context.now() - entry.atMs > keptMs;
  }

  #giveUp(text: string, error: NotTaken): true {
    this.counters.refused++;
    const { id, subject } = JSON.parse(text) as ChangeEvent;
    logger.error("{receiver} does not take the event {id} of {subject}, which is given up: {error}", {
      ...{ receiver: this.#context.receiver.name, id, subject, error },
    });
    return true;
  }

  /** One attempt, when it is this event's turn; why it failed. While the receiver is down one at a time tries. */
  async #attempt(taking: Taking, text: string, signal: AbortSignal): Promise<NotTaken | undefined> {
    const isWanted = () => !signal.aborted && !this.#isOver(taking);
    while (isWanted()) {
      if (this.#probe) await this.#probe;
      else if (this.#downSinceMs !== undefined) {
        const outcome = await this.#tryAlone(text, signal, isWanted);
        if (outcome) return outcome.fault;
      } else {
        // While this one waited for room others may have found it down, or the worker ends.
        const isTurn = () => this.#downSinceMs === undefined && isWanted();
        const outcome = await this.#room.run(async () =>
          isTurn() ? { fault: await this.#send(text, signal) } : undefined
        );
        if (outcome) return outcome.fault;
      }
    }
    return new NotTaken("it is not sent any more", true);
  }

  async #tryAlone(
    text: string,
    signal: AbortSignal,
    isWanted: () => boolean,
  ): Promise<{ fault: NotTaken | undefined } | undefined> {
    const ended = Promise.withResolvers<void>();
    this.#probe = ended.promise;
    try {
      await this.#context.pause(this.#pauseUntilMs - this.#context.now(), signal);
      return isWanted() ? { fault: await this.#send(text, signal) } : undefined;
    } finally {
      this.#probe = undefined;
      ended.resolve();
    }
  }

  async #send(text: string, signal: AbortSignal): Promise<NotTaken | undefined> {
    const late = new AbortController(), end = () => late.abort(new Error("no answer within so long"));
    let timer = setTimeout(end, timeoutMs);
    // What is under way is let end, so that it need not be sent again.
    const abort = () => {
      clearTimeout(timer);
      timer = setTimeout(end, closeMs);
    };
    signal.addEventListener("abort", abort, { once: true });
    try {
      await this.#context.receiver.send(text, late.signal);
      this.counters.delivered++;
      this.#isUp();
      return undefined;
    } catch (error) {
      const fault = error instanceof NotTaken
        ? error
        : new NotTaken("it could not be sent", true, undefined, { cause: error });
      if (signal.aborted) return fault;
      this.counters.failed++;
      if (fault.retryable) this.#isDown(fault);
      else this.#isUp();
      return fault;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
  }

  #isUp(): void {
    if (this.#downSinceMs !== undefined) {
      const seconds = Math.round((this.#context.now() - this.#downSinceMs) / 1000);
      logger.info("{receiver} takes events again, after {seconds} s and {failures} attempts", {
        ...{ receiver: this.#context.receiver.name, seconds, failures: this.#failures },
      });
    }
    this.#failures = 0;
    this.#downSinceMs = undefined;
  }

  #isDown(error: NotTaken): void {
    const { now, random, receiver } = this.#context;
    if (++this.#failures < downAfter) return;
    this.#pauseUntilMs = now() + (error.afterMs ?? backoffMs(this.#failures - downAfter, random, wait));
    if (this.#downSinceMs !== undefined) return;
    this.#downSinceMs = now();
    logger.warn("{receiver} takes no events, which wait: {error}", { receiver: receiver.name, error });
  }

  async #remove(): Promise<void> {
    const done = this.#done.splice(0);
    if (done.length === 0) return;
    try {
      await this.#context.queue.remove(done);
      for (const { number } of done) this.#window.delete(number);
    } catch (error) {
      // Taken and still there: deleted with the next ones, or sent once more after a crash.
      this.#done.push(...done);
      throw error;
    }
  }

  /** Gives up the oldest where too many wait. */
  async #limitBacklog(): Promise<void> {
    const { queue, now, entriesMax = 10_000, receiver } = this.#context;
    if (now() - this.#backlogAtMs < backlogEveryMs) return;
    this.#backlogAtMs = now();
    const last = await queue.last();
    for (let cut = 0; cut < last;) {
      const [first] = await queue.read(0, 1);
      if (!first || last - first.number < entriesMax) return;
      cut = last - entriesMax;
      const old = (await queue.read(0, windowMax)).filter(({ number }) => number <= cut);
      await queue.remove(old);
      for (const entry of old) {
        const taking = this.#window.get(entry.number);
        this.counters.dropped += taking?.left ?? entry.events.length;
        if (taking) taking.dropped = true;
      }
      logger.error("{receiver}: {count} entries of events are given up, the oldest of those that wait", {
        ...{ receiver: receiver.name, count: old.length },
      });
    }
  }
}

/** Whether the table, and not a receiver, failed. */
export function isTableFault(error: unknown): error is SyncError {
  return error instanceof SyncError && !(error instanceof NotTaken);
}
