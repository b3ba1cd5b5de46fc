/**
 * What the parts of the agent's sync logic share: its ports, its tables, its limits and counters.
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
  /** JSON bytes of one change, above which it is not even sent: DynamoDB takes 400 KB, escapes and base64 less than ×6 of it. */
  readonly changeBytesMax: number;
  /** First wait for an answer before a message is sent again; doubles to `retryMaxMs`, with jitter. */
  readonly retryMs: number;
  /** The longest pause between two attempts, ms. */
  readonly retryMaxMs: number;
  /** Tries without an answer after which the problem is told, and batches are cut (`silence.ts`). Infinity: never. */
  readonly unansweredMax: number;
  /** Rows of `_rejected` and of `_sync_aside` each from which on `problem` tells of them. Infinity: never of few. */
  readonly tellFrom: number;
  /** The periodic sync, ±10 %: finds a last message that was lost with nothing behind it. */
  readonly syncIntervalMs: number;
  /** Rows of `_changes` and of `_conflicts` that are kept. */
  readonly historyMax: number;
  /** Bytes of the items in `_conflicts` that are kept; the newest is, whatever its size. */
  readonly historyBytesMax: number;
  /** As {@link historyMax}, for `_rejected`: far more, for the rows may be all that is left of what applications wrote. */
  readonly rejectedMax: number;
  /** As {@link historyBytesMax}, for `_rejected`. */
  readonly rejectedBytesMax: number;
  /** Outbox entries at which the policy for a full outbox sets in: see `capacity.ts`. */
  readonly outboxMax: number;
  /** Bytes of the database at which it sets in, too. Undefined: no cap. */
  readonly databaseBytesMax?: number;
  /** Bytes of the `-wal` file that can't be taken over because of a reader, from which on `_status` says so. */
  readonly walWarnBytes: number;
  /** How long a removed key's stamp is remembered. */
  readonly goneKeptMs: number;
  /** What is under way has this long to arrive before a verification looks at a key that seems to differ. */
  readonly settleMs: number;
}

/** The limits that hold where nothing else is said. */
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
  /** Messages and entries that said nothing new. */
  ignored: number;
  /** Faults of the store. */
  failures: number;
}

/** The shared context. `send` returns false where the link is down. */
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
  /** What is wrong now, by name: raise and clear yours. */
  readonly problems: Problems;
  /** Rows that can't be deleted. */
  readonly stuck: StuckRows;
  random(): number;
  send(message: FromDevice): boolean;
  /** Collects a change for `watch`; delivered after the transaction is committed. */
  applied(change: AppliedChange): void;
}
