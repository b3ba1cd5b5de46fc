/**
 * A small file that is written as a whole or not at all, and durably, for its owner alone (0600).
 *
 * @module
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** Writes it. @throws what the system says */
export function writeWholeFile(path: string, text: string): void {
  const draft = `${path}.draft`;
  rmSync(draft, { force: true });
  const file = openSync(draft, "wx", 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  syncFolder(path);
}

/** What was renamed in this file's folder is so after a power cut. */
export function syncFolder(path: string): void {
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } catch (error) {
    // Windows has no such thing.
    if ((error as { code?: string }).code !== "EPERM") throw error;
  } finally {
    closeSync(folder);
  }
}
