/**
 * How far an export or an import has come, noted in a file beside its own: written whole under another name and then put in place.
 *
 * @module
 */
import { fileExists } from "../device_file.ts";

/** What was noted; undefined: nothing, or the command ended while it was being written. */
export async function readPosition<T>(note: string): Promise<T | undefined> {
  if (!fileExists(note)) return undefined;
  try {
    return JSON.parse(await Deno.readTextFile(note));
  } catch {
    // The work begins anew, which an export may and an import does no harm by: putting an item again changes nothing.
    return undefined;
  }
}

/** Notes it. */
export async function writePosition<T>(note: string, position: T): Promise<void> {
  await Deno.writeTextFile(`${note}.new`, JSON.stringify(position));
  await Deno.rename(`${note}.new`, note);
}

/** The work is done. */
export async function dropPosition(note: string): Promise<void> {
  await Deno.remove(note).catch(() => {});
}
