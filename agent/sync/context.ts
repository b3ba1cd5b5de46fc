/**
 * The state that the parts of the agent's sync logic share: its ports, its tables, its limits and counters.
 *
 * @module
 */
import type { Identity, Model } from "../../schema/model.ts";
import type { FromDevice, Key } from "../../protocol.ts";
import type { Attributes } from "../../schema.ts";
import type { DeviceClock } from "./clock.ts";
import type { Asides } from "./aside.ts";
import type { ChangesTable } from "./changes.ts";
import type { InFlight } from "./flight.ts";
import type { ItemRecords } from "./items.ts";
import type { Outbox } from "./outbox.ts";
import type { Problems } from "../upkeep/problems.ts";
import type { StuckRows } from "../upkeep/stuck.ts";
import type { Restores } from "./restores.ts";
import type { Store } from "../store/store.ts";
import type { Waits } from "./waits.ts";

/** Limits and periods of the sync logic; every one has a default in {@link defaultLimits}. */
export interface Limits {
  /** Batches in flight. */
  readonly windowBatches: number;
  /** Changes in a batch, up to the protocol's 1,000. */
  readonly batchChangesMax: number;
  /** JSON bytes of a batch, so that it fits one message of 128 KB; a single larger change travels in parts. */
  readonly batchBytesMax: number;
  /**
   * JSON bytes of one change above which the agent does not send it: DynamoDB accepts 400 KB, and escapes and base64
   * take less than ×6.
   */
  readonly changeBytesMax: number;
  /** First wait for an answer before a message is sent again; doubles to `retryMaxMs`, with jitter. */
  readonly retryMs: number;
  /** The longest pause between two attempts, ms. */
  readonly retryMaxMs: number;
  /**
   * Tries without an answer after which the problem is reported, and batches are split (`silence.ts`). Infinity: never.
   */
  readonly unansweredMax: number;
  /** The number of rows, in `_rejected` or `_sync_aside`, from which `problem` mentions them. Infinity: never. */
  readonly tellFrom: number;
  /** The periodic sync, ±10 %: finds a lost message that no other follows. */
  readonly syncIntervalMs: number;
  /** Rows of `_changes` and of `_conflicts` that are retained. */
  readonly historyMax: number;
  /** Bytes of the items in `_conflicts` that are retained; the newest always is, whatever its size. */
  readonly historyBytesMax: number;
  /**
   * As {@link historyMax}, for `_rejected`: far more, because these rows may be the only copy of what applications
   * wrote.
   */
  readonly rejectedMax: number;
  /** As {@link historyBytesMax}, for `_rejected`. */
  readonly rejectedBytesMax: number;
  /** Outbox entries at which the policy for a full outbox applies: see `capacity.ts`. */
  readonly outboxMax: number;
  /** Bytes of the database at which it applies, too. Undefined: no cap. */
  readonly databaseBytesMax?: number;
  /** Bytes of the `-wal` file from which `_status` reports that a reader prevents its checkpoint. */
  readonly walWarnBytes: number;
  /** How long a removed key's stamp is remembered. */
  readonly goneKeptMs: number;
  /** How long a verification waits for changes under way before it looks at a key that seems to differ. */
  readonly settleMs: number;
}

/** The default limits. */
export const defaultLimits: Limits = {
  windowBatches: 4,
  batchChangesMax: 1000,
  batchBytesMax: 100 * 1024,
  changeBytesMax: 2_400_000,
  retryMs: 5_000,
  retryMaxMs: 60_000,
  unansweredMax: 2,
  tellFrom: 1,
  syncIntervalMs: 300_000,
  historyMax: 10_000,
  historyBytesMax: 32 * 1024 * 1024,
  rejectedMax: 100_000,
  rejectedBytesMax: 256 * 1024 * 1024,
  // An entry is some 40 bytes: 200 MB.
  outboxMax: 5_000_000,
  walWarnBytes: 64 * 1024 * 1024,
  goneKeptMs: 7 * 86_400_000,
  settleMs: 2_000,
};

/** A change from the cloud that was applied, as `watch` and `_changes` tell it. */
export interface AppliedChange {
  readonly model: Model;
  readonly op: "put" | "remove";
  readonly key: Key;
  readonly item?: Attributes;
}

/** Counters since the agent's start. */
export interface Counters {
  /** Changes that were sent for the first time. */
  sent: number;
  /** Changes whose answer came. */
  acknowledged: number;
  /** Conflicts that were decided. */
  conflicts: number;
  /** Changes that the cloud refused for good. */
  rejected: number;
  /** Entries that changed a row. */
  applied: number;
  /** Batches that were sent again. */
  resent: number;
  /** Messages and entries without anything new. */
  ignored: number;
  /** Faults of the store. */
  failures: number;
}

/** The shared context. `send` returns false if the link is down. */
export interface Context {
  readonly store: Store;
  readonly clock: DeviceClock;
  readonly records: ItemRecords;
  readonly outbox: Outbox;
  /** Batches whose answers are awaited. */
  readonly inFlight: InFlight;
  readonly waits: Waits;
  readonly restores: Restores;
  readonly asides: Asides;
  readonly changes: ChangesTable;
  readonly identity: Identity;
  /** Random for each start of the agent: `_source` is `<device>#<incarnation>`. */
  readonly incarnation: string;
  readonly limits: Limits;
  readonly counters: Counters;
  /** The current problems, by name: each part raises and clears its own. */
  readonly problems: Problems;
  /** Rows that can't be deleted. */
  readonly stuck: StuckRows;
  random(): number;
  send(message: FromDevice): boolean;
  /** Collects a change for `watch`; delivered after the transaction is committed. */
  applied(change: AppliedChange): void;
}
