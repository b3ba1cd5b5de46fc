/**
 * `deno task compile`: the device's program as a single binary. Its flags:
 *
 *     --target TRIPLE        for another machine: x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu, x86_64-apple-darwin,
 *                            aarch64-apple-darwin; Deno downloads that runtime
 *     --output FILE          default dist/twintable, with --ffi dist/twintable-ffi; what it is compiled from (agent.js) stands beside it
 *     --broker HOST:PORT     it may reach that broker only; may stand more than once
 *     --state DIR            it may write there only (the database and what stands beside it); an absolute path
 *     --etc DIR              with --state: it may read there, too (configuration, schema, certificates)
 *     --ffi                  it may load native code: for --driver ffi and encryption. Not one library alone: Deno gives pointers,
 *                            which SQLite's interface needs, with the whole permission only
 *     --schema FILE          the schema is part of it; without --schema the agent takes that one
 *     --small                V8 without its optimising compilers: 5 MB less memory, and half as much processor time more in bulk
 *
 * Permissions are fixed when it is compiled: without these flags it may reach any host and use any file, and nothing else in
 * either case (no processes, no environment, no native code). `DENO_COMPILE` names another Deno to compile with.
 *
 * @module
 */
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { noticesOf } from "./notices.ts";

/** V8 with small young generations and an old one that grows slowly: see docs/performance.md. */
export const deviceV8Flags = "--v8-flags=--max-semi-space-size=2,--heap-growing-percent=30";
/** The same, interpreted only: see docs/binary.md for what it costs and saves. */
export const smallV8Flags = `${deviceV8Flags},--lite-mode`;

/** The machines that a binary is made for. */
export const targets = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
];

/** What is to be compiled. */
export interface CompileOptions {
  readonly target?: string;
  readonly output: string;
  readonly brokers: readonly string[];
  readonly state?: string;
  readonly etc: readonly string[];
  readonly schema?: string;
  /** Whether native code may be loaded. */
  readonly ffi: boolean;
  /** Less memory, more processor time. */
  readonly small: boolean;
}

/** Flags that can't be compiled with. */
export class FlagError extends Error {}

/** Reads the task's flags. @throws {FlagError} in a sentence */
export function compileOptions(args: readonly string[]): CompileOptions {
  const values = new Map<string, string[]>();
  for (let at = 0; at < args.length; at++) {
    if (args[at] === "--ffi" || args[at] === "--small") {
      values.set(args[at]!.slice(2), []);
      continue;
    }
    const [, name, attached] = args[at]!.match(/^--(target|output|broker|state|etc|schema)(?:=(.*))?$/s) ?? [];
    if (!name) {
      throw new FlagError(
        `${args[at]}: --target, --output, --broker, --state, --etc, --schema, --ffi or --small is required`,
      );
    }
    const value = attached ?? args[++at];
    if (!value) throw new FlagError(`--${name} wants a value`);
    values.set(name, [...values.get(name) ?? [], value]);
  }
  const one = (name: string) => {
    const given = values.get(name) ?? [];
    if (given.length > 1) throw new FlagError(`--${name} stands twice`);
    return given[0];
  };
  const target = one("target"), state = one("state");
  const brokers = values.get("broker") ?? [], etc = values.get("etc") ?? [];
  if (target !== undefined && !targets.includes(target)) {
    throw new FlagError(`--target ${target}: one of ${targets.join(", ")}`);
  }
  for (const broker of brokers) {
    if (!/^(\[[0-9a-f:]+\]|[^\s:,/]+):\d+$/i.test(broker)) {
      throw new FlagError(`--broker ${broker}: HOST:PORT is required`);
    }
  }
  for (const dir of [...state === undefined ? [] : [state], ...etc]) {
    // A relative one would mean a folder of this machine.
    if (!isAbsolute(dir) || dir.includes(",")) throw new FlagError(`${dir} is no absolute path without a comma`);
  }
  if (etc.length > 0 && state === undefined) throw new FlagError("--etc narrows nothing without --state");
  return {
    target,
    output: one("output") ?? `dist/twintable${values.has("ffi") ? "-ffi" : ""}`,
    brokers,
    state,
    etc,
    schema: one("schema"),
    ffi: values.has("ffi"),
    small: values.has("small"),
  };
}

/** The arguments of `deno`, for a program in one file. */
export function compileArguments(options: CompileOptions, program: string): string[] {
  const { target, output, brokers, state, etc, ffi, small } = options;
  const allow = (what: string, only: readonly string[]) => `--allow-${what}${only.length ? `=${only.join(",")}` : ""}`;
  return [
    ...[
      "compile",
      "--quiet",
      "--no-check",
      "--no-config",
      small ? smallV8Flags : deviceV8Flags,
      "--no-prompt",
      "--ignore-env",
    ],
    allow("net", brokers),
    allow("read", state === undefined ? [] : [state, ...etc]),
    allow("write", state === undefined ? [] : [state]),
    ...ffi ? ["--allow-ffi"] : [],
    ...target === undefined ? [] : ["--target", target],
    ...["--output", output, program],
  ];
}

/** The module that is bundled: the program, with the licences of its packages, and a schema where one is built in. */
async function writeEntry(entry: string, schemaFile: string | undefined): Promise<void> {
  const { loadSchema } = await import("../schema.ts");
  const schema = schemaFile === undefined ? undefined : (await loadSchema(schemaFile)).source;
  const program = new URL("../cli/device_program.ts", import.meta.url).href;
  const builtIn = JSON.stringify({ schema, notices: await noticesOf("agent_main.ts") });
  await Deno.writeTextFile(
    entry,
    `import { startDeviceProgram } from ${JSON.stringify(program)};\nstartDeviceProgram(${builtIn});\n`,
  );
}

async function deno(command: string, args: readonly string[]): Promise<number> {
  return (await new Deno.Command(command, { args: [...args] }).spawn().status).code;
}

async function compile(options: CompileOptions): Promise<number> {
  const folder = dirname(options.output);
  await Deno.mkdir(folder, { recursive: true });
  const entry = join(folder, "agent_entry.js"), bundled = join(folder, "agent.js");
  await writeEntry(entry, options.schema);
  const bundle = ["bundle", "--quiet", "--config", "deno.json", "--platform", "deno", "--minify"];
  return await deno(Deno.execPath(), [...bundle, "--output", bundled, entry]) ||
    await deno(Deno.env.get("DENO_COMPILE") ?? Deno.execPath(), compileArguments(options, bundled));
}

if (import.meta.main) {
  Deno.chdir(fileURLToPath(new URL("..", import.meta.url)));
  try {
    Deno.exitCode = await compile(compileOptions(Deno.args));
  } catch (error) {
    console.error(`compile: ${(error as Error).message}`);
    Deno.exitCode = error instanceof FlagError ? 2 : 1;
  }
}
