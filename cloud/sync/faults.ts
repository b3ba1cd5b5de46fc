/**
 * Which faults pass by themselves.
 *
 * @module
 */
import { SyncError } from "../../schema.ts";

/** Whether the fault passes by itself: the same may succeed later. */
export function isOutage(error: unknown): boolean {
  return error instanceof SyncError && error.retryable;
}
