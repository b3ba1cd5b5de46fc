/**
 * SQLite's errors in the embedded table, by their kinds.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { SyncError } from "../../schema.ts";

/** What went wrong. */
export type Fault = "busy" | "full" | "io" | "cannot-open" | "not-a-database" | "corrupt";

/**
 * What kind of fault an error of SQLite is, by its message: `node:sqlite` under Deno only provides the result code for
 * prepared statements. The texts are those of SQLite's `sqlite3ErrStr`, unchanged for many years.
 */
export function faultKind(error: unknown): Fault | undefined {
  if ((error as { code?: unknown } | null)?.code !== "ERR_SQLITE_ERROR") return undefined;
  const { message } = error as Error;
  if (/is locked/.test(message)) return "busy";
  if (/is full/.test(message)) return "full";
  if (/not a database/.test(message)) return "not-a-database";
  if (/malformed/.test(message)) return "corrupt";
  if (/unable to open/.test(message)) return "cannot-open";
  return /I\/O error|readonly/.test(message) ? "io" : undefined;
}

/** SQLite says of nothing why it can't be opened. */
function whyNot(path: string): string {
  if (!existsSync(dirname(path))) return "its folder does not exist";
  return "may this user write there, and is the limit of open files, `ulimit -n`, high enough?";
}

/** SQLite's errors as ours. Other errors (faults in the program) are not changed. */
export function faultOf(error: unknown, path: string): unknown {
  const kind = faultKind(error);
  if (kind === undefined) return error;
  const what = `the table ${JSON.stringify(path)}`, cause = error;
  const detail = (error as Error).message;
  switch (kind) {
    case "not-a-database":
      return new SyncError("not-a-table", `${what} is not an SQLite database`, { cause });
    case "corrupt":
      return new SyncError("corrupt", `${what} is damaged: ${detail}`, { cause });
    case "cannot-open":
      return new SyncError("unavailable", `${what} can't be opened`, { cause, hint: whyNot(path) });
    case "full":
      return new SyncError("unavailable", `${what} can't grow: ${detail}`, {
        retryable: true,
        cause,
        hint: "free some disk space",
      });
    case "busy":
    case "io":
      return new SyncError("unavailable", `${what} can't be used: ${detail}`, { retryable: true, cause });
  }
}
