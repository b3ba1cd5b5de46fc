/**
 * `deno task test [files and flags of deno test]`: runs the tests, and lists at the end what could not be tried here and why,
 * so that nobody takes a run on a machine without Mosquitto or Java for all there is. Without files it runs all of them, most
 * of them side by side (`phases.ts`); with `--quick` (`deno task test:quick`) those of a minute, and every recorded seed of
 * the simulation. Its exit code is that of the first run of `deno test` that failed.
 *
 * @module
 */
import { join } from "node:path";
import { type Phase, quickNet, wholeSuite } from "./phases.ts";

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

/** The test files, by path. */
function testFiles(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    return isDirectory ? testFiles(path) : name.endsWith("_test.ts") ? [path] : [];
  }).sort();
}

/** Runs `deno test` once. */
async function runTests({ args, env }: Phase, flags: readonly string[], notes: string): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", ...flags, ...args],
    env: { ...env, TWINTABLE_SKIPS: notes },
  }).spawn();
  return (await child.status).code;
}

if (import.meta.main) {
  const dir = await Deno.makeTempDir({ prefix: "twintable-tests-" });
  const notes = join(dir, "skips");
  await Deno.writeTextFile(notes, "");
  const quick = Deno.args.includes("--quick"), args = Deno.args.filter((arg) => arg !== "--quick");
  const phases = quick
    ? quickNet(testFiles("tests"))
    : args.some((arg) => !arg.startsWith("-"))
    ? [{ args: [] }]
    : wholeSuite(testFiles("tests"));
  // Ctrl-C reaches both; this one waits for what the tests have to say.
  Deno.addSignalListener("SIGINT", () => {});
  let code = 0;
  for (const phase of phases) {
    const one = await runTests(phase, args, notes);
    code = code || one;
  }
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
