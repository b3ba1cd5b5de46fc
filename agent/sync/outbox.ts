/**
 * The outbox: local changes that are not acknowledged yet. Capture triggers append an entry `(model, row)` for each
 * write, in the writer's own transaction, in whatever process; an entry is only a **hint** that a key may have changed.
 * What is sent follows from the row as it is now and its base, so reading coalesces: all entries of a key become one
 * candidate.
 *
 * Entries are deleted when what they stand for is settled, in the transaction that settles it. `scanned` is how far they
 * were read; it lives in memory, a restart reads from the start again. Sequence numbers may be used again once the table
 * has been emptied, which only this agent does: {@link forget} then takes `scanned` back.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import { type Attributes, parseJson, renderKey, SyncError } from "../../schema.ts";
import type { Key, Version } from "../../protocol.ts";
import { mayBeAltered, utf8Of } from "../store/columns.ts";
import { isTracked, keyText } from "./items.ts";
import { type RowId, rowIdOf, type SqlRow } from "../sqlite/driver.ts";
import { keepRejected } from "../store/kept.ts";
import type { LocalRow, Store } from "../store/store.ts";
import { outboxKinds } from "../store/triggers.ts";

/** Outbox entries as runs of sequence numbers, both ends included. */
export type Runs = [from: number, to: number][];

/** A key with unsent entries. */
export interface Candidate {
  readonly model: Model;
  readonly key: Key;
  readonly text: string;
  entries: Runs;
  /** The newest entry: up to it the row's state is covered; its time becomes the stamp's. */
  upto: number;
  timeMs: number;
  segment: number;
  /** When the key's oldest unsent entry was recorded: the creation's time where it is an insert. */
  firstTimeMs: number;
  /** The key's oldest unsent entry is its insert, or its removal before its insert was sent: no state of it was ever sent. */
  inserted: boolean;
  /** The rows of the inserts among its entries: with what is sent of the key, none of them is an unsent one any more. */
  insertRows?: RowId[];
  /** The key fields' attributes, where an entry of a removal gave them. */
  removedKey?: Attributes;
  /** The row as the scan read it: valid for the transaction of that scan only. */
  row?: LocalRow;
  scan?: number;
  /** The newest entry that was read is a removal: a row that is there all the same has an insert that was not. */
  removed?: boolean;
  /** Versions that an earlier transmission of this state had, and that still count as its own (after a `clock` answer). */
  prior: Version[];
  /** Not before this monotonic time: a removal that waits until no older creation can still arrive. */
  holdUntilMs?: number;
}

/** Adds a sequence number that is larger than all before it. */
export function extend(runs: Runs, seq: number): void {
  const last = runs.at(-1);
  if (last && last[1] + 1 === seq) last[1] = seq;
  else runs.push([seq, seq]);
}

/** The union of runs, sorted, neighbours joined. */
export function joined(lists: Iterable<Runs>): Runs {
  const all = [...lists].flat().sort((a, b) => a[0] - b[0]);
  const out: Runs = [];
  for (const [from, to] of all) {
    const last = out.at(-1);
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else out.push([from, to]);
  }
  return out;
}

/**
 * Of a model that waits (`waits.ts`): its entries are read apart, and only as many as may ask. All of them count as unread
 * but those that are in flight.
 */
class Lane {
  /** Read up to this entry in the present pass. */
  at = 0;
  /** Keys that were refused in this pass, as bits: bounded, whatever waits. One that shares a bit asks in the next pass. */
  readonly #refused = new Uint8Array(1 << 16);
  #salt = 0;
  #any = false;

  refuse(text: string): void {
    const bit = this.#bitOf(text);
    this.#refused[bit >> 3]! |= 1 << (bit & 7);
    this.#any = true;
  }

