/**
 * The agent's sync logic as one state machine: uplink, downlink and clock over a store and a transport. It does nothing
 * by itself: its caller reports connections, messages, local commits and the passing of time, and it returns when it
 * must be called next. The shell (`agent.ts`) and the simulation drive it in the same way.
 *
 * Connecting, in order: ask for every channel; with the first answer, the cloud's time is known, and models that only
 * sync up are sent; when all channels are caught up, resend what is in flight, then send what is new.
 *
 * Any failure in a transaction (disk full, I/O error, busy) leaves the database as it was; the twin then reloads its
 * memory from it, exactly as after a restart. There is no other error path.
 *
 * @module
 */
import type { Changes, FromCloud, FromDevice, Order } from "../protocol.ts";
import { SyncError } from "../schema.ts";
import { tellApplied } from "./sync/answers.ts";
import { Capacity } from "./upkeep/capacity.ts";
import type { AppliedChange, Context, Limits } from "./sync/context.ts";
import { learnTime } from "./sync/cloud_time.ts";
import { Downlink } from "./sync/downlink.ts";
import { Facts } from "./upkeep/facts.ts";
import { ListCheck } from "./sync/list_check.ts";
import type { Clock, Transport } from "./ports.ts";
import { complaintsText } from "./store/damage.ts";
import { backoffMs } from "../protocol/backoff.ts";
import type { Store } from "./store/store.ts";
import { asideRetryFact } from "./store/tables.ts";
import type { UpTopic } from "./sync/silence.ts";
import { Orders } from "./upkeep/orders.ts";
import { tableEpochOf } from "./sync/restores.ts";
import { Tells } from "./sync/tells.ts";
import { Uplink } from "./sync/uplink.ts";
import { Verify } from "./verify/verify.ts";
import { askVerify } from "./verify/report.ts";
import { newContext } from "./new_context.ts";
import { Upkeep } from "./upkeep/upkeep.ts";

/** The clock is checked at least this often, so that a jump is noticed before much is recorded with it. */
const clockCheckMs = 1_000;
/** Within this time after learning that the cloud has another schema, a device asks what that schema sends down. */
const hearAgainMs = 60_000;
/** The pause between portions of an order, so that other work has its turn. */
const orderStepMs = 100;
/** Rarely: if the broker still does not forward the item, the question holds up others for half a minute. */
const unreadMs = 3_600_000;

/** What a twin is made of. */
export interface TwinOptions {
  readonly store: Store;
  readonly transport: Pick<Transport, "send" | "tell" | "rotation">;
  readonly clock: Clock;
  /** A number in [0, 1). */
  readonly random: () => number;
  readonly limits?: Partial<Limits>;
  /** Changes from the cloud, after they are committed. */
  readonly onApplied?: (changes: readonly AppliedChange[]) => void;
  /** A fault of the store: the twin has recovered from it, or continues trying. */
  readonly onFault?: (error: unknown) => void;
}

/** One device's sync. Calls must not overlap; none blocks. */
export class Twin {
  readonly context: Context;
  readonly uplink: Uplink;
  readonly downlink: Downlink;
  #connected = false;
  #applied: AppliedChange[] = [];
  #outgoing: FromDevice[] = [];
  #nextSyncMs = Infinity;
  /** When unreadable items are asked for again, in addition to each connect. */
  #nextUnreadMs = 0;
  /** After a fault: no new try before this time. */
  #pausedUntilMs = 0;
  #faults = 0;
  /** After a fault, the in-memory state has not been reloaded from the database yet. */
  #unread = false;
  /** The agent's facts for `_status`. */
  readonly facts: Facts;
  readonly capacity: Capacity;
  readonly verify: Verify;
  readonly listCheck: ListCheck;
  /** The cloud's last request for a verification: a message may come twice. */
  #lastVerify: string | undefined;
  /** The last known fingerprint of the cloud's schema. */
  #cloudSchema: string | undefined;
  readonly #upkeep: Upkeep;
  readonly #tells: Tells;
  readonly #orders: Orders;
  /** Orders that have arrived and are not accepted yet: they must not start inside the transaction of their message. */
  readonly #ordered: Order[] = [];

