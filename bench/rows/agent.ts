/**
 * The agent as a program: what it costs a device that has better things to do.
 *
 * @module
 */
import { Child, nowMs, shippedFlags } from "../child.ts";
import type { Bench, Context, Row } from "../measure.ts";
import { Pair } from "../pair.ts";
import { benchSchema } from "../schema.ts";
import { type ProcessUsage, usageOf } from "../usage.ts";
import { until } from "../until.ts";

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** `mod.ts agent` as a process; a compiled program, by default that of `TWINTABLE_BINARY`, in its place. */
export class AgentProgram implements AsyncDisposable {
  readonly startedMs = nowMs();
  readonly #process: Deno.ChildProcess;

  constructor(context: Context, pair: Pair, binary = Deno.env.get("TWINTABLE_BINARY")) {
    const schema = `${context.dir}/schema.json`;
    Deno.writeTextFileSync(schema, JSON.stringify(benchSchema));
    const script = [
      "run",
      "-A",
      "--no-check",
      ...shippedFlags("device"),
      new URL("../../mod.ts", import.meta.url).pathname,
    ];
    this.#process = new Deno.Command(binary ?? Deno.execPath(), {
      args: [
        ...(binary ? [] : script),
        ...["agent", "--device", pair.device, "--account", pair.account, "--schema", schema, "--db", pair.path],
        ...["--mqtt", pair.mqtt, "--password", pair.token],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
  }

  usage(): ProcessUsage {
    return usageOf(this.#process.pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGTERM");
    await this.#process.status;
  }
}

/** Lets the child's agent make the database, and rows wait in it. */
async function prepare(pair: Pair, rows: number): Promise<void> {
  await pair.openOffline();
  for (let from = 0; from < rows; from += 50_000) {
    await pair.agent.call("insert", { from, count: Math.min(50_000, rows - from) });
  }
  await pair.agent.call("close");
}

/** See the module. */
export const agent: Bench = {
  name: "agent",
  title: "Agent",
  quick: true,
  about:
    "`mod.ts agent` as a process of its own (`TWINTABLE_BINARY`: the compiled program), default settings. Cold start: " +
    "from starting the process with one row waiting until that row is in the table, which is more than the first publish. " +
    "Idle: connected, caught up, nothing to do.",
  async run(context): Promise<Row[]> {
    await using pair = await Pair.start(context);
    await prepare(pair, 1);
    await pair.cloud.call("watch");
    await using program = new AgentProgram(context, pair);
    let arrived: [number, number] | undefined;
    await until(
      "the row is in the table",
      async () => {
        arrived = (await pair.cloud.call<[number, number][]>("times"))[0];
        return arrived !== undefined;
      },
      30_000,
      20,
    );
    await wait(context.quick ? 2_000 : 10_000);
    const idleMs = context.quick ? 5_000 : 60_000;
    const from = program.usage().cpuMs;
    await wait(idleMs);
    const { residentMb, cpuMs } = program.usage();
    return [
      {
        name: "cold start to the first change in the table",
        unit: "ms",
        value: arrived![1] - program.startedMs,
        goal: { atMost: 350 },
      },
      { name: "memory, idle", unit: "MB", value: residentMb, goal: { atMost: 65 }, gate: { atMost: 120 } },
      {
        name: "processor time, idle",
        unit: "% of a core",
        value: (cpuMs - from) / idleMs * 100,
        goal: { atMost: 0.3 },
      },
      await emptyRuntime(),
    ];
  },
};

/** The memory of a process that does nothing: the runtime's share. */
async function emptyRuntime(): Promise<Row> {
  await using idle = new Child(new URL("../parts/idle.ts", import.meta.url).href);
  await idle.call("nothing");
  await wait(1_000);
  return { name: "memory of an empty Deno process", unit: "MB", value: idle.usage().residentMb, kind: "raw" };
}

/** A backlog that was written offline, drained by the program. */
export const backlog: Bench = {
  name: "backlog",
  title: "A backlog made offline",
  quick: true,
  repeats: 2,
  about:
    "A million rows (quick: 60,000) written while there was no agent; then `mod.ts agent` starts and drains them. The " +
    "rates are of the first and last tenth of the changes by the table's count; memory is the highest of the whole drain.",
  async run(context): Promise<Row[]> {
    const rows = context.quick ? 60_000 : 1_000_000;
    await using pair = await Pair.start(context);
    await prepare(pair, rows);
    await using program = new AgentProgram(context, pair);
    const samples: [atMs: number, written: number][] = [];
    await until(
      "the backlog is drained",
      async () => {
        const written = await pair.cloud.call<number>("written");
        samples.push([nowMs(), written]);
        return written >= rows;
      },
      1_800_000,
      10,
    );
    const at = (count: number) => samples.find(([, written]) => written >= count)!;
    const rate = (from: number, to: number) => {
      const [a, b] = [at(from), at(to)];
      return (b[1] - a[1]) * 1000 / (b[0] - a[0]);
    };
    // The first twentieth is left out on both sides of the comparison: code that has just been compiled, a cold cache.
    const first = rate(rows * 0.05, rows * 0.15), last = rate(rows * 0.9, rows);
    const { peakMb } = program.usage();
    return [
      {
        name: "rate of the last tenth ÷ of the first",
        unit: "×",
        value: last / first,
        goal: { atLeast: 0.9 },
        gate: { atLeast: 0.5 },
      },
      { name: "rate of the whole drain", unit: "items/s", value: rate(rows * 0.05, rows) },
      { name: "agent's memory, highest", unit: "MB", value: peakMb, goal: { atMost: 110 }, gate: { atMost: 180 } },
      { name: "cloud's memory, highest (with broker and table)", unit: "MB", value: pair.cloud.usage().peakMb },
    ];
  },
};
