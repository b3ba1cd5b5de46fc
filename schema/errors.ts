/**
 * Errors of the operating kind, as one family. Misuse of a function throws `TypeError` or `RangeError` instead.
 *
 * @module
 */

/** What a {@link SyncError} may be given beside its code and message. */
export interface SyncErrorOptions {
  /** Whether doing the same again later may succeed. Default false. */
  readonly retryable?: boolean;
  /** What the reader can do about it: one sentence. */
  readonly hint?: string;
  /** The error that this one came from. */
  readonly cause?: unknown;
}

/**
 * An operating fault: the network, the disk, a bad message, a bad item, a bad schema. `code` is stable and meant for
 * programs, `message` is one line and meant for people.
 *
 * @example
 * ```ts
 * import { SyncError } from "./errors.ts";
 * const error = new SyncError("unavailable", 'can\'t reach the table "t"', { retryable: true });
 * if (error.code !== "unavailable" || !error.retryable) throw new Error("unexpected");
 * ```
 */
export class SyncError extends Error {
  /** As for every error class. */
  override name = "SyncError";
  /** Stable, lower case, hyphenated: `schema`, `invalid`, `unavailable`, … */
  readonly code: string;
  /** Whether doing the same again later may succeed. */
  readonly retryable: boolean;
  /** What the reader can do about it, if known. */
  readonly hint?: string;

  /** An operating fault. */
  constructor(code: string, message: string, options: SyncErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    if (options.hint !== undefined) this.hint = options.hint;
  }
}

/** How many problems the one-line message names; `problems` has them all. */
const problemsInMessage = 3;

/** A schema that can't be used. The message names the first problems, `problems` has all of them, a sentence each. */
export class SchemaError extends SyncError {
  /** As for every error class. */
  override name = "SchemaError";
  /** Every problem found, in the schema's order; never empty. */
  readonly problems: readonly string[];

  /** A schema that can't be used, with every problem found. */
  constructor(problems: readonly string[], options: SyncErrorOptions & { readonly file?: string } = {}) {
    const more = problems.length - problemsInMessage;
    super(
      "schema",
      `the schema${options.file === undefined ? "" : ` ${JSON.stringify(options.file)}`} can't be used: ` +
        problems.slice(0, problemsInMessage).join("; ") + (more > 0 ? `; and ${more} more` : ""),
      options,
    );
    this.problems = problems;
  }
}