  constructor(readonly options: TwinOptions) {
    const { store } = options;
    this.facts = new Facts(store);
    this.context = newContext(options, this.facts, {
      send: (message) => this.#send(message),
      applied: (change) => void this.#applied.push(change),
    });
    const { clock, problems } = this.context;
    if (store.complaints.length > 0) {
      problems.raise(
        "contents",
        `SQLite complains about the content of the database: ${complaintsText(store.complaints)}`,
      );
    }
    this.context.inFlight.restart();
    this.context.waits.restart();
    this.#restartOutbox();
    this.uplink = new Uplink(this.context);
    this.downlink = new Downlink(this.context);
    this.verify = new Verify(this.context, this.downlink);
    this.listCheck = new ListCheck(this.context, this.downlink);
    this.capacity = new Capacity(this.context);
    this.#upkeep = new Upkeep(this.context, this.facts, this.capacity, {
      restartOutbox: () => this.#restartOutbox(),
      retryAsked: () => this.#retryAsked(),
      retryAsides: () => this.#retryAsides(),
      onFault: (error) => options.onFault?.(error),
    });
    this.#orders = new Orders({
      store,
      nowMs: () => store.now(),
      monotonicMs: () => clock.monotonicMs(),
      tell: (ordered) => void this.#send(ordered),
      resync: () => this.downlink.connected(),
      arrived: () => this.#connected && this.downlink.arrived,
      noticeVerify: () => this.verify.notice(),
      wrote: () => this.uplink.pump(),
      rotation: () => options.transport.rotation,
    });
    this.#tells = new Tells(
      () => clock.monotonicMs(),
      () => this.downlink.cursors(),
      (at) => options.transport.tell?.(at) ?? false,
    );
    this.#recordConnection(false);
  }

  /** The last error since the link came up; undefined: none. */
  get lastError(): string | undefined {
    return this.facts.get("lastError") as string | undefined;
  }

  #restartOutbox(): void {
    this.context.outbox.restart(this.context.inFlight.entries(), this.context.waits.numbers);
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Nothing is pending, in flight or to be fetched, and every channel is caught up. */
  get settled(): boolean {
    return this.#connected && this.downlink.caughtUp && this.drained && !this.context.records.unfetched;
  }

  /** Every local change is acknowledged. */
  get drained(): boolean {
    return this.context.inFlight.batches.size === 0 && this.context.outbox.empty;
  }

  /** Messages that a step sends go out after its transaction is committed: persist before sending. */
  #send(message: FromDevice): boolean {
    if (!this.#connected) return false;
    this.#outgoing.push(message);
    return true;
  }

  /** The link is up and subscribed. */
  onConnected(): void {
    this.#connected = true;
    this.facts.error(undefined, 0);
    this.#guard(() => {
      this.uplink.caughtUp = false;
      this.uplink.connected();
      this.downlink.connected();
      this.#planSync();
    });
    this.#recordConnection(true);
  }

  /** The broker refused what was sent, and said why (MQTT 5). */
  onRefused(topic: UpTopic, reason: string): void {
    this.uplink.silence.refused(topic, reason);
  }

  onDisconnected(reason?: string): void {
    if (!this.#connected) return;
    this.#connected = false;
    this.facts.error(reason, this.context.clock.nowMs());
    this.uplink.caughtUp = false;
    this.downlink.disconnected();
    this.verify.disconnected();
    this.#tells.disconnected();
    this.listCheck.restart();
    this.#recordConnection(false);
  }

  /** For `_status`: other processes see the link's state by SQL. */
  #recordConnection(connected: boolean): void {
    this.facts.set("connected", connected ? 1 : 0);
    this.#guard(() => void this.facts.write());
  }

  /**
   * A message has arrived and will be passed to {@link onMessages} in a moment: the twin already asks for the next
   * page, so that the cloud makes it while this one is applied.
   */
  onArrival(message: FromCloud): void {
    if (!this.#connected || this.#paused) return;
    const ahead = this.downlink.ahead(message);
    if (ahead && !this.options.transport.send(ahead)) this.downlink.notAsked(ahead);
  }

  /** A message from the cloud that can't be read; `answers`: the question that it answers, if known. */
  onUnreadable(reason: string, answers?: { readonly request: string; readonly channel?: string }): void {
    if (!this.#connected || this.#paused) return;
    this.#guard(() => this.downlink.tooMuch(answers?.request, answers?.channel, reason));
  }

  /** A message from the cloud, decoded and validated. */
  onMessage(message: FromCloud): void {
    this.onMessages([message]);
  }

  /**
   * Messages from the cloud in the order of their arrival, in one transaction, because the commit is the expensive
   * part.
   */
  onMessages(messages: readonly FromCloud[]): void {
    if (!this.#connected || this.#paused) return;
    for (const message of messages) this.onArrival(message);
    this.#guard(() => {
      // Committed separately: a failing transaction must not roll them back.
      this.#checkClock();
      for (const message of messages) {
        learnTime(this.context, this.downlink, message);
        if (message.type !== "verify" && message.type !== "order") this.#hear(message.schema);
        this.uplink.silence.heard(message.type);
        if (message.type !== "changes") this.downlink.answered();
      }
      this.context.store.tx(() => {
        for (const message of messages) this.#handle(message);
        this.#retryAsides();
        // The batches that fit after the answers are stored in the same commit.
        this.uplink.caughtUp = this.downlink.caughtUp;
        this.#endWaits();
        this.uplink.pump();
      });
    });
    this.#obey();
  }

  /** Accepts new orders, and does a portion of those under way. Must not run inside a transaction. */
  #obey(): void {
    if (this.#ordered.length === 0 && !this.#orders.any) return;
    this.#guard(() => {
      for (const order of this.#ordered.splice(0)) this.#orders.take(order);
      this.#orders.step();
    });
  }

  /**
   * Whether an answer belongs to the table that the rows come from. From an answer of another epoch (the table was
   * restored, or the answer is from before) only the time is used: that table's content is not what this device knows
   * (rules B1).
   */
  #isOfThisTable(message: FromCloud): boolean {
    if (message.type !== "ack" && message.type !== "items") return true;
    if (this.context.restores.isPresent(message.epoch)) return true;
    this.context.counters.ignored++;
    this.downlink.unmet();
    return false;
  }

  #handle(message: FromCloud): void {
    if ("time" in message) this.context.records.learnt.atMs = message.time;
    if (!this.#isOfThisTable(message)) return;
    switch (message.type) {
      case "ack":
      case "refused": {
        const batch = this.context.inFlight.batches.get(message.batch);
        let keys = batch?.flights.map((f) => f.key) ?? [];
        if (message.type === "ack") this.uplink.acknowledged(message);
        else {
          this.uplink.refused(message);
          // A split batch is still under way.
          keys = keys.filter((key) => !this.context.inFlight.get(key));
        }
        this.downlink.settled(keys);
        this.downlink.fetch();
        break;
      }
      case "changes":
        if (message.tell) this.#tells.ask(message.channel, message.seq);
        if (message.seq === 0 && !message.tell) this.#workerBack(message);
        else if (message.seq > 0) this.downlink.live(message);
        break;
      case "page":
        this.downlink.page(message);
        break;
      case "snapshot":
        this.downlink.snapshot(message);
        break;
      case "items":
        if (!this.verify.items(message)) this.downlink.items(message);
        break;
      case "digests":
        if (!this.listCheck.digests(message)) this.verify.digests(message);
        break;
      case "order":
        this.#ordered.push(message);
        break;
      case "verify": {
        const { request, repair, keysPerSecond, progress } = message;
        if (request === this.#lastVerify) break;
        this.#lastVerify = request;
        askVerify(this.context.store.db, { request, repair, keysPerSecond, progress });
        this.verify.notice();
        break;
      }
      case "time":
        this.downlink.timed(message);
        break;
      case "later":
        this.downlink.later(message);
        break;
    }
  }

  /** A worker has started to receive: earlier messages may have been lost. Its table may be a restored one. */
  #workerBack({ epoch, spreadMs: windowMs = 0 }: Changes): void {
    this.downlink.workerBack(windowMs);
    this.uplink.workerBack(windowMs);
    if (!this.context.restores.isPresent(tableEpochOf(epoch))) this.downlink.unmet(windowMs);
  }

  /** The cloud's schema: a new one may send other models down, and only a page says which. */
  #hear(schema: string | undefined): void {
    if (schema === undefined) return;
    this.context.waits.heard(schema);
    const isNews = this.#cloudSchema !== undefined && this.#cloudSchema !== schema;
    this.#cloudSchema = schema;
    if (!isNews) return;
    // Not at once: the whole fleet learns of it at the same time, and workers of two versions answer in turns.
    const soonMs = this.context.clock.monotonicMs() + hearAgainMs * (0.25 + 0.75 * this.context.random());
    this.#nextSyncMs = Math.min(this.#nextSyncMs, soonMs);
  }

  /** Models that waited under another schema continue: their entries are read again. */
  #endWaits(): void {
    if (this.context.waits.any && this.context.waits.release()) this.#restartOutbox();
  }

  /** Somebody has removed the obstacle (`aside retry`): try everything now. */
  #retryAsked(): void {
    const { store } = this.context;
    if (store.getMeta(asideRetryFact) === undefined) return;
    this.context.asides.all();
    this.#retryAsides();
    if (this.#connected) this.downlink.askUnread();
    store.tx(() => store.setMeta(asideRetryFact, undefined));
  }

  #retryAsides(): void {
    const { store, asides } = this.context;
    if (!asides.any) return;
    store.tx(() =>
      store.applying(() => asides.retry(this.context, (...placed) => tellApplied(this.context, ...placed)))
    );
  }

  /** Something may have been committed locally. */
  onCommit(): void {
    if (!this.#connected || this.#paused) return;
    this.#guard(() => {
      // A commit right after a jump must not be stamped by the clock from before it.
      this.#checkClock();
      this.uplink.pump();
    });
  }

  /** After a fault, incoming messages are dropped, like lost messages, until the next try. */
  get #paused(): boolean {
    return this.#unread || this.context.clock.monotonicMs() < this.#pausedUntilMs;
  }

  /** Time has passed. Returns the monotonic time at which to call again at the latest; earlier calls do no harm. */
  tick(): number {
    const { clock } = this.context;
    const now = clock.monotonicMs();
    if (this.#unread && now >= this.#pausedUntilMs) this.#guard(() => this.#reload());
    if (this.#paused) {
      this.facts.write();
      return this.#pausedUntilMs;
    }
    let due = now + clockCheckMs;
    this.#guard(() => {
      this.#checkClock();
      this.#upkeep.run(now);
      this.facts.write();
      if (!this.#connected) return;
      if (now >= this.#nextSyncMs) {
        this.#planSync();
        this.downlink.sync(undefined, false);
      }
      if (now >= this.#nextUnreadMs) {
        this.#nextUnreadMs = now + unreadMs;
        this.downlink.askUnread();
      }
      if (this.uplink.silence.wantsProof()) this.downlink.sync(undefined, false);
      due = Math.min(due, this.downlink.tick(), this.#nextSyncMs, this.verify.tick(), this.listCheck.tick());
      this.#endWaits();
      this.uplink.pump();
      this.uplink.silence.tell(this.downlink.repeats);
      due = Math.min(due, this.uplink.nextDueMs(), this.#tells.dueMs);
    });
    this.#obey();
    if (this.#orders.any) due = Math.min(due, now + orderStepMs);
    return Math.max(due, now + 1);
  }

  /** Asks for every channel now; until all are answered, the twin does not count as caught up. */
  resync(): void {
    if (this.#connected) this.#guard(() => this.downlink.connected());
  }

  #planSync(): void {
    const { clock, limits, random } = this.context;
    this.#nextSyncMs = clock.monotonicMs() + limits.syncIntervalMs * (0.9 + random() * 0.2);
  }

  /** After a jump, nothing can be stamped until the cloud's time is known again. */
  #checkClock(): void {
    if (this.context.clock.check() && this.#connected) this.downlink.sync();
  }

  /**
   * Runs a step, then sends its messages, whose state is committed by then. If the step throws, everything uncommitted
   * is rolled back, and memory is reloaded from the database.
   */
  #guard(step: () => void): void {
    try {
      step();
      if (this.#faults > 0) { for (const name of ["storage", "altered"] as const) this.context.problems.clear(name); }
      this.#faults = 0;
      for (const message of this.#outgoing.splice(0)) this.options.transport.send(message);
      this.#tells.answer();
    } catch (error) {
      this.#applied = [];
      this.#outgoing = [];
      this.#recover(error);
    }
    if (this.#applied.length > 0) {
      const applied = this.#applied;
      this.#applied = [];
      this.options.onApplied?.(applied);
    }
  }

  #recover(error: unknown): void {
    const { counters, clock, random } = this.context;
    counters.failures++;
    const message = error instanceof Error ? error.message : String(error);
    this.facts.error(message, clock.nowMs());
    this.downlink.failed(error);
    const code = error instanceof SyncError ? error.code : undefined;
    const sentence = code === "full" ? "the disk is full: syncing continues when there is space" : message;
    this.context.problems.raise(code === "altered" ? "altered" : "storage", sentence);
    const waitMs = backoffMs(this.#faults++, random, { firstMs: 500, maxMs: 30_000, least: 0.75, most: 1.25 });
    this.#pausedUntilMs = clock.monotonicMs() + waitMs;
    this.options.onFault?.(error);
    this.#unread = true;
    try {
      this.#reload();
    } catch (again) {
      // The database can't even be read: nothing is sent until it can be. The tick after the pause tries again.
      this.options.onFault?.(again);
    }
    // Questions that were answered before the fault are asked again; the pause prevents a busy loop on a full disk.
    this.#nextSyncMs = this.#pausedUntilMs;
  }

  #reload(): void {
    this.context.inFlight.restart();
    this.context.restores.restart();
    this.context.waits.restart();
    this.#restartOutbox();
    this.downlink.restart();
    this.verify.restart();
    this.listCheck.restart();
    this.uplink.connected();
    this.uplink.caughtUp = false;
    this.#unread = false;
  }
}
