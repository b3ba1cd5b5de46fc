/**
 * Limits how often an address (of IPv6: a /64) may try to sign in, or to claim a device, each minute, counted in this worker.
 * Guarantee: memory is bounded however many addresses try; if there are too many, the oldest is dropped.
 *
 * @module
 */
import { BoundedMap } from "../../protocol/bounded_map.ts";
import { sourceOf } from "../address.ts";

/** See the module. */
export class Throttle {
  readonly #tries: BoundedMap<string, { count: number; untilMs: number }>;

  constructor(readonly triesMax = 10, readonly windowMs = 60_000, addressesMax = 10_000) {
    this.#tries = new BoundedMap(addressesMax);
  }

  /** Counts a try. @returns 0, or after how many seconds the next is allowed */
  tried(address: string, nowMs: number): number {
    const source = sourceOf(address);
    let tries = this.#tries.get(source);
    if (!tries || tries.untilMs <= nowMs) {
      this.#tries.set(source, tries = { count: 0, untilMs: nowMs + this.windowMs });
    }
    return ++tries.count <= this.triesMax ? 0 : Math.max(1, Math.ceil((tries.untilMs - nowMs) / 1000));
  }

  /** Signed in: its tries are reset. */
  succeeded(address: string): void {
    this.#tries.delete(sourceOf(address));
  }
}
