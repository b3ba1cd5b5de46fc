/**
 * `mod.ts export`: all items of models as JSONL or CSV, one file for each model, in bounded memory. After an
 * interruption, it continues where it was: each page is written and then recorded beside the file, and the file gets
 * its name only when it is complete.
 *
 * @module
 */
import { closeSync } from "node:fs";
import { join } from "node:path";
import { syncFolder } from "../agent/credentials/whole_file.ts";
import { UsageError } from "./args.ts";
import { CommandError, defineCommand } from "./command.ts";
import { csvRows } from "./data/csv.ts";
import { openSide, sideFlags } from "./data/flags.ts";
import { jsonLines } from "./data/jsonl.ts";
import { dropPosition, readPosition, writePosition } from "./data/position.ts";
import { Progress } from "./data/progress.ts";
import type { DataSide, Plain } from "./data/side.ts";
import { fileExists } from "./device_file.ts";
import { Lifetime } from "./lifetime.ts";
import { isOwn, openNew } from "./own_file.ts";

/** Items of a page. */
const pageItems = 500;

type Format = "jsonl" | "csv";

/** An export's progress, stored beside its file. */
interface Position {
  /** Valid bytes of the file. */
  readonly bytes: number;
  readonly items: number;
  /** Where the next page begins. */
  readonly next: string;
  /** Of CSV: its header. */
  readonly columns?: readonly string[];
}

/** The `export` command. */
export const exportCommand = defineCommand({
  name: "export",
  summary: "export all items of models to files, as JSONL or CSV",
  usage: ["--to DIR (--db FILE | --cloud URL --model M,…) [--model M,…] [--format csv]", "--to - --model M …"],
  about: [
    "Each model becomes DIR/MODEL.jsonl (or .csv). The same command continues an interrupted export. Computed\n" +
    "properties (keys) are left out: import derives them again. Items written meanwhile may be included or not.",
  ],
  flags: {
    to: {
      type: "string",
      value: "DIR",
      summary: "the folder, created if missing; - is standard output",
      required: true,
    },
    model: { type: "string", value: "M,…", summary: "only these models; required for a cloud" },
    format: {
      type: "string",
      value: "NAME",
      summary: "the files' format",
      default: "jsonl",
      choices: ["jsonl", "csv"],
    },
    force: { type: "boolean", summary: "overwrite existing files, and start again" },
    ...sideFlags,
  },
  operands: [0, 0],
  async run({ flags, print }) {
    await using side = await openSide(flags);
    const models = flags.model?.split(",").map((name) => name.trim()) ?? side.models();
    if (!models) throw new UsageError("--model is required with --cloud: which models?");
    const format = flags.format as Format;
    using lifetime = new Lifetime();
    if (flags.to === "-") {
      if (models.length > 1) throw new UsageError("--to - takes one --model");
      await toStdout(side, models[0]!, format, lifetime.signal);
      return 0;
    }
    await Deno.mkdir(flags.to, { recursive: true });
    for (const model of models) {
      const file = join(flags.to, `${model}.${format}`);
      if (fileExists(file) && !flags.force) throw new CommandError(`${file} exists: --force overwrites it`);
      print(`${file}: ${await toFile(side, model, file, format, flags.force, lifetime.signal)}`);
      if (lifetime.signal.aborted) throw new CommandError("stopped; the same command continues from here");
    }
    return 0;
  },
});

async function toStdout(side: DataSide, model: string, format: Format, signal: AbortSignal): Promise<void> {
  let next: string | undefined, columns: readonly string[] | undefined;
  do {
    const page = await side.list(model, { limit: pageItems, next });
    const isFirst = columns === undefined;
    columns ??= columnsOf(side, model, page.items);
    await writeAll(Deno.stdout, encode(format, columns, page.items, isFirst));
    next = page.next;
  } while (next !== undefined && !signal.aborted);
}

/** @returns the summary */
async function toFile(
  side: DataSide,
  model: string,
  file: string,
  format: Format,
  anew: boolean,
  signal: AbortSignal,
): Promise<string> {
  const part = `${file}.part`, note = `${file}.position`;
  const position = anew ? undefined : await positionOf(note, part);
  const progress = new Progress(model), size = await side.size(model);
  let { bytes, items, next, columns } = { bytes: 0, items: 0, next: undefined, columns: undefined, ...position } as
    & Omit<Position, "next">
    & { next?: string };
  // For its owner alone, as the database is.
  if (!position) closeSync(openNew(part));
  using out = await Deno.open(part, { write: true });
  await out.truncate(bytes);
  await out.seek(bytes, Deno.SeekMode.Start);
  for (let isLast = false; !isLast;) {
    if (signal.aborted) return `${items} items so far`;
    const page = await side.list(model, { limit: pageItems, next });
    const isFirst = bytes === 0;
    columns ??= columnsOf(side, model, page.items);
    bytes += await writeAll(out, encode(format, columns, page.items, isFirst));
    items += page.items.length;
    next = page.next;
    progress.add(page.items.length, size && { done: items, whole: size.items, isMost: size.isMost });
    isLast = next === undefined;
    if (next !== undefined) writePosition(note, { bytes, items, next, columns });
  }
  await out.sync();
  await Deno.rename(part, file);
  syncFolder(file);
  await dropPosition(note);
  return position ? `${items} items, ${position.items} of them before` : progress.summary();
}

function columnsOf(side: DataSide, model: string, items: readonly Plain[]): readonly string[] {
  return side.properties(model) ?? [...new Set(items.flatMap((item) => Object.keys(item)))];
}

function encode(format: Format, columns: readonly string[], items: readonly Plain[], isFirst: boolean): string {
  return format === "csv" ? csvRows(columns, items, isFirst) : jsonLines(items);
}

async function writeAll(out: { write(bytes: Uint8Array): Promise<number> }, text: string): Promise<number> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await out.write(bytes.subarray(at));
  return bytes.length;
}

/** The stored progress, if the partial file has all of it. */
async function positionOf(note: string, part: string): Promise<Position | undefined> {
  const position = isOwn(part) ? await readPosition<Position>(note) : undefined;
  return position && (await Deno.stat(part)).size >= position.bytes ? position : undefined;
}
