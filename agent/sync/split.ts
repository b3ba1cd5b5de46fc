/**
 * A batch that nobody can take as a whole, in halves (rules D2, D3): what the cloud refused unread (`refused`), and what has
 * stayed unanswered too often, for a broker may swallow large messages, and an older cloud drops what it can't read without a
 * word. After log2 of its changes the one that is at fault stands alone; the others have gone through.
 *
 * Durable writes: the halves, under new batch ids, in the transaction that drops the whole. Under the old id a second copy of
 * the refusal would split, and in the end reject, what was never refused.
 *
 * @module
 */
import { settle } from "./answers.ts";
import type { Context } from "./context.ts";
import type { Batch } from "./flight.ts";

/**
 * Puts a batch's unsettled changes into two batches, which are sent at the next pump.
 *
 * @returns false where there is one change at most: it can't be split
 */
export function halve(context: Context, batch: Batch): boolean {
  const left = batch.flights.filter((flight) => !flight.settled);
  if (left.length < 2) return false;
  const middle = Math.ceil(left.length / 2);
  context.store.tx(() => context.inFlight.replace(batch, [left.slice(0, middle), left.slice(middle)]));
  return true;
}

/** What the cloud refused: split, or, where one change stands alone, shown in `_rejected`; a newer write of its key stays. */
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
