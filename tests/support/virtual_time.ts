/**
 * Time that passes only when nothing else is left to do: what takes seconds of waiting takes milliseconds, and no machine is
 * too slow for it.
 *
 * @module
 */
import { setImmediate } from "node:timers";

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly go: () => void;
}

/** See the module. */
export class VirtualTime {
  /** Monotonic time. Not whole: so small a number keeps the fractions that are added to it. */
  sinceMs = 0;
  readonly #beganMs: number;
  /** A heap by time, then by order of arrival. */
  readonly #due: Due[] = [];
  #order = 0;

  constructor(nowMs = 1_800_000_000_000) {
    this.#beganMs = nowMs;
  }

  /** The wall clock, whole milliseconds. */
  get nowMs(): number {
    return this.#beganMs + Math.floor(this.sinceMs);
  }

  /** Calls `go` after so long; what it returns prevents that. */
  after(ms: number, go: () => void): () => void {
    let wanted = true;
    this.#push({ atMs: this.sinceMs + Math.max(0, ms), order: ++this.#order, go: () => wanted && go() });
    return () => wanted = false;
  }

  /** Resolves after so long, or when the signal aborts. */
  wait(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      this.after(ms, resolve);
      signal?.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  /** Lets time pass until the condition holds. @throws Error after `maxMs` of virtual time */
  async until(what: string, met: () => boolean, maxMs: number): Promise<void> {
    const end = this.sinceMs + maxMs;
    await settled();
    while (!met()) {
      const next = this.#due[0];
      if (!next || next.atMs > end) throw new Error(`waited ${maxMs} virtual ms in vain until ${what}`);
      await this.#step();
    }
  }

  /** Lets so much time pass. */
  async pass(ms: number): Promise<void> {
    const end = this.sinceMs + ms;
    await settled();
    while (this.#due[0] && this.#due[0].atMs <= end) await this.#step();
    this.sinceMs = end;
  }

  /** Everything that is due at the next moment. */
  async #step(): Promise<void> {
    this.sinceMs = Math.max(this.sinceMs, this.#due[0]!.atMs);
    while (this.#due[0] && this.#due[0].atMs <= this.sinceMs) this.#pop().go();
    await settled();
  }

  #push(due: Due): void {
    const heap = this.#due;
    let at = heap.push(due) - 1;
    for (let parent = (at - 1) >> 1; at > 0 && isBefore(due, heap[parent]!); parent = (at - 1) >> 1) {
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = due;
  }

  #pop(): Due {
    const heap = this.#due, first = heap[0]!, last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Everything that can go on without time has gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
