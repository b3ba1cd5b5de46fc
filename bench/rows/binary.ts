/**
 * The single binary: what it takes on a device's disk and in its memory, and how long it takes to say its first word; beside it the
 * same of a program that does nothing, which is the runtime's share.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { nowMs } from "../child.ts";
import type { Bench, Context, Row } from "../measure.ts";
import { Pair } from "../pair.ts";
import { benchSchema } from "../schema.ts";
import { median } from "../stats.ts";
import { usageOf } from "../usage.ts";
import { AgentProgram } from "./agent.ts";

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const root = fileURLToPath(new URL("../..", import.meta.url));
const mib = (path: string) => Deno.statSync(path).size / 2 ** 20;

async function must(command: string, args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args: [...args], cwd: root }).output();
  if (!success) throw new Error(`${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

interface Programs {
  readonly usual: string;
  readonly small: string;
  /** Connects, sends a byte, and waits. */
  readonly empty: string;
}

async function compileAll(dir: string): Promise<Programs> {
  const task = ["task", "--quiet", "compile", "--output"];
  const programs = { usual: `${dir}/usual/twintable`, small: `${dir}/small/twintable`, empty: `${dir}/empty` };
  await must(Deno.execPath(), [...task, programs.usual]);
  await must(Deno.execPath(), [...task, programs.small, "--small"]);
  await Deno.writeTextFile(
    `${dir}/empty.js`,
    "const link = await Deno.connect({ hostname: '127.0.0.1', port: Number(Deno.args[0]) });\n" +
      "await link.write(new Uint8Array(1));\nsetTimeout(() => {}, 1e9);\n",
  );
  const flags = ["compile", "--quiet", "--no-check", "--no-config", "--allow-net"];
  await must(Deno.env.get("DENO_COMPILE") ?? Deno.execPath(), [
    ...flags,
    "--output",
    programs.empty,
    `${dir}/empty.js`,
  ]);
  return programs;
}

/** From starting a program to the first byte that it sends, ms; and what it then holds in memory. */
async function firstByte(program: string, args: (port: number) => string[]) {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const from = nowMs();
  const child = new Deno.Command(program, {
    args: args(listener.addr.port),
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    using link = await listener.accept();
    await link.read(new Uint8Array(1));
    const ms = nowMs() - from;
    await wait(500);
    return { ms, ...usageOf(child.pid) };
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}

/** The median of several starts; the first, with a cold page cache, is left out. */
async function starts(context: Context, program: string, args: (port: number) => string[]) {
  const all: Awaited<ReturnType<typeof firstByte>>[] = [];
  for (let n = 0; n < (context.quick ? 4 : 8); n++) all.push(await firstByte(program, args));
  const rest = all.slice(1);
  const of = (pick: (one: typeof all[0]) => number) => median(rest.map(pick));
  return { ms: of(({ ms }) => ms), residentMb: of((one) => one.residentMb), anonymousMb: of((one) => one.anonymousMb) };
}

/** Connected, caught up, and nothing to do. */
async function idle(context: Context, program: string) {
  const dir = await Deno.makeTempDir({ dir: context.dir });
  await using pair = await Pair.start({ ...context, dir });
  await using agent = new AgentProgram({ ...context, dir }, pair, program);
  await wait(context.quick ? 4_000 : 12_000);
  const before = agent.usage().cpuMs, ms = context.quick ? 5_000 : 60_000;
  await wait(ms);
  const { residentMb, anonymousMb, cpuMs } = agent.usage();
  return { residentMb, anonymousMb, percent: (cpuMs - before) / ms * 100 };
}

/** See the module. */
export const binary: Bench = {
  name: "binary",
  title: "The single binary",
  quick: false,
  repeats: 3,
  about:
    "`deno task compile`, and with `--small`, with the Deno that `DENO_COMPILE` names. First byte: from starting the " +
    "process, its database and schema there, to the first byte that the broker gets. Idle: connected, caught up. The raw " +
    "limits are a compiled program that connects, sends a byte and waits: the runtime's share. Anonymous memory is what the " +
    "kernel can't take back; the rest are pages of the binary, which it drops when memory is short.",
  async run(context): Promise<Row[]> {
    const { usual, small, empty } = await compileAll(context.dir);
    const schema = `${context.dir}/schema.json`;
    await Deno.writeTextFile(schema, JSON.stringify(benchSchema));
    const agent = (port: number) => [
      ...["agent", "--device", "d", "--account", "a", "--schema", schema, "--db", `${context.dir}/first.db`],
      ...["--mqtt", `mqtt://127.0.0.1:${port}`, "--password", "x"],
    ];
    const bare = await starts(context, empty, (port) => [String(port)]);
    const started = await starts(context, usual, agent), smallStarted = await starts(context, small, agent);
    const one = await idle(context, usual), other = await idle(context, small);
    return [
      { name: "size", unit: "MiB", value: mib(usual), goal: { atMost: 80 } },
      { name: "size, an empty program", unit: "MiB", value: mib(empty), kind: "raw" },
      { name: "first byte sent", unit: "ms", value: started.ms, goal: { atMost: 150 } },
      { name: "first byte sent, --small", unit: "ms", value: smallStarted.ms, goal: { atMost: 150 } },
      { name: "first byte sent, an empty program", unit: "ms", value: bare.ms, kind: "raw" },
      { name: "memory, idle", unit: "MB", value: one.residentMb, goal: { atMost: 50 } },
      { name: "memory, idle, --small", unit: "MB", value: other.residentMb, goal: { atMost: 50 } },
      { name: "memory, an empty program", unit: "MB", value: bare.residentMb, kind: "raw" },
      { name: "anonymous memory, idle", unit: "MB", value: one.anonymousMb },
      { name: "anonymous memory, idle, --small", unit: "MB", value: other.anonymousMb },
      { name: "anonymous memory, an empty program", unit: "MB", value: bare.anonymousMb, kind: "raw" },
      { name: "processor time, idle", unit: "% of a core", value: one.percent, goal: { atMost: 0.3 } },
    ];
  },
};
