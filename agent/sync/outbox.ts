/**
 * The outbox: local changes that are not acknowledged yet. Capture triggers append an entry `(model, row)` for each
 * write, in the writer's own transaction, in whatever process; an entry is only a **hint** that a key may have changed.
 * The change to send follows from the row as it is now and its base, so reading coalesces: all entries of a key become
 * one candidate.
 *
 * Entries are deleted in the transaction that settles their change. `scanned` is how far they were read; it is only in
 * memory, and a restart reads from the start again. SQLite may reuse sequence numbers once the table is empty, and only
 * this agent empties it: {@link forget} then sets `scanned` back.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import { type Attributes, parseJson, renderKey, SyncError } from "../../schema.ts";
import type { Key, Version } from "../../protocol.ts";
import { mayBeAltered, utf8Of } from "../store/columns.ts";
import { isTracked, keyText } from "./items.ts";
import { Lane } from "./lane.ts";
import { RowSet } from "./row_set.ts";
import { extend, joined, type Runs } from "./runs.ts";
import { type RowId, rowIdOf, type SqlRow } from "../sqlite/driver.ts";
import { keepRejected } from "../store/kept.ts";
import type { LocalRow, Store } from "../store/store.ts";
import { outboxKinds } from "../store/triggers.ts";

/** A key with unsent entries. */
export interface Candidate {
  readonly model: Model;
  readonly key: Key;
  readonly text: string;
  entries: Runs;
  /** The newest entry: the row's state covers all entries up to it; its time becomes the stamp's. */
  upto: number;
  timeMs: number;
  segment: number;
  /** When the key's oldest unsent entry was recorded: the creation's time if it is an insert. */
  firstTimeMs: number;
  /** The key's oldest unsent entry is its insert, or its removal before its insert was sent: no state of it was ever sent. */
  inserted: boolean;
  /** The rows of the inserts among its entries: once the key is sent, none of them is an unsent row any more. */
  insertRows?: RowId[];
  /** The key fields' attributes, if an entry of a removal contained them. */
  removedKey?: Attributes;
  /** The row as the scan read it: valid for the transaction of that scan only. */
  row?: LocalRow;
  scan?: number;
  /** The newest entry that was read is a removal: if there is a row, its insert has not been read yet. */
  removed?: boolean;
  /** Versions that an earlier transmission of this state had, and that still count as its own (after a `clock` answer). */
  prior: Version[];
  /** Do not send before this monotonic time: the removal waits until no older create can still arrive. */
  holdUntilMs?: number;
}

/** Reads, coalesces and deletes outbox entries. The queue is the table itself. */
export class Outbox {
  /** Keys that were read and are not sent yet, oldest first. Bounded by {@link waitingMax}. */
  readonly waiting: Map<string, Candidate> = new Map();
  #scanned = 0;
  #transaction = 0;
  /**
   * Rows whose insert is unsent: if a key loses such a row, it was never sent. SQLite reuses row numbers, but not keys.
   */
  readonly #inserts: RowSet = new RowSet();
  /**
   * The lowest head since {@link markSeen}: numbers above it are newer than that call, even if they were used before.
   */
  #lowestHead: number;
  /** Entries claimed by batches that were reloaded after a start. */
  #claimed: Set<number> = new Set();
  /** Of models that wait, by number. */
  readonly #lanes: Map<number, Lane> = new Map();

  /** Keys read ahead at most; reading stops there until some are sent. */
  static readonly waitingMax = 4096;
  /**
   * Entries that are read together, at least and at most. What a batch cannot hold must be read again for the next one.
   */
  static readonly #chunkMin = 32;
  static readonly #chunkMax = 512;

  constructor(readonly store: Store) {
    this.#lowestHead = this.head();
  }

  /**
   * Starts again from the table: after a start, after a failed transaction, or when models start or stop waiting.
   *
   * @param inflight entries that are claimed
   * @param held the numbers of the models that wait
   */
  restart(inflight: Iterable<Runs>, held: readonly number[]): void {
    this.waiting.clear();
    this.#lanes.clear();
    for (const number of held) this.#lanes.set(number, new Lane());
    this.#inserts.clear();
    this.#scanned = 0;
    this.#claimed = new Set();
    for (const runs of inflight) {
      for (const [from, to] of runs) for (let seq = from; seq <= to; seq++) this.#claimed.add(seq);
    }
  }

  /** The highest sequence number in the table, 0 when it is empty. */
  head(): number {
    return Number(this.store.db.sql("SELECT coalesce(max(seq), 0) AS seq FROM _outbox").get()!.seq);
  }

  /** A number below all entries that were made since the last {@link markSeen}. */
  get seen(): number {
    return this.#lowestHead;
  }

