/**
 * The Dockerfile without an engine: its stages, and what they copy, in plain folders.
 *
 * @module
 */
import { cp, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** The Dockerfile. */
export const dockerfile: string = await Deno.readTextFile(join(root, "Dockerfile"));

/** A stage: its base, and its instructions in one line each. */
export interface Stage {
  readonly from: string;
  readonly steps: readonly string[];
}

/** The stages by name, with their instructions in one line each. */
function stagesOf(text: string): Map<string, Stage> {
  const lines = text.replace(/^#.*\n/gm, "").replace(/\\\n/g, " ").split("\n").map((line) => line.trim()).filter(
    Boolean,
  );
  const stages = new Map<string, { from: string; steps: string[] }>();
  let stage: { from: string; steps: string[] } | undefined;
  for (const line of lines) {
    const [, from, name] = line.match(/^FROM (?:--platform=\S+ )?(\S+) AS (\w+)$/) ?? [];
    if (from) stages.set(name!, stage = { from, steps: [] });
    else stage?.steps.push(line.replace(/\s+/g, " "));
  }
  return stages;
}

/** {@link dockerfile}, read. */
export const stages: ReadonlyMap<string, Stage> = stagesOf(dockerfile);

/** Does the COPY instructions of a stage from the context. */
export async function copyContext(stage: Stage, to: string): Promise<void> {
  for (const step of stage.steps.filter((one) => one.startsWith("COPY ") && !one.includes("--from"))) {
    const words = step.split(" ").slice(1);
    const target = words.pop()!;
    for (const source of words) {
      const isFolder = (await Deno.stat(join(root, source))).isDirectory;
      const place = isFolder ? join(to, target) : join(to, target, source.split("/").at(-1)!);
      await mkdir(dirname(place), { recursive: true });
      await cp(join(root, source), place, { recursive: true });
    }
  }
}

/** The instruction of that name, its words as a list (the exec form), whatever options come first. */
export function wordsOf(stage: Stage, name: "ENTRYPOINT" | "CMD" | "HEALTHCHECK"): string[] {
  const step = stage.steps.find((one) => one.startsWith(`${name} `))!;
  return JSON.parse(step.slice(step.indexOf("["))) as string[];
}

/** Copies programs of this machine, with the libraries that they name and the loader, to the same places below a root. */
export async function copyPrograms(rootFolder: string, programs: Readonly<Record<string, string>>): Promise<void> {
  for (const [from, to] of Object.entries(programs)) {
    const { stdout } = await new Deno.Command("ldd", { args: [from], stderr: "null" }).output();
    const libraries = new TextDecoder().decode(stdout).matchAll(/\/\S+(?= \()/g);
    for (const [source, target] of [[from, to], ...[...libraries].map(([path]) => [path, path])]) {
      await mkdir(join(rootFolder, dirname(target!)), { recursive: true });
      await cp(await Deno.realPath(source!), join(rootFolder, target!));
    }
  }
}

/** Why a root can't be changed here. */
export function chrootMissing(): string | undefined {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "changing the root wants root on Linux";
  const { success } = new Deno.Command("unshare", { args: ["-mn", "true"], stderr: "null" }).outputSync();
  return success ? undefined : "no mount namespaces here";
}
