/**
 * Recognises a database that was restored from a copy: each start of an agent gives the database a new generation, and
 * stores its name also in the lease file beside it, which does not travel with a copy. If the two differ, the file is
 * not the one that ran here last.
 *
 * Only speed depends on it: an unrecognised copy (made with `cp` during the running generation) syncs correctly, too,
 * since every start has a new incarnation, and the cloud notices cursors that are too old or too new for the log. A
 * recognised copy takes a snapshot at its next connection, which removes any doubt.
 *
 * @module
 */
import type { Lease } from "../sqlite/lease.ts";
import type { Store } from "../store/store.ts";

/**
 * Starts a generation. A crash between the two writes makes the next start take a snapshot, which is harmless.
 *
 * @returns whether the database is not the copy that ran here last
 */
export function beginGeneration(store: Store, lease: Lease): boolean {
  const known = store.getMeta("generation");
  // Without a generation, it is new, or was reset: both start with a snapshot.
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
