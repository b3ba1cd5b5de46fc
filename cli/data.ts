/**
 * `mod.ts data`: items of a device's database or of a cloud, one at a time. On a device by SQL beside a running agent,
 * so that a write is captured and sent like any other; on a cloud through its HTTP API.
 *
 * @module
 */
import { UsageError } from "./args.ts";
import { CommandError, defineCommand } from "./command.ts";
import { openSide, sideFlags } from "./data/flags.ts";
import { readJsonLines } from "./data/jsonl.ts";
import type { DataSide, Plain } from "./data/side.ts";

const actions = ["list", "get", "put", "update", "rm"] as const;
type Action = (typeof actions)[number];

/** Reads `name=value` operands: a value is JSON if it parses as such, otherwise text. @throws {UsageError} */
export function pairsOf(operands: readonly string[]): Plain {
  return Object.fromEntries(operands.map((operand) => {
    const at = operand.indexOf("=");
    if (at < 1) throw new UsageError(`${JSON.stringify(operand)} is not NAME=VALUE`);
    return [operand.slice(0, at), valueOf(operand.slice(at + 1))];
  }));
}

function valueOf(text: string): unknown {
  try {
    const value = JSON.parse(text);
    // Digits that a double would round stay a decimal text.
    return typeof value === "number" && String(value) !== text && /\d{16}/.test(text) ? text : value;
  } catch {
    return text;
  }
}

/** One item of `NAME=VALUE` pairs or of a JSON object; several of `-`, a line each on standard input. */
async function* itemsOf(operands: readonly string[]): AsyncGenerator<Plain> {
  const [first = ""] = operands;
  if (operands.length === 1 && first === "-") {
    for await (const { item } of readJsonLines("-")) yield item;
  } else if (operands.length === 1 && first.startsWith("{")) yield objectOf(first);
  else if (operands.length > 0) yield pairsOf(operands);
  else throw new UsageError("an item is required: NAME=VALUE …, a JSON object, or - for standard input");
}

function objectOf(text: string): Plain {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`the item is not JSON: ${(cause as Error).message}`);
  }
}

/** The one item that an action takes. */
async function itemOf(operands: readonly string[]): Promise<Plain> {
  const items: Plain[] = [];
  for await (const item of itemsOf(operands)) items.push(item);
  if (items.length !== 1) throw new UsageError("one item is required");
  return items[0]!;
}

/** The `data` command. */
export const dataCommand = defineCommand({
  name: "data",
  summary: "items of a device or a cloud: list, get, put, update, remove",
  usage: [
    "list MODEL [NAME=VALUE …] (--db FILE | --cloud URL) [--limit N]",
    "get MODEL NAME=VALUE … (--db FILE | --cloud URL)",
    "put MODEL (NAME=VALUE … | JSON | -) (--db FILE | --cloud URL)",
    "update MODEL NAME=VALUE … (--db FILE | --cloud URL)",
    "rm MODEL NAME=VALUE … (--db FILE | --cloud URL)",
  ],
  about: [
    "Items are printed as JSON, one a line. A value is read as JSON if it is JSON (7, true, [1,2]), otherwise as text; '\"7\"' is\n" +
    "the text 7. get, update and rm name an item by its key's properties; a cloud needs its device or account as well.",
    "put writes whole items: omitted properties are removed, or get their default. update changes only the given ones; null removes one.",
    "Examples:\n" +
    "  data list Setting --db device.db\n" +
    "  data put Setting name=volume value=7 --db device.db\n" +
    "  data update Setting deviceId=d-1 name=volume value=8 --cloud https://HOST --token-file token",
  ],
  flags: {
    ...sideFlags,
    limit: { type: "integer", value: "N", summary: "list: the most to print", default: 100, min: 1, max: 1_000_000 },
  },
  operands: [2, 1_000],
  async run({ flags, operands, print }) {
    const [action, model, ...rest] = operands as [Action, string, ...string[]];
    if (!actions.includes(action)) throw new UsageError(`data ${action}? ${actions.join(", ")}`);
    await using side = await openSide(flags);
    const line = (item: Plain) => print(JSON.stringify(item));
    switch (action) {
      case "list":
        for await (const item of matching(side, model, pairsOf(rest), flags.limit)) line(item);
        return 0;
      case "get": {
        const item = await side.get(model, await itemOf(rest));
        if (!item) throw new CommandError(`there is no such ${model}`);
        line(item);
        return 0;
      }
      case "put":
        return await putAll(side, model, itemsOf(rest), print);
      case "update":
        line(await side.update(model, await itemOf(rest)));
        return 0;
      case "rm":
        if (!await side.remove(model, await itemOf(rest))) throw new CommandError(`there is no such ${model}`);
        return 0;
    }
  },
});

async function* matching(side: DataSide, model: string, wanted: Plain, limit: number): AsyncGenerator<Plain> {
  const tests = Object.entries(wanted).map(([name, value]) => [name, JSON.stringify(value)] as const);
  let next: string | undefined, given = 0;
  do {
    const page = await side.list(model, { limit: Math.min(limit, 500), next });
    for (const item of page.items) {
      if (!tests.every(([name, text]) => (JSON.stringify(item[name]) ?? "null") === text)) continue;
      yield item;
      if (++given === limit) return;
    }
    next = page.next;
  } while (next !== undefined);
}

async function putAll(
  side: DataSide,
  model: string,
  items: AsyncIterable<Plain>,
  print: (line: string) => void,
): Promise<number> {
  let written = 0, failed = 0, batch: Plain[] = [];
  const flush = async () => {
    const failures = await side.put(model, batch);
    for (const { at, reason } of failures) {
      failed++;
      print(`${JSON.stringify(batch[at])}: ${reason}`);
    }
    written += batch.length - failures.length;
    batch = [];
  };
  for await (const item of items) if (batch.push(item) >= side.batchMax) await flush();
  if (batch.length > 0) await flush();
  print(`${written} written${failed > 0 ? `, ${failed} refused` : ""}`);
  return failed > 0 ? 1 : 0;
}
