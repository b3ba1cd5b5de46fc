/**
 * Whether another SQLite library of this process has a database open. POSIX locks belong to the process: when one library closes
 * the file, the locks of the other are gone, and with them commits. Seen by the process's descriptors, on Linux, where it may look at
 * them; elsewhere nothing is seen, and nothing refused.
 *
 * @module
 */
import { readdirSync, statSync } from "node:fs";

function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    // Not there yet, or closed meanwhile.
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

/** Whether a file is open here, and not by the FFI driver. To be asked before opening it. */
export function isOpenElsewhere(path: string): boolean {
  const file = identityOf(path);
  // A descriptor that SQLite itself keeps until its locks are gone looks like another's: with one of ours open nothing is said.
  if (file === undefined || (counts.get(file) ?? 0) > 0) return false;
  let names: string[];
  try {
    names = readdirSync("/proc/self/fd");
  } catch {
    return false;
  }
  return names.some((name) => identityOf(`/proc/self/fd/${name}`) === file);
}