  /** Marks the present entries as seen. */
  markSeen(): void {
    this.#lowestHead = this.head();
  }

  #emptied(): void {
    const head = this.head();
    this.#scanned = Math.min(this.#scanned, head);
    this.#lowestHead = Math.min(this.#lowestHead, head);
  }

  /** How many entries have not been read: an upper bound, runs that were deleted included. */
  unread(): number {
    return Math.max(0, this.head() - this.#scanned);
  }

  /** Whether a later entry of the model may not have been read. */
  hasUnread(model: Model): boolean {
    const lane = this.#laneOf(model);
    if (!lane) return this.unread() > 0;
    return this.store.db.sql("SELECT 1 FROM _outbox WHERE seq > ? AND model = ? LIMIT 1")
      .get(lane.at, this.store.number(model)) !== undefined;
  }

  #laneOf(model: Model): Lane | undefined {
    return this.#lanes.size === 0 ? undefined : this.#lanes.get(this.store.number(model));
  }

  /** Whether nothing at all is pending or in flight: then every key is clean, without a look-up. */
  get empty(): boolean {
    return this.store.db.sql("SELECT 1 FROM _outbox LIMIT 1").get() === undefined;
  }

  /**
   * Reads the next chunk of entries into {@link waiting}, except those of models that wait. Must run inside a
   * transaction. Returns false at the end.
   *
   * @param wanted how many keys the caller can use: a hint
   */
  scan(wanted: number = Outbox.#chunkMax): boolean {
    if (this.waiting.size >= Outbox.waitingMax) return false;
    const chunk = Math.min(Outbox.#chunkMax, Math.max(Outbox.#chunkMin, Math.ceil(wanted)));
    const held = [...this.#lanes.keys()], others = held.length > 0 ? `AND model NOT IN (${held.join(", ")})` : "";
    const entries = this.store.db.sql(
      `SELECT seq, model, row, kind, time, segment, key FROM _outbox WHERE seq > ? ${others} ORDER BY seq LIMIT ?`,
    ).all(this.#scanned, chunk);
    this.#read(entries, (seq) => {
      this.#scanned = seq;
      return !this.#claimed.delete(seq);
    });
    // All remaining entries are of models that wait: they are not scanned again and again.
    if (held.length > 0 && entries.length < chunk) this.#scanned = this.head();
    return entries.length === chunk;
  }

  /**
   * Reads keys of a model that waits, so many at most, into {@link waiting}. Must run inside a transaction. Returns how many;
   * 0 once the pass has come to the last entry: the next call begins a new one.
   */
  ask(model: Model, most: number): number {
    const lane = this.#laneOf(model), number = this.store.number(model);
    if (!lane) return 0;
    const asking = new Set<string>();
    while (asking.size < most) {
      const entries = this.store.db.sql(
        "SELECT seq, model, row, kind, time, segment, key FROM _outbox WHERE seq > ? AND model = ? ORDER BY seq LIMIT ?",
      ).all(lane.at, number, Outbox.#chunkMin);
      let full = false;
      this.#read(entries, (seq, text) => {
        if (full || this.#claimed.has(seq)) return false;
        if (text === undefined) return true;
        if (asking.size === most && !asking.has(text)) full = true;
        else lane.at = seq;
        if (full || lane.hasAsked(text)) return false;
        asking.add(text);
        return true;
      });
      if (full) break;
      lane.at = Math.max(lane.at, Number(entries.at(-1)?.seq ?? 0));
      if (entries.length < Outbox.#chunkMin) break;
    }
    if (asking.size === 0) lane.begin();
    return asking.size;
  }

  /** The cloud's schema refused the change: its entries count as unread again. */
  refused(model: Model, text: string, entries: Runs): void {
    this.#unclaim(entries);
    this.#laneOf(model)?.refuse(text);
  }

  #unclaim(runs: Runs): void {
    for (const [from, to] of runs) for (let seq = from; seq <= to; seq++) this.#claimed.delete(seq);
  }

  /**
   * Turns entries into candidates. Deletes entries that resolve to nothing (their row was removed or replaced later,
   * which has its own entry).
   *
   * @param takes called for each entry, and again with its key if it has one: whether to read it
   */
  #read(entries: readonly SqlRow[], takes: (seq: number, text?: string) => boolean): void {
    const dead: Runs = [];
    const rows = this.#rowsOf(entries);
    for (const entry of entries) {
      const seq = Number(entry.seq);
      if (!takes(seq)) continue;
      const kind = Number(entry.kind), of = Number(entry.model), row = entry.row === null ? 0 : rowIdOf(entry.row);
      const neverSent = kind === outboxKinds.insert || (kind === outboxKinds.gone && this.#inserts.delete(of, row));
      if (kind === outboxKinds.insert) this.#inserts.add(of, row);
      const model = this.store.modelByNumber(Number(entry.model));
      const read = rows.get(Number(entry.model))?.get(rowIdOf(entry.row ?? 0));
      const found = read && kind !== outboxKinds.gone
        ? { key: read.key, row: read }
        : model && this.#find(model, entry);
      if (!found) {
        extend(dead, seq);
        continue;
      }
      if (this.#lanes.has(of) && !takes(seq, keyText(found.key))) continue;
      const candidate = this.#add(model!, found.key, seq, neverSent, Number(entry.time), Number(entry.segment));
      candidate.row = found.row;
      candidate.removed = kind === outboxKinds.gone;
      if (kind === outboxKinds.insert) (candidate.insertRows ??= []).push(row);
      candidate.scan = this.#transaction;
      if (entry.key !== null) candidate.removedKey = parseJson(entry.key as string) as Attributes;
    }
    if (dead.length > 0) this.forget(dead);
  }

  /** The rows that entries name, by model and `_id`, read together: one statement for each model, not for each row. */
  #rowsOf(entries: readonly SqlRow[]): Map<number, ReadonlyMap<RowId, LocalRow>> {
    const ids = new Map<number, Set<RowId>>();
    for (const { model, row, kind } of entries) {
      if (Number(kind) === outboxKinds.gone) continue;
      const number = Number(model);
      const known = ids.get(number);
      if (known) known.add(rowIdOf(row ?? 0));
      else ids.set(number, new Set([rowIdOf(row ?? 0)]));
    }
    const rows = new Map<number, ReadonlyMap<RowId, LocalRow>>();
    for (const [number, some] of ids) {
      const model = this.store.modelByNumber(number);
      if (model && some.size > 1) rows.set(number, this.store.rows(model).byIds([...some]));
    }
    return rows;
  }

  /** The key of an entry, and its row if the entry names one. */
  #find(model: Model, entry: SqlRow): { key: Key; row?: LocalRow } | undefined {
    const rows = this.store.rows(model);
    if (Number(entry.kind) !== outboxKinds.gone) {
      try {
        const row = rows.byId(rowIdOf(entry.row));
        return row && { key: row.key, row };
      } catch (error) {
        if (!(error instanceof SyncError) || error.code !== "invalid") throw error;
        // The row is invalid by the schema. The uplink rejects it when its turn comes, or this does if it has no key.
        const key = rows.keyById(rowIdOf(entry.row));
        if (key && rows.idByKey(key) === rowIdOf(entry.row)) return { key };
        keepRejected(this.store.db, {
          model: model.name,
          key: rows.keyJson(rowIdOf(entry.row)) ?? "{}",
          code: "invalid",
          reason: error.message,
          timeMs: Number(entry.time),
        });
        return undefined;
      }
    }
    if (entry.key === null || !this.#isUtf8(entry)) return undefined;
    const key = renderKey(model, parseJson(entry.key as string) as Attributes, this.store.identity);
    return key && { key };
  }

  /**
   * A key that is not UTF-8 was never sent: its removal means nothing to the table, and must not be mistaken for
   * another key's.
   */
  #isUtf8({ seq, key }: SqlRow): boolean {
    if (!mayBeAltered(key)) return true;
    const bytes = this.store.db.sql("SELECT CAST(key AS BLOB) AS bytes FROM _outbox WHERE seq = ?").get(seq!)!.bytes;
    try {
      utf8Of(bytes as Uint8Array);
      return true;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return false;
    }
  }

  /** Starts a transaction in which rows may be used as {@link scan} read them. */
  begin(): void {
    this.#transaction++;
  }

  /** The candidate's row as it is now. */
  rowOf(candidate: Candidate): LocalRow | undefined {
    if (candidate.row === undefined || candidate.scan !== this.#transaction) {
      candidate.row = this.store.rows(candidate.model).byKey(candidate.key);
      candidate.scan = this.#transaction;
      if (isTracked(candidate.model) && this.hasUnread(candidate.model)) this.#retime(candidate);
    }
    return candidate.row;
  }

  /**
   * A row is sent as it is now, and therefore with the time of its newest entry, even if that has not been read yet.
   */
  #retime(candidate: Candidate): void {
    const { db } = this.store, after = this.#laneOf(candidate.model)?.at ?? this.#scanned;
    const [hash, sort] = candidate.key;
    const newest = "AND seq > ? ORDER BY seq DESC LIMIT 1";
    const ofRow = candidate.row && db.sql(
      `SELECT seq, time, segment FROM _outbox WHERE model = ${
        this.store.number(candidate.model)
      } AND row = ? ${newest}`,
    ).get(candidate.row.id, after);
    const ofKey = db.sql(`SELECT seq, time, segment FROM _outbox WHERE hash = ? AND sort = ? ${newest}`)
      .get(hash, sort, after);
    const entry = Number(ofRow?.seq ?? 0) > Number(ofKey?.seq ?? 0) ? ofRow : ofKey;
    if (entry) Object.assign(candidate, { timeMs: Number(entry.time), segment: Number(entry.segment) });
  }

  #add(model: Model, key: Key, seq: number, neverSent: boolean, timeMs: number, segment: number): Candidate {
    const text = keyText(key);
    const known = this.waiting.get(text);
    if (known) {
      extend(known.entries, seq);
      return Object.assign(known, { upto: seq, timeMs, segment });
    }
    const candidate: Candidate = {
      model,
      key,
      text,
      entries: [[seq, seq]],
      upto: seq,
      timeMs,
      segment,
      firstTimeMs: timeMs,
      inserted: neverSent,
      prior: [],
    };
    this.waiting.set(text, candidate);
    return candidate;
  }

  /** A candidate was sent: a later removal of its row's key no longer concerns an unsent row. */
  taken(candidate: Candidate): void {
    this.waiting.delete(candidate.text);
    if (this.#laneOf(candidate.model)) {
      for (const [from, to] of candidate.entries) for (let seq = from; seq <= to; seq++) this.#claimed.add(seq);
    }
    // By its key, if the row could not be read: it is rejected, not held.
    const id = candidate.row?.id ?? this.store.rows(candidate.model).idByKey(candidate.key);
    // The row is sent as it is now: a REPLACE whose entries were not read yet may have given it another number.
    for (const row of [id, ...candidate.insertRows ?? []]) {
      if (row !== undefined) this.#inserts.delete(this.store.number(candidate.model), row);
    }
  }

  /** Deletes entries. Must run inside the transaction that settles their changes. */
  forget(runs: Runs): void {
    for (const [from, to] of runs) {
      this.store.db.sql("DELETE FROM _outbox WHERE seq BETWEEN ? AND ?").run(from, to);
      // SQLite may reuse the number: a claim on it would hide the new entry for ever.
      if (this.#claimed.size > 0) this.#unclaim([[from, to]]);
    }
    this.#emptied();
  }

  /** Appends the agent's own hint to look at this key again. */
  append(model: Model, key: Key, keyAttributes: Attributes, timeMs: number): void {
    const { db } = this.store;
    const id = this.store.rows(model).idByKey(key);
    const number = this.store.number(model);
    if (id !== undefined) {
      db.sql(
        `INSERT INTO _outbox(model, row, kind, time, segment) SELECT ?, ?, ${outboxKinds.update}, ?, segment FROM _sync_flag`,
      ).run(number, id, Math.round(timeMs));
    } else {
      db.sql(
        `INSERT INTO _outbox(model, row, kind, time, segment, hash, sort, key)
         SELECT ?, NULL, ${outboxKinds.gone}, ?, segment, ?, ?, ? FROM _sync_flag`,
      ).run(number, Math.round(timeMs), key[0], key[1], JSON.stringify(keyAttributes));
    }
  }

  /** Whether a key of a tracked model has local changes that are not in flight. */
  pending(model: Model, key: Key): boolean {
    return this.waiting.has(keyText(key)) || this.#unreadOf(model, key).length > 0;
  }

  /**
   * The key's entries that were not read yet. Entries that were read belong to the key that their row had then, which
   * may be another key with a change that waits or is in flight; a row whose key has changed since must not count as
   * changed. A partial index, with a literal model number, answers this query.
   */
  #unreadOf(model: Model, key: Key): Runs {
    const { db } = this.store, found: Runs = [], after = this.#laneOf(model) ? 0 : this.#scanned;
    const id = this.store.rows(model).idByKey(key);
    const byRow = `SELECT seq FROM _outbox WHERE model = ${
      this.store.number(model)
    } AND row = ? AND kind <> ${outboxKinds.gone} AND seq > ?`;
    const byKey = "SELECT seq FROM _outbox WHERE hash = ? AND sort = ? AND seq > ?";
    const entries = id === undefined ? [] : db.sql(byRow).all(id, after);
    for (const entry of [...entries, ...db.sql(byKey).all(key[0], key[1], after)]) {
      const seq = Number(entry.seq);
      if (!this.#claimed.has(seq)) found.push([seq, seq]);
    }
    return found;
  }

  /** Drops all entries of a key of a tracked model: its pending changes yield. */
  drop(model: Model, key: Key): void {
    const waiting = this.waiting.get(keyText(key));
    if (waiting) this.waiting.delete(waiting.text);
    this.forget(joined([this.#unreadOf(model, key), waiting?.entries ?? []]));
  }
}