  hasAsked(text: string): boolean {
    if (!this.#any) return false;
    const bit = this.#bitOf(text);
    return (this.#refused[bit >> 3]! & (1 << (bit & 7))) !== 0;
  }

  /** From the first entry again: every key may ask once more. */
  begin(): void {
    this.at = 0;
    this.#refused.fill(0);
    this.#salt++;
    this.#any = false;
  }

  /** FNV-1a over the salt and the text. */
  #bitOf(text: string): number {
    let hash = (2166136261 ^ this.#salt) >>> 0;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619) >>> 0;
    return (hash ^ (hash >>> 15)) & ((1 << 19) - 1);
  }
}

/** Rows by their model's number and their `_id`. */
class RowSet {
  readonly #byModel: Map<number, Set<RowId>> = new Map();

  add(model: number, row: RowId): void {
    const rows = this.#byModel.get(model);
    if (rows) rows.add(row);
    else this.#byModel.set(model, new Set([row]));
  }

  /** Whether it was there. */
  delete(model: number, row: RowId): boolean {
    return this.#byModel.get(model)?.delete(row) ?? false;
  }

  clear(): void {
    this.#byModel.clear();
  }
}

/** Reads, coalesces and deletes outbox entries. Not a queue of its own: the table is. */
export class Outbox {
  /** Keys that were read and are not sent yet, oldest first. Bounded by {@link waitingMax}. */
  readonly waiting: Map<string, Candidate> = new Map();
  #scanned = 0;
  #transaction = 0;
  /** Rows whose insert is unsent: a key that loses such a row was never sent. SQLite gives row numbers again, keys it doesn't. */
  readonly #inserts: RowSet = new RowSet();
  /** The lowest head since {@link markSeen}: numbers above it are newer than that call, even if they were given before. */
  #lowestHead: number;
  /** Entries that batches restored after a start have claimed. */
  #claimed: Set<number> = new Set();
  /** Of models that wait, by number. */
  readonly #lanes: Map<number, Lane> = new Map();

  /** Keys read ahead at most; reading stops there until some are sent. */
  static readonly waitingMax = 4096;
  /** Entries that are read together, at least and at most. What a batch leaves over has to be read again for the next one. */
  static readonly #chunkMin = 32;
  static readonly #chunkMax = 512;

  constructor(readonly store: Store) {
    this.#lowestHead = this.head();
  }

  /**
   * Begins again from the table: after a start, after a transaction failed, or where models begin or end to wait.
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

  /** A number that all entries made since the last {@link markSeen} are above. */
  get seen(): number {
    return this.#lowestHead;
  }

  /** What is there now was seen. */
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

  /** Whether nothing at all is pending or in flight: then every key is clean, without looking. */
  get empty(): boolean {
    return this.store.db.sql("SELECT 1 FROM _outbox LIMIT 1").get() === undefined;
  }

  /**
   * Reads the next chunk of entries into {@link waiting}, but those of models that wait. Must run inside a transaction.
   * Returns false at the end.
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
    // What is left is of models that wait: it is not looked through again and again.
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
   * Makes candidates of entries. Those that resolve to nothing (their row was removed or replaced later, which has its own
   * entry) are deleted.
   *
   * @param takes asked for each entry, and again with its key where it has one: whether it is to be read
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

  /** The rows that entries name, by model and `_id`, read together: one statement a model, not one a row. */
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

  /** The key that an entry is about, and its row where the entry names one. */
  #find(model: Model, entry: SqlRow): { key: Key; row?: LocalRow } | undefined {
    const rows = this.store.rows(model);
    if (Number(entry.kind) !== outboxKinds.gone) {
      try {
        const row = rows.byId(rowIdOf(entry.row));
        return row && { key: row.key, row };
      } catch (error) {
        if (!(error instanceof SyncError) || error.code !== "invalid") throw error;
        // A row that is none by the schema: the uplink shows it, when it comes to it; here, where no key leads to it.
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

  /** A key that is no UTF-8 was never sent: its removal means nothing to the table, and must not be taken for another's. */
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

  /** Begins a transaction in which rows that {@link scan} read may be used as they were read. */
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

  /** A row is sent as it is now, and so with the time of its newest entry, even where that has not been read yet. */
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

  /** A candidate was sent: a later removal of its row's key is no longer one of an unsent row. */
  taken(candidate: Candidate): void {
    this.waiting.delete(candidate.text);
    if (this.#laneOf(candidate.model)) {
      for (const [from, to] of candidate.entries) for (let seq = from; seq <= to; seq++) this.#claimed.add(seq);
    }
    // By its key where it could not be read: it is rejected, not held.
    const id = candidate.row?.id ?? this.store.rows(candidate.model).idByKey(candidate.key);
    // What is sent is the row as it is now: a REPLACE whose entries were not read yet may have given it another number.
    for (const row of [id, ...candidate.insertRows ?? []]) {
      if (row !== undefined) this.#inserts.delete(this.store.number(candidate.model), row);
    }
  }

  /** Deletes entries. Must run inside the transaction that settles what they stood for. */
  forget(runs: Runs): void {
    for (const [from, to] of runs) {
      this.store.db.sql("DELETE FROM _outbox WHERE seq BETWEEN ? AND ?").run(from, to);
      // The number may be given again: a claim on it would hide the new entry for ever.
      if (this.#claimed.size > 0) this.#unclaim([[from, to]]);
    }
    this.#emptied();
  }

  /** Appends a hint of the agent's own: look at this key again. */
  append(model: Model, key: Key, keyAttributes: Attributes, timeMs: number): void {
    const { db } = this.store;
    const id = this.store.rows(model).idByKey(key);
    const number = this.store.number(model);
    if (id !== undefined) {
      db.sql(
        "INSERT INTO _outbox(model, row, kind, time, segment) SELECT ?, ?, 2, ?, segment FROM _sync_flag",
      ).run(number, id, Math.round(timeMs));
    } else {
      db.sql(
        `INSERT INTO _outbox(model, row, kind, time, segment, hash, sort, key)
         SELECT ?, NULL, 3, ?, segment, ?, ?, ? FROM _sync_flag`,
      ).run(number, Math.round(timeMs), key[0], key[1], JSON.stringify(keyAttributes));
    }
  }

  /** Whether a key of a tracked model has local changes that are not in flight. */
  pending(model: Model, key: Key): boolean {
    return this.waiting.has(keyText(key)) || this.#unreadOf(model, key).length > 0;
  }

  /**
   * The key's entries that were not read yet. Those that were read belong to whichever key their row had then: it may be
   * another one, whose change waits or is in flight, and a row whose key has changed since must not be taken for changed.
   * An index answers it: partial, literal model number.
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
