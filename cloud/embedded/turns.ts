/**
 * Turns of the event loop. The embedded tables answer at once, so a caller that awaits one read after another never
 * leaves the microtask queue: timers, sockets and all other callers wait until it is done. A caller that asks here
 * first continues in a later turn once the current one has lasted for a slice.
 *
 *     first call of a turn ──▶ slice begins ──slice over──▶ all callers wait for the next turn, and continue in order
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** See the module. */
export class Turns {
  #beganMs: number | undefined;
  #next: Promise<void> | undefined;

  /**
   * @param sliceMs how long callers may continue in one turn; `Infinity`: no caller ever waits, and no timer is set
   * @param now ms, from any origin
   */
  constructor(private readonly sliceMs: number, private readonly now: () => number = () => performance.now()) {}

  /** Does this at once; if callers wait for their turn, after them. */
  async last(work: () => void): Promise<void> {
    if (this.#next) await this.#next;
    work();
  }

  /** Undefined: continue. Otherwise, the promise to await first. */
  pause(): Promise<void> | undefined {
    if (this.sliceMs === Infinity) return undefined;
    if (this.#next) return this.#next;
    const nowMs = this.now();
    if (this.#beganMs === undefined) {
      this.#beganMs = nowMs;
      // Also if no caller must wait, because the next turn has its own slice.
      setImmediate(() => this.#next ?? (this.#beganMs = undefined));
      return undefined;
    }
    if (nowMs - this.#beganMs < this.sliceMs) return undefined;
    this.#next = new Promise((resolve) =>
      setImmediate(() => {
        this.#next = this.#beganMs = undefined;
        resolve();
      })
    );
    return this.#next;
  }
}
