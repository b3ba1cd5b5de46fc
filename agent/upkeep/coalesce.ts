/**
 * Deletes outbox entries that a newer one covers: a row that is updated a thousand times while the device is offline is
 * a single change in the end. Runs when the outbox nears its cap, before anything is refused or dropped.
 *
 * Which entries may be deleted, and why no change is lost (an entry is a hint to look at a row, or at a key that lost
 * its row):
 * - an update, if the next entry about the same row is an update, too: the same row is read, and the newer time counts
 *   in any case. An insert stays: it says that the cloud never had the row;
 * - a lost key, if the next entry about the same row names the same key;
 * - a lost key that its row still has: an ignored `INSERT OR IGNORE`, which BEFORE triggers can't distinguish from a
 *   REPLACE. If the row was recreated, its insert has an entry of its own.
 *
 * @module
 */
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
    const runs: Runs = [];
    let dropped = 0;
    for (const { seq, model: number, row, kind, hash, sort, next, next_hash, next_sort } of entries) {
      let isCovered = Number(kind) === outboxKinds.update && next === outboxKinds.update;
      if (Number(kind) === outboxKinds.gone && hash !== null) {
        const model = store.modelByNumber(Number(number));
        const key = model && store.rows(model).keyById(Number(row));
        isCovered = (next === outboxKinds.gone && next_hash === hash && next_sort === sort) ||
          (key !== undefined && key[0] === hash && key[1] === sort);
      }
      if (!isCovered || isFlying(Number(seq))) continue;
      extend(runs, Number(seq));
      dropped++;
    }
    outbox.forget(runs);
    return entries.length < chunkEntries ? { dropped } : { dropped, last: Number(entries.at(-1)!.seq) };
  });
}
