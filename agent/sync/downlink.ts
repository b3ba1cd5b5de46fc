/**
 * The downlink: from the channel logs to the rows. One cursor a channel; an entry is applied exactly once, in order, with
 * the cursor, in one transaction. What can't be applied in order is asked for from the cursor. The device compares no
 * stamps: a key without unsettled local changes takes what comes; one with them is marked and fetched once they are
 * settled (rules §6).
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
import { Candidates, type Marked } from "./candidates.ts";
import type { Context } from "./context.ts";
import { Incoming } from "./incoming.ts";
import { keyText } from "./items.ts";
import { fetchKeysMax } from "../../protocol.ts";
import { Faulty } from "./faulty.ts";
import { offerWhatOnlyGoesUp } from "./heal.ts";
import { planListCheck } from "./list_check.ts";
import { Lacks } from "./lacks.ts";
import { Portions } from "./portions.ts";
import { Questions } from "./questions.ts";
import type { Request } from "./requests.ts";
import { tableEpochOf } from "./restores.ts";
import { sweepChannel } from "./snapshot.ts";

/** Live messages held per channel while one before them is missing: reordering is a matter of a few. */
const holdMax = 16;
/** Longer than an index lags: a snapshot that is taken then ends after what could not be read before. */
const leavesAgainMs = 90_000;

interface Cursor {
  epoch?: string;
  seq?: number;
  snapshot?: { epoch: string; head: number; after: string };
  /**
   * Cloud time at which a further snapshot is due: after an epoch change, entries that were lost may still be written. 0: now.
   * The place in the log is kept meanwhile, and the log is read on from there: it tells of removals, a snapshot does not.
   */
  againMs?: number;
}

/** The receiving half of the agent. */
export class Downlink {
  readonly channels: readonly Channel[];
  readonly #cursors: Map<Channel, Cursor> = new Map();
  readonly #held: Map<Channel, Map<number, Changes>> = new Map();
  readonly #caughtUp: Set<Channel> = new Set();
  readonly #incoming: Incoming;
  readonly #questions: Questions;
  readonly #candidates: Candidates;
  /** The last answer left out all that it was asked for: the monotonic time at which it is asked again. Infinity: it did not. */
  #fetchAgainMs = Infinity;
  readonly #lacks: Lacks;
  readonly #portions = new Portions();
  readonly #faulty = new Faulty();
  /** When a channel's log may be left for a snapshot again (monotonic). */
  readonly #leavesAgainMs: Map<Channel, number> = new Map();
  /** When an answer came last, to whatever question (monotonic). */
  #answeredMs = -Infinity;
  /** By which schema the cloud lists the snapshot that is under way. */
  readonly #listing: Map<Channel, string | undefined> = new Map();
  /** Counts settlements by answers; with each key, when it was settled last, while a request is out. */
  #settledSerial = 0;
  readonly #settledAt: Map<string, number> = new Map();

  constructor(readonly context: Context) {
    this.#incoming = new Incoming(context);
    this.#lacks = new Lacks(context);
    this.#candidates = new Candidates(context);
    const channels = this.channels = channelsOf(context.store.schema, context.identity);
    const settled = () => this.#settledSerial, answeredMs = () => this.#answeredMs;
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
    this.#snapshotAfterMigration();
    this.restart();
  }

