/**
 * The agent's sync logic as one state machine: uplink, downlink and clock over a store and a transport. It does nothing
 * by itself: it is told of connections, messages, local commits and the passing of time, and says when it wants to be
 * called next. The shell (`agent.ts`) and the simulation drive it alike.
 *
 * Connecting, in order: ask for every channel; with the first answer the cloud's time is known and what only syncs up is
 * sent; when all channels are caught up, what is in flight is sent again, then what is new.
 *
 * Whatever fails in a transaction (disk full, I/O error, busy) leaves the database as it was; memory is then read again
 * from it, exactly as after a restart. There is no other error path.
 *
 * @module
 */
import type { FromCloud, FromDevice, Order } from "../protocol.ts";
import { SyncError } from "../schema.ts";
import { tellApplied } from "./sync/answers.ts";
import { Asides } from "./sync/aside.ts";
import { Capacity } from "./upkeep/capacity.ts";
import { ChangesTable } from "./sync/changes.ts";
import { DeviceClock } from "./sync/clock.ts";
import { type AppliedChange, type Context, type Counters, defaultLimits, type Limits } from "./sync/context.ts";
import { Downlink } from "./sync/downlink.ts";
import { Facts } from "./upkeep/facts.ts";
import { InFlight } from "./sync/flight.ts";
import { ItemRecords } from "./sync/items.ts";
import { ListCheck } from "./sync/list_check.ts";
import { Outbox } from "./sync/outbox.ts";
import { Problems } from "./upkeep/problems.ts";
import { StuckRows } from "./upkeep/stuck.ts";
import type { Clock, Transport } from "./ports.ts";
import { complaintsText } from "./store/damage.ts";
import { backoffMs } from "../protocol/backoff.ts";
import type { Store } from "./store/store.ts";
import { asideRetryFact } from "./store/tables.ts";
import type { RowId } from "./sqlite/driver.ts";
import type { UpTopic } from "./sync/silence.ts";
import { Orders } from "./upkeep/orders.ts";
import { Tells } from "./sync/tells.ts";
import { Uplink } from "./sync/uplink.ts";
import { Verify } from "./verify/verify.ts";
import { askVerify } from "./verify/report.ts";
import { Restores } from "./sync/restores.ts";
import { Waits } from "./sync/waits.ts";
import { WalWatch } from "./upkeep/wal_watch.ts";
import { KeptWatch } from "./upkeep/kept_watch.ts";
import { trimHistory } from "./upkeep/housekeeping.ts";
import { purgeExpired } from "./upkeep/purge.ts";
import { isEnvironmental } from "./store/faults.ts";

/** The clock is looked at this often at least, so that a jump is noticed before much is recorded with it. */
const clockCheckMs = 1_000;
/** An answer that took longer tells no time, unless nothing else has: half of it is the error. */
const roundTripMaxMs = 5_000;
/** Within so much time of hearing that the cloud has another schema a device asks what that sends down. */
const hearAgainMs = 60_000;
/** The next portion of an order is done after so long: others have their turn. */
const orderStepMs = 100;
/** The outbox is held against its cap this often. */
const capacityMs = 1_000;
/** History is trimmed and expired rows are purged this often. */
const housekeepingMs = 60_000;
/** Rarely: where it is still the broker that does not pass it on, the question holds up others for half a minute. */
const unreadMs = 3_600_000;

/** What a twin is made of. */
export interface TwinOptions {
  readonly store: Store;
  readonly transport: Pick<Transport, "send" | "tell">;
  readonly clock: Clock;
  /** A number in [0, 1). */
  readonly random: () => number;
  readonly limits?: Partial<Limits>;
  /** Changes from the cloud, after they are committed. */
  readonly onApplied?: (changes: readonly AppliedChange[]) => void;
  /** A fault of the store: the twin has recovered from it, or goes on trying. */
  readonly onFault?: (error: unknown) => void;
}

