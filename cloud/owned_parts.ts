/**
 * The multi-part messages that this worker must handle: those whose first part the broker gave to it. Bounded for each
 * device, the oldest evicted first, and each for a bounded time, so that messages that one device starts and never
 * completes cost no other device a part.
 *
 * @module
 */

/**
 * Messages of one device, as many as are reassembled for it; and how long one may take, as long as its parts are held.
 */
const deviceMax = 64, keptMs = 60_000;

/** See the module. */
export class OwnedParts {
  /** By device, the messages and when they began, the oldest first. */
  readonly #devices = new Map<string, Map<string, number>>();
  #sweptMs = 0;
  /** Messages that were evicted for others of their device. */
  dropped = 0;

  constructor(private readonly nowMs: () => number) {}

  /** Devices with an incomplete message. */
  get devices(): number {
    return this.#devices.size;
  }

  add(deviceId: string, id: string): void {
    const now = this.nowMs();
    this.#sweep(now);
    const own = this.#devices.get(deviceId) ?? new Map<string, number>();
    this.#devices.set(deviceId, own);
    own.delete(id);
    own.set(id, now);
    if (own.size <= deviceMax) return;
    own.delete(own.keys().next().value!);
    this.dropped++;
  }

  /** Whether this worker must handle the message; it is removed then. */
  take(deviceId: string, id: string): boolean {
    const own = this.#devices.get(deviceId);
    if (!own?.delete(id)) return false;
    if (own.size === 0) this.#devices.delete(deviceId);
    return true;
  }

  /** From time to time, so that a part costs the same however many there are. */
  #sweep(now: number): void {
    if (now - this.#sweptMs < keptMs / 4) return;
    this.#sweptMs = now;
    for (const [deviceId, own] of this.#devices) {
      for (const [id, begunMs] of own) {
        if (now - begunMs < keptMs) break;
        own.delete(id);
        this.dropped++;
      }
      if (own.size === 0) this.#devices.delete(deviceId);
    }
  }
}
