/**
 * How often an address may try to sign in: so many times a minute, counted in this worker. Guarantee: memory is bounded however
 * many addresses try; where there are too many, the oldest is forgotten.
 *
 * @module
 */

/** See the module. */
export class Throttle {
  readonly #tries = new Map<string, { count: number; untilMs: number }>();

  constructor(readonly triesMax = 10, readonly windowMs = 60_000, readonly addressesMax = 10_000) {}

  /** Counts a try. @returns 0, or after how many seconds the next is allowed */
  tried(address: string, nowMs: number): number {
    let tries = this.#tries.get(address);
    if (!tries || tries.untilMs <= nowMs) {
      this.#tries.delete(address);
      if (this.#tries.size >= this.addressesMax) this.#tries.delete(this.#tries.keys().next().value!);
      this.#tries.set(address, tries = { count: 0, untilMs: nowMs + this.windowMs });
    }
    return ++tries.count <= this.triesMax ? 0 : Math.max(1, Math.ceil((tries.untilMs - nowMs) / 1000));
  }

  /** Signed in: its tries are forgotten. */
  succeeded(address: string): void {
    this.#tries.delete(address);
  }
}
