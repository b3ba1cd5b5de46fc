/**
 * The one error of the wire: a payload or a topic that is not what the protocol says. The receiver counts it, logs it and
 * drops the message; it never stops a link or a worker.
 *
 * @module
 */
import { SyncError } from "../schema/errors.ts";

/** A payload that can't be taken in. Code `protocol`, not retryable: the same bytes fail the same way. */
export class ProtocolError extends SyncError {
  override name = "ProtocolError";

  /** `message` names the field and what was wanted of it. */
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("protocol", message, { retryable: false, ...options });
  }
}
