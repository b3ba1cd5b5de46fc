/**
 * The epochs that there were, and behind which of them the table was restored to an earlier time: what the un-expiring
 * epoch record of the log table holds, as values. A device that says which epoch it knows is told since when the table may
 * lack what it has (rules B2).
 *
 * @module
 */

/** An epoch of all channels, and (ms since 1970) the time that the table was restored to, where that began it. */
export interface Epoch {
  readonly epoch: string;
  readonly sinceMs?: number;
}

/** Epochs that are kept. A device that knows only an older one is told the earliest time of all. */
const epochsMax = 64;

/** With one more, behind the one that there is. */
export function withEpoch(epochs: readonly Epoch[], present: string | undefined, next: Epoch): Epoch[] {
  const before = epochs.length === 0 && present !== undefined ? [{ epoch: present }] : epochs;
  return [...before, next].slice(-epochsMax);
}

/**
 * Since when the table may lack what a device of that epoch has: of the restores behind it the earliest; undefined: there
 * was none. Away during two of them, the second alone would not ask for what the first lost. A device whose epoch nobody
 * knows any more (the log table was lost) is told the earliest of all.
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

/** From the record's attribute; none where it has none. */
export function epochsFrom(text: unknown): Epoch[] {
  if (typeof text !== "string") return [];
  const list = JSON.parse(text) as [string, number?][];
  return list.map(([epoch, sinceMs]) => sinceMs === undefined ? { epoch } : { epoch, sinceMs });
}
