/**
 * `mod.ts tail --cloud URL`: live events of the whole fleet, from the cloud's API: items written and removed, by whom;
 * devices that come and go; changes that devices keep for people. An API that goes away is asked again until it is back.
 *
 * @module
 */
import { printable } from "../protocol/log.ts";
import { type Colour, painted } from "./colour.ts";
import type { CloudApi } from "./cloud_api.ts";
import { CommandError, describeFault } from "./command.ts";

/** Between two questions: as long as a person hardly notices. */
const lookMs = 500;
/** Rows of one answer. */
const rowsMax = 200;
const lineLengthMax = 400;

/** A row of `GET /api/feed` (`cloud/feed/rows.ts`, of which a device's program knows nothing). */
interface Row {
  readonly type: string;
  readonly at: number;
  readonly model?: string;
  readonly key?: readonly string[];
  readonly op?: string;
  readonly by?: string;
  readonly device?: string;
  readonly connected?: boolean;
  readonly rejected?: number;
  readonly conflicts?: number;
  readonly aside?: number;
  readonly n?: number | null;
}

/** What is followed, and how it is told. */
export interface CloudTailOptions {
  /** Changes of this model only. */
  readonly model?: string;
  /** What is about this device only. */
  readonly device?: string;
  readonly json: boolean;
  readonly print: (line: string) => void;
  readonly pause: (ms: number) => Promise<void>;
}

/** Follows the feed until the signal aborts. @throws {CommandError} if the API refuses, or has no feed */
export async function tailCloud(api: CloudApi, options: CloudTailOptions, signal: AbortSignal): Promise<void> {
  const { json, print, pause } = options, connected = new Map<string, boolean>();
  const tell = (row: Row) => {
    const line = json ? JSON.stringify(row) : lineOf(row, connected);
    if (line !== undefined) print(line);
  };
  let after: string | undefined, link: string | undefined;
  while (!signal.aborted) {
    let page: Awaited<ReturnType<typeof pageAfter>>;
    try {
      page = await pageAfter(api, after, options);
    } catch (error) {
      // Before the first answer it is a wrong URL or token.
      if (after === undefined || !(error instanceof CommandError)) throw error;
      const text = describeFault(error);
      if (text !== link) tell({ type: "link", at: Date.now(), op: text });
      link = text;
      await pause(lookMs * 4);
      continue;
    }
    if (link !== "connected") tell({ type: "link", at: Date.now(), op: "connected" });
    link = "connected";
    if (after !== undefined && page.gap !== 0) tell({ type: "gap", at: Date.now(), n: page.gap });
    page.rows.forEach(tell);
    after = page.next;
    if (page.rows.length < rowsMax) await pause(lookMs);
  }
}

async function pageAfter(api: CloudApi, after: string | undefined, { model, device }: CloudTailOptions) {
  const query = new URLSearchParams({ on: "change,row,kept" });
  if (after !== undefined) {
    for (const [name, value] of [["after", after], ["limit", `${rowsMax}`]]) query.set(name!, value!);
  }
  if (model !== undefined) query.set("model", model);
  if (device !== undefined) query.set("device", device);
  const { status, body } = await api.call(`/api/feed?${query}`);
  if (status === 404) throw new CommandError("this cloud has no feed of events: update it");
  return body as { readonly rows: readonly Row[]; readonly next: string; readonly gap: number | null };
}

/** Undefined: it says nothing new. */
function lineOf(row: Row, connected: Map<string, boolean>): string | undefined {
  const told = textOf(row, connected);
  if (!told) return undefined;
  const [text, colour] = told, line = printable(text, lineLengthMax);
  return `${new Date(row.at).toISOString()}  ${colour ? painted(line, colour) : line}`;
}

function textOf(row: Row, known: Map<string, boolean>): [text: string, colour?: Colour] | undefined {
  const { type, device = "" } = row;
  switch (type) {
    case "change":
      return [`${row.by ?? "cloud"} → table  ${row.op} ${row.model ?? ""} ${row.key?.[1] || row.key?.[0]}`];
    case "row": {
      if (known.get(device) === row.connected) return undefined;
      known.set(device, row.connected === true);
      return [`· ${device} ${row.connected ? "is connected" : "is gone"}`, "dim"];
    }
    case "kept":
      return [`✗ ${device} keeps ${row.rejected} rejected, ${row.conflicts} conflicts, ${row.aside} aside`, "yellow"];
    case "gap":
      return [`… ${row.n ?? "an unknown number of"} events are missing`];
    case "link":
      return [`· ${row.op === "connected" ? row.op : `not connected: ${row.op}`}`, "dim"];
    default:
      return undefined;
  }
}
