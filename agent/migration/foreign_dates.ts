/**
 * Reads dates from values that were not written as dates of this schema: in an application's own table, or in a column
 * that was a text or a number. A text without a zone is a local time, a number has some unit: the schema's rule says
 * which (`dates` in `process`), or the value is refused by name. Nothing is guessed: a fleet whose times are all two
 * hours late would show no error.
 *
 * @module
 */
import type { SqlValue } from "../sqlite/driver.ts";
import type { DateRule, DateUnit } from "../../schema/model.ts";
import { dateTextToMs } from "../store/columns.ts";

/**
 * Texts that SQLite and the schema's dates accept as a time without a zone; a day alone means its first moment, at that
 * place.
 */
const unzoned = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?\s*)?$/;

/** Ms since 1970 of a number, by its unit. Julian days count from noon of a day long ago. */
const units: Readonly<Record<DateUnit, (value: number) => number>> = {
  s: (value) => value * 1000,
  ms: (value) => value,
  us: (value) => value / 1000,
  julianday: (value) => (value - 2440587.5) * 86_400_000,
};

/** An ambiguous value: it may mean several times, and no rule says which. */
export class AmbiguousDate extends RangeError {}

/**
 * The value's ms since 1970; undefined if it is unambiguous (a text with a zone), or not a date: then the usual
 * conversion applies.
 *
 * @throws {AmbiguousDate} if the rule that it needs is missing
 */
export function foreignDateMs(rule: DateRule | undefined, value: SqlValue): number | undefined {
  if (typeof value === "number" || typeof value === "bigint" || isNumeral(value)) {
    if (rule?.unit === undefined) throw new AmbiguousDate("is a number without a unit");
    return Math.round(units[rule.unit](Number(value)));
  }
  if (typeof value !== "string" || !unzoned.test(value)) return undefined;
  const wallMs = dateTextToMs(value.trimEnd());
  if (wallMs === undefined) return undefined;
  if (rule?.zone === undefined) throw new AmbiguousDate("names no zone");
  return zonedMs(rule.zone, wallMs);
}

/** A column declared as TEXT turns numbers into texts. */
function isNumeral(value: SqlValue): boolean {
  return typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value);
}

/**
 * The moment at which a place's clocks show a time, given as if it were UTC. If they show an hour twice, the first is
 * meant; a time that they skip uses the offset before the change.
 */
function zonedMs(zone: string, wallMs: number): number {
  const dayMs = 86_400_000, offsetMs = offsetsOf(zone);
  const [before, after] = [wallMs - offsetMs(wallMs - dayMs), wallMs - offsetMs(wallMs + dayMs)];
  const shown = [before, after].filter((ms) => ms + offsetMs(ms) === wallMs);
  return shown.length === 0 ? before : Math.min(...shown);
}

const known = new Map<string, (ms: number) => number>();

/** How far a zone's clocks are ahead of UTC at a moment, ms. */
function offsetsOf(zone: string): (ms: number) => number {
  let offsetMs = known.get(zone);
  if (!offsetMs) known.set(zone, offsetMs = makeOffsets(zone));
  return offsetMs;
}

function makeOffsets(zone: string): (ms: number) => number {
  const fixed = /^([+-])(\d\d):(\d\d)$/.exec(zone);
  if (fixed) return () => offsetMs(fixed);
  const format = new Intl.DateTimeFormat("en", {
    timeZoneName: "longOffset",
    ...(zone === "local" ? {} : { timeZone: zone }),
  });
  // "1/1/1970, GMT+01:00"; before standard time, with seconds; UTC is a bare "GMT".
  return (ms) => offsetMs(/GMT([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(format.format(ms)));
}

function offsetMs(match: RegExpExecArray | null): number {
  if (!match) return 0;
  const [, sign, hours, minutes, seconds = "0"] = match;
  return Number(`${sign}1`) * (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000;
}
