/**
 * What a feed tells of: the rows of `GET /api/feed` and the events of `/api/events`.
 *
 * @module
 */
import type { Channel, Key } from "../../protocol.ts";

/** An item was written or removed. */
export interface ChangeRow {
  readonly type: "change";
  /** When it was heard of, ms since 1970, the cloud's clock. */
  readonly at: number;
  /** The model; absent of a removal that the stream tells of. */
  readonly model?: string;
  readonly key: Key;
  readonly op: "put" | "remove";
  /** The device that wrote it, or `cloud`: anybody else. */
  readonly by: string;
  /** Of a change that is in a channel's log: where. */
  readonly channel?: Channel;
  readonly seq?: number;
  /** The item by property, as the API gives it; absent where it is large, or not at hand. */
  readonly item?: Readonly<Record<string, unknown>>;
}

/** A change of before got further: into a channel's log, or onto a device. */
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

/** A device came, went, or reported: how it stands. */
export interface DeviceRow {
  readonly type: "row";
  readonly at: number;
  readonly device: string;
  readonly connected: boolean;
  readonly report?: object;
}

/** What a device keeps for people changed in number. */
export interface KeptRow {
  readonly type: "kept";
  readonly at: number;
  readonly device: string;
  readonly rejected: number;
  readonly conflicts: number;
  readonly aside: number;
}

/** So many rows are not told, here; null: it is not known how many. */
export interface GapRow {
  readonly type: "gap";
  readonly at: number;
  readonly n: number | null;
}

/** One row. */
export type FeedRow = ChangeRow | StageRow | DeviceRow | KeptRow | GapRow;
