/**
 * Bounds the disk usage of a device that is offline for months. At the cap, the schema's policy applies, never
 * silently: the agent drops unsent rows of models with `keep: 'newest'`, the oldest first, and counts them; if that
 * frees nothing, applications' writes to synced models fail with an SQL error that says so, until changes have been
 * sent. Writes to models with `keep: 'newest'` are never refused. At the cap of bytes, the agent also drops their
 * oldest sent rows, once none is unsent: the cloud has them.
 *
 * The agent enforces the cap about once a second: a fast writer may exceed it by what it writes meanwhile. Capture
 * itself only reads the flag. Rejected: counting in the triggers, which would cost every write of a healthy device.
 *
 * @module
 */
import { beforeRows, type RowId, rowIdOf } from "../sqlite/driver.ts";
import type { Model } from "../../schema/model.ts";
import type { Context } from "../sync/context.ts";
import { coalesce } from "./coalesce.ts";
import { extend, type Runs } from "../sync/runs.ts";
import { ident } from "../store/sql.ts";
import { fullOf, outboxKinds } from "../store/triggers.ts";

/** Between the cap and this fraction of it, nothing changes, so that the flag does not flap. */
const roomShare = 0.9;
/** Rows dropped in one transaction: some milliseconds. */
const dropChunk = 2_000;
/** A scan that found nothing to coalesce is repeated after this time. */
const coalesceAgainMs = 60_000;
/** Scans in a row, while each finds something. */
const coalesceRounds = 3;
/** Transactions of that in one round. */
const chunksMax = 50;
/** SQLite takes long to count a large outbox: then it is counted only this often. */
const largeOutbox = 200_000, largeCountMs = 10_000;

/** Where a round continues: after rows that an application's trigger refuses to delete. */
interface Positions {
  /** In the outbox. */
  entry: number;
  /** In each model's table, by `_id`. */
  readonly rows: Map<Model, RowId>;
}

/** Keeps the caps. {@link Capacity.check} must not run inside a transaction. */
export class Capacity {
  readonly #context: Context;
  readonly #keeping: ReadonlyMap<number, Model>;
  #nextCountMs = 0;
  /** How far the outbox was coalesced, and when the next scan is worthwhile. */
  #coalesced = 0;
  #nextCoalesceMs = 0;
  /** One of {@link fullOf}. */
  #full: number;

