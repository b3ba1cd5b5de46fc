/**
 * How long to wait before something is repeated: one formula for both halves, with jitter, so that a fleet spreads out.
 *
 * @module
 */

/** The bounds of a wait. */
export interface Backoff {
  /** The wait before the first repetition, ms, before jitter. */
  readonly firstMs: number;
  /** The longest wait, ms: doubling ends there. */
  readonly maxMs: number;
  /** The jitter's lower end, as a part of the wait; default 0.5. 0 is full jitter. */
  readonly least?: number;
  /** The jitter's upper end; default 1. */
  readonly most?: number;
}

/**
 * The wait after so many failures (0 before the first repetition), ms: doubling from `firstMs` to `maxMs`, times a random
 * part between `least` and `most`.
 */
export function backoffMs(
  failures: number,
  random: () => number,
  { firstMs, maxMs, least = 0.5, most = 1 }: Backoff,
): number {
  // 2 ** 30 ms are twelve days: no wait is longer, and no number overflows.
  return Math.min(maxMs, firstMs * 2 ** Math.min(failures, 30)) * (least + random() * (most - least));
}
