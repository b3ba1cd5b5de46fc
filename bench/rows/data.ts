/**
 * `export` and `import` of a whole model: how fast, and in how much memory, on a device's file and at a cloud's API.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { openAgent } from "../../agent/open.ts";
import type { Bench, Context, Row } from "../measure.ts";
import { benchSchema } from "../schema.ts";
import { usageOf } from "../usage.ts";
import { until } from "../until.ts";

const main = fileURLToPath(new URL("../../mod.ts", import.meta.url));

/** Starts `mod.ts` with these arguments. */
function start(args: readonly string[], stdout: "null" | "piped" = "null"): Deno.ChildProcess {
  const all = ["run", "-A", "--no-check", main, ...args];
  return new Deno.Command(Deno.execPath(), { args: all, stdin: "null", stdout, stderr: "null" }).spawn();
}

/** Runs a command to its end: how long it took, and its highest memory. */
async function measured(args: readonly string[]): Promise<{ seconds: number; peakMb: number }> {
  const from = performance.now(), child = start(args);
  let peakMb = 0;
  const timer = setInterval(() => {
    try {
      const peak = usageOf(child.pid).peakMb;
      // Of a process that has ended and is not waited for yet, the kernel says nothing.
      if (peak > peakMb) peakMb = peak;
    } catch (error) {
      // It has just ended.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }, 50);
  const { success } = await child.status;
  clearInterval(timer);
  if (!success) throw new Error(`${args.join(" ")} failed`);
  return { seconds: (performance.now() - from) / 1000, peakMb };
}

async function writeItems(path: string, count: number): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  const encoder = new TextEncoder(), writer = file.writable.getWriter(), part = 10_000;
  for (let from = 0; from < count; from += part) {
    const lines = Array.from({ length: Math.min(part, count - from) }, (_, i) => {
      const n = from + i;
      return `${JSON.stringify({ deviceId: "bench", name: `setting-${n}`, n, value: n / 7 })}\n`;
    });
    await writer.write(encoder.encode(lines.join("")));
  }
  writer.releaseLock();
}

/** Imports a file there and exports it from there. */
async function bothWays(where: string, side: readonly string[], { dir, log }: Context, count: number): Promise<Row[]> {
  const taken = await measured(["import", `${dir}/Setting.jsonl`, "--model", "Setting", ...side]);
  log(`import into ${where}: ${taken.seconds.toFixed(1)} s`);
  const to = `${dir}/out-${side.length}`, given = await measured(["export", "--to", to, "--model", "Setting", ...side]);
  log(`export from ${where}: ${given.seconds.toFixed(1)} s`);
  const { size } = await Deno.stat(`${to}/Setting.jsonl`);
  if (size < count * 50) throw new Error(`the export has ${size} bytes`);
  return [
    { name: `import into ${where}`, unit: "items/s", value: count / taken.seconds },
    { name: `import into ${where}, memory`, unit: "MB", value: taken.peakMb, goal: { atMost: 250 } },
    { name: `export from ${where}`, unit: "items/s", value: count / given.seconds },
    { name: `export from ${where}, memory`, unit: "MB", value: given.peakMb, goal: { atMost: 250 } },
  ];
}

/** See the module. */
export const data: Bench = {
  name: "data",
  title: "Export and import",
  quick: false,
  repeats: 1,
  about:
    "`mod.ts import` of 1,000,000 items of some 70 bytes (JSONL), then `mod.ts export` of them: on a device's file without an " +
    "agent, whose triggers capture each row, and at the API of a worker with an embedded table and its broker. Memory is " +
    "the command's highest.",
  async run(context): Promise<Row[]> {
    const count = context.quick ? 50_000 : 1_000_000, { dir } = context;
    await writeItems(`${dir}/Setting.jsonl`, count);
    await Deno.writeTextFile(`${dir}/schema.json`, JSON.stringify(benchSchema));
    const path = `${dir}/device.db`;
    await (await openAgent({ schema: benchSchema, device: "bench", account: "acme", path })).close();
    const rows = await bothWays("a device's file", ["--db", path], context, count);
    const table = `embedded:${dir}/cloud.db`, token = "bench";
    const cloud = start([
      ...["cloud", "--schema", `${dir}/schema.json`, "--table", table, "--broker", "--mqtt-port", "0", "--port", "0"],
      ...["--token", token],
    ], "piped");
    let said = "";
    const copied = cloud.stdout.pipeThrough(new TextDecoderStream()).pipeTo(
      new WritableStream({ write: (text) => void (said += text) }),
    );
    try {
      const url = () => /http:\/\/\S+/.exec(said)?.[0];
      await until("the worker serves", () => url() !== undefined, 30_000, 20);
      rows.push(...await bothWays("a cloud", ["--cloud", url()!, "--token", token], context, count));
    } finally {
      cloud.kill("SIGTERM");
      await cloud.status;
      await copied;
    }
    return rows;
  },
};
