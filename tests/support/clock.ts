/**
 * Clocks for agents under test.
 *
 * @module
 */
import type { Clock } from "../../agent/ports.ts";

/** How far {@link SkippingClock.skip} goes by default: a removal waits 30 s for older transmissions of its key (rules §3). */
const pastTransmissionsMs = 31_000;

/**
 * The machine's clocks, but the monotonic one can be put forward: to an agent it is as if that long had passed and the
 * wall clock had then been put back. The first answer of the cloud shows that the wall clock was right all the time.
 */
export class SkippingClock implements Clock {
  #skippedMs = 0;

  wallMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now() + this.#skippedMs;
  }

  /** Puts the monotonic clock forward. */
  skip(ms: number = pastTransmissionsMs): void {
    this.#skippedMs += ms;
  }
}

/** The machine's clocks with an error of the wall clock that may change at any time. */
export class WrongClock implements Clock {
  constructor(public errorMs: number) {}

  wallMs(): number {
    return Date.now() + this.errorMs;
  }

  monotonicMs(): number {
    return performance.now();
  }
}
