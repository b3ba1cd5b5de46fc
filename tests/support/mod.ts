/**
 * `mod.ts` as a process of its own.
 *
 * @module
 */
import "./environment.ts";
import { program as path } from "./program.ts";

/** What a command said. */
export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export async function runMod(...args: string[]): Promise<Output> {
  return await runModWith({}, ...args);
}

/** As {@link runMod}, with a text on standard input and variables of the environment. */
export async function runModWith(
  { input, env }: { input?: string; env?: Record<string, string> },
  ...args: string[]
): Promise<Output> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", path, ...args],
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", ...env },
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}
