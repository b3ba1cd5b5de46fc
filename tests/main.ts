/**
 * `deno task test [files and flags of deno test]`: runs the tests, and lists at the end what was skipped and why, so that
 * nobody takes a run on a machine without Mosquitto or Java for all there is. Its exit code is that of `deno test`.
 *
 * @module
 */
import { join } from "node:path";

/** Adds up what the tests noted (`reportSkip`) and what `deno test` counted. */
export function skipLines(report: string, notes: string): string[] {
  const skipped = new Map<string, string[]>();
  for (const [, suite, cases] of report.matchAll(/<testsuite name="(?:\.\/)?([^"]*)"([^]*?)<\/testsuite>/g)) {
    for (const [, name] of cases!.matchAll(/<testcase name="([^"]*)"[^>]*>\s*<skipped\/>/g)) {
      skipped.set(suite!, [...skipped.get(suite!) ?? [], plain(name!)]);
    }
  }
  const reasons = new Map<string, Set<string>>();
  for (const note of notes.split("\n").filter((line) => line !== "")) {
    const at = note.indexOf(": ");
    const file = `tests/${note.slice(0, at)}`;
    reasons.set(file, (reasons.get(file) ?? new Set()).add(note.slice(at + 2)));
  }
  return [...skipped].flatMap(([suite, names]) => {
    const known = [...reasons.get(suite) ?? []].join("; ");
    return known
      ? [`skipped: ${suite}, ${names.length} ${names.length === 1 ? "test" : "tests"}: ${known}`]
      : names.map((name) => `skipped: ${suite}: ${name}`);
  });
}

function plain(xml: string): string {
  const entities: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return xml.replace(/&(\w+);/g, (whole, name) => entities[name] ?? whole);
}

if (import.meta.main) {
  const dir = await Deno.makeTempDir({ prefix: "twintable-tests-" });
  const report = join(dir, "report.xml"), notes = join(dir, "skips");
  await Deno.writeTextFile(notes, "");
  const flags = Deno.args.some((arg) => !arg.startsWith("-")) ? Deno.args : [...Deno.args, "tests/"];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", `--junit-path=${report}`, ...flags],
    env: { TWINTABLE_SKIPS: notes },
  }).spawn();
  // Ctrl-C reaches both; this one waits for what the tests have to say.
  Deno.addSignalListener("SIGINT", () => {});
  const { code } = await child.status;
  const read = (path: string) => Deno.readTextFile(path).catch(() => "");
  const lines = skipLines(await read(report), await read(notes));
  await Deno.remove(dir, { recursive: true });
  for (const line of lines) console.log(line);
  if (lines.length > 0) {
    console.log(
      "To run these too: mosquitto, sqlite3, python3, openssl, java (17), faketime and strace (names of Debian).",
    );
  }
  Deno.exit(code);
}
