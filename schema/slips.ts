/**
 * Finds misspelt names: one wrong letter, or two in a long name. `PUT` replaces an item, so that `{"severty": …}` would
 * keep the wrong attribute and drop the right one.
 *
 * @module
 */

/** Shorter names may differ by that much on purpose: `v1` and `v2`. */
const lengthMin = 4, longLengthMin = 8;

/**
 * Whether a name is most likely a misspelling of another: other case, or one or two letters wrong, missing, added or
 * swapped.
 */
export function isSlipOf(name: string, other: string): boolean {
  if (name === other) return false;
  if (name.length === other.length && name.toLowerCase() === other.toLowerCase()) return true;
  const length = Math.min(name.length, other.length);
  const most = length < lengthMin ? 0 : length < longLengthMin ? 1 : 2;
  if (Math.abs(name.length - other.length) > most) return false;
  // A number at the end tells names apart: `line1`, `line2`.
  if (/\d$/.test(name) && /\d$/.test(other)) return false;
  return most > 0 && distance(name.toLowerCase(), other.toLowerCase()) <= most;
}

/**
 * Edits from one text to another: a letter inserted, left out, replaced, or two neighbours swapped (Damerau,
 * Levenshtein).
 */
function distance(a: string, b: string): number {
  let before: number[] = [], row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? before[j - 2]! + 1 : Infinity;
      next.push(Math.min(replaced, swapped, row[j]! + 1, next[j - 1]! + 1));
    }
    [before, row] = [row, next];
  }
  return row[b.length]!;
}
