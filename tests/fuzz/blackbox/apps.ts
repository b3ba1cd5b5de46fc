/**
 * Applications of a device: processes of their own that know nothing of Twintable and open its file with the SQLite that they
 * have, Python's or the shell's.
 *
 * @module
 */
import { type ChildProcessByStdio, spawn, type StdioPipe } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

/** What became of a transaction: committed or rolled back as it said, failed with SQLite's sentence, or its process died. */
export type Outcome = { readonly done: true } | { readonly error: string } | { readonly died: true };

/** Runs statements of one transaction. */
export interface App {
  readonly name: string;
  run(statements: readonly string[]): Promise<Outcome>;
  /** kill -9, whatever it is doing. It goes on as a new process. */
  kill(): void;
  close(): Promise<void>;
}

const program = `
import json, sqlite3, sys
db = None
for line in sys.stdin:
    path, fresh, statements = json.loads(line)
    if fresh and db is not None:
        db.close()
        db = None
    answer = {"done": True}
    try:
        if db is None:
            db = sqlite3.connect(path, timeout=30, isolation_level=None)
            db.execute("PRAGMA synchronous = OFF")
        for sql in statements:
            db.execute(sql).fetchall()
    except sqlite3.Error as error:
        answer = {"error": str(error)}
        try:
            if db is not None and db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error as second:
            answer = {"error": str(error) + "; " + str(second)}
    print(json.dumps(answer), flush=True)
`;

/** Python, which keeps its connection for a while. */
export class PythonApp implements App {
  #child: ChildProcessByStdio<Writable, Readable, null> | undefined;
  #answers: AsyncIterator<string> | undefined;
  #runs = 0;

  constructor(readonly name: string, readonly path: string, readonly env: Record<string, string>) {}

  async run(statements: readonly string[]): Promise<Outcome> {
    if (!this.#child) this.#start();
    this.#child!.stdin.write(JSON.stringify([this.path, this.#runs++ % 5 === 4, statements]) + "\n");
    const { value, done } = await this.#answers!.next();
    if (!done) return JSON.parse(value);
    this.#child = undefined;
    return { died: true };
  }

  #start(): void {
    const stdio: [StdioPipe, StdioPipe, "inherit"] = ["pipe", "pipe", "inherit"];
    this.#child = spawn("python3", ["-c", program], { stdio, env: { ...Deno.env.toObject(), ...this.env } });
    // A pipe to a process that was killed.
    this.#child.stdin.on("error", () => {});
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    child.stdin.end();
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
}

/** The `sqlite3` shell: a process for each transaction. */
export class ShellApp implements App {
  #child: Deno.ChildProcess | undefined;

  constructor(readonly name: string, readonly path: string, readonly env: Record<string, string>) {}

  async run(statements: readonly string[]): Promise<Outcome> {
    const child = this.#child = new Deno.Command("sqlite3", {
      args: ["-batch", "-bail", "-cmd", ".timeout 30000", "-cmd", "PRAGMA synchronous = OFF", this.path],
      env: this.env,
      stdin: "piped",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    const script = new TextEncoder().encode(statements.map((sql) => `${sql};\n`).join(""));
    // A shell that gives up closes its input; what it says tells why.
    await writer.write(script).then(() => writer.close()).catch(() => {});
    const { stderr, code, signal } = await child.output();
    this.#child = undefined;
    if (signal !== null) return { died: true };
    return code === 0 ? { done: true } : { error: new TextDecoder().decode(stderr).trim() };
  }

  kill(): void {
    try {
      this.#child?.kill("SIGKILL");
    } catch (error) {
      // It has just ended by itself.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
