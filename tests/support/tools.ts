/**
 * Programs that some tests run beside Deno. On a machine with only Node the tests that need them are skipped, and say so;
 * CI has them all.
 *
 * @module
 */
import { delimiter, join } from "node:path";

function isHere(name: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(delimiter).some((folder) => {
    try {
      return Deno.statSync(join(folder || ".", name)).isFile;
    } catch {
      // Whatever is wrong with that folder, the program is not found in it.
      return false;
    }
  });
}

/**
 * Whether one of these programs is missing here, which is printed as the reason for a skip: `ignore: toolsMissing("sqlite3")`.
 * Under `CI=true` it throws in place of skipping.
 */
export function toolsMissing(...names: string[]): boolean {
  const missing = names.filter((name) => !isHere(name));
  if (missing.length === 0) return false;
  const reason = `this machine has no ${missing.join(", no ")}`;
  if (Deno.env.get("CI") === "true") throw new Error(reason);
  console.log(`skipped: tests that need it, since ${reason}`);
  return true;
}
