/**
 * Whether another SQLite library of this process has a database open. POSIX locks belong to the process: when one
 * library closes the file, the locks of the other are gone, and commits with them. It is detected by the process's
 * descriptors, on Linux, if reading them is permitted; elsewhere nothing is detected, and nothing refused.
 *
 * @module
 */
import { readdirSync, statSync } from "node:fs";

function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    // The descriptor does not exist yet, or was closed meanwhile.
    return undefined;
  }
}

const counts = new Map<string, number>();

/** The connections of the FFI driver, by file. */
export const OwnConnections = {
  /** Counts a connection that was opened. */
  add(path: string): Disposable {
    const file = identityOf(path) ?? "";
    counts.set(file, (counts.get(file) ?? 0) + 1);
    return { [Symbol.dispose]: () => void counts.set(file, (counts.get(file) ?? 1) - 1) };
  },
};

/** Whether this process has a file open other than by the FFI driver. Call this before opening it. */
export function isOpenElsewhere(path: string): boolean {
  const file = identityOf(path);
  // A descriptor that SQLite itself holds until its locks are released looks like another library's: if we have a
  // connection open, the answer is no.
  if (file === undefined || (counts.get(file) ?? 0) > 0) return false;
  let names: string[];
  try {
    names = readdirSync("/proc/self/fd");
  } catch {
    return false;
  }
  return names.some((name) => identityOf(`/proc/self/fd/${name}`) === file);
}
