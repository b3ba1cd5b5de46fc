/**
 * The types of the library's public API: the options of an agent, and its status.
 *
 * @module
 */
import type { OneTableSchema } from "../schema.ts";
import type { Schema } from "../schema/model.ts";
import type { Clock, Transport } from "./ports.ts";
import type { Kept, KeptList } from "./store/kept.ts";
import type { Counters, Limits } from "./sync/context.ts";
import type { Problem } from "./upkeep/problems.ts";

/** How an agent is opened. */
export interface AgentOptions<S extends OneTableSchema> {
  /** A schema literal (`defineSchema`), or one that was loaded and compiled. */
  readonly schema: S | Schema;
  /** This device: 1–128 of `A-Z a-z 0-9 _ . : -`. */
  readonly device: string;
  /** The account that the device belongs to; an id like the device's. */
  readonly account: string;
  /** The database file. It is created if missing. */
  readonly path: string;
  /** The broker's URL (`mqtt://`, `mqtts://`), or a transport. Absent: the agent works locally; changes wait. */
  readonly mqtt?: string | Transport;
  /** User name at the broker; default: the device's id. */
  readonly username?: string;
  /** Password at the broker: with Twintable's own, the token that `device add` prints. */
  readonly password?: string;
  /** PEM texts for TLS. */
  readonly ca?: string;
  /** The device's certificate, PEM. */
  readonly cert?: string;
  /** The certificate's key, PEM. */
  readonly key?: string;
  /**
   * In the place of `cert` and `key`: the files of a certificate that the cloud's device authority issued, and its key. It is
   * renewed over the connection before it expires; the files, and what stands beside them meanwhile, must be the agent's to write.
   */
  readonly certificateFiles?: { readonly cert: string; readonly key: string };
  /** 4 (default): MQTT 3.1.1. 5: MQTT 5. */
  readonly protocolVersion?: 4 | 5;
  /** Bytes of one MQTT message, if the broker accepts less than 128 KB; larger messages travel in parts. */
  readonly payloadBytesMax?: number;
  /** Topic prefix, default `tt`. */
  readonly prefix?: string;
  /** `full` (default): a commit survives a power cut. `normal`: the last commits before a power cut may be lost, not before a crash. */
  readonly synchronous?: "full" | "normal";
  /**
   * Lets the file's group read and write the database (0660), so that applications of other users can open it. If the
   * folder has the setgid bit, the group is the folder's. Default: its owner alone (0600).
   */
  readonly group?: boolean;
  /** What opens SQLite: the runtime's own (default), or a library over FFI, which needs `--allow-ffi`. */
  readonly driver?: "builtin" | "ffi";
  /** For the driver `ffi`: the library's file; default: the system's SQLite. */
  readonly sqliteLibrary?: string;
  /** For the driver `ffi`: the key of an encrypted database (SQLCipher). */
  readonly databaseKey?: string | Uint8Array;
  /** Bounds other than the defaults. */
  readonly limits?: Partial<Limits>;
  /** For tests: other clocks and randomness than the machine's. */
  readonly clock?: Clock;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

/** The state of an agent. Times are ISO texts in the cloud's time. */
export interface AgentStatus {
  /** Whose database this is. */
  readonly device: string;
  /** Its account. */
  readonly account: string;
  /** Whether there is a connection to the broker. */
  readonly connected: boolean;
  /** Entries in the outbox, those in flight included. */
  readonly outbox: number;
  /** Changes in flight. */
  readonly inflight: number;
  /** Changes in `_rejected`. */
  readonly rejected: number;
  /** Versions in `_conflicts`. */
  readonly conflicts: number;
  /** Items from the cloud that their table cannot accept now; they are tried again. */
  readonly aside: number;
  /** What is wrong now, in sentences, the most important first. */
  readonly problem?: string;
  /** The problems one by one, by name. */
  readonly problems: readonly Problem[];
  /** The outbox is full: writes to synced models are refused. */
  readonly full: boolean;
  /** Unsent rows of models with `keep: "newest"` that were dropped, since the database was created. */
  readonly dropped: number;
  /** When the oldest pending change was made, by the device's clock. */
  readonly oldest?: string;
  /** By channel, the device's position in the log; `snapshot`: a snapshot is under way. */
  readonly cursors: Record<string, { epoch?: string; seq?: number; snapshot?: boolean }>;
  /** Whether every channel has been read to its end since the connection came up. */
  readonly caughtUp: boolean;
  /** When the last batch was acknowledged. */
  readonly lastAck?: string;
  /** When the cloud last sent anything about a channel. */
  readonly lastSync?: string;
  /** The last error since the connection came up. */
  readonly lastError?: string;
  /** How far the cloud's clock is ahead of this device's, ms; undefined until the cloud's time is known. */
  readonly clockOffsetMs?: number;
  /** Counters since the start. */
  readonly counters: Readonly<Counters>;
}

/** How long to wait, and how to stop waiting. */
export interface WaitOptions {
  /** Ends the wait; the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  /** After this time, 0 or more, the promise is rejected with a SyncError `timeout`. Default, and `Infinity`: no limit. */
  readonly timeoutMs?: number;
}

/** Versions that the device stores for people: changes that the cloud refused, or versions that lost a conflict. */
export interface KeptApi {
  /** A page of them, oldest first. */
  list(options?: KeptList): Kept[];
  /**
   * Writes a version to its row again, as a new local change, and deletes the stored version.
   *
   * @throws SyncError `not-found`; `newer` if the row was written since, unless `force`; `invalid`, `constraint`,
   *   `read-only`, `full`, `busy`: nothing has changed then
   */
  restore(id: number, options?: { readonly force?: boolean }): Kept;
  /** Deletes one, all of a model, or all. @returns how many */
  drop(which?: { readonly id?: number; readonly model?: string }): number;
}
