/**
 * `device add --from FILE --to FILE`: adds many devices, and writes their tokens to a file that only its owner can read.
 *
 * Guarantee: interrupted at any moment, the same command continues. Each device gets one token that is valid, and that
 * token is in the file. Before a device is added, a line of the file says so: a device that was added without its token
 * reaching the file gets another one. A device that was there before is reported and left alone.
 *
 * @module
 */
import { closeSync, existsSync, fsyncSync, readFileSync, writeSync } from "node:fs";
import { writeWholeFile } from "../agent/credentials/whole_file.ts";
import { mapBounded } from "../cloud/sync/bounded.ts";
import type { Registry } from "../cloud/sync/registry.ts";
import { isId, SyncError } from "../schema.ts";
import { CommandError } from "./command.ts";
import { csvRows, readCsv } from "./data/csv.ts";
import { jsonLines, readJsonLines } from "./data/jsonl.ts";
import { Progress } from "./data/progress.ts";
import { isOwn, openToAppend } from "./own_file.ts";

/** Devices of which the file says that they are about to be added. */
const chunkSize = 100;
/** Devices that are added at once. */
const atOnce = 8;

/** What a batch is made of. */
export interface Batch {
  readonly registry: Registry;
  /** CSV with a header, or JSONL: `device` and `account`. */
  readonly from: string;
  readonly to: string;
  /** The account of rows that name none. */
  readonly account?: string;
  readonly validMs?: number;
  /** Notes in the audit what is about to be done. */
  readonly note: (what: string) => Promise<void>;
}

interface Row {
  readonly device: string;
  readonly account: string;
  readonly token?: string;
}

/** Adds what is not added yet. @returns how many were added now, were in the file before, and exist without it */
export async function addBatch(batch: Batch): Promise<{ added: number; before: number; exist: string[] }> {
  const wanted = await rowsOf(batch);
  // What somebody else has put there is neither read nor written.
  const isThere = isOwn(batch.to), known = readResult(batch.to);
  const open = wanted.filter(({ device }) => known.get(device)?.token === undefined);
  const before = wanted.length - open.length, exist: string[] = [], progress = new Progress("devices");
  const isCut = isThere && !/(^|\n)$/.test(readFileSync(batch.to, "utf8"));
  const file = openToAppend(batch.to);
  try {
    // Half a line of before must not become half of the next one.
    if (isCut) writeSync(file, "\n");
    const append = (rows: readonly Row[]) => {
      writeSync(file, jsonLines(rows.map((row) => ({ ...row }))));
      fsyncSync(file);
    };
    for (let at = 0; at < open.length; at += chunkSize) {
      const chunk = open.slice(at, at + chunkSize), fresh = chunk.filter(({ device }) => !known.has(device));
      await batch.note(`${chunk.length} devices, ${chunk[0]!.device} to ${chunk.at(-1)!.device}`);
      const taken = await existing(batch.registry, fresh);
      exist.push(...taken);
      const ready = chunk.filter(({ device }) => !taken.has(device));
      append(ready.filter(({ device }) => !known.has(device)));
      append(await mapBounded(ready, atOnce, (row) => added(batch, row)));
      progress.add(chunk.length, { done: at + chunk.length, whole: open.length });
    }
  } finally {
    closeSync(file);
  }
  finish(batch.to, wanted);
  return { added: open.length - exist.length, before, exist };
}

/** Those of these rows whose device is there already. */
async function existing(registry: Registry, rows: readonly Row[]): Promise<Set<string>> {
  const found = await mapBounded(rows, atOnce, async ({ device }) => await registry.info(device) ? [device] : []);
  return new Set(found.flat());
}

/** The file says that this command adds it: whoever has a token of it has this file. */
async function added({ registry, validMs }: Batch, { device, account }: Row): Promise<Row> {
  return { device, account, token: await registry.add(device, account, { validMs, replace: true }) };
}

/** The devices of a file, each once. @throws {CommandError} for a row that names none */
async function rowsOf({ from, account: preset }: Batch): Promise<Row[]> {
  const rows = new Map<string, Row>();
  let number = 0;
  for await (const { item } of from.endsWith(".csv") ? readCsv(from) : readJsonLines(from)) {
    number++;
    const device = String(item.device ?? ""), account = String(item.account ?? preset ?? "");
    if (!isId(device)) throw new CommandError(`${from}, row ${number}: device ${JSON.stringify(device)} is no id`);
    if (!isId(account)) throw new CommandError(`${from}, row ${number}: account ${JSON.stringify(account)} is no id`);
    const other = rows.get(device);
    if (other && other.account !== account) {
      throw new CommandError(`${from}, row ${number}: ${device} has the account ${other.account} above`);
    }
    rows.set(device, { device, account });
  }
  if (rows.size === 0) throw new CommandError(`${from} names no device`);
  return [...rows.values()];
}

/** What the result file says, by device; a line that a crash cut is left out. */
function readResult(path: string): Map<string, Row> {
  const rows = new Map<string, Row>();
  if (!existsSync(path)) return rows;
  const text = readFileSync(path, "utf8");
  if (text.startsWith("device,")) throw new CommandError(`${path} is complete: name another file`);
  for (const line of text.split("\n")) {
    try {
      const row = JSON.parse(line) as Row;
      rows.set(row.device, { ...rows.get(row.device), ...row });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return rows;
}

/** One line a device, in the order of the list; as CSV if the file's name says so. */
function finish(path: string, wanted: readonly Row[]): void {
  const known = readResult(path);
  const rows = wanted.flatMap(({ device }) =>
    known.get(device)?.token === undefined ? [] : [{ ...known.get(device)! }]
  );
  if (rows.length === 0) throw new SyncError("exists", "all of these devices exist already, and none was added");
  writeWholeFile(path, path.endsWith(".csv") ? csvRows(["device", "account", "token"], rows, true) : jsonLines(rows));
}
