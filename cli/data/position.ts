/**
 * The progress of an export or an import, stored in a file beside its own: written completely under another name and
 * then renamed.
 *
 * @module
 */
import { fileExists } from "../device_file.ts";

/** The stored progress; undefined: none, or the command ended while writing it. */
export async function readPosition<T>(note: string): Promise<T | undefined> {
  if (!fileExists(note)) return undefined;
  try {
    return JSON.parse(await Deno.readTextFile(note));
  } catch {
    // The work starts again, which is harmless: an export only reads, and putting an item again changes nothing.
    return undefined;
  }
}

/** Notes it. */
export async function writePosition<T>(note: string, position: T): Promise<void> {
  await Deno.writeTextFile(`${note}.new`, JSON.stringify(position), { mode: 0o600 });
  await Deno.rename(`${note}.new`, note);
}

/** The work is done. */
export async function dropPosition(note: string): Promise<void> {
  await Deno.remove(note).catch(() => {});
}
