/**
 * The downlink: from the channel logs to the rows. Each channel has one cursor; an entry is applied exactly once, in
 * order, in one transaction with the cursor. At a gap, the device asks for the entries after its cursor. It compares no
 * stamps: a key without unsettled local changes takes the incoming item; a key with such changes is marked, and fetched
 * once they are settled (rules §6).
 *
 *            live seq = cursor+1, page from cursor
 *   following ──────────────────────────────────▶ following
 *       │ no cursor, other epoch, cursor out of the log                    ▲ last page: sweep, cursor := head
 *       └────────────────────────▶ snapshot (live ignored, paged) ─────────┘
 *
 * @module
 */
import { channelsOf } from "../../schema.ts";
import type {
  Changes,
  Channel,
  CursorOf,
  Entry,
  FromCloud,
  Items,
  Key,
  Later,
  Page,
  SnapshotPage,
  Sync,
  Time,
} from "../../protocol.ts";
import type { Context } from "./context.ts";
import { behindPage, behindSnapshotPage, type Cursor, cursorOf, Cursors, resumedFrom } from "./cursors.ts";
import { EpochNews } from "./epoch_news.ts";
import { Faulty } from "./faulty.ts";
import { Fetches } from "./fetches.ts";
import { metEpoch } from "./heal.ts";
import { Incoming } from "./incoming.ts";
import { Lacks } from "./lacks.ts";
import { planListCheck } from "./list_check.ts";
import { Portions } from "./portions.ts";
import { Questions } from "./questions.ts";
import type { Request } from "./requests.ts";
import { tableEpochOf } from "./restores.ts";
import { Settlements } from "./settlements.ts";
import { sweepChannel } from "./snapshot.ts";
import { traceApplied } from "./tracing.ts";

/** Live messages held per channel while an earlier one is missing: reordering affects only a few. */
const holdMax = 16;
/** Longer than an index lags: a snapshot that is taken after this time ends after what could not be read before. */
const leavesAgainMs = 90_000;

/** The receiving half of the agent. */
export class Downlink {
  readonly channels: readonly Channel[];
  readonly #cursors: Cursors;
  readonly #held: Map<Channel, Map<number, Changes>> = new Map();
  readonly #caughtUp: Set<Channel> = new Set();
  readonly #incoming: Incoming;
  readonly #questions: Questions;
  readonly #fetches: Fetches;
  readonly #lacks: Lacks;
  readonly #settlements = new Settlements();
  readonly #portions = new Portions();
  readonly #faulty = new Faulty();
  /** When the device may switch from a channel's log to a snapshot again (monotonic). */
  readonly #leavesAgainMs: Map<Channel, number> = new Map();
  /** When an answer came last, to whatever question (monotonic). */
  #answeredMs = -Infinity;
  readonly #epochs = new EpochNews();
  /** The schema by which the cloud lists the current snapshot. */
  readonly #listing: Map<Channel, string | undefined> = new Map();

