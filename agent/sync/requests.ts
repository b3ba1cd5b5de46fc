/**
 * Questions to the cloud, and how long the device waits for an answer. A question that is repeated from the same cursor
 * keeps its id, so that the answer to any of its transmissions counts: with a new id each time, every answer that takes
 * longer than the wait would be discarded, and a fleet would ask for ever (a storm).
 *
 * The wait doubles up to `retryMaxMs`, with full jitter above the first; the cloud may ask for a longer wait (`later`),
 * and, when it is back, for a shorter one, spread over a window.
 *
 * @module
 */
import { backoffMs } from "../../protocol/backoff.ts";

/** A question that is out. */
export interface Request {
  readonly id: string;
  /** Asked before the preceding page was applied: the answer may lie waiting, and its time is not used. */
  readonly ahead?: true;
  /** The serial of settlements when it was made: for keys settled since, the device knows more than the answer. */
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

/** How long to wait for an answer after so many repetitions: between `retryMs` and its double, four, eightfold … */
export function waitMs({ retryMs, retryMaxMs }: Waits, repeats: number, random: () => number): number {
  const doubledMs = backoffMs(repeats + 1, () => 0, { firstMs: retryMs, maxMs: retryMaxMs, least: 1 });
  return retryMs + Math.max(0, doubledMs - retryMs) * random();
}

/** The question was repeated: starts the next wait. */
export function repeated(request: Request, waits: Waits, nowMs: number, random: () => number): void {
  request.overdueMs = nowMs + waitMs(waits, ++request.repeats, random);
  request.unheard++;
  request.earlierMs = request.lastMs;
  request.lastMs = nowMs;
}

/** The cloud asks for a longer wait. */
export function postpone(request: Request, nowMs: number, afterMs: number): void {
  request.overdueMs = Math.max(request.overdueMs, nowMs + afterMs);
  request.unheard = 0;
}

/** The worker may have missed the question: repeats it within the window, unless it is due sooner. */
export function hasten(request: Request, nowMs: number, windowMs: number, random: () => number): void {
  request.overdueMs = Math.min(request.overdueMs, nowMs + windowMs * random());
}
