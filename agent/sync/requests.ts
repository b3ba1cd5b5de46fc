/**
 * Questions to the cloud, and how long an answer is waited for. A question that is asked again from the same cursor keeps
 * its id, so that the answer to any of its transmissions is taken: under a new id each time, answers that take longer than
 * the wait would all be thrown away, and a fleet would ask for ever (a storm).
 *
 * The wait doubles up to `retryMaxMs`, with full jitter above the first; the cloud may ask for a longer one (`later`), and
 * for a shorter one, spread over a window, when it is back.
 *
 * @module
 */
import { backoffMs } from "../../protocol/backoff.ts";

/** A question that is out. */
export interface Request {
  readonly id: string;
  /** Asked before the page in front of its answer was applied: the answer lies waiting, and tells no time. */
  readonly ahead?: true;
  /** The serial of settlements when it was made: what was settled since is known better than the answer knows. */
  readonly settledSerial: number;
  /** Monotonic time when it was made, and after which it is asked again. */
  readonly firstMs: number;
  overdueMs: number;
  /** How often it was asked again. */
  repeats: number;
  /** How often it was sent since the cloud last said something about it. */
  unheard: number;
  /** Monotonic time of the transmission before the last one. */
  earlierMs: number;
  lastMs: number;
}

/** The waits of a {@link Request}; see `Limits`. */
export interface Waits {
  readonly retryMs: number;
  readonly retryMaxMs: number;
}

/** How long an answer is waited for after so many repetitions: between `retryMs` and its double, four, eightfold … */
export function waitMs({ retryMs, retryMaxMs }: Waits, repeats: number, random: () => number): number {
  const doubledMs = backoffMs(repeats + 1, () => 0, { firstMs: retryMs, maxMs: retryMaxMs, least: 1 });
  return retryMs + Math.max(0, doubledMs - retryMs) * random();
}

/** Asked again: the next wait begins. */
export function repeated(request: Request, waits: Waits, nowMs: number, random: () => number): void {
  request.overdueMs = nowMs + waitMs(waits, ++request.repeats, random);
  request.unheard++;
  request.earlierMs = request.lastMs;
  request.lastMs = nowMs;
}

/** The cloud asks for patience. */
export function postpone(request: Request, nowMs: number, afterMs: number): void {
  request.overdueMs = Math.max(request.overdueMs, nowMs + afterMs);
  request.unheard = 0;
}

/** Whoever answers may have missed it: asked again within the window, if it was not to be sooner. */
export function hasten(request: Request, nowMs: number, windowMs: number, random: () => number): void {
  request.overdueMs = Math.min(request.overdueMs, nowMs + windowMs * random());
}
