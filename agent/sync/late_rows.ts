/**
 * How old rows were when the cloud acknowledged them, in models that only sync up from one device. Their keys have no
 * record, so after a restore of the table only a row's own `updated` says whether the table may lack it (rule B8). A row
 * that was written offline and acknowledged much later is older than it says: here is, for the times of such answers,
 * the earliest `updated` among their rows.
 *
 * Stored in `_sync` as `lateRows`: `[[from, until, earliest], …]`, ms of the cloud's time, oldest first, one entry for at most
 * an hour and at most 64: the two oldest become one, which only means that more rows are sent again.
 *
 * @module
 */
import { fieldOf, jsonToDate } from "../../schema.ts";
import type { Store } from "../store/store.ts";
import type { Flight } from "./flight.ts";
import { isTracked } from "./items.ts";
import { marginMs } from "./restores.ts";

const entryMs = 3_600_000;
const entriesMax = 64;
const fact = "lateRows";

type Entry = [fromMs: number, untilMs: number, earliestMs: number];

function entriesOf(store: Store): Entry[] {
  const text = store.getMeta(fact);
  return text === undefined ? [] : JSON.parse(String(text)) as Entry[];
}

/** The row's `updated`, ms; undefined: it has none. */
function updatedOf({ model, change }: Flight): number | undefined {
  const field = model.updatedField === undefined ? undefined : fieldOf(model, model.updatedField);
  const value = field && change.item?.[field.attribute];
  return field && value != null ? jsonToDate(field, value)?.getTime() : undefined;
}

/** These were acknowledged at this time of the cloud. Must run inside the transaction that settles them. */
export function noteLateRows(store: Store, flights: Iterable<Flight>, ackMs: number): void {
  let earliest = Infinity;
  for (const flight of flights) {
    if (!isTracked(flight.model)) earliest = Math.min(earliest, updatedOf(flight) ?? Infinity);
  }
  // To this precision the time of a restore is known anyway.
  if (earliest >= ackMs - marginMs) return;
  const entries = entriesOf(store), last = entries.at(-1);
  // Once a minute at most while a backlog is sent, whose oldest rows come first.
  if (last && last[2] <= earliest && ackMs <= last[1]) return;
  const untilMs = ackMs + marginMs;
  if (last && ackMs - last[0] < entryMs) entries.splice(-1, 1, [last[0], untilMs, Math.min(last[2], earliest)]);
  else entries.push([ackMs, untilMs, earliest]);
  if (entries.length > entriesMax) {
    const [first, second] = entries.splice(0, 2) as [Entry, Entry];
    entries.unshift([first[0], second[1], Math.min(first[2], second[2])]);
  }
  store.setMeta(fact, JSON.stringify(entries));
}

/** The earliest `updated` of a row that was acknowledged at this time or later, if that was late; else this time. */
export function earliestSince(store: Store, sinceMs: number): number {
  const late = entriesOf(store).filter(([, untilMs]) => untilMs >= sinceMs).map(([, , earliestMs]) => earliestMs);
  return Math.min(sinceMs, ...late);
}
