/**
 * The former epochs, and which of them began with a restore of the table to an earlier time: the content of the log
 * table's epoch record, which never expires. To a device that names the epoch that it knows, the cloud says since when
 * the table may lack what the device has (rules B2).
 *
 * @module
 */

/** An epoch of all channels, and (ms since 1970) the time to which the table was restored, if a restore began it. */
export interface Epoch {
  readonly epoch: string;
  readonly sinceMs?: number;
}

/** How many epochs are stored. A device that only knows an older one gets the earliest time of all. */
const epochsMax = 64;

/** The list with one more epoch at its end. */
export function withEpoch(epochs: readonly Epoch[], present: string | undefined, next: Epoch): Epoch[] {
  const before = epochs.length === 0 && present !== undefined ? [{ epoch: present }] : epochs;
  return [...before, next].slice(-epochsMax);
}

/**
 * Since when the table may lack what a device of that epoch has: the earliest of the restores after that epoch;
 * undefined: there was none. For a device that was away during two restores, the second alone would not cover what the
 * first lost. A device whose epoch is unknown (the log table was lost) gets the earliest of all.
 */
export function sinceOf(epochs: readonly Epoch[], known: string): number | undefined {
  const behind = epochs.slice(epochs.findIndex(({ epoch }) => epoch === known) + 1);
  const times = behind.flatMap(({ sinceMs }) => sinceMs === undefined ? [] : [sinceMs]);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** As the record's attribute. */
export function epochsText(epochs: readonly Epoch[]): string {
  return JSON.stringify(epochs.map(({ epoch, sinceMs }) => sinceMs === undefined ? [epoch] : [epoch, sinceMs]));
}

/** From the record's attribute; none if it has none. */
export function epochsFrom(text: unknown): Epoch[] {
  if (typeof text !== "string") return [];
  const list = JSON.parse(text) as [string, number?][];
  return list.map(([epoch, sinceMs]) => sinceMs === undefined ? { epoch } : { epoch, sinceMs });
}
