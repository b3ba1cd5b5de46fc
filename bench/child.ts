/**
 * Processes that a benchmark drives: each runs a script of `bench/parts/` that answers calls, one JSON text a line, on its
 * standard input and output. A process of its own has a memory and a processor time of its own, and no warm code.
 *
 * @module
 */
import { deviceV8Flags } from "../build/compile.ts";
import config from "../deno.json" with { type: "json" };
import { TextLineStream } from "./lines.ts";
import { type ProcessUsage, usageOf } from "./usage.ts";

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** What goes in front of an answer's line, so that other output does no harm. */
const mark = "\u0002";

/** Milliseconds since 1970 with a fraction, comparable between the processes of one machine. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** The V8 flags of `deno task compile` for a device, of `deno task cloud` for a worker: their processes are given the same; others none. */
export function shippedFlags(part: string): string[] {
  if (part === "device") return [deviceV8Flags];
  const task = part === "cloud" ? config.tasks.cloud : "";
  return task.split(" ").filter((word) => word.startsWith("--v8-flags="));
}

/** How a process is started. */
export interface ChildOptions {
  /** A folder: the process writes a profile of its processor time there when it ends by itself. */
  readonly profileDir?: string;
}

/** A process that runs a script of `bench/parts/`. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  readonly #ended: Promise<void>;
  #nextId = 1;

  /** Starts `bench/parts/<part>.ts`, or any script by its URL. */
  constructor(part: string, options: ChildOptions = {}) {
    const script = part.includes(":") ? part : new URL(`parts/${part}.ts`, import.meta.url).href;
    const profile = options.profileDir ? ["--cpu-prof", `--cpu-prof-dir=${options.profileDir}`] : [];
    // The peers' packages must not get into the project's lock file.
    const flags = script.includes("/peers/") ? ["--no-lock"] : shippedFlags(part);
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", ...flags, ...profile, script],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#ended = this.#read();
  }

  get pid(): number {
    return this.#process.pid;
  }

  async #read(): Promise<void> {
    const lines = this.#process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    for await (const line of lines) {
      if (!line.startsWith(mark)) continue;
      const { id, result, error } = JSON.parse(line.slice(mark.length)) as Answer;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error !== undefined) waiting?.reject(new Error(error));
      else waiting?.resolve(result);
    }
    for (const { reject } of this.#waiting.values()) reject(new Error("the process ended before it answered"));
    this.#waiting.clear();
  }

  /** Calls a method of the script. @throws Error with what the method threw, or where the process ended */
  async call<T = void>(method: string, parameters: object = {}): Promise<T> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { resolve, reject });
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify({ id, method, parameters })}\n`));
    return await promise as T;
  }

  /** Memory and processor time until now. */
  usage(): ProcessUsage {
    return usageOf(this.pid);
  }

  /** Asks it to end, and waits. */
  async close(): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#process.status;
    await this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** In a script: answers calls until the standard input ends, then closes what there is and exits. */
export async function answerCalls(
  // deno-lint-ignore no-explicit-any
  methods: Record<string, (parameters: any) => unknown>,
  close: () => unknown = () => {},
): Promise<never> {
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  const answer = async (line: string) => {
    const { id, method, parameters } = JSON.parse(line) as { id: number; method: string; parameters: object };
    let reply: Answer;
    try {
      const run = methods[method];
      if (!run) throw new RangeError(`no method ${method}`);
      reply = { id, result: await run(parameters) };
    } catch (error) {
      reply = { id, error: error instanceof Error ? `${method}: ${error.stack ?? error.message}` : String(error) };
    }
    console.log(mark + JSON.stringify(reply));
  };
  for await (const line of lines) void answer(line);
  await close();
  Deno.exit(0);
}
