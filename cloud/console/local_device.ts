/**
 * A device that runs in the same process as the cloud, in `dev`: the Twin page shows its database, writes to it as any program
 * with SQLite would, and cuts its link. Implemented by the command line: the cloud never imports the agent.
 *
 * @module
 */

/** A value in SQLite, as JSON can hold it: a BLOB is `{blob: base64}`, an integer beyond a double is `{integer: text}`. */
export type CellValue = null | string | number | { readonly blob: string } | { readonly integer: string };
/** A row by its columns. */
export type LocalRow = Readonly<Record<string, CellValue>>;

/** How the device stands now. */
export interface LocalStatus {
  readonly connected: boolean;
  /** The link was cut here, at that time. */
  readonly pausedMs?: number;
  /** Changes that are not acknowledged. */
  readonly outbox: number;
  readonly rejected: number;
  readonly conflicts: number;
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
  /** A table's rows, newest last, and how many there are. */
  rows(model: string, limit: number): { readonly rows: readonly LocalRow[]; readonly total: number };
  /** Runs one statement that writes, as `sqlite3` would. @throws Error with SQLite's words */
  write(sql: string, values: readonly CellValue[]): void;
  /** Calls when a row changes, whoever wrote it. @returns ends that */
  watch(changed: (model: string) => void): () => void;
}
