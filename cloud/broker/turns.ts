/**
 * When new connections begin: are read for the first time, or begin their TLS handshake, which costs the broker's only
 * thread some 1 ms, more than anything else that a stranger can ask for. Both are before anybody knows who that is. So
 * there is a bound on how many begin in a second, and when more are asked for, each address (of IPv6: each /64) has its
 * turn: one that floods waits for its own, while a device elsewhere begins at once. What waits is not read, and counts
 * among the connections that are not logged in (`connections.ts`): their bound, and their time limit, are the queue's.
 * Who misbehaves is closed when he begins, and so can't come again sooner than that.
 *
 * @module
 */
import type net from "node:net";
import { sourceOf } from "../address.ts";
import { Budget, type Rate } from "../budget.ts";

/**
 * Handshakes: 200 a second take a fifth of the thread at most; 400 at once let a small fleet in without waiting. The last
 * of 1,000 devices that come back together begins after 3 s, within the 10 s that a connection has.
 */
export const handshakesDefault: Rate = { perSecond: 200, burst: 400 };
/** Without TLS: the last of 5,000 devices that come back together begins after 8 s. */
export const plainDefault: Rate = { perSecond: 500, burst: 1_000 };

/** The queue of one listener. */
export class Turns {
  /** By source, each in the order in which they came. The first source is the next. */
  readonly #waiting = new Map<string, Set<net.Socket>>();
  readonly #budget: Budget;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param begin a connection's turn has come */
  constructor(rate: Rate, private readonly begin: (raw: net.Socket) => void) {
    this.#budget = new Budget(rate, 1);
  }

  /** A connection wants to begin: now, or when it is its source's turn. */
  ask(raw: net.Socket): void {
    const source = sourceOf(raw.remoteAddress ?? "");
    const all = this.#waiting.get(source) ?? new Set();
    this.#waiting.set(source, all.add(raw));
    raw.once("close", () => this.#drop(source, all, raw));
    if (this.#timer === undefined) this.#run();
  }

  #drop(source: string, all: Set<net.Socket>, raw: net.Socket): void {
    all.delete(raw);
    if (all.size === 0 && this.#waiting.get(source) === all) this.#waiting.delete(source);
    if (this.#waiting.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Begins as many as there may be, and comes again if some are left. */
  #run(): void {
    this.#timer = undefined;
    for (const [source, all] of this.#waiting) {
      const nowMs = performance.now(), waitMs = this.#budget.waitMs("", nowMs);
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#run(), waitMs);
        return;
      }
      this.#budget.take("", 1, nowMs);
      const [raw] = all;
      all.delete(raw!);
      // Behind all others: an iteration of a map comes to what is set again.
      this.#waiting.delete(source);
      if (all.size > 0) this.#waiting.set(source, all);
      this.begin(raw!);
    }
  }
}
