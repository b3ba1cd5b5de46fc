/**
 * A database that was restored from a copy is recognised: each start of an agent gives the database a new generation, and
 * leaves its name in the lease file beside it, which does not travel with a copy. Where the two differ, the file is another
 * one than the one that ran here last.
 *
 * Nothing depends on it but speed and order: a copy that is not recognised (taken with `cp` in the running generation)
 * syncs correctly too, since every start has a new incarnation, and cursors behind or ahead of the log are noticed by the
 * cloud. A recognised one takes a snapshot at its next connection, which leaves no doubt.
 *
 * @module
 */
import type { Lease } from "../sqlite/lease.ts";
import type { Store } from "../store/store.ts";

/**
 * Begins a generation. What happens first is written first: a crash between the two writes makes the next start take a
 * snapshot, which is harmless.
 *
 * @returns whether the database is another copy than the one that ran here last
 */
export function beginGeneration(store: Store, lease: Lease): boolean {
  const known = store.getMeta("generation");
  // Without one it is new, or was reset: both begin with a snapshot.
  const copied = known !== undefined && known !== lease.generation;
  const generation = crypto.randomUUID();
  store.tx(() => {
    store.setMeta("generation", generation);
    if (!copied) return;
    store.setMeta("resnapshot", 1);
    store.setMeta("restoredAt", Math.round(store.now()));
  });
  lease.renew(generation);
  return copied;
}
