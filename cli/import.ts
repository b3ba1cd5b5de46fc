/**
 * `mod.ts import`: items of JSONL or CSV files, one file for each model, into a device's database or a cloud, in
 * bounded memory. A refused item is written to another file with its reason, and holds up no other. After an
 * interruption, the same command continues after the last written batch; putting an item again changes nothing.
 *
 * @module
 */
import { closeSync, writeSync } from "node:fs";
import { basename } from "node:path";
import { SyncError } from "../schema.ts";
import { UsageError } from "./args.ts";
import { CommandError, defineCommand } from "./command.ts";
import { readCsv } from "./data/csv.ts";
import { openSide, sideFlags } from "./data/flags.ts";
import { readJsonLines } from "./data/jsonl.ts";
import { dropPosition, readPosition, writePosition } from "./data/position.ts";
import { Progress } from "./data/progress.ts";
import type { DataSide, Plain } from "./data/side.ts";
import { Lifetime } from "./lifetime.ts";
import { openToAppend } from "./own_file.ts";
import { say } from "./terminal.ts";

/** How long to wait between two tries if the target can't accept more now. */
const waitMs = 1_000;

/** An import's progress. */
interface Position {
  readonly items: number;
  readonly refused: number;
}

/** The `import` command. */
export const importCommand = defineCommand({
  name: "import",
  summary: "import the items of JSONL or CSV files",
  usage: ["FILE … (--db FILE | --cloud URL) [--model M] [--restart]"],
  about: [
    "The model is the file's name (Setting.jsonl, Setting.csv), or --model; - is JSONL on standard input. Items are put whole: an item\n" +
    "with an existing key is replaced. Refused items go to FILE.refused.jsonl with the reason, and the exit code is 1.\n" +
    "The same command continues an interrupted import.",
  ],
  flags: {
    model: { type: "string", value: "M", summary: "the items' model, if the file's name does not say it" },
    restart: { type: "boolean", summary: "start again, whatever was imported before" },
    ...sideFlags,
  },
  operands: [1, 1_000],
  async run({ flags, operands, print }) {
    await using side = await openSide(flags);
    using lifetime = new Lifetime();
    let refused = 0;
    for (const file of operands) {
      const { model, format } = kindOf(file, flags.model);
      const outcome = await importFile(side, file, model, format, flags.restart, lifetime.signal);
      refused += outcome.refused;
      print(`${file}: ${outcome.text}`);
      if (lifetime.signal.aborted) throw new CommandError("stopped; the same command continues from here");
    }
    return refused > 0 ? 1 : 0;
  },
});

function kindOf(file: string, given: string | undefined): { model: string; format: "jsonl" | "csv" } {
  const [, name, extension] = /^(.*)\.(jsonl|csv)$/.exec(basename(file)) ?? [];
  if (file !== "-" && extension === undefined) throw new UsageError(`${file}: .jsonl and .csv can be imported`);
  const model = given ?? name;
  if (model === undefined) throw new UsageError("--model is required: standard input has no name");
  return { model, format: extension === "csv" ? "csv" : "jsonl" };
}

async function importFile(
  side: DataSide,
  file: string,
  model: string,
  format: "jsonl" | "csv",
  restart: boolean,
  signal: AbortSignal,
): Promise<{ refused: number; text: string }> {
  const note = `${file}.position`, before = restart || file === "-" ? undefined : await readPosition<Position>(note);
  const size = file === "-" ? undefined : (await Deno.stat(file).catch((cause) => {
    throw new CommandError(`${file} can't be read: ${(cause as Error).message}`, { cause });
  })).size;
  if (!before && file !== "-") await Deno.remove(`${file}.refused.jsonl`).catch(() => {});
  const progress = new Progress(model);
  let { items, refused } = before ?? { items: 0, refused: 0 }, seen = 0, batch: Plain[] = [], at = 0;
  const flush = async () => {
    const failures = await putPatiently(side, model, batch, signal);
    const lines = failures.map(({ at, reason }) => `${JSON.stringify({ reason, item: batch[at] })}\n`).join("");
    if (lines) tellRefused(file, lines);
    refused += failures.length;
    items += batch.length;
    progress.add(batch.length, size === undefined ? undefined : { done: at, whole: size });
    batch = [];
    if (file !== "-") writePosition(note, { items, refused });
  };
  for await (const { item, bytes } of format === "csv" ? readCsv(file) : readJsonLines(file)) {
    if (signal.aborted) return { refused, text: `${items} items so far` };
    at = bytes;
    if (seen++ < (before?.items ?? 0)) continue;
    if (batch.push(item) >= side.batchMax) await flush();
  }
  if (batch.length > 0) await flush();
  if (file !== "-") await dropPosition(note);
  const which = refused > 0 ? `, ${refused} refused${file === "-" ? "" : `: ${file}.refused.jsonl`}` : "";
  return { refused, text: `${before ? `${items} items, ${before.items} of them before` : progress.summary()}${which}` };
}

/** A full outbox or disk, a lock, a throttled table: transient, and nothing of the batch is lost meanwhile. */
async function putPatiently(side: DataSide, model: string, batch: readonly Plain[], signal: AbortSignal) {
  for (let told = false;;) {
    try {
      return await side.put(model, batch);
    } catch (error) {
      if (!(error instanceof SyncError) || !error.retryable || signal.aborted) throw error;
      if (!told) say(`${model}: waiting: ${error.message}`);
      told = true;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
}

function tellRefused(file: string, lines: string): void {
  if (file === "-") say(lines.trimEnd());
  else {
    const refused = openToAppend(`${file}.refused.jsonl`);
    try {
      writeSync(refused, lines);
    } finally {
      closeSync(refused);
    }
  }
}
