/**
 * Bounded retries of requests to AWS. The SDK's own retries are off (`maxAttempts: 1`): they know
 * no deadline of ours, and would multiply with these.
 *
 * @module
 */
import { type Backoff, backoffMs } from "../../protocol/backoff.ts";
import { faultOf, isPassing } from "./faults.ts";

/** Waits that many ms, or until the signal aborts; resolves in both cases. */
export type Sleep = (ms: number, signal?: AbortSignal) => Promise<void>;

/** The context of retries. */
export interface RetryPolicy {
  /** The clock, ms since 1970. */
  readonly now: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly sleep: Sleep;
  /** No new attempt starts later than this after the first, ms. */
  readonly retryForMs: number;
}

/** The waits between attempts: full jitter, so that many waiting clients spread out. */
export const requestBackoff: Backoff = { firstMs: 25, maxMs: 2000, least: 0 };

/**
 * Calls until the call succeeds, fails for good, or the time is up; then throws the last error.
 *
 * @throws the signal's reason once it is aborted.
 */
export async function withRetries<T>(call: () => Promise<T>, policy: RetryPolicy, signal?: AbortSignal): Promise<T> {
  const end = policy.now() + policy.retryForMs;
  for (let attempt = 1;; attempt++) {
    signal?.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      signal?.throwIfAborted();
      const waitMs = backoffMs(attempt, policy.random, requestBackoff);
      if (!isPassing(faultOf(error)) || policy.now() + waitMs > end) throw error;
      await policy.sleep(waitMs, signal);
    }
  }
}