/** One device's sync. Calls must not overlap; none waits. */
export class Twin {
  readonly context: Context;
  readonly uplink: Uplink;
  readonly downlink: Downlink;
  #connected = false;
  #applied: AppliedChange[] = [];
  #outgoing: FromDevice[] = [];
  #nextSyncMs = Infinity;
  /** When what could not be read is asked for again, besides at each connect. */
  #nextUnreadMs = 0;
  #nextHousekeepingMs = 0;
  #nextCapacityMs = 0;
  readonly #purgePositions: Map<string, RowId> = new Map();
  /** After a fault: nothing is tried before this. */
  #pausedUntilMs = 0;
  #faults = 0;
  /** A fault's memory could not be read again yet. */
  #unread = false;
  /** What `_status` says of the agent. */
  readonly facts: Facts;
  readonly capacity: Capacity;
  readonly verify: Verify;
  readonly listCheck: ListCheck;
  /** The cloud's last request for a verification: a message may come twice. */
  #lastVerify: string | undefined;
  /** The fingerprint of the cloud's schema, as it was heard last. */
  #cloudSchema: string | undefined;
  readonly #wal: WalWatch;
  readonly #kept: KeptWatch;
  readonly #tells: Tells;
  readonly #orders: Orders;
  /** Orders that have come and are not taken yet: they must not begin inside the transaction of their message. */
  readonly #ordered: Order[] = [];