  constructor(context: Context) {
    this.#context = context;
    const { store } = context;
    this.#keeping = new Map(
      [...store.schema.models.values()].filter((m) => m.onDevice && m.keep === "newest").map((
        model,
      ) => [store.number(model), model]),
    );
    this.#full = Number(store.db.sql('SELECT "full" FROM _sync_flag').get()!.full);
    this.#tell();
  }

  /** Whether applications' writes are refused now. */
  get full(): boolean {
    return this.#full !== fullOf.nothing;
  }

  /**
   * Checks the caps and acts. Returns whether outbox entries were dropped: entries that were read before are void then.
   */
  check(): boolean {
    const { clock, limits } = this.#context;
    const now = clock.monotonicMs();
    const span = this.#span();
    const near = span >= limits.outboxMax * roomShare || this.full || limits.databaseBytesMax !== undefined;
    if (!near || now < this.#nextCountMs) return false;
    this.#nextCountMs = span > largeOutbox ? now + largeCountMs : 0;
    let fill = this.#fill(span);
    let dropped = 0;
    // The entries that one round leaves may cover more in the next: updates that were separated only by ignored
    // inserts.
    for (let round = 0; round < coalesceRounds && fill.outbox >= roomShare; round++) {
      const gone = this.#coalesce(now);
      if (gone === 0) break;
      dropped += gone;
      fill = this.#fill(this.#span());
    }
    if (Math.max(fill.outbox, fill.size) >= 1 && this.#keeping.size > 0) {
      this.#context.stuck.begin("capacity");
      const from: Positions = { entry: 0, rows: new Map() };
      for (let n = 0; n < chunksMax && Math.max(fill.outbox, fill.size) >= roomShare; n++) {
        const entries = this.#drop(from);
        if (entries === 0 && (fill.size < roomShare || !this.#dropSent(from))) break;
        dropped += entries;
        fill = this.#fill(this.#span());
      }
      this.#context.stuck.end();
    }
    const cap = this.full ? roomShare : 1;
    const full = fill.outbox >= cap ? fullOf.outbox : fill.size >= cap ? fullOf.size : fullOf.nothing;
    if (full !== this.#full) this.#setFull(full);
    return dropped > 0;
  }

  /** Deletes entries that newer ones cover (`coalesce.ts`), a part of a large outbox each time. Returns how many. */
  #coalesce(now: number): number {
    if (now < this.#nextCoalesceMs) return 0;
    let dropped = 0;
    for (let n = 0; n < chunksMax; n++) {
      const part = coalesce(this.#context, this.#coalesced);
      dropped += part.dropped;
      this.#coalesced = part.last ?? 0;
      if (part.last === undefined) break;
    }
    // If all rows differ, nothing can be gained, and scanning costs time.
    if (dropped === 0) this.#nextCoalesceMs = now + coalesceAgainMs;
    return dropped;
  }

  /** An upper bound of the number of entries, at no cost. */
  #span(): number {
    const row = this.#context.store.db.sql(
      "SELECT (SELECT max(seq) FROM _outbox) - (SELECT min(seq) FROM _outbox) + 1 AS n",
    ).get()!;
    return Number(row.n ?? 0);
  }

  /** How full each is: 1 is the cap. */
  #fill(span: number): { readonly outbox: number; readonly size: number } {
    const { store, limits } = this.#context;
    const count = span < limits.outboxMax * roomShare
      ? span
      : Number(store.db.sql("SELECT count(*) AS n FROM _outbox").get()!.n);
    const size = limits.databaseBytesMax === undefined ? 0 : this.#usedBytes() / limits.databaseBytesMax;
    return { outbox: count / limits.outboxMax, size };
  }

  /** The used bytes of the database: free pages are reused before the file grows. */
  #usedBytes(): number {
    const { db } = this.#context.store;
    const pragma = (name: string) => Number(Object.values(db.sql(`PRAGMA ${name}`).get()!)[0]);
    return (pragma("page_count") - pragma("freelist_count")) * pragma("page_size");
  }

  #setFull(full: number): void {
    const { store } = this.#context;
    store.tx(() => store.db.sql('UPDATE _sync_flag SET "full" = ?').run(full));
    this.#full = full;
    this.#tell();
  }

  #tell(): void {
    const sentences = {
      [fullOf.outbox]: "the outbox is full: writes to synced models are refused until changes have been sent",
      [fullOf.size]:
        "the database has reached its size limit: writes to synced models are refused until rows are deleted " +
        "or changes have been sent",
    };
    const sentence = sentences[this.#full as keyof typeof sentences];
    if (sentence) this.#context.problems.raise("outbox", sentence);
    else this.#context.problems.clear("outbox");
  }

  /** Drops the oldest rows that the cloud already has. False: none is left. */
  #dropSent(from: Positions): boolean {
    const { store, stuck } = this.#context;
    return store.tx(() =>
      store.applying(() => {
        let looked = false;
        for (const [number, model] of this.#keeping) {
          const rows = store.db.sql(
            `SELECT _id FROM ${ident(model.name)} WHERE _id > ? AND _id NOT IN ` +
              `(SELECT row FROM _outbox WHERE model = ${number} AND row IS NOT NULL) ORDER BY _id LIMIT ${dropChunk}`,
          ).all(from.rows.get(model) ?? beforeRows);
          if (rows.length === 0) continue;
          looked = true;
          from.rows.set(model, rowIdOf(rows.at(-1)!._id));
          stuck.note("capacity", model, store.rows(model).removeIds(rows.map(({ _id }) => rowIdOf(_id))));
        }
        return looked;
      })
    );
  }

  /**
   * Drops the oldest rows that are neither sent nor in flight. Returns how many entries were examined; 0: none is left.
   */
  #drop(from: Positions): number {
    const { store, outbox, stuck } = this.#context;
    const flying = [...this.#context.inFlight.batches.values()].flatMap((batch) =>
      batch.flights.flatMap((f) => f.entries)
    );
    const isFlying = (seq: number) => flying.some(([first, last]) => seq >= first && seq <= last);
    const models = [...this.#keeping.keys()].map((number) => `model = ${number}`).join(" OR ");
    return store.tx(() => {
      const entries = store.db.sql(
        `SELECT seq, model, row FROM _outbox WHERE seq > ? AND (${models}) AND kind <> ${outboxKinds.gone} ORDER BY seq LIMIT ${dropChunk}`,
      ).all(from.entry);
      if (entries.length === 0) return 0;
      from.entry = Number(entries.at(-1)!.seq);
      const rows = new Map<number, Set<RowId>>();
      const idle = entries.filter((entry) => !isFlying(Number(entry.seq)));
      for (const { model, row } of idle) {
        const number = Number(model);
        rows.set(number, (rows.get(number) ?? new Set()).add(rowIdOf(row)));
      }
      let dropped = 0;
      const kept = new Map<number, ReadonlySet<RowId>>();
      store.applying(() => {
        for (const [number, ids] of rows) {
          const model = this.#keeping.get(number)!;
          const present = store.rows(model).presentIds([...ids]);
          const removal = store.rows(model).removeIds(present);
          dropped += removal.removed.length;
          kept.set(number, new Set(removal.refused));
          stuck.note("capacity", model, removal);
        }
      });
      store.setMeta("dropped", Number(store.getMeta("dropped") ?? 0) + dropped);
      // The entry of a row that stays still says what the cloud lacks. Entries whose rows were already gone free space,
      // too.
      const runs: Runs = [];
      for (const { seq, model, row } of idle) {
        if (!kept.get(Number(model))!.has(rowIdOf(row))) extend(runs, Number(seq));
      }
      outbox.forget(runs);
      return entries.length;
    });
  }
}
