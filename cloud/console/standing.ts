/**
 * How the cloud itself does, by what its workers said in their samples (`operations/samples.ts`): the last half hour for small
 * charts, and what is wrong now, in sentences that stand on every page.
 *
 * Guarantees: the samples are read once a minute, however many pages are asked for, and only while some are; what can't be read
 * is said, and holds no page up for longer than a second.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import { within } from "../../protocol/within.ts";
import { readSeries, type Series } from "../operations/samples.ts";
import type { Table } from "../table/port.ts";
import { count, duration, grouped } from "./format.ts";

/** From this age of its records on, the stream is behind, ms. */
export const behindMs = 10_000;
/** What is shown of the past. */
export const standingMinutes = 30;

const minuteMs = 60_000;
/** A minute's sample is there so long after its end. */
const writtenMs = 3_000;
/** A page does not wait longer. */
const patienceMs = 1_000;
/** What fails as rarely as this is made good by repetition. */
const failedLeast = 3, failedShare = 0.05;
const logger = new Log("console");

/** What is known. */
export interface CloudStanding {
  /** The first minute, ms. */
  readonly startMs: number;
  /** By series, a value for each minute: null if nobody said one. */
  readonly minutes: Readonly<Record<string, readonly (number | null)[]>>;
  /** Workers that kept a sample of the last minute. */
  readonly workers: number;
  /** What is wrong, a sentence each. */
  readonly troubles: readonly string[];
}

/** See the module. */
export class Standings {
  #read: { readonly toMs: number; readonly standing: Promise<CloudStanding> } | undefined;

  constructor(private readonly table: Table, private readonly now: () => number) {}

  /** How the cloud does. Never rejects: if its samples can't be read, that is a trouble. */
  async read(): Promise<CloudStanding> {
    const toMs = Math.floor((this.now() - writtenMs) / minuteMs) * minuteMs;
    if (this.#read?.toMs !== toMs) {
      const standing = readUpTo(this.table, toMs);
      this.#read = { toMs, standing };
      // What failed is asked for again by the next page.
      standing.catch(() => this.#read = undefined);
    }
    const silent = { startMs: toMs - standingMinutes * minuteMs, minutes: {}, workers: 0 };
    try {
      return await within(patienceMs, this.#read.standing) ??
        { ...silent, troubles: [`The table has not answered for ${duration(patienceMs)}.`] };
    } catch (error) {
      logger.debug("the samples can't be read: {error}", { error });
      return { ...silent, troubles: ["The table can't be read."] };
    }
  }
}

async function readUpTo(table: Table, toMs: number): Promise<CloudStanding> {
  const startMs = toMs - standingMinutes * minuteMs;
  const { series, lastMs } = await readSeries(table, { fromMs: startMs, toMs, stepMs: minuteMs });
  const minutes = minutesOf(series), workers = [...lastMs.values()].filter((ms) => ms >= toMs - minuteMs).length;
  return { startMs, minutes, workers, troubles: troublesOf(minutes) };
}

/** By series, its values. */
export function minutesOf(series: readonly Series[]): CloudStanding["minutes"] {
  return Object.fromEntries(series.map(({ name, points }) => [name, points.map(([, value]) => value)]));
}

/** What is wrong by the last minute that somebody sampled. Without any sample nothing is known, and nothing said. */
export function troublesOf(minutes: CloudStanding["minutes"]): string[] {
  const reading = minutes.tailing ?? [], at = reading.findLastIndex((value) => value !== null);
  if (at < 0) return [];
  const unsaid = reading.length - 1 - at;
  if (unsaid >= 2) {
    return [
      `No worker has kept a sample for ${count(unsaid, "minute")}: no worker runs, or the table takes no writes.`,
    ];
  }
  const value = (name: string) => minutes[name]?.[at] ?? 0;
  const wasRead = reading.slice(0, at - 1).some((readers) => (readers ?? 0) > 0);
  const failing = ([
    ["table requests", "table_failures", "table_requests"],
    ["messages of devices", "messages_failed", "messages_received"],
    ["publishes", "publish_failed", "entries_published"],
  ] as const).flatMap(([what, failed, all]) => {
    const fails = value(failed);
    if (fails < failedLeast || fails < value(all) * failedShare) return [];
    return [`${grouped(fails)} ${what} failed in the last minute.`];
  });
  return [
    ...(value("stream_age_ms") >= behindMs ? [`The stream is ${duration(value("stream_age_ms"))} behind.`] : []),
    ...(value("tailing") === 0 && reading[at - 1] === 0 && wasRead
      ? ["No worker reads the stream: changes in the cloud do not reach the devices."]
      : []),
    ...failing,
  ];
}

/** Who works, for the Fleet's first line; empty if nobody has said. */
export function workersText({ minutes, workers }: CloudStanding): string {
  if (workers === 0) return "";
  const age = minutes.stream_age_ms?.at(-1) ?? undefined, readers = minutes.tailing?.at(-1) ?? undefined;
  const behind = age === undefined ? "" : `The stream is ${duration(age)} behind. `;
  const whose = workers === 1 || readers === undefined
    ? ""
    : `, ${readers === 0 ? "none" : grouped(readers)} of them ${readers > 1 ? "read" : "reads"} the stream`;
  return `${behind}${count(workers, "worker")} ${workers === 1 ? "runs" : "run"}${whose}.`;
}