  constructor(readonly options: TwinOptions) {
    const { store, random } = options;
    const counters: Counters = {
      sent: 0,
      acknowledged: 0,
      conflicts: 0,
      rejected: 0,
      applied: 0,
      resent: 0,
      ignored: 0,
      failures: 0,
    };
    const outbox = new Outbox(store), clock = new DeviceClock(options.clock, store, outbox);
    this.facts = new Facts(store);
    const problems = new Problems(this.facts, () => store.now()), records = new ItemRecords(store);
    this.context = {
      store,
      problems,
      stuck: new StuckRows(problems),
      clock,
      records,
      restores: new Restores(store, records.learnt),
      outbox,
      inFlight: new InFlight(store, store.identity.deviceId),
      waits: new Waits(store, clock, problems, random),
      asides: new Asides(store),
      changes: new ChangesTable(store, clock),
      identity: store.identity,
      incarnation: newIncarnation(random),
      limits: { ...defaultLimits, ...options.limits },
      counters,
      random,
      send: (message) => this.#send(message),
      applied: (change) => this.#applied.push(change),
    };
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
    this.#kept = new KeptWatch(this.context);
    this.#orders = new Orders({
      store,
      nowMs: () => store.now(),
      monotonicMs: () => clock.monotonicMs(),
      tell: (ordered) => void this.#send(ordered),
      resync: () => this.downlink.connected(),
      caughtUp: () => this.#connected && this.downlink.caughtUp,
      noticeVerify: () => this.verify.notice(),
      wrote: () => this.uplink.pump(),
    });
    this.#tells = new Tells(
      () => clock.monotonicMs(),
      () => this.downlink.cursors(),
      (at) => options.transport.tell?.(at) ?? false,
    );
    this.#wal = new WalWatch(this.context, this.facts);
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

  /** What is sent within a step goes out when its transaction is committed: persist before telling. */
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
   * A message has arrived and will be handed to {@link onMessages} in a moment: the page behind it is asked for already, so
   * that the cloud makes it while this one is applied.
   */
  onArrival(message: FromCloud): void {
    if (!this.#connected || this.#paused) return;
    const ahead = this.downlink.ahead(message);
    if (ahead && !this.options.transport.send(ahead)) this.downlink.notAsked(ahead);
  }

  /** A message from the cloud that can't be read; `answers`: the question that it answers, as far as that can be told. */
  onUnreadable(reason: string, answers?: { readonly request: string; readonly channel?: string }): void {
    if (!this.#connected || this.#paused) return;
    this.#guard(() => this.downlink.tooMuch(answers?.request, answers?.channel, reason));
  }

  /** A message from the cloud, decoded and validated. */
  onMessage(message: FromCloud): void {
    this.onMessages([message]);
  }

  /** Messages from the cloud in the order of their arrival, in one transaction: the commit is what costs. */
  onMessages(messages: readonly FromCloud[]): void {
    if (!this.#connected || this.#paused) return;
    for (const message of messages) this.onArrival(message);
    this.#guard(() => {
      // Committed by themselves: a transaction that fails must not take them back.
      this.#checkClock();
      for (const message of messages) {
        this.#learnTime(message);
        if (message.type !== "verify" && message.type !== "order") this.#hear(message.schema);
        this.uplink.silence.heard(message.type);
        if (message.type !== "changes") this.downlink.answered();
      }
      this.context.store.tx(() => {
        for (const message of messages) this.#handle(message);
        this.#retryAsides();
        // What the answers made room for is stored in the same commit.
        this.uplink.caughtUp = this.downlink.caughtUp;
        this.#endWaits();
        this.uplink.pump();
      });
    });
    this.#obey();
  }

  /** Takes the orders that have come, and does a portion of those under way. Not inside a transaction. */
  #obey(): void {
    if (this.#ordered.length === 0 && !this.#orders.any) return;
    this.#guard(() => {
      for (const order of this.#ordered.splice(0)) this.#orders.take(order);
      this.#orders.step();
    });
  }

  /**
   * Whether an answer is of the table that the rows are of. One of another epoch (the table was restored, or this is of
   * before) says nothing but the time: what that table lacks or has is not what this device knows (rules B1).
   */
  #isOfThisTable(message: FromCloud): boolean {
    if (message.type !== "ack" && message.type !== "items") return true;
    if (this.context.restores.isPresent(message.epoch)) return true;
    this.context.counters.ignored++;
    this.downlink.sync(undefined, false);
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
          // Split, it is still under way.
          keys = keys.filter((key) => !this.context.inFlight.get(key));
        }
        this.downlink.settled(keys);
        this.downlink.fetch();
        break;
      }
      case "changes":
        if (message.tell) this.#tells.ask(message.channel, message.seq);
        if (message.seq === 0 && !message.tell) this.#workerBack(message.spreadMs ?? 0);
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
        const { request, repair, keysPerSecond } = message;
        if (request === this.#lastVerify) break;
        this.#lastVerify = request;
        askVerify(this.context.store.db, { request, repair, keysPerSecond });
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

  /** A worker has begun to receive: what was sent before may have been lost. */
  #workerBack(windowMs: number): void {
    this.downlink.workerBack(windowMs);
    this.uplink.workerBack(windowMs);
  }

  /** The cloud's schema: another one than before may send other models down, which only a page tells. */
  #hear(schema: string | undefined): void {
    if (schema === undefined) return;
    this.context.waits.heard(schema);
    const isNews = this.#cloudSchema !== undefined && this.#cloudSchema !== schema;
    this.#cloudSchema = schema;
    if (!isNews) return;
    // Not at once: a fleet hears of it at the same time, and workers of two versions answer in turns.
    const soonMs = this.context.clock.monotonicMs() + hearAgainMs * (0.25 + 0.75 * this.context.random());
    this.#nextSyncMs = Math.min(this.#nextSyncMs, soonMs);
  }

  /** Models that waited under another schema go on: their entries are read again. */
  #endWaits(): void {
    if (this.context.waits.any && this.context.waits.release()) this.#restartOutbox();
  }

  /** Somebody has put right what stood in the way (`aside retry`): all of it is tried now. */
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

  /**
   * The cloud's time, from answers that came soon after their question was first asked: what lay in a queue, came while this
   * process was stopped, or answers a transmission before the last one would set the clock back by that long. A later time
   * than the one that is known is nearer to the truth however long it took.
   */
  #learnTime(message: FromCloud): void {
    const { clock } = this.context;
    if (message.type === "verify" || message.type === "order" || message.type === "digests") return;
    if (message.type === "later") return;
    const asked: { readonly firstMs?: number; readonly ahead?: boolean } | undefined = message.type === "changes"
      ? undefined
      : message.type === "ack" || message.type === "refused"
      ? this.context.inFlight.batches.get(message.batch)
      : this.downlink.requestOf(message.request);
    if (asked?.firstMs === undefined) return;
    const isPrompt = !asked.ahead && clock.monotonicMs() - asked.firstMs <= roundTripMaxMs;
    if (isPrompt || !clock.known || message.time > clock.nowMs()) clock.learn(message.time);
  }

  /** Something may have been committed locally. */
  onCommit(): void {
    if (!this.#connected || this.#paused) return;
    this.#guard(() => {
      // What was committed right after a jump must not be stamped by the clock of before it.
      this.#checkClock();
      this.uplink.pump();
    });
  }

  /** After a fault: what comes in is dropped, as a lost message would be, until the next try. */
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
      if (now >= this.#nextCapacityMs) {
        this.#nextCapacityMs = now + capacityMs;
        this.#upkeep(() => this.capacity.check() && this.#restartOutbox());
        if (this.context.limits.tellFrom !== Infinity) {
          this.#upkeep(() => this.#retryAsked());
          this.#upkeep(() => this.#kept.check());
        }
      }
      if (now >= this.#nextHousekeepingMs) {
        this.#nextHousekeepingMs = now + housekeepingMs;
        this.#upkeep(() => trimHistory(this.context));
        this.#upkeep(() => this.#kept.look());
        this.#upkeep(() => purgeExpired(this.context, this.#purgePositions));
        this.#upkeep(() => this.#retryAsides());
        this.#upkeep(() => this.#wal.check());
      }
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

  /**
   * A step of the upkeep. What only this step meets (a trigger of an application that rolls the transaction back) keeps neither
   * the other steps nor the sending from being done; the disk's faults are everybody's.
   */
  #upkeep(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (isEnvironmental(error instanceof SyncError ? error.cause : error)) throw error;
      this.context.counters.failures++;
      this.facts.error(error instanceof Error ? error.message : String(error), this.context.clock.nowMs());
      this.options.onFault?.(error);
      // What was read of the outbox in the transaction that was rolled back is void.
      this.#restartOutbox();
    }
  }

  /** Asks for every channel now; until all have answered the twin counts as not caught up. */
  resync(): void {
    if (this.#connected) this.#guard(() => this.downlink.connected());
  }

  #planSync(): void {
    const { clock, limits, random } = this.context;
    this.#nextSyncMs = clock.monotonicMs() + limits.syncIntervalMs * (0.9 + random() * 0.2);
  }

  /** After a jump nothing can be stamped until the cloud tells its time again. */
  #checkClock(): void {
    if (this.context.clock.check() && this.#connected) this.downlink.sync();
  }

  /**
   * Runs a step, then sends what it gave: what it gave is committed by then. If it throws, what it had not committed is
   * rolled back, and memory is read again from the database.
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
    const sentence = code === "full" ? "the disk is full: syncing goes on when there is space" : message;
    this.context.problems.raise(code === "altered" ? "altered" : "storage", sentence);
    const waitMs = backoffMs(this.#faults++, random, { firstMs: 500, maxMs: 30_000, least: 0.75, most: 1.25 });
    this.#pausedUntilMs = clock.monotonicMs() + waitMs;
    this.options.onFault?.(error);
    this.#unread = true;
    try {
      this.#reload();
    } catch (again) {
      // The database can't even be read: nothing is sent until it can. The tick at the pause's end tries again.
      this.options.onFault?.(again);
    }
    // What was answered before the fault is asked for again; the pause keeps a full disk from becoming a busy loop.
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

/** 12 characters of [0-9a-z]: 62 bits, so that two starts of one device never share it. */
function newIncarnation(random: () => number): string {
  let text = "";
  while (text.length < 12) text += Math.floor(random() * 36).toString(36);
  return text;
}
