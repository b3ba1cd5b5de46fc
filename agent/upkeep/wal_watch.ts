/**
 * Bounds the WAL, or reports that it cannot. SQLite can't checkpoint what was written after the oldest open read
 * transaction began: a reader that stays open for hours (an unfinished query, a forgotten `BEGIN`) makes the `-wal`
 * file grow with every write. Only ending that reader helps; the agent says so in `_status`.
 *
 * @module
 */
import type { Context } from "../sync/context.ts";
import type { Facts } from "./facts.ts";

/** `walBytes` is reported in steps of 1 MiB. */
const stepBytes = 1024 * 1024;

/** Checks the WAL. {@link WalWatch.check} must not run inside a transaction. */
export class WalWatch {
  readonly #context: Context;
  readonly #facts: Facts;
  #blockedSinceMs: number | undefined;

  constructor(context: Context, facts: Facts) {
    this.#context = context;
    this.#facts = facts;
  }

  /** Checkpoints what it can, and checks what is left. A passive checkpoint waits for nobody. */
  check(): void {
    const { store, limits, clock, problems } = this.#context;
    const { log, checkpointed } = store.db.sql("PRAGMA wal_checkpoint(PASSIVE)").get()!;
    // -1: not a WAL database (in memory).
    if (Number(log) < 0) return;
    const pageBytes = Number(store.db.sql("PRAGMA page_size").get()!.page_size);
    const leftBytes = (Number(log) - Number(checkpointed)) * pageBytes;
    // In steps: the exact number would be written at every check, and writing it would make the WAL grow.
    this.#facts.set("walBytes", Math.floor(Number(log) * pageBytes / stepBytes) * stepBytes);
    if (leftBytes < limits.walWarnBytes) {
      this.#blockedSinceMs = undefined;
      return problems.clear("wal");
    }
    // A single occurrence may be a reader that is about to end.
    if (this.#blockedSinceMs === undefined) this.#blockedSinceMs = clock.clock.wallMs();
    else {
      const since = new Date(this.#blockedSinceMs).toISOString();
      problems.raise(
        "wal",
        `the WAL has grown to ${Math.round(leftBytes / 1_000_000)} MB and cannot be checkpointed since ${since}: ` +
          "an application keeps a read transaction open",
      );
    }
  }
}
