/**
 * Waits for a state of the agent: each wait is checked after every event, and ends by its timeout, its signal or the
 * agent's end.
 *
 * @module
 */
import { SyncError } from "../schema.ts";
import type { WaitOptions } from "./types.ts";

/** A timer of a longer time, or of none (`Infinity`), would go off at once. */
const timerMaxMs = 2 ** 31 - 1;

/** Those who wait. */
export class Waiters {
  readonly #looks = new Set<() => void>();

  /** @param ending aborts every wait, with its reason; `lastError` says why a wait took too long, if known */
  constructor(private readonly ending: AbortSignal, private readonly lastError: () => string | undefined) {}

  /** Something happened. */
  look(): void {
    for (const look of [...this.#looks]) look();
  }

  /**
   * Resolves once `done()` holds. @throws RangeError for a `timeoutMs` that is no time; SyncError `timeout`; the signal's
   * reason; what `done` throws
   */
  until(what: string, done: () => boolean, { signal, timeoutMs }: WaitOptions): Promise<void> {
    if (timeoutMs !== undefined && !(timeoutMs >= 0)) {
      throw new RangeError(`timeoutMs is ${timeoutMs}: 0 or more is required`);
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => {
      try {
        if (done()) resolve();
      } catch (error) {
        // The database can't be read now. The waiting caller gets the error; the twin itself keeps trying.
        reject(error);
      }
    };
    const expire = () => {
      const last = this.lastError();
      const message = `waited ${timeoutMs} ms until ${what}${last ? ` (${last})` : ""}`;
      reject(new SyncError("timeout", message, { retryable: true }));
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const wait = (leftMs: number) => {
      timer = setTimeout(
        () => leftMs > timerMaxMs ? wait(leftMs - timerMaxMs) : expire(),
        Math.min(leftMs, timerMaxMs),
      );
    };
    if (timeoutMs !== undefined) wait(timeoutMs);
    const abort = () => reject(signal!.reason), ended = () => reject(this.ending.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    this.ending.addEventListener("abort", ended);
    this.#looks.add(look);
    look();
    return promise.finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.ending.removeEventListener("abort", ended);
      this.#looks.delete(look);
    });
  }
}
