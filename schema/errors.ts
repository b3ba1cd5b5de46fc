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
  /** Every problem, where the message names only the first. */
  readonly details?: readonly string[];
  /** The model that it is about. */
  readonly model?: string;
  /** The error that this one came from. */
  readonly cause?: unknown;
}

/**
 * What an operating fault is, for programs. Codes are stable; new ones may come.
 *
 * - the caller's items: `exists`, `not-found`, `invalid`, `constraint`, `read-only`, `newer` (the row was written
 *   since), `trimmed` (the requested entries are no longer retained), `timeout`
 * - the database on a device: `busy`, `full`, `io`, `sql`, `corrupt`, `not-a-database`, `foreign-database`,
 *   `newer-format`, `in-use`, `closed`, `replaced`, `altered`, `driver`, `migration`
 * - schemas: `schema`, `schema-file`
 * - tables, brokers and other services: `unavailable`, `throttled`, `denied`, `unauthorized`, `refused`, `taken`
 *   (another client has the id), `no-table`, `not-a-table`, `no-stream`, `no-region`, `table-mismatch`,
 *   `iterator-expired`, `unsupported`, `too-large`, `condition-too-large`, `late` (a write came after its deadline)
 * - messages and configuration: `protocol`, `config`
 */
export type SyncErrorCode = (typeof syncErrorCodes)[number];

/** Every {@link SyncErrorCode}. */
export const syncErrorCodes = [
  "exists",
  "not-found",
  "invalid",
  "constraint",
  "read-only",
  "newer",
  "trimmed",
  "timeout",
  "busy",
  "full",
  "io",
  "sql",
  "corrupt",
  "not-a-database",
  "foreign-database",
  "newer-format",
  "in-use",
  "closed",
  "replaced",
  "altered",
  "driver",
  "migration",
  "schema",
  "schema-file",
  "unavailable",
  "throttled",
  "denied",
  "unauthorized",
  "refused",
  "taken",
  "too-large",
  "condition-too-large",
  "late",
  "no-table",
  "not-a-table",
  "no-stream",
  "no-region",
  "table-mismatch",
  "iterator-expired",
  "unsupported",
  "protocol",
  "config",
] as const;

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
  /** What happened, for programs. */
  readonly code: SyncErrorCode;
  /** Whether doing the same again later may succeed. */
  readonly retryable: boolean;
  /** What the reader can do about it, if known. */
  readonly hint?: string;
  /** Every problem, a sentence each, where the message names only the first. */
  readonly details?: readonly string[];
  /** The model that it is about, where it is about one. */
  readonly model?: string;

  /** An operating fault. */
  constructor(code: SyncErrorCode, message: string, options: SyncErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    if (options.hint !== undefined) this.hint = options.hint;
    if (options.details !== undefined) this.details = options.details;
    if (options.model !== undefined) this.model = options.model;
  }
}

/** How many problems the one-line message names; `problems` has them all. */
const problemsInMessage = 3, problemMax = 1_000;

/** A schema that can't be used. The message names the first problems, `problems` has all of them, a sentence each. */
export class SchemaError extends SyncError {
  /** As for every error class. */
  override name = "SchemaError";
  /** Every problem found, in the schema's order; never empty. */
  readonly problems: readonly string[];

  /** A schema that can't be used, with every problem found. */
  constructor(found: readonly string[], options: SyncErrorOptions & { readonly file?: string } = {}) {
    // A schema's names and texts are as long as somebody made them.
    const problems = found.map((text) => text.length > problemMax ? `${text.slice(0, problemMax)}…` : text);
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
