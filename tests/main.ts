/**
 * `deno task test [files and flags of deno test]`: runs the tests, and lists at the end what could not be tried here and why,
 * so that nobody takes a run on a machine without Mosquitto or Java for all there is. Without files it runs all of them, most
 * of them side by side (`phases.ts`); with `--quick` (`deno task test:quick`) those of a minute, and every recorded seed of
 * the simulation; with `--grouped` the files that follow, as the whole suite runs them. Its exit code is that of the first run of `deno test` that failed.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { bundleProgram } from "./support/program.ts";
import { groups, lanes, leftOut, type Phase, quickNet, type Run, wholeSuite } from "./phases.ts";

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

/** What `deno test` is given for a run: its file; of a group, a module in `dir` that loads all of them. */
function entryOf({ name, files }: Run, dir: string): string[] {
  if (files.length < 2) return [...files];
  const entry = join(dir, `${name.replaceAll(/[^a-z0-9_]+/g, "-")}_test.ts`);
  Deno.writeTextFileSync(entry, files.map((file) => `import "${pathToFileURL(resolve(file))}";\n`).join(""));
  return [entry];
}

/**
 * Runs a phase. What runs by itself is seen as it goes; of what runs beside others, the output comes when it is whole.
 * @param dir for modules that load a group of files, and for `skips`, the reasons of skipped tests
 * @returns the first exit code but 0
 */
async function runPhase(phase: Phase, flags: readonly string[], dir: string): Promise<number> {
  const output = phase.length > 1 ? "piped" : "inherit", queue = [...phase], codes: number[] = [];
  const lane = async () => {
    for (let run = queue.shift(); run; run = queue.shift()) {
      const command = new Deno.Command(Deno.execPath(), {
        args: ["test", "-A", ...flags, ...entryOf(run, dir)],
        env: { ...run.env, TWINTABLE_SKIPS: join(dir, "skips") },
        stdout: output,
        stderr: output,
      });
      if (output === "inherit") {
        codes.push((await command.spawn().status).code);
        continue;
      }
      const { code, stdout, stderr } = await command.output();
      codes.push(code);
      // Written at once: other lanes write, too.
      for (const [stream, bytes] of [[Deno.stdout, stdout], [Deno.stderr, stderr]] as const) {
        for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return codes.find((code) => code !== 0) ?? 0;
}

/** Types are checked once, of all files together, not by each process again. @returns the exit code */
async function checkTypes(): Promise<number> {
  const { code } = await new Deno.Command(Deno.execPath(), { args: ["check", "--quiet", "tests"] }).spawn().status;
  return code;
}

/** What is to be run for these arguments, the flags of each run, and what has its turn with another commit. */
function planOf(
  args: readonly string[],
): { phases: readonly Phase[]; flags: string[]; omitted?: readonly string[] } {
  const flags = args.filter((arg) => arg !== "--quick" && arg !== "--grouped");
  if (args.includes("--quick")) return { phases: quickNet(testFiles("tests")), flags };
  if (args.includes("--grouped")) {
    const isFile = (arg: string) => arg.endsWith("_test.ts");
    return { phases: [groups(flags.filter(isFile))], flags: flags.filter((arg) => !isFile(arg)) };
  }
  if (flags.every((flag) => flag.startsWith("-"))) {
    const turn = Deno.env.get("TWINTABLE_TURN"), omitted = leftOut(turn ? Number(turn) : undefined);
    return { phases: wholeSuite(testFiles("tests").filter((file) => !omitted.includes(file))), flags, omitted };
  }
  return { phases: [[{ name: "chosen", files: [] }]], flags };
}

if (import.meta.main) {
  const dir = await Deno.makeTempDir({ prefix: "twintable-tests-" }).catch((error: Error) => {
    console.error(`tests: no folder can be made for temporary files; set TMPDIR to one: ${error.message}`);
    Deno.exit(1);
  });
  const notes = join(dir, "skips");
  await Deno.writeTextFile(notes, "");
  const { phases, flags, omitted = [] } = planOf(Deno.args);
  // Ctrl-C reaches both; this one waits for what the tests have to say.
  Deno.addSignalListener("SIGINT", () => {});
  const isWhole = phases.length > 1 && !flags.includes("--no-check");
  let code = isWhole ? await checkTypes() : 0;
  if (isWhole) flags.push("--no-check");
  // Several files, or many commands.
  const program = phases.some((phase) => phase.length > 1) ? await bundleProgram(join(dir, "program")) : undefined;
  if (program) Deno.env.set("TWINTABLE_PROGRAM", program);
  for (const phase of phases) {
    const one = await runPhase(phase, flags, dir);
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
  if (omitted.length > 0) console.log(["By turns, with another commit:", ...omitted].join("\n  "));
  Deno.exit(code);
}
