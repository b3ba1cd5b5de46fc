/**
 * Items as CSV (RFC 4180, with a header). A text is written as it is; a number, a boolean, a list or an object as JSON;
 * an empty cell means no value. A text that would be read as one of these is written as a JSON string, so that every
 * item comes back unchanged.
 *
 * @module
 */
import { createReadStream } from "node:fs";
import { parse } from "npm:csv-parse@^7.0.3";
import { stringify } from "npm:csv-stringify@^6.9.0/sync";
import { CommandError } from "../command.ts";
import type { Plain } from "./side.ts";

/** Rows of CSV. @throws {CommandError} for a property that the header lacks */
export function csvRows(columns: readonly string[], items: readonly Plain[], withHeader: boolean): string {
  const known = new Set(columns);
  for (const item of items) {
    const stranger = Object.keys(item).find((name) => !known.has(name));
    if (stranger !== undefined) {
      throw new CommandError(`an item has the property "${stranger}", which the first ones lack: export as jsonl`);
    }
  }
  const rows = items.map((item) => columns.map((name) => cellOf(item[name])));
  return stringify(withHeader ? [columns as string[], ...rows] : rows);
}

function cellOf(value: unknown): string {
  if (value === undefined) return "";
  if (typeof value !== "string") return JSON.stringify(value);
  return value === "" || jsonOf(value) !== undefined || /^\s|\s$/.test(value) ? JSON.stringify(value) : value;
}

/** The value of a cell. */
export function valueOf(cell: string): unknown {
  const json = jsonOf(cell);
  return json === undefined ? cell : json.value;
}

function jsonOf(text: string): { readonly value: unknown } | undefined {
  // Anything else is a text; numbers that a double can't hold stay decimal texts.
  if (!/^(?:[{["]|-?\d|true$|false$|null$)/.test(text)) return undefined;
  try {
    const value = JSON.parse(text);
    return typeof value === "number" && !isExact(text, value) ? undefined : { value };
  } catch {
    return undefined;
  }
}

/** JSON refuses leading zeros; the rest are digits that a double would round. */
function isExact(text: string, value: number): boolean {
  return Number.isFinite(value) && (String(value) === text || text.replace(/[-.eE+]/g, "").length <= 15);
}

/** The items of a CSV file, with the number of bytes read so far. */
export async function* readCsv(file: string): AsyncGenerator<{ readonly item: Plain; readonly bytes: number }> {
  const stream = file === "-" ? undefined : createReadStream(file);
  const parser = parse({ columns: true, bom: true, relax_column_count_less: true, skip_empty_lines: true });
  const source = stream ?? await stdin();
  source.on("error", (error) => parser.destroy(error));
  source.pipe(parser);
  try {
    for await (const row of parser as AsyncIterable<Record<string, string>>) {
      const item = Object.fromEntries(
        Object.entries(row).filter(([, cell]) => cell !== "").map(([name, cell]) => [name, valueOf(cell)]),
      );
      yield { item, bytes: parser.info.bytes };
    }
  } catch (cause) {
    throw new CommandError(`${file} can't be read as CSV: ${(cause as Error).message}`, { cause });
  } finally {
    source.destroy();
  }
}

async function stdin() {
  const { default: process } = await import("node:process");
  return process.stdin;
}