  /** Reads the cursors again and forgets every request: after a start, or after a transaction failed. */
  restart(): void {
    const { db } = this.context.store;
    this.#cursors.clear();
    for (const row of db.sql("SELECT * FROM _sync_channels").all()) {
      this.#cursors.set(row.channel as string, {
        epoch: row.epoch as string | undefined ?? undefined,
        seq: row.seq === null ? undefined : Number(row.seq),
        snapshot: row.snap_epoch === null ? undefined : {
          epoch: row.snap_epoch as string,
          head: Number(row.snap_head),
          after: row.snap_after as string,
        },
        againMs: row.again === null ? undefined : Number(row.again),
      });
    }
    this.disconnected();
  }

  /** A migration left columns empty that the cloud may have values for: a snapshot of each channel brings them. */
  #snapshotAfterMigration(): void {
    const { store } = this.context;
    if (store.getMeta("resnapshot") === undefined) return;
    store.tx(() => {
      store.db.sql("UPDATE _sync_channels SET again = 0, snap_epoch = NULL, snap_head = NULL, snap_after = NULL").run();
      store.setMeta("resnapshot", undefined);
    });
  }

  disconnected(): void {
    this.#questions.clear();
    this.#held.clear();
    this.#caughtUp.clear();
    this.#fetchAgainMs = Infinity;
    this.#settledAt.clear();
  }

  /** The link is up: everything is asked for from where it stands. */
  connected(): void {
    this.disconnected();
    this.sync();
    this.askUnread();
    this.fetch();
  }

  get caughtUp(): boolean {
    return this.channels.every((channel) => this.#caughtUp.has(channel));
  }

  /** Where each channel stands, for `status`. */
  cursors(): Record<Channel, { epoch?: string; seq?: number; snapshot?: boolean }> {
    return Object.fromEntries(
      this.channels.map((channel) => {
        const cursor = this.#cursors.get(channel) ?? {};
        return [channel, { epoch: cursor.epoch, seq: cursor.seq, snapshot: cursor.snapshot !== undefined }];
      }),
    );
  }

  /**
   * The question for what is behind a page that has arrived, where the page is the one that is awaited and says that there
   * is more. It tells nobody that the page was applied: should that fail, the answer is ignored.
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

  #cursorOf(channel: Channel): CursorOf {
    const cursor = cursorOf(channel, this.#cursors.get(channel) ?? {}), limit = this.#portions.limitOf(channel);
    return limit === undefined ? cursor : { ...cursor, limit };
  }

  /** The cloud has answered something. */
  answered(): void {
    this.#answeredMs = this.context.clock.monotonicMs();
  }

  /**
   * The answer to a question can't be read, or does not get through: half as much is asked for, until what is at fault
   * stands alone and is set aside by its key (rule D4). Must not run inside a transaction.
   *
   * @param id the question; undefined: nobody knows, something is missing
   * @param channel the one that the answer is of, where that is known
   */
  tooMuch(id: string | undefined, channel: Channel | undefined, reason: string): void {
    if (id === undefined) return this.sync(undefined, false);
    const keys = this.#questions.keysOf(id);
    if (keys) return this.#tooManyKeys(id, keys, reason);
    const asked = this.#questions.channelsOf(id).filter((one) => channel === undefined || one === channel);
    // Where less can't be asked for the question stays out, and is asked again ever more rarely.
    const smaller = asked.filter((one) => this.#portions.less(one) || this.#leaveLog(one));
    if (smaller.length > 0) this.sync(smaller);
  }

  /**
   * One entry of the log may have more keys than get through even by their names: a snapshot has them one by one. Not again at
   * once: where it is listed by an index that lags it ends before that entry for a minute (sim: silence 7700426).
   */
  #leaveLog(channel: Channel): boolean {
    const cursor = this.#cursors.get(channel), now = this.context.clock.monotonicMs();
    if (cursor?.seq === undefined || now < (this.#leavesAgainMs.get(channel) ?? -Infinity)) return false;
    this.#leavesAgainMs.set(channel, now + leavesAgainMs);
    this.context.store.tx(() => this.#store(channel, { epoch: cursor.epoch }));
    return true;
  }

  #tooManyKeys(id: string, keys: readonly Key[], reason: string): void {
    const { store, records } = this.context;
    const request = this.#questions.takeFetch(id)!;
    if (!this.#portions.fewerKeys(keys.length)) {
      const [key] = keys as [Key], record = records.get(key);
      store.tx(() => {
        if (!record || record.recheck !== request.serials.get(keyText(key))) return;
        record.recheck = undefined;
        this.#incoming.unreadable(key, reason, record.model);
        records.save(record);
      });
    }
    this.fetch();
  }

  /** Asks again for what could not be read: the cause may be gone. Must not run inside a transaction. */
  askUnread(): void {
    const { store, asides, records } = this.context, unread = asides.unread(fetchKeysMax);
    if (unread.length === 0) return;
    store.tx(() => {
      for (const { key, model } of unread) {
        const record = records.open(model, key);
        if (record.recheck !== undefined) continue;
        records.mark(record);
        records.save(record);
      }
    });
    this.fetch();
  }

  /** Applying something failed, and was taken back: if one item is to blame, it is set aside when it comes again. */
  failed(error: unknown): void {
    this.#faulty.blame(error);
  }

  /** Asks for keys that were marked and are settled now. One request is out at a time. */
  fetch(): void {
    const { records, outbox, clock } = this.context;
    const now = clock.monotonicMs(), waits = this.#fetchAgainMs !== Infinity && now < this.#fetchAgainMs;
    if (this.#questions.fetching || waits || !records.unfetched) return;
    this.#fetchAgainMs = Infinity;
    const serials = new Map<string, number>(), keys: Key[] = [], most = this.#portions.keys;
    const take = (marked: readonly Marked[]) => {
      for (const { key, model, serial } of marked) {
        if (keys.length >= most) break;
        if (this.context.inFlight.get(key) || outbox.pending(model, key)) continue;
        serials.set(keyText(key), serial);
        keys.push(key);
      }
    };
    take(records.rechecks(4 * most));
    if (keys.length < most) take(this.#candidates.take(4 * most));
    if (keys.length === 0) return;
    this.#questions.fetch(keys, serials);
  }

  /** The uplink settled these keys: answers that were asked for before know less of them. */
  settled(keys: Iterable<Key>): void {
    this.#settledSerial++;
    if (this.#questions.none) return this.#settledAt.clear();
    for (const key of keys) this.#settledAt.set(keyText(key), this.#settledSerial);
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

  #settledSince(key: Key, request: Request): boolean {
    return this.#settledAt.size > 0 && (this.#settledAt.get(keyText(key)) ?? 0) > request.settledSerial;
  }

  /** What is due by time: overdue requests and further snapshots. Returns the next monotonic time that something is due. */
  tick(): number {
    const now = this.context.clock.monotonicMs();
    let due = this.#questions.tick();
    if (now >= Math.min(this.#fetchAgainMs, this.#candidates.dueMs)) this.fetch();
    for (const at of [this.#fetchAgainMs, this.#candidates.dueMs]) if (at > now) due = Math.min(due, at);
    for (const [channel, cursor] of this.#cursors) {
      // One that is due now is asked for with the next sync.
      if (!cursor.againMs || !this.context.clock.known) continue;
      const leftMs = cursor.againMs - this.context.clock.nowMs();
      if (leftMs > 0) due = Math.min(due, now + leftMs);
      else this.#snapshotAgain(channel, cursor);
    }
    return due;
  }

  #snapshotAgain(channel: Channel, cursor: Cursor): void {
    this.context.store.tx(() => this.#store(channel, { ...cursor, againMs: 0 }));
    this.#caughtUp.delete(channel);
    this.sync([channel]);
  }

  #store(channel: Channel, cursor: Cursor): void {
    this.#cursors.set(channel, cursor);
    this.context.store.db.sql(`
      INSERT OR REPLACE INTO _sync_channels(channel, epoch, seq, snap_epoch, snap_head, snap_after, again)
      VALUES (?, ?, ?, ?, ?, ?, ?)`).run(
      channel,
      cursor.epoch ?? null,
      cursor.seq ?? null,
      cursor.snapshot?.epoch ?? null,
      cursor.snapshot?.head ?? null,
      cursor.snapshot?.after ?? null,
      cursor.againMs ?? null,
    );
  }

  /** A live entry. Applied if it is the next; held for a moment if it is later; ignored if it is older. */
  live(message: Changes): void {
    const { channel } = message;
    const cursor = this.#cursors.get(channel);
    if (!this.channels.includes(channel) || cursor?.seq === undefined || cursor.snapshot) return this.#ignore();
    const windowMs = message.spreadMs ?? 0;
    if (message.epoch !== cursor.epoch || !this.#isPresent(message.epoch)) {
      return this.#questions.missing(channel, windowMs);
    }
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
    this.#apply(run.flatMap((m) => this.#telling(m)), () => this.#store(channel, { ...cursor, seq: last }));
    for (const seq of [...held.keys()]) if (seq <= last) held.delete(seq);
    // It was a matter of order: nothing is missing.
    if (held.size === 0) this.#questions.unplan(channel);
  }

  /** After the last page: what is held and follows is applied; if something is missing still, it is asked for. */
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

  /** Takes the question that this answers, or undefined where it is outdated. */
  #answered(channel: Channel, id: string): Request | undefined {
    const request = this.#questions.take(channel, id);
    if (!request) this.#ignore();
    return request;
  }

  /** A catch-up page: the contiguous run behind the cursor. */
  page(page: Page): void {
    const { channel } = page;
    const request = this.#answered(channel, page.request);
    if (!request) return;
    const cursor = this.#cursors.get(channel) ?? {};
    if (cursor.snapshot || cursor.seq === undefined || page.epoch !== cursor.epoch) return this.sync([channel]);
    // The table was restored since, which another channel told first: this is of the one before.
    if (!this.#isPresent(page.epoch)) return this.sync([channel]);
    // Live entries were faster: if they brought all of it, the answer says no less than that this is caught up.
    const isKnown = page.from < cursor.seq && page.to <= cursor.seq;
    if (!isKnown && page.from !== cursor.seq) return this.sync([channel]);
    let isBack = false;
    this.#apply(isKnown ? [] : this.#telling(page), () => {
      isBack = this.#lacks.note(channel, page) || cursor.againMs === 0;
      const seq = isKnown ? cursor.seq : page.to, againMs = isBack ? 0 : cursor.againMs;
      if (isBack || !isKnown) this.#store(channel, { ...cursor, seq, againMs });
    }, request);
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
    // A snapshot sets epoch and cursor: live messages held from before belong to the log's former life. Their numbers fit
    // the new one by chance, and an absence of then would be the last word (rules-additions 0).
    this.#held.delete(channel);
    const first = page.after === undefined;
    if (first) this.met(tableEpochOf(page.epoch), page.since);
    else if (!this.#isPresent(page.epoch)) return this.sync([channel]);
    const cursor = this.#cursors.get(channel) ?? {};
    const state = cursor.snapshot;
    if (first) this.#listing.set(channel, page.schema);
    // Another version of the schema may list other models: what it shows from here on is not the rest of what was shown.
    const isOther = this.#listing.has(channel) && this.#listing.get(channel) !== page.schema;
    if (!first && (!state || state.after !== page.after || state.epoch !== page.epoch || isOther)) {
      // Not the one that is under way: begin anew.
      const isOfNow = state !== undefined && state.epoch === cursor.epoch;
      store.tx(() =>
        this.#store(channel, { epoch: cursor.epoch, ...(isOfNow ? { seq: state.head, againMs: 0 } : {}) })
      );
      return this.sync([channel]);
    }
    const head = first ? Math.min(page.head, resumedFrom(cursor, page.epoch)) : state!.head;
    this.#incoming.restoring = this.#isRestoring(cursor);
    this.#apply(this.#telling(page), () => {
      const { db } = store;
      if (first) db.sql("DELETE FROM _sync_seen WHERE channel = ?").run(channel);
      db.sql(
        "INSERT OR IGNORE INTO _sync_seen(channel, hash, sort) SELECT ?, value ->> 0, value ->> 1 FROM json_each(?)",
      ).run(channel, JSON.stringify(page.entries.map(({ key }) => key)));
      if (page.next !== undefined) {
        const snapshot = { epoch: page.epoch, head, after: page.next };
        this.#store(channel, { epoch: cursor.epoch, snapshot });
        return;
      }
      // What the cloud lacks the snapshot says nothing of; what it has no longer to be asked for.
      this.#lacks.note(channel, page);
      sweepChannel(this.context, channel, this.#lacks.spokenOf(channel, page));
      if (page.lags) planListCheck(this.context, channel);
      this.#candidates.look();
      const changed = cursor.epoch !== undefined && cursor.epoch !== page.epoch;
      this.#store(channel, { epoch: page.epoch, seq: head, againMs: changed ? clock.nowMs() + 60_000 : undefined });
    }, request);
    this.#portions.arrived(channel, page.entries.length);
    this.#questions.goOn(channel);
    this.fetch();
  }

  /**
   * Fetched keys. The answer for a key is void if it was dirtied, settled or marked again since it was asked for. A key that
   * the answer leaves out was not read, which is not its absence: it is asked for again, behind the others.
   */
  items(message: Items): void {
    const { store, records, outbox, clock, limits, random } = this.context;
    const request = this.#questions.takeFetch(message.request);
    if (!request) return this.#ignore();
    const left = new Map(request.serials), isUnknown = this.#lacks.isUnknown(message);
    store.tx(() => {
      store.applying(() => {
        for (const entry of message.entries) {
          const text = keyText(entry.key);
          // As if it had been left out, until a page tells what this cloud sends down.
          if (!entry.current && isUnknown) continue;
          if (!left.delete(text)) continue;
          const record = records.get(entry.key);
          if (!record || record.recheck !== request.serials.get(text)) continue;
          if (this.#settledSince(entry.key, request)) continue;
          if (this.context.inFlight.get(entry.key) || outbox.pending(record.model, entry.key)) continue;
          record.recheck = undefined;
          record.awaiting = false;
          const fault = entry.unreadable ?? this.#faulty.of(entry);
          if (fault !== undefined) this.#incoming.unreadable(entry.key, fault, record.model);
          else if (entry.current || !this.#lacks.isSilent(record.model, message)) {
            this.#faulty.begin(entry);
            this.#incoming.fetched(record, entry);
          }
          records.save(record);
          this.#faulty.end();
        }
      });
      for (const key of request.keys) {
        const serial = left.get(keyText(key)), record = serial === undefined ? undefined : records.get(key);
        if (record?.recheck !== serial || !record) continue;
        records.mark(record);
        records.save(record);
      }
    });
    this.#portions.keysArrived(message.entries.length);
    this.#candidates.answered();
    const isFruitless = left.size === request.keys.length;
    if (isFruitless) this.#fetchAgainMs = clock.monotonicMs() + limits.retryMs * (1 + random());
    this.fetch();
  }

  /** An answer is of this epoch of the table: one that was restored is asked to take back what it lacks. */
  met(epoch: string, sinceMs: number | undefined): void {
    const { store, restores } = this.context;
    if (restores.epoch === epoch) return;
    const open = this.channels.some((channel) => this.#isRestoring(this.#cursors.get(channel) ?? {}));
    store.tx(() => {
      if (restores.meet(epoch, sinceMs, open)) offerWhatOnlyGoesUp(this.context);
    });
  }

  /** The channel has taken no snapshot yet since the table was restored. */
  #isRestoring({ epoch }: Cursor): boolean {
    const { restores } = this.context;
    return restores.sinceMs !== undefined && epoch !== undefined && tableEpochOf(epoch) !== restores.epoch;
  }

  #isPresent(channelEpoch: string): boolean {
    return this.context.restores.isPresent(tableEpochOf(channelEpoch));
  }

  /** The entries of a message that say anything to this device. */
  #telling(message: Changes | Page | SnapshotPage): readonly Entry[] {
    return message.entries.filter((entry) => !this.#lacks.saysNothing(entry, message));
  }

  /** Applies entries and whatever goes with them (the cursor), in one transaction. */
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
          this.#incoming.apply(entry, quiet, request !== undefined && this.#settledSince(entry.key, request));
        }
        this.#faulty.end();
        also();
      });
      store.setMeta("lastSync", clock.nowMs());
    });
  }
}

