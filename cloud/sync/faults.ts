/**
 * Which faults are transient.
 *
 * @module
 */
import { SyncError } from "../../schema.ts";

/** Whether the fault is transient: the same call may succeed later. */
export function isOutage(error: unknown): boolean {
  return error instanceof SyncError && error.retryable;
}
