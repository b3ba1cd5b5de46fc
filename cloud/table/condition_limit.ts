/**
 * The only way in which a condition can exceed a table's limits: DynamoDB takes expressions of at most 4 KB with 300
 * operators. It is outside of the adapter, so that ingest can name the error without importing an adapter.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";

/**
 * Conditions that the table can't evaluate. `Table.write` throws it before any of its writes has started, so that the
 * caller can replace the conditions at `at` by narrower ones and write again.
 */
export class ConditionTooLargeError extends SyncError {
  override name = "ConditionTooLargeError";
  /** Indexes of the writes whose conditions are too large, ascending; never empty. */
  readonly at: readonly number[];

  constructor(at: readonly number[]) {
    super("condition-too-large", `the conditions of ${at.length} writes are beyond 4 KB or 300 operators`, {
      hint: "compare fewer attributes",
    });
    this.at = at;
  }
}