function cursorOf(channel: Channel, { epoch, seq, snapshot, againMs }: Cursor): CursorOf {
  return { channel, ...(seq !== undefined && againMs !== 0 ? { epoch, seq } : {}), ...(snapshot ? { snapshot } : {}) };
}

/**
 * Where the log is read on from after a snapshot, if that is before its head: a snapshot shows no removal, and a change in
 * flight whose item was removed meanwhile would bring it back (sim: versions 7201556). Only from where the log may still be
 * read: one that was asked for because the log could not be does not come back to that place.
 */
function resumedFrom({ epoch, seq, snapshot, againMs }: Cursor, of: string): number {
  if (snapshot?.epoch === of) return snapshot.head;
  return againMs === 0 && epoch === of && seq !== undefined ? seq : Infinity;
}

/** The cursor behind a page that is to be applied next; undefined where nothing is to be asked for behind it. */
function behindPage(cursor: Cursor, page: Page): Cursor | undefined {
  const follows = page.more && !cursor.snapshot && page.from === cursor.seq && page.epoch === cursor.epoch;
  return follows ? { epoch: page.epoch, seq: page.to } : undefined;
}

function behindSnapshotPage(cursor: Cursor, { epoch, head, after, next }: SnapshotPage): Cursor | undefined {
  const state = cursor.snapshot;
  const follows = after === undefined || (state?.after === after && state.epoch === epoch);
  if (!follows || next === undefined) return undefined;
  return { snapshot: { epoch, head: after === undefined ? head : state!.head, after: next } };
}
