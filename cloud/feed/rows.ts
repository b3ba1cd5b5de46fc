/**
 * The rows of a feed: of `GET /api/feed`, and the events of `/api/events`.
 *
 * @module
 */
import type { Channel, Key } from "../../protocol.ts";

/** An item was written or removed. */
export interface ChangeRow {
  readonly type: "change";
  /** When the worker learnt of it, ms since 1970, the cloud's clock. */
  readonly at: number;
  /** The model; absent for a removal from the stream. */
  readonly model?: string;
  readonly key: Key;
  readonly op: "put" | "remove";
  /** The device that wrote it, or `cloud` for any other writer. */
  readonly by: string;
  /** Of a device's: the version's stamp, by which its channel's log knows it. */
  readonly stamp?: number;
  /** For a change in a channel's log: its place. */
  readonly channel?: Channel;
  readonly seq?: number;
  /** The item by property, as the API gives it; absent if it is large, or not at hand. */
  readonly item?: Readonly<Record<string, unknown>>;
}

/** An earlier change got further: into a channel's log, or onto a device. */
export type StageRow =
  | {
    readonly type: "stage";
    readonly at: number;
    readonly stage: "logged";
    readonly channel: Channel;
    readonly seq: number;
    readonly keys: readonly Key[];
  }
  | {
    readonly type: "stage";
    readonly at: number;
    readonly stage: "device";
    readonly device: string;
    /** By channel, the last entry that the device has applied. */
    readonly reached: Readonly<Record<Channel, number>>;
  };

/** A device connected, disconnected, or reported: its state. */
export interface DeviceRow {
  readonly type: "row";
  readonly at: number;
  readonly device: string;
  readonly connected: boolean;
  readonly report?: object;
}

/** The number of versions that a device stores for people changed. */
export interface KeptRow {
  readonly type: "kept";
  readonly at: number;
  readonly device: string;
  readonly rejected: number;
  readonly conflicts: number;
  readonly aside: number;
}

/** So many rows are missing here; null: an unknown number. */
export interface GapRow {
  readonly type: "gap";
  readonly at: number;
  readonly n: number | null;
}

/** One row. */
export type FeedRow = ChangeRow | StageRow | DeviceRow | KeptRow | GapRow;
