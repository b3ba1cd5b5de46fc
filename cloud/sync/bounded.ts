/**
 * Bounded concurrency and retries, for the cloud's workers.
 *
 * @module
 */
import type { Backoff } from "../../protocol/backoff.ts";

/**
 * Calls `work` for each value, `limit` at a time; results in the values' order. The first error prevents further calls,
 * and is thrown when all started calls have ended.
 */
export async function mapBounded<T, R>(
  values: readonly T[],
  limit: number,
  work: (value: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(values.length);
  let next = 0, failed = false;
  const lane = async () => {
    while (next < values.length && !failed) {
      const index = next++;
      try {
        results[index] = await work(values[index]!, index);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(limit, values.length) }, lane));
  const failure = lanes.find((outcome) => outcome.status === "rejected");
  if (failure) throw failure.reason;
  return results;
}

/** Lets `limit` tasks run at once; the rest wait in the order of their arrival. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    if (!Number.isSafeInteger(limit) || limit < 1) throw new RangeError(`a limit of ${limit}: 1 or more is required`);
    this.#free = limit;
  }

  /** Runs the work as soon as there is room. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

/** The retry policy for a failed table or publisher. */
export const tableBackoff: Backoff = { firstMs: 100, maxMs: 10_000 };
