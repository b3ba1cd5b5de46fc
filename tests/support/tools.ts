/**
 * Programs that some tests run beside Deno. On a machine with only Node the tests that need them are skipped; why is told at
 * once, and again at the end of `deno task test` (`tests/main.ts`). CI has them all, and fails in place of skipping.
 *
 * A helper that starts such a program is reached only by tests that say so, with {@link toolsMissing} or {@link testWith}.
 *
 * @module
 */
import { delimiter, join } from "node:path";

// A daemon's own folder is often not in a user's path: Debian puts Mosquitto there. CI asks for the path as it is, to try a bare machine.
const daemonFolders = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];
const folders = (Deno.env.get("PATH") ?? "").split(delimiter);
const added = Deno.env.has("TWINTABLE_PATH_AS_IS") ? [] : daemonFolders.filter((folder) => !folders.includes(folder));
Deno.env.set("PATH", [...folders, ...added].join(delimiter));

function toolHere(name: string): boolean {
  return Deno.env.get("PATH")!.split(delimiter).some((folder) => {
    try {
      return Deno.statSync(join(folder || ".", name)).isFile;
    } catch {
      // Whatever is wrong with that folder, the program is not found in it.
      return false;
    }
  });
}

/** The test file that asks; the module that was started, where that can't be told. */
function askingFile(): string {
  const frames = new Error().stack?.split("\n").slice(1) ?? [];
  const files = frames.map((frame) => frame.match(/\/tests\/(\S+\.ts)/)?.[1]).filter((file) => file !== undefined);
  // Of what a support file asks while it is loaded there is that file alone.
  return files.find((file) => file.endsWith("_test.ts")) ?? files.find((file) => file !== "support/tools.ts") ??
    Deno.mainModule.split("/tests/").at(-1)!;
}

/**
 * Whether a test is skipped, for a reason that is told: `ignore: skipped(mosquittoMissing)`. Where `TWINTABLE_SKIPS` names a
 * file, the reason is noted there, for the list at the end.
 *
 * @throws {Error} with the reason under `CI=true`
 */
export function skipped(reason: string | undefined): boolean {
  if (reason === undefined) return false;
  if (Deno.env.get("CI") === "true") throw new Error(reason);
  return noted(reason);
}

/** {@link skipped} for what CI can't have everywhere, either. */
export function noted(reason: string | undefined): boolean {
  if (reason === undefined) return false;
  const note = `${askingFile()}: ${reason}`;
  console.log(`skipped: ${note}`);
  const notes = Deno.env.get("TWINTABLE_SKIPS");
  if (notes) Deno.writeTextFileSync(notes, `${note}\n`, { append: true });
  return true;
}

/** What Deno says where a package registry can't be reached. */
const unreachable = /error sending request|dns error|client error|connection (refused|reset)|timed out/i;

/** Of all that a program said, the line that tells that a package registry can't be reached; undefined where none does. */
export function unreachableIn(said: string): string | undefined {
  return said.split("\n").find((line) => unreachable.test(line))?.trim();
}

/** Why a test that needs these programs can't run here; undefined where it can. */
export function missingTools(...names: string[]): string | undefined {
  const missing = names.filter((name) => !toolHere(name));
  return missing.length === 0 ? undefined : `this machine has no ${missing.join(", no ")}`;
}

/** Whether a test is skipped since one of these programs is missing here: `ignore: toolsMissing("sqlite3")`. */
export function toolsMissing(...names: string[]): boolean {
  return skipped(missingTools(...names));
}

/** A `Deno.test` for tests that need these programs. */
export function testWith(...names: string[]): (name: string, fn: () => void | Promise<void>) => void {
  const ignore = toolsMissing(...names);
  return (name, fn) => Deno.test({ name, ignore, fn });
}
