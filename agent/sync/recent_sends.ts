/**
 * Which keys were sent recently: a removal waits until 30 s after the key's last creation was sent, because the cloud
 * may still process a stalled transmission of it for that long, and would bring the removed item back (rules §3).
 *
 * Bounded: when more keys were sent than are remembered, a forgotten key counts as sent at the time of the newest
 * forgotten one. After a start everything counts as sent when the last batch was.
 *
 * Keys are in two generations, and the older one is dropped whole. Deleting the oldest keys one by one took a third of
 * the time of a long drain: a `Map` retains the slots of deleted keys until it grows, and walks over them to find its
 * first key.
 *
 * @module
 */

/** How long the cloud may process a transmission. */
export const transmissionMaxMs = 30_000;
/** How far the stored time of the last transmission may be from the true one: within the wait's reserve below. */
export const lastSendSlackMs = transmissionMaxMs / 2;

interface Sent {
  readonly atMs: number;
  readonly stamp: number;
}

/** Keys, the monotonic time of their last transmission, and the stamp that it carried. */
export class RecentSends {
  #young: Map<string, Sent> = new Map();
  #old: Map<string, Sent> = new Map();
  #youngSinceMs = -Infinity;
  /** The newest transmission in `#old`. */
  #oldLastMs = -Infinity;
  #forgottenMs = -Infinity;

  /**
   * @param lastSendMs when anything was last sent before this start, in the cloud's time, ± {@link lastSendSlackMs}; 0:
   * never
   * @param startMs monotonic time of this start
   * @param max the most keys that are remembered; at least half of them are, while their transmissions count
   */
  constructor(readonly lastSendMs: number, readonly startMs: number, readonly max: number = 20_000) {}

  note(key: string, nowMs: number, stamp: number): void {
    if (this.#young.size >= this.max / 2 || this.#youngSinceMs <= nowMs - transmissionMaxMs) this.#age(nowMs);
    this.#young.set(key, { atMs: nowMs, stamp });
  }

  #age(nowMs: number): void {
    if (this.#old.size > 0 && this.#oldLastMs > nowMs - transmissionMaxMs) {
      this.#forgottenMs = Math.max(this.#forgottenMs, this.#oldLastMs);
    }
    this.#old = this.#young;
    this.#oldLastMs = nowMs;
    this.#young = new Map();
    this.#youngSinceMs = nowMs;
  }

  #sent(key: string): Sent | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  /** The stamp that the key's last transmission carried; undefined if it is not remembered. */
  stampOf(key: string): number | undefined {
    return this.#sent(key)?.stamp;
  }

  /** The monotonic time from which no older transmission of the key can be processed any more; may be in the past. */
  safeFromMs(key: string, nowMs: number, cloudNowMs: number): number {
    const known = this.#sent(key)?.atMs;
    let from = (known ?? this.#forgottenMs) + transmissionMaxMs;
    if (known === undefined && this.lastSendMs > 0) {
      // Possibly sent before this start: how long ago is known only roughly, by the cloud's time, so the wait ends no
      // earlier than a full wait after the start, unless that time is long past.
      const ago = cloudNowMs - this.lastSendMs;
      if (ago < 2 * transmissionMaxMs) from = Math.max(from, this.startMs + transmissionMaxMs);
    }
    return from === -Infinity ? nowMs : from + 1;
  }
}
