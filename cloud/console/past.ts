/**
 * The past of the Fleet's small charts, from the workers' samples: half an hour, an hour, a day or a week, as chosen.
 *
 * Guarantees: a range is read once a step (1, 5 or 30 minutes), however many pages show it, and only while some do; what takes
 * longer holds no page up: it is there at the next look.
 *
 * @module
 */
import { within } from "../../protocol/within.ts";
import { readSeries } from "../operations/samples.ts";
import type { Table } from "../table/port.ts";
import { type CloudStanding, minutesOf } from "./standing.ts";

const minuteMs = 60_000, hourMs = 60 * minuteMs;

/** By its name in the address: how long, in which steps, and what it is called. */
export const pastRanges = {
  "30m": { lengthMs: 30 * minuteMs, stepMs: minuteMs, title: "30 min" },
  "1h": { lengthMs: hourMs, stepMs: minuteMs, title: "hour" },
  "24h": { lengthMs: 24 * hourMs, stepMs: 5 * minuteMs, title: "24 h" },
  "7d": { lengthMs: 7 * 24 * hourMs, stepMs: 30 * minuteMs, title: "7 days" },
} as const;
export type PastRange = keyof typeof pastRanges;

/** A minute's sample is there so long after its end. */
const writtenMs = 3_000;
const patienceMs = 1_000;

/** What is known of it. */
export interface Past {
  readonly range: PastRange;
  readonly startMs: number;
  readonly stepMs: number;
  /** By series, a value for each step: null if nobody sampled it. Undefined: it is not read yet. */
  readonly points: CloudStanding["minutes"] | undefined;
}

/** See the module. */
export class Pasts {
  readonly #known = new Map<PastRange, { readonly toMs: number; readonly points: Promise<Past["points"]> }>();

  constructor(private readonly table: Table, private readonly now: () => number) {}

  /** @param standing has the shortest one already. Never rejects: what can't be read is not known. */
  async read(range: PastRange, standing: CloudStanding): Promise<Past> {
    const { lengthMs, stepMs } = pastRanges[range];
    if (range === "30m") return { range, stepMs, startMs: standing.startMs, points: standing.minutes };
    const toMs = Math.floor((this.now() - writtenMs) / stepMs) * stepMs, startMs = toMs - lengthMs;
    let known = this.#known.get(range);
    if (known?.toMs !== toMs) {
      const points = readSeries(this.table, { fromMs: startMs, toMs, stepMs }).then(({ series }) => minutesOf(series));
      known = { toMs, points };
      this.#known.set(range, known);
      // What failed is asked for again by the next page; that the table can't be read, each page says.
      points.catch(() => this.#known.delete(range));
    }
    return { range, startMs, stepMs, points: await within(patienceMs, known.points).catch(() => undefined) };
  }
}
