/**
 * A device that runs in the same process as the cloud, in `dev`: the Twin page shows its database, writes to it as any program
 * with SQLite would, and cuts its link. Implemented by the command line: the cloud never imports the agent.
 *
 * @module
 */

/** An item as the API gives it: plain JSON by property. */
export type PlainItem = Readonly<Record<string, unknown>>;

/** The device's present state. */
export interface LocalStatus {
  readonly connected: boolean;
  /** Since when its link is cut here. */
  readonly pausedMs?: number;
  /** Changes that are not acknowledged. */
  readonly outbox: number;
  /** Changes in its `_rejected`. */
  readonly rejected: number;
  /** Versions in its `_conflicts`. */
  readonly conflicts: number;
  /** Its position in its own channel's log. */
  readonly cursor?: number;
}

/** A version that lost, as the device stores it. */
export interface LocalConflict {
  readonly id: number;
  readonly model: string;
  readonly atMs: number;
  readonly item?: PlainItem;
}

/** A row of `_pending`: a change that the cloud has not acknowledged. */
export interface LocalWaiting {
  /** Its key's values by attribute. */
  readonly key: PlainItem;
  readonly sinceMs: number;
}

/** See the module. */
export interface LocalDevice {
  readonly deviceId: string;
  readonly accountId: string;
  /** The database's path, as a person would type it. */
  readonly path: string;
  status(): LocalStatus;
  /** Cuts the link, as if the network were away. */
  pause(): void;
  resume(): void;
  /** A model's items on the device, and how many there are. */
  items(model: string, limit: number): { readonly items: readonly PlainItem[]; readonly total: number };
  /** A model's keys whose changes wait, the newest first. */
  waiting(model: string, limit: number): readonly LocalWaiting[];
  /** Conflicts with a number above this one. */
  conflicts(after: number): readonly LocalConflict[];
  /** Runs one statement, as `sqlite3` would. @throws Error with SQLite's message */
  write(sql: string): void;
  /** Calls back when the file was written, by anyone. @returns a function that ends that */
  watch(changed: () => void): () => void;
}
