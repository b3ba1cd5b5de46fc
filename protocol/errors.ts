/**
 * The one error of the wire: a payload or a topic that is not what the protocol says. The receiver counts it, logs it and
 * drops the message, or answers it where its sender waits for an answer; it never stops a link or a worker.
 *
 * @module
 */
import { SyncError } from "../schema/errors.ts";

/** A payload that can't be taken in. Code `protocol`, not retryable: the same bytes fail the same way. */
export class ProtocolError extends SyncError {
  override name = "ProtocolError";
  /** The id of the batch that the payload is, where that much can be read: its sender waits for an answer. */
  readonly batch?: string;
  /** The question that the payload answers, and its channel where it is of one: whoever asked waits for the answer. */
  readonly answers?: { readonly request: string; readonly channel?: string };

  /** `message` names the field and what was wanted of it. */
  constructor(
    message: string,
    options: { hint?: string; cause?: unknown; batch?: string; answers?: ProtocolError["answers"] } = {},
  ) {
    super("protocol", message, { retryable: false, ...options });
    if (options.batch !== undefined) this.batch = options.batch;
    if (options.answers !== undefined) this.answers = options.answers;
  }
}
