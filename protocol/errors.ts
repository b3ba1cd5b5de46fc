/**
 * The one error of the wire: a payload or a topic that violates the protocol. The receiver counts and logs it and drops
 * the message, or answers it if its sender waits for an answer; it never stops a link or a worker.
 *
 * @module
 */
import { SyncError } from "../schema/errors.ts";

/** A payload that the receiver cannot accept. Code `protocol`, not retryable: the same bytes fail the same way. */
export class ProtocolError extends SyncError {
  override name = "ProtocolError";
  /** The id of the batch in the payload, if it can be read: its sender waits for an answer. */
  readonly batch?: string;
  /** The question that the payload answers, and its channel if it has one: the asker waits for the answer. */
  readonly answers?: { readonly request: string; readonly channel?: string };

  /** `message` names the field and the value that it must have. */
  constructor(
    message: string,
    options: { hint?: string; cause?: unknown; batch?: string; answers?: ProtocolError["answers"] } = {},
  ) {
    super("protocol", message, { retryable: false, ...options });
    if (options.batch !== undefined) this.batch = options.batch;
    if (options.answers !== undefined) this.answers = options.answers;
  }
}
