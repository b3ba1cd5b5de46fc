/**
 * A second process that writes to a device's file: the `sqlite3` shell or Python. A statement that fails does not end the
 * script, as in the shell's interactive use: what an application gets wrong must not stop what it gets right.
 *
 * Python stays alive from script to script, with a new connection for each: its start would take most of a run.
 *
 * @module
 */
import { type ChildProcessByStdio, spawn, type StdioPipe } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

/** Who runs a script. */
export type Process = "sqlite3" | "python3";

const pythonProgram = `
import json, sqlite3, sys
for line in sys.stdin:
    path, statements = json.loads(line)
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    errors = []
    for sql in statements:
        try:
            db.execute(sql).fetchall()
        except sqlite3.Error as error:
            errors.append(str(error))
    db.close()
    print(json.dumps(errors), flush=True)
`;

/** The second processes of a test. Use with `await using`. */
export class SecondProcess implements AsyncDisposable {
  readonly #python: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;

  /** @param env variables of Python beside the environment's: a clock that is wrong, say */
  constructor(env: Record<string, string> = {}) {
    const stdio: [StdioPipe, StdioPipe, "inherit"] = ["pipe", "pipe", "inherit"];
    this.#python = spawn("python3", ["-c", pythonProgram], { stdio, env: { ...Deno.env.toObject(), ...env } });
    this.#answers = createInterface({ input: this.#python.stdout })[Symbol.asyncIterator]();
  }

  /** Runs statements one after the other. Gives the errors that SQLite reported, in order. */
  async run(process: Process, path: string, statements: readonly string[]): Promise<string[]> {
    // Power losses are not what is tried here: without this each statement waits for the disk.
    const all = ["PRAGMA synchronous = OFF", ...statements];
    return process === "sqlite3" ? await inShell(path, all) : await this.#inPython(path, all);
  }

  async #inPython(path: string, statements: readonly string[]): Promise<string[]> {
    this.#python.stdin.write(JSON.stringify([path, statements]) + "\n");
    const { value, done } = await this.#answers.next();
    if (done) throw new Error("python3 ended");
    return JSON.parse(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#python.stdin.end();
    if (this.#python.exitCode === null) await once(this.#python, "exit");
  }
}

async function inShell(path: string, statements: readonly string[]): Promise<string[]> {
  const child = new Deno.Command("sqlite3", {
    args: ["-batch", "-cmd", ".timeout 10000", path],
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(new TextEncoder().encode(statements.map((sql) => `${sql};\n`).join("")))
    .then(() => writer.close());
  const { stderr, signal } = await child.output();
  await written;
  if (signal !== null) throw new Error(`sqlite3 ended by ${signal}`);
  return new TextDecoder().decode(stderr).split("\n").filter((line) => /error/i.test(line));
}
