/**
 * `deno task test [files and flags of deno test]`: runs the tests, and lists at the end what could not be tried here and why,
 * so that nobody takes a run on a machine without Mosquitto or Java for all there is. Its exit code is that of `deno test`.
 *
 * @module
 */
import { join } from "node:path";

/** A line for each reason that tests have noted (`skipped`), with the files concerned. */
export function skipLines(notes: string): string[] {
  const files = new Map<string, Set<string>>();
  for (const note of notes.split("\n").filter((line) => line !== "")) {
    const at = note.indexOf(": ");
    const reason = note.slice(at + 2);
    files.set(reason, (files.get(reason) ?? new Set()).add(note.slice(0, at)));
  }
  return [...files].map(([reason, names]) => `  ${reason}: ${[...names].sort().join(", ")}`).sort();
}

if (import.meta.main) {
  const dir = await Deno.makeTempDir({ prefix: "twintable-tests-" });
  const notes = join(dir, "skips");
  await Deno.writeTextFile(notes, "");
  const flags = Deno.args.some((arg) => !arg.startsWith("-")) ? Deno.args : [...Deno.args, "tests/"];
  const child = new Deno.Command(Deno.execPath(), { args: ["test", "-A", ...flags], env: { TWINTABLE_SKIPS: notes } })
    .spawn();
  // Ctrl-C reaches both; this one waits for what the tests have to say.
  Deno.addSignalListener("SIGINT", () => {});
  const { code } = await child.status;
  const lines = skipLines(await Deno.readTextFile(notes));
  await Deno.remove(dir, { recursive: true });
  if (lines.length > 0) {
    console.log(
      ["Skipped here (Debian's packages: mosquitto sqlite3 python3 default-jre-headless faketime strace):", ...lines]
        .join("\n"),
    );
  }
  Deno.exit(code);
}
