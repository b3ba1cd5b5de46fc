/**
 * The periodic upkeep of the device's database: caps each second; history, expired rows, items that were set aside and the
 * `-wal` each minute. A step that fails holds up no other.
 *
 * @module
 */
import { SyncError } from "../../schema.ts";
import type { RowId } from "../sqlite/driver.ts";
import { isEnvironmental } from "../store/faults.ts";
import type { Context } from "../sync/context.ts";
import type { Capacity } from "./capacity.ts";
import type { Facts } from "./facts.ts";
import { trimHistory } from "./housekeeping.ts";
import { KeptWatch } from "./kept_watch.ts";
import { purgeExpired } from "./purge.ts";
import { WalWatch } from "./wal_watch.ts";

/** How often the outbox is compared with its cap. */
const capacityMs = 1_000;
/** How often history is trimmed and expired rows are purged. */
const housekeepingMs = 60_000;

/** What the upkeep starts elsewhere. */
export interface UpkeepTies {
  /** What was read from the outbox is void. */
  restartOutbox(): void;
  /** Somebody may have asked for a retry of what was set aside. */
  retryAsked(): void;
  retryAsides(): void;
  onFault(error: unknown): void;
}

/** See the module. */
export class Upkeep {
  #nextHousekeepingMs = 0;
  #nextCapacityMs = 0;
  readonly #purgePositions: Map<string, RowId> = new Map();
  readonly #wal: WalWatch;
  readonly #kept: KeptWatch;

  constructor(
    private readonly context: Context,
    private readonly facts: Facts,
    private readonly capacity: Capacity,
    private readonly tied: UpkeepTies,
  ) {
    this.#wal = new WalWatch(context, facts);
    this.#kept = new KeptWatch(context);
  }

  /** Does what is due. Not inside a transaction. */
  run(now: number): void {
    const { capacity } = this, { restartOutbox, retryAsked, retryAsides } = this.tied;
    if (now >= this.#nextCapacityMs) {
      this.#nextCapacityMs = now + capacityMs;
      this.#step(() => capacity.check() && restartOutbox());
      if (this.context.limits.tellFrom !== Infinity) {
        this.#step(() => retryAsked());
        this.#step(() => this.#kept.check());
      }
    }
    if (now >= this.#nextHousekeepingMs) {
      this.#nextHousekeepingMs = now + housekeepingMs;
      this.#step(() => trimHistory(this.context));
      this.#step(() => this.#kept.look());
      this.#step(() => purgeExpired(this.context, this.#purgePositions));
      this.#step(() => retryAsides());
      this.#step(() => this.#wal.check());
    }
  }

  /**
   * A step of the upkeep. A failure of this step alone (an application's trigger that rolls the transaction back)
   * prevents neither the other steps nor sending; a fault of the disk stops all of them.
   */
  #step(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (isEnvironmental(error instanceof SyncError ? error.cause : error)) throw error;
      this.context.counters.failures++;
      this.facts.error(error instanceof Error ? error.message : String(error), this.context.clock.nowMs());
      this.tied.onFault(error);
      // Entries that the rolled-back transaction read from the outbox are void.
      this.tied.restartOutbox();
    }
  }
}
