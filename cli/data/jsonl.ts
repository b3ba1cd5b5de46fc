/**
 * Items as JSON, one a line.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createReadStream } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { CommandError } from "../command.ts";
import type { Plain } from "./side.ts";

/** Lines of JSON. */
export function jsonLines(items: readonly Plain[]): string {
  return items.map((item) => `${JSON.stringify(item)}\n`).join("");
}

/** The items of a file, with the number of bytes read so far. Empty lines are skipped. `-` is standard input. */
export async function* readJsonLines(file: string): AsyncGenerator<{ readonly item: Plain; readonly bytes: number }> {
  const input = file === "-" ? process.stdin : createReadStream(file);
  const lines = createInterface({ input, crlfDelay: Infinity });
  let failure: Error | undefined;
  // Otherwise its lines would end as if the file did.
  input.once("error", (error: Error) => {
    failure = error;
    lines.close();
  });
  let bytes = 0, number = 0;
  try {
    for await (const line of lines) {
      bytes += Buffer.byteLength(line) + 1;
      const text = ++number === 1 ? line.replace(/^\ufeff/, "") : line;
      if (text.trim() !== "") yield { item: parsed(text, file, number), bytes };
    }
    if (failure) throw new CommandError(`${file} can't be read: ${failure.message}`, { cause: failure });
  } finally {
    lines.close();
    input.destroy();
  }
}

function parsed(text: string, file: string, number: number): Plain {
  let item: unknown;
  try {
    item = JSON.parse(text);
  } catch (cause) {
    throw new CommandError(`${file}, line ${number}: ${(cause as Error).message}`, { cause });
  }
  if (typeof item === "object" && item !== null && !Array.isArray(item)) return item as Plain;
  throw new CommandError(`${file}, line ${number}: an object is required`);
}
