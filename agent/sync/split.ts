/**
 * Splits a batch in halves (rules D2, D3) if the cloud refused it as unreadable (`refused`), or if it stayed unanswered
 * too often: a broker may drop large messages, and an older cloud silently drops what it can't read. After log2 n
 * splits, the faulty change is alone, and the others have gone through.
 *
 * Durable writes: the halves, under new batch ids, in the transaction that drops the whole. Under the old id, a second
 * copy of the refusal would split, and in the end reject, changes that were never refused.
 *
 * @module
 */
import { settle } from "./answers.ts";
import type { Context } from "./context.ts";
import type { Batch } from "./flight.ts";

/**
 * Moves a batch's unsettled changes to two batches, which the next pump sends.
 *
 * @returns false if there is at most one change: it can't be split
 */
export function halve(context: Context, batch: Batch): boolean {
  const left = batch.flights.filter((flight) => !flight.settled);
  if (left.length < 2) return false;
  const middle = Math.ceil(left.length / 2);
  context.store.tx(() => context.inFlight.replace(batch, [left.slice(0, middle), left.slice(middle)]));
  return true;
}

/** Handles a refusal: splits the batch, or moves a single change to `_rejected`; a newer write of its key stays. */
export function refusedByCloud(context: Context, batch: Batch, reason: string): void {
  if (halve(context, batch)) return;
  const { store, outbox, clock } = context;
  store.tx(() => {
    context.inFlight.remove(batch);
    for (const flight of batch.flights) {
      if (flight.settled) continue;
      outbox.forget(flight.entries);
      store.applying(() => settle(context, flight, { code: "invalid", reason }, clock.nowMs()));
    }
    store.setMeta("lastAck", clock.nowMs());
  });
}
