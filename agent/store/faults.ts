/**
 * Converts SQLite's errors to a {@link SyncError} that programs can distinguish and people can act on.
 *
 * @module
 */
import { faultOf } from "../sqlite/driver.ts";
import { SyncError } from "../../schema/errors.ts";
import { isFullMessage, isReadOnlyMessage } from "./triggers.ts";

/**
 * Whether a driver's error comes from the disk or another process, not from the statement: any statement may get it.
 */
export function isEnvironmental(error: unknown): boolean {
  if (error instanceof SyncError || error instanceof TypeError || error instanceof RangeError) return false;
  return ["busy", "full", "io", "corrupt", "readonly", "not-a-database"].includes(faultOf(error));
}

/**
 * A driver's error as a SyncError: `busy` and `full` (retryable: the disk, or the outbox), `read-only`, `constraint`,
 * `not-a-database`, `corrupt`, `io`, else `sql`. A SyncError is returned unchanged.
 *
 * @param action what was attempted, on what: the message's beginning.
 */
export function toSyncError(error: unknown, action: string): SyncError {
  if (error instanceof SyncError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const message = `${action}: ${text}`;
  if (isReadOnlyMessage(text)) return new SyncError("read-only", message, { cause: error });
  if (isFullMessage(text)) {
    return new SyncError("full", message, {
      cause: error,
      retryable: true,
      hint: "Connect the device to the cloud, or delete rows.",
    });
  }
  if (text.includes("refused by Twintable")) return new SyncError("constraint", message, { cause: error });
  switch (faultOf(error)) {
    case "busy":
      return new SyncError("busy", message, {
        cause: error,
        retryable: true,
        hint: "Another process holds a write transaction.",
      });
    case "full":
      return new SyncError("full", message, { cause: error, retryable: true, hint: "Free some disk space." });
    case "readonly":
      return new SyncError("io", message, { cause: error, hint: "Check the file's and its folder's permissions." });
    case "constraint":
      return new SyncError("constraint", message, { cause: error });
    case "not-a-database":
      return new SyncError("not-a-database", message, {
        cause: error,
        hint: "Name another file, or, where it was the device's database, restore a backup.",
      });
    case "corrupt":
      return new SyncError("corrupt", message, { cause: error, hint: "Restore a backup, or start with a new file." });
    case "io":
      return new SyncError("io", message, { cause: error });
    default:
      return new SyncError("sql", message, { cause: error });
  }
}
