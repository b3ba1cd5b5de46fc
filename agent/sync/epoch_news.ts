/**
 * Epochs of the table that the device has heard of or left, and when it asks (again) because of that (rules B1). Workers
 * cache the epoch for some seconds: one may answer from the former one, and two may begin one each.
 *
 * @module
 */

/** Longer than a worker caches the table's epoch: asked after this time, none answers from the former one. */
const heardMs = 6_000;

/** See the module. Times are monotonic. */
export class EpochNews {
  #dueMs = Infinity;
  readonly #leftMs: Map<string, number> = new Map();

  /** When the device asks. */
  get dueMs(): number {
    return this.#dueMs;
  }

  /** Whether it is time to ask; says so once. */
  take(now: number): boolean {
    if (now < this.#dueMs) return false;
    this.#dueMs = Infinity;
    return true;
  }

  /** The device has heard of an epoch that no answer has shown: it asks when every worker knows it. */
  heard(now: number, moreMs = 0): void {
    this.#dueMs = Math.min(this.#dueMs, now + heardMs + moreMs);
  }

  /** The device has come to another epoch. This may be the earlier of two that have begun: it asks once more. */
  met(left: string | undefined, now: number): void {
    this.#dueMs = left === undefined ? Infinity : now + heardMs;
    if (left !== undefined) this.#leftMs.set(left, now);
  }

  /**
   * An answer of an epoch that the device has just left comes from a worker that does not know the present one yet: the
   * device would go back to it, and nobody would tell it again.
   */
  isLeft(epoch: string, now: number): boolean {
    for (const [left, atMs] of this.#leftMs) if (now - atMs >= heardMs) this.#leftMs.delete(left);
    if (!this.#leftMs.has(epoch)) return false;
    this.heard(now);
    return true;
  }
}
