/**
 * The progress of an export or an import, stored in a file beside its own: written completely under another name and
 * then renamed.
 *
 * @module
 */
import { closeSync, renameSync, writeSync } from "node:fs";
import { isOwn, openNew } from "../own_file.ts";

/**
 * The stored progress; undefined: none, or the command ended while writing it.
 *
 * @throws {CommandError} if somebody else has written it
 */
export async function readPosition<T>(note: string): Promise<T | undefined> {
  if (!isOwn(note)) return undefined;
  try {
    return JSON.parse(await Deno.readTextFile(note));
  } catch {
    // The work starts again, which is harmless: an export only reads, and putting an item again changes nothing.
    return undefined;
  }
}

/** Notes it. */
export function writePosition<T>(note: string, position: T): void {
  const draft = `${note}.new`, file = openNew(draft);
  try {
    writeSync(file, JSON.stringify(position));
  } finally {
    closeSync(file);
  }
  renameSync(draft, note);
}

/** The work is done. */
export async function dropPosition(note: string): Promise<void> {
  await Deno.remove(note).catch(() => {});
}
