/**
 * Sequence numbers of outbox entries, as runs.
 *
 * @module
 */

/** Outbox entries as runs of sequence numbers, both ends included. */
export type Runs = [from: number, to: number][];

/** Adds a sequence number that is larger than all before it. */
export function extend(runs: Runs, seq: number): void {
  const last = runs.at(-1);
  if (last && last[1] + 1 === seq) last[1] = seq;
  else runs.push([seq, seq]);
}

/** The union of runs, sorted, neighbours joined. */
export function joined(lists: Iterable<Runs>): Runs {
  const all = [...lists].flat().sort((a, b) => a[0] - b[0]);
  const out: Runs = [];
  for (const [from, to] of all) {
    const last = out.at(-1);
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else out.push([from, to]);
  }
  return out;
}
