/**
 * The command line as a process of its own: started, watched, measured, and killed without warning.
 *
 * @module
 */
import "./environment.ts";
import { deviceV8Flags } from "../../build/compile.ts";
import { program as main } from "./program.ts";
import { until } from "./until.ts";

/** The compiled program, where there is one (`TWINTABLE_BINARY`, as `.ci/run` sets it): what is shipped to a device. */
export const binary: string | undefined = Deno.env.get("TWINTABLE_BINARY");

/** The one that may load native code, where there is one (`TWINTABLE_FFI_BINARY`). */
export const ffiBinary: string | undefined = Deno.env.get("TWINTABLE_FFI_BINARY") || undefined;

/** Somebody without rights: the compiled program runs as that user where this process may choose. */
const unprivileged = 1993;

/** A program and the user that it runs as. */
export interface Shipped {
  readonly path: string;
  readonly user: { readonly uid?: number; readonly gid?: number };
}

/** What a program has to complain about: its log without the lines that only tell what happens. */
export function complaintsOf(stderr: string): string {
  return stderr.split("\n").filter((line) => !/^\S+Z (info|debug) /.test(line)).join("\n");
}

let shipped: Shipped | undefined;

/** The compiled program where another user can get at it; as the user who runs it gets the folder, and what is in it. */
export function shippedProgram(folder: string): Shipped | undefined {
  if (binary === undefined) return undefined;
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return { path: binary, user: {} };
  if (!shipped) {
    // Where it is kept another user may have no way in.
    const place = Deno.makeTempDirSync({ prefix: "twintable-binary-" });
    Deno.chmodSync(place, 0o755);
    Deno.copyFileSync(binary, `${place}/twintable`);
    globalThis.addEventListener("unload", () => Deno.removeSync(place, { recursive: true }));
    shipped = { path: `${place}/twintable`, user: { uid: unprivileged, gid: unprivileged } };
  }
  giveTo(folder);
  return shipped;
}

function giveTo(path: string): void {
  Deno.chownSync(path, unprivileged, unprivileged);
  if (!Deno.statSync(path).isDirectory) return;
  for (const { name, isSymlink } of Deno.readDirSync(path)) if (!isSymlink) giveTo(`${path}/${name}`);
}

/** The memory settings that the compiled program has: an agent run from source is measured with the same. */
const agentFlags: readonly string[] = [deviceV8Flags];

/** Linux clock ticks a second in /proc/PID/stat (USER_HZ, 100 on every architecture that Deno runs on). */
const ticksPerSecond = 100;

/** What `/proc` says of a process; the resource tests need Linux. */
export const procMissing: boolean = Deno.build.os !== "linux";

/** A running `mod.ts` command. Use with `await using`: a process that still runs is killed. */
export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #copied: Promise<unknown>;
  /** What it has printed so far. */
  stdout = "";
  stderr = "";
  exited: Deno.CommandStatus | undefined;
  readonly status: Promise<Deno.CommandStatus>;

  /** Starts `mod.ts`, or a compiled program, with these arguments, and with these variables beside the environment's. */
  constructor(args: readonly string[], env: Record<string, string> = {}, compiled?: string | Shipped) {
    const { path, user } = typeof compiled === "string" ? { path: compiled, user: {} } : compiled ?? { user: {} };
    this.#child = new Deno.Command(path ?? Deno.execPath(), {
      ...user,
      // With flags of its own, V8 does not find what it has compiled before.
      args: compiled
        ? [...args]
        : ["run", "-A", "--no-prompt", ...args[0] === "agent" ? agentFlags : [], main, ...args],
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.status = this.#child.status.then((status) => this.exited = status);
    this.#copied = Promise.all([
      copy(this.#child.stdout, (text) => this.stdout += text),
      copy(this.#child.stderr, (text) => this.stderr += text),
    ]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Waits until it has printed something that matches. Fails with what it said if it ends before. */
  async printed(pattern: RegExp, timeoutMs = 30_000): Promise<RegExpMatchArray> {
    return await until(`"${main}" prints ${pattern}`, () => {
      const match = `${this.stdout}\n${this.stderr}`.match(pattern);
      if (!match && this.exited) throw new Error(`it ended with ${this.exited.code}: ${this.stdout}${this.stderr}`);
      return match;
    }, timeoutMs);
  }

  /** kill -9, and waits until it is gone. */
  async kill(): Promise<void> {
    if (!this.exited) this.#child.kill("SIGKILL");
    await this.status;
    await this.#copied;
  }

  /** Asks it to end, and waits for that. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    if (!this.exited) this.#child.kill(signal);
    await this.#copied;
    return await this.status;
  }

  /** Waits for its end and gives its exit code. */
  async ended(): Promise<number> {
    const { code } = await this.status;
    await this.#copied;
    return code;
  }

  /** Resident memory now and at its highest, bytes. */
  memory(): { resident: number; peak: number } {
    const status = Deno.readTextFileSync(`/proc/${this.pid}/status`);
    const bytes = (name: string) => Number(status.match(new RegExp(`${name}:\\s+(\\d+) kB`))![1]) * 1024;
    return { resident: bytes("VmRSS"), peak: bytes("VmHWM") };
  }

  /** Forgets the highest resident memory so far. */
  resetPeak(): void {
    Deno.writeTextFileSync(`/proc/${this.pid}/clear_refs`, "5");
  }

  /** Processor time that it has used since its start, ms. */
  cpuMs(): number {
    // The command's name, in parentheses, may hold spaces: the fields are counted from behind it.
    const stat = Deno.readTextFileSync(`/proc/${this.pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 1000 / ticksPerSecond;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** Hands on what a process prints. */
export async function copy(stream: ReadableStream<Uint8Array>, to: (text: string) => void): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) to(text);
}
