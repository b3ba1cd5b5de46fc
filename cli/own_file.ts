/**
 * Files that a command fills step by step, for its owner alone. In a folder that several users may write (`/tmp`),
 * somebody else may have put a file of theirs, or a link, in the place of ours: it would show them what is written, or
 * have us write to where the link leads. So a new file is created, never opened, and one that is continued has to be
 * ours. Nobody else can replace a file of ours in such a folder (its sticky bit).
 *
 * @module
 */
import { chmodSync, lstatSync, openSync, rmSync } from "node:fs";
import { CommandError } from "./command.ts";

/** A descriptor of a new file (0600), in place of whatever had its name. @throws {CommandError} if it can't be made */
export function openNew(path: string): number {
  try {
    rmSync(path, { force: true });
    return openSync(path, "wx", 0o600);
  } catch (cause) {
    throw new CommandError(`${path} can't be made: ${(cause as Error).message}`, { cause });
  }
}

/** A descriptor that appends to a file of ours, which is created (0600) if there is none. @throws as {@link isOwn} */
export function openToAppend(path: string): number {
  return isOwn(path) ? openSync(path, "a") : openNew(path);
}

/**
 * Whether there is a file of ours, which nobody else can read from here on.
 *
 * @throws {CommandError} if something else has its name
 */
export function isOwn(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return false;
  if (!stat.isFile() || stat.nlink > 1) refuse(path, "is a link, or no file");
  const uid = ownUid();
  if (uid !== undefined && stat.uid !== uid) refuse(path, "is another user's");
  try {
    // Only its owner may.
    chmodSync(path, 0o600);
  } catch (cause) {
    refuse(path, "is another user's", cause);
  }
  return true;
}

/** Undefined where the program may not ask, and on Windows. */
function ownUid(): number | undefined {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "uid" });
  return state === "granted" ? Deno.uid() ?? undefined : undefined;
}

function refuse(path: string, what: string, cause?: unknown): never {
  throw new CommandError(`${path} ${what}: remove it, or write to another folder`, { cause });
}
