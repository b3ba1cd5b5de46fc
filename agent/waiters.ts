/**
 * Waits for a state of the agent: each is looked at after every event, and ends by its time, its signal or the agent's end.
 *
 * @module
 */
import { SyncError } from "../schema.ts";
import type { WaitOptions } from "./types.ts";

/** Those who wait. */
export class Waiters {
  readonly #looks = new Set<() => void>();

  /** @param ending aborts every wait, with its reason; `lastError` says why a wait took too long, where that is known */
  constructor(private readonly ending: AbortSignal, private readonly lastError: () => string | undefined) {}

  /** Something happened. */
  look(): void {
    for (const look of [...this.#looks]) look();
  }

  /** Resolves once `done()` holds. @throws SyncError `timeout`; the signal's reason; what `done` throws */
  until(what: string, done: () => boolean, { signal, timeoutMs }: WaitOptions): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => {
      try {
        if (done()) resolve();
      } catch (error) {
        // The database can't be read now. Whoever waits learns of it; the twin itself goes on trying.
        reject(error);
      }
    };
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => {
      const last = this.lastError();
      const message = `waited ${timeoutMs} ms until ${what}${last ? ` (${last})` : ""}`;
      reject(new SyncError("timeout", message, { retryable: true }));
    }, timeoutMs);
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
