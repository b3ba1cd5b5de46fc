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
  // Without a listener of its own an error of the stream would be nobody's.
  const failed = new Promise<never>((_, reject) => input.once("error", reject));
  failed.catch(() => {});
  const lines = createInterface({ input, crlfDelay: Infinity });
  const iterator = lines[Symbol.asyncIterator]();
  let bytes = 0;
  try {
    for (let number = 1;; number++) {
      const { done, value: line } = await Promise.race([iterator.next(), failed]).catch((cause) => {
        throw new CommandError(`${file} can't be read: ${(cause as Error).message}`, { cause });
      });
      if (done) return;
      bytes += Buffer.byteLength(line) + 1;
      const text = number === 1 ? line.replace(/^\ufeff/, "") : line;
      if (text.trim() !== "") yield { item: parsed(text, file, number), bytes };
    }
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
