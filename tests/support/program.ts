/**
 * The command line that tests start. The suite starts it some hundred times, and to load its 400 modules costs more than what
 * most commands do: `tests/main.ts` makes a few files of them first.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** `mod.ts`, or what {@link bundleProgram} has made of it, where `TWINTABLE_PROGRAM` names that. */
export const program: string = Deno.env.get("TWINTABLE_PROGRAM") ?? join(root, "mod.ts");

/** What is loaded by a name that the module graph of `mod.ts` does not follow, with the place where it is looked for. */
const apart = {
  "cli/audit.ts": "audit.ts",
  "cli/broker.ts": "broker.ts",
  "cli/cloud.ts": "cloud.ts",
  "cli/dev.ts": "dev.ts",
  "cli/device.ts": "device.ts",
  "cli/doctor/tables.ts": "doctor/tables.ts",
  "cli/schema_sample.ts": "schema_sample.ts",
};

/**
 * Bundles `mod.ts`, with what it loads later, into a folder.
 * @returns the file to run; undefined: this Deno can't, and the source is as good
 */
export async function bundleProgram(folder: string): Promise<string | undefined> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--code-splitting", "--outdir", folder, "mod.ts", ...Object.keys(apart)],
    cwd: root,
    stdout: "null",
    stderr: "null",
  }).output();
  if (!success) return undefined;
  // Beside the chunks, which all lie in one folder, stands what they look for by name.
  for (const [source, place] of Object.entries(apart)) {
    const bundled = pathToFileURL(join(folder, source.replace(/\.ts$/, ".js"))).href;
    await Deno.mkdir(join(folder, place, ".."), { recursive: true });
    await Deno.writeTextFile(join(folder, place), `export * from ${JSON.stringify(bundled)};\n`);
  }
  return join(folder, "mod.js");
}