  constructor(readonly context: Context) {
    this.#cursors = new Cursors(context.store);
    this.#incoming = new Incoming(context);
    this.#lacks = new Lacks(context);
    const channels = this.channels = channelsOf(context.store.schema, context.identity);
    const settled = () => this.#settlements.serial, answeredMs = () => this.#answeredMs;
    this.#questions = new Questions({
      context,
      channels,
      cursorOf: (channel) => this.#cursorOf(channel),
      get settledSerial() {
        return settled();
      },
      get answeredMs() {
        return answeredMs();
      },
      swallowed: (id) => this.tooMuch(id, undefined, "the answer does not get through"),
    });
    this.#fetches = new Fetches(context, {
      questions: this.#questions,
      incoming: this.#incoming,
      lacks: this.#lacks,
      portions: this.#portions,
      faulty: this.#faulty,
      settlements: this.#settlements,
    });
    this.#cursors.snapshotAfterMigration();
    this.restart();
  }

  /** Reads the cursors again and forgets every request: after a start, or after a transaction failed. */
  restart(): void {
    this.#cursors.load();
    this.disconnected();
  }

  disconnected(): void {
    this.#questions.clear();
    this.#held.clear();
    this.#caughtUp.clear();
    this.#fetches.clear();
    this.#settlements.clear();
  }

  /** The link is up: asks for every channel from its cursor. */
  connected(): void {
    this.disconnected();
    this.sync();
    this.askUnread();
    this.fetch();
  }

  get caughtUp(): boolean {
    return this.channels.every((channel) => this.#caughtUp.has(channel));
  }

  /** Caught up, and no item is still to be asked for by name: it would change a row yet. */
  get arrived(): boolean {
    return this.caughtUp && !this.#fetches.unfinished;
  }

  /** Each channel's cursor, for `status`. */
  cursors(): ReturnType<Cursors["shown"]> {
    return this.#cursors.shown(this.channels);
  }

  /**
   * The question for the page after one that has arrived, if that page is the awaited one and says that there is more.
   * It does not imply that the page was applied: if applying fails, the answer is ignored.
   */
  ahead(message: FromCloud): Sync | undefined {
    if (message.type !== "page" && message.type !== "snapshot") return undefined;
    const { channel } = message;
    const cursor = this.#cursors.get(channel) ?? {};
    if (this.#portions.limitOf(channel) !== undefined) return undefined;
    const next = message.type === "page" ? behindPage(cursor, message) : behindSnapshotPage(cursor, message);
    return next && this.#questions.askAhead(channel, message.request, cursorOf(channel, next));
  }

  /** See {@link Questions.notAsked}. */
  notAsked(question: Sync): void {
    this.#questions.notAsked(question);
  }

  /** See {@link Questions.sync}: these channels, else all. */
  sync(channels: readonly Channel[] = this.channels, force = true): void {
    this.#questions.sync(channels, force);
  }

  /** See {@link Questions.later}. */
  later(message: Later): void {
    this.#questions.later(message);
  }

  /** See {@link Questions.workerBack}. */
  workerBack(windowMs: number): void {
    this.#questions.workerBack(windowMs);
  }

  /**
   * A message names an epoch of the table that the device has not met: it asks at once, and again when no worker can
   * answer from the former epoch any more. Without this, a device that nobody writes to would hear of a restore with
   * the next regular sync (rule B1).
   *
   * @param windowMs other devices ask as well: over so many ms
   */
  unmet(windowMs = 0, channels: readonly Channel[] = this.channels): void {
    const { clock, random } = this.context;
    this.#epochs.heard(clock.monotonicMs(), windowMs > 0 ? windowMs * random() : 0);
    if (windowMs === 0) this.sync(channels, false);
    else for (const channel of channels) this.#questions.missing(channel, windowMs);
  }

  #cursorOf(channel: Channel): CursorOf {
    const cursor = cursorOf(channel, this.#cursors.get(channel) ?? {}), limit = this.#portions.limitOf(channel);
    return limit === undefined ? cursor : { ...cursor, limit };
  }

  /** The cloud has answered something. */
  answered(): void {
    this.#answeredMs = this.context.clock.monotonicMs();
  }

  /**
   * The answer to a question can't be read, or does not get through: the device asks for half as much, until the faulty
   * item is alone and is set aside by its key (rule D4). Must not run inside a transaction.
   *
   * @param id the question; undefined: unknown, but something is missing
   * @param channel the channel of the answer, if known
   */
  tooMuch(id: string | undefined, channel: Channel | undefined, reason: string): void {
    if (id === undefined) return this.sync(undefined, false);
    const keys = this.#questions.keysOf(id);
    if (keys) return this.#fetches.tooManyKeys(id, keys, reason);
    const asked = this.#questions.channelsOf(id).filter((one) => channel === undefined || one === channel);
    // If the device can't ask for less, the question stays open, and is asked again ever more rarely.
    const smaller = asked.filter((one) => this.#portions.less(one) || this.#leaveLog(one));
    if (smaller.length > 0) this.sync(smaller);
  }

  /**
   * One entry of the log may have more keys than fit in a message even as names: a snapshot delivers them one by one.
   * Not again at once: a snapshot from an index that lags ends before that entry for a minute (sim: silence 7700426).
   */
  #leaveLog(channel: Channel): boolean {
    const cursor = this.#cursors.get(channel), now = this.context.clock.monotonicMs();
    if (cursor?.seq === undefined || now < (this.#leavesAgainMs.get(channel) ?? -Infinity)) return false;
    this.#leavesAgainMs.set(channel, now + leavesAgainMs);
    this.context.store.tx(() => this.#cursors.set(channel, { epoch: cursor.epoch }));
    return true;
  }

  /** See {@link Fetches.askUnread}. */
  askUnread(): void {
    this.#fetches.askUnread();
  }

  /** Applying something failed and was rolled back: if one item is to blame, it is set aside when it comes again. */
  failed(error: unknown): void {
    this.#faulty.blame(error);
  }

  /** See {@link Fetches.fetch}. */
  fetch(): void {
    this.#fetches.fetch();
  }

  /** See {@link Fetches.items}. */
  items(message: Items): void {
    this.#fetches.items(message);
  }

  /** The uplink settled these keys: answers to earlier questions may be older than that. */
  settled(keys: Iterable<Key>): void {
    this.#settlements.note(keys, !this.#questions.none);
  }

  /** See {@link Questions.repeats}. */
  get repeats(): number {
    return this.#questions.repeats;
  }

  /** See {@link Questions.of}. */
  requestOf(id: string): Pick<Request, "firstMs" | "ahead"> | undefined {
    return this.#questions.of(id);
  }

  /** The answer to a sync without channels. */
  timed({ request, epoch, since }: Time): void {
    if (!this.#questions.takeTime(request)) return this.#ignore();
    if (epoch !== undefined) this.met(epoch, since);
  }

  /**
   * Does what is due by time: overdue requests and further snapshots. Returns the next monotonic time that something is
   * due.
   */
  tick(): number {
    const now = this.context.clock.monotonicMs();
    if (this.#epochs.take(now)) this.sync(undefined, false);
    let due = Math.min(this.#epochs.dueMs, this.#questions.tick(), this.#fetches.tick(now));
    for (const [channel, cursor] of this.#cursors) {
      // A snapshot that is due now is asked for with the next sync.
      if (!cursor.againMs || !this.context.clock.known) continue;
      const leftMs = cursor.againMs - this.context.clock.nowMs();
      if (leftMs > 0) due = Math.min(due, now + leftMs);
      else this.#snapshotAgain(channel, cursor);
    }
    return due;
  }

  #snapshotAgain(channel: Channel, cursor: Cursor): void {
    this.context.store.tx(() => this.#cursors.set(channel, { ...cursor, againMs: 0 }));
    this.#caughtUp.delete(channel);
    this.sync([channel]);
  }

  /** Handles a live entry: applies it if it is the next, holds it briefly if it is later, ignores it if it is older. */
  live(message: Changes): void {
    const { channel } = message;
    const cursor = this.#cursors.get(channel);
    if (!this.channels.includes(channel) || cursor?.seq === undefined || cursor.snapshot) return this.#ignore();
    const windowMs = message.spreadMs ?? 0;
    if (!this.#isPresent(message.epoch)) return this.unmet(windowMs, [channel]);
    if (message.epoch !== cursor.epoch) return this.#questions.missing(channel, windowMs);
    if (message.seq <= cursor.seq) return this.#ignore();
    if (message.seq > cursor.seq + 1) {
      const held = this.#held.get(channel) ?? new Map<number, Changes>();
      if (held.size < holdMax) this.#held.set(channel, held.set(message.seq, message));
      return this.#questions.missing(channel, windowMs);
    }
    this.#applyRun(channel, cursor, message);
    this.fetch();
  }

  /** Applies a live entry that is the next one, and those held that follow it. */
  #applyRun(channel: Channel, cursor: Cursor, first: Changes): void {
    const held = this.#held.get(channel) ?? new Map<number, Changes>();
    const run = [first];
    for (let next = held.get(first.seq + 1); next; next = held.get(next.seq + 1)) run.push(next);
    const last = run.at(-1)!.seq;
    traceApplied(this.context, channel, run.flatMap(({ entries }) => entries), () => {
      this.#apply(run.flatMap((m) => this.#telling(m)), () => this.#cursors.set(channel, { ...cursor, seq: last }));
    });
    for (const seq of [...held.keys()]) if (seq <= last) held.delete(seq);
    // The entries were only out of order: nothing is missing.
    if (held.size === 0) this.#questions.unplan(channel);
  }

  /** After the last page: applies held entries that follow, and asks for what is still missing. */
  #goOnWithHeld(channel: Channel): void {
    const cursor = this.#cursors.get(channel), held = this.#held.get(channel);
    if (!held || cursor?.seq === undefined) return;
    const next = held.get(cursor.seq + 1);
    if (next) this.#applyRun(channel, cursor, next);
    const { seq: last = 0 } = this.#cursors.get(channel)!;
    for (const seq of [...held.keys()]) if (seq <= last) held.delete(seq);
    const [first] = held.values();
    if (first) this.#questions.missing(channel, first.spreadMs ?? 0);
  }

  #ignore(): void {
    this.context.counters.ignored++;
  }

  /** Removes and returns the question that this answers; undefined if the answer is outdated. */
  #answered(channel: Channel, id: string): Request | undefined {
    const request = this.#questions.take(channel, id);
    if (!request) this.#ignore();
    return request;
  }

  /** A catch-up page: the entries after the cursor, without a gap. */
  page(page: Page): void {
    const { channel } = page;
    const request = this.#answered(channel, page.request);
    if (!request) return;
    const cursor = this.#cursors.get(channel) ?? {};
    if (cursor.snapshot || cursor.seq === undefined || page.epoch !== cursor.epoch) return this.sync([channel]);
    // The table was restored meanwhile, as another channel said first: this page is of the table before.
    if (this.#isLeft(tableEpochOf(page.epoch))) return;
    if (!this.#isPresent(page.epoch)) return this.sync([channel]);
    // Live entries were faster: if they brought all of it, the answer shows that the channel is caught up.
    const isKnown = page.from < cursor.seq && page.to <= cursor.seq;
    if (!isKnown && page.from !== cursor.seq) return this.sync([channel]);
    let isBack = false;
    const entries = isKnown ? [] : this.#telling(page);
    const also = () => {
      isBack = this.#lacks.note(channel, page) || cursor.againMs === 0;
      const seq = isKnown ? cursor.seq : page.to, againMs = isBack ? 0 : cursor.againMs;
      if (isBack || !isKnown) this.#cursors.set(channel, { ...cursor, seq, againMs });
    };
    traceApplied(this.context, channel, entries, () => this.#apply(entries, also, request));
    this.#portions.arrived(channel, page.entries.length);
    if (isBack) this.sync([channel]);
    else if (page.more) this.#questions.goOn(channel);
    else {
      this.#caughtUp.add(channel);
      this.#goOnWithHeld(channel);
    }
    this.fetch();
  }

  /** A page of a snapshot; the last one sweeps what was not seen, and sets the cursor. */
  snapshot(page: SnapshotPage): void {
    const { store, clock } = this.context;
    const { channel } = page;
    const request = this.#answered(channel, page.request);
    if (!request) return;
    // A snapshot sets epoch and cursor: live messages held from before belong to the log's former epoch. Their numbers
    // may fit the new one by chance, and an absence from then would be the last thing applied to the key (rule 6.8).
    this.#held.delete(channel);
    const first = page.after === undefined;
    if (first && !this.met(tableEpochOf(page.epoch), page.since, channel)) return;
    const cursor = this.#cursors.get(channel) ?? {};
    const state = cursor.snapshot;
    if (first) this.#listing.set(channel, page.schema);
    // Another version of the schema may list other models: its pages do not continue the pages before.
    const isOther = this.#listing.has(channel) && this.#listing.get(channel) !== page.schema;
    // A snapshot of a former epoch of the table is never ended: its next page would be asked for again and again.
    const isLeft = !this.#isPresent(page.epoch);
    if (!first && (!state || state.after !== page.after || state.epoch !== page.epoch || isOther || isLeft)) {
      // Not the current snapshot: start again.
      const isOfNow = state !== undefined && state.epoch === cursor.epoch;
      store.tx(() =>
        this.#cursors.set(channel, { epoch: cursor.epoch, ...(isOfNow ? { seq: state.head, againMs: 0 } : {}) })
      );
      return this.sync([channel]);
    }
    const head = first ? Math.min(page.head, resumedFrom(cursor, page.epoch)) : state!.head;
    this.#incoming.restoring = this.context.restores.isOpen(cursor.epoch);
    this.#apply(this.#telling(page), () => {
      const { db } = store;
      if (first) db.sql("DELETE FROM _sync_seen WHERE channel = ?").run(channel);
      db.sql(
        "INSERT OR IGNORE INTO _sync_seen(channel, hash, sort) SELECT ?, value ->> 0, value ->> 1 FROM json_each(?)",
      ).run(channel, JSON.stringify(page.entries.map(({ key }) => key)));
      if (page.next !== undefined) {
        const snapshot = { epoch: page.epoch, head, after: page.next };
        this.#cursors.set(channel, { epoch: cursor.epoch, snapshot });
        return;
      }
      // The snapshot says nothing about models that the cloud lacks; for models that it has, no further snapshot is
      // needed.
      this.#lacks.note(channel, page);
      sweepChannel(this.context, channel, this.#lacks.spokenOf(channel, page));
      if (page.lags) planListCheck(this.context, channel);
      this.#fetches.look();
      const changed = cursor.epoch !== undefined && cursor.epoch !== page.epoch;
      this.#cursors.set(channel, {
        epoch: page.epoch,
        seq: head,
        againMs: changed ? clock.nowMs() + 60_000 : undefined,
      });
    }, request);
    this.#portions.arrived(channel, page.entries.length);
    this.#questions.goOn(channel);
    this.fetch();
  }

  /**
   * The answer is of this epoch of the table: the device offers a restored table what it lacks, and asks for all other
   * channels, because their cursors are of the former epoch and nothing else may come for them.
   *
   * @param by the channel whose answer it is
   * @returns false: the device has just left this epoch, and stays with the later one
   */
  met(epoch: string, sinceMs: number | undefined, by?: Channel): boolean {
    const { store, restores, clock } = this.context;
    if (restores.epoch === epoch) return true;
    if (this.#isLeft(epoch)) return false;
    this.#epochs.met(restores.epoch, clock.monotonicMs());
    store.tx(() => {
      restores.meet(epoch, sinceMs);
      metEpoch(this.context, sinceMs);
    });
    const others = this.channels.filter((channel) => {
      const { epoch: its } = this.#cursors.get(channel) ?? {};
      return channel !== by && its !== undefined && tableEpochOf(its) !== epoch;
    });
    for (const channel of others) this.#caughtUp.delete(channel);
    if (others.length > 0) this.sync(others, false);
    return true;
  }

  #isLeft(epoch: string): boolean {
    return this.#epochs.isLeft(epoch, this.context.clock.monotonicMs());
  }

  #isPresent(channelEpoch: string): boolean {
    return this.context.restores.isPresent(tableEpochOf(channelEpoch));
  }

  /** The entries of a message that say anything to this device. */
  #telling(message: Changes | Page | SnapshotPage): readonly Entry[] {
    return message.entries.filter((entry) => !this.#lacks.saysNothing(entry, message));
  }

  /** Applies entries and what belongs to them (the cursor) in one transaction. */
  #apply(entries: readonly Entry[], also: () => void, request?: Request): void {
    const { store, outbox, clock } = this.context;
    store.tx(() => {
      store.applying(() => {
        const quiet = outbox.empty && this.context.inFlight.batches.size === 0;
        for (const entry of entries) {
          const fault = this.#faulty.of(entry);
          if (fault !== undefined) {
            this.#incoming.unreadable(
              entry.key,
              fault,
              this.context.store.schema.models.get(entry.current?.model ?? ""),
            );
            continue;
          }
          this.#faulty.begin(entry);
          this.#incoming.apply(entry, quiet, request !== undefined && this.#settlements.since(entry.key, request));
        }
        this.#faulty.end();
        also();
      });
      store.setMeta("lastSync", clock.nowMs());
    });
  }
}
