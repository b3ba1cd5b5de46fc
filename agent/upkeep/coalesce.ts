/**
 * Deletes outbox entries that a newer one covers: a row that is updated a thousand times while the device is offline is
 * a single change in the end. Runs when the outbox nears its cap, before anything is refused or dropped.
 *
 * Which entries may be deleted, and why no change is lost (an entry is a hint to look at a row, or at a key that lost
 * its row):
 * - an update, if the next entry about the same row is an update, too: the same row is read, and the newer time counts
 *   in any case. An insert stays: it says that the cloud never had the row;
 * - a lost key, if the next entry about the same row names the same key;
 * - a lost key that its row has kept since: an ignored `INSERT OR IGNORE`, which BEFORE triggers can't distinguish from a
 *   REPLACE. Not if the row was recreated, or had another key meanwhile: then it says that the cloud may have the key,
 *   which a later removal of another row with that key, never sent itself, does not say.
 *
 * @module
 */
import type { SqlRow } from "../sqlite/driver.ts";
import type { Context } from "../sync/context.ts";
import { extend, type Runs } from "../sync/runs.ts";
import { outboxKinds } from "../store/triggers.ts";

/** Entries that one transaction examines: some 20 ms. */
const chunkEntries = 20_000;

/**
 * Coalesces the entries after `after`. @returns how many were deleted, and the last that was examined; undefined at the
 * end
 */
export function coalesce(
  { store, outbox, inFlight }: Context,
  after: number,
): { readonly dropped: number; readonly last?: number } {
  const flying = [...inFlight.batches.values()].flatMap((batch) => batch.flights.flatMap((f) => f.entries));
  const isFlying = (seq: number) => flying.some(([first, last]) => seq >= first && seq <= last);
  return store.tx(() => {
    const entries = store.db.sql(
      `SELECT seq, model, row, kind, hash, sort, lead(kind) OVER same AS next, lead(hash) OVER same AS next_hash,
         lead(sort) OVER same AS next_sort
       FROM (SELECT * FROM _outbox WHERE seq > ? AND row IS NOT NULL ORDER BY seq LIMIT ${chunkEntries})
       WINDOW same AS (PARTITION BY model, row ORDER BY seq) ORDER BY seq`,
    ).all(after);
    const isWhole = entries.length < chunkEntries, moved = new Moves();
    if (!isWhole) {
      const later = `SELECT model, row, kind, hash, sort FROM _outbox
        WHERE seq > ? AND row IS NOT NULL AND kind <> ${outboxKinds.update} ORDER BY seq DESC`;
      for (const entry of store.db.sql(later).all(Number(entries.at(-1)!.seq))) moved.note(entry);
    }
    const covered: number[] = [];
    for (const entry of entries.toReversed()) {
      const { seq, model: number, row, kind, hash, sort, next, next_hash, next_sort } = entry;
      let isCovered = Number(kind) === outboxKinds.update && next === outboxKinds.update;
      if (Number(kind) === outboxKinds.gone && hash !== null) {
        const model = store.modelByNumber(Number(number));
        const key = model && store.rows(model).keyById(Number(row));
        isCovered = (next === outboxKinds.gone && next_hash === hash && next_sort === sort) ||
          (key !== undefined && key[0] === hash && key[1] === sort && moved.hasKept(entry));
      }
      moved.note(entry);
      if (isCovered && !isFlying(Number(seq))) covered.push(Number(seq));
    }
    const runs: Runs = [];
    for (const seq of covered.toReversed()) extend(runs, seq);
    outbox.forget(runs);
    const dropped = covered.length;
    return isWhole ? { dropped } : { dropped, last: Number(entries.at(-1)!.seq) };
  });
}

/** What became of rows after an entry: entries are noted from the last to the first. */
class Moves {
  /** By row, the one key that its later entries name; undefined: several, or it was inserted since. */
  readonly #keys = new Map<string, string | undefined>();

  note(entry: SqlRow): void {
    const kind = Number(entry.kind);
    if (kind === outboxKinds.update) return;
    const isSame = kind === outboxKinds.gone && this.hasKept(entry);
    this.#keys.set(rowText(entry), isSame ? goneKey(entry) : undefined);
  }

  /** Whether the row that lost its key by this entry was not inserted since, and had no other key. */
  hasKept(entry: SqlRow): boolean {
    const row = rowText(entry);
    return !this.#keys.has(row) || this.#keys.get(row) === goneKey(entry);
  }
}

const rowText = ({ model, row }: SqlRow) => `${model} ${row}`;
const goneKey = ({ hash, sort }: SqlRow) => JSON.stringify([hash, sort]);
