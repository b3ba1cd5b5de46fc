/**
 * `dates` in `process`: how values that were there before Twintable, or before their field was a date, are read. A
 * local time without a zone, and a number without a unit, are ambiguous; without a rule, neither is interpreted.
 *
 *     process: { Reading: { sync: "up", dates: { at: { zone: "Europe/Berlin", unit: "s" } } } }
 *
 * @module
 */
import type { DateRule, DateUnit, Field } from "./model.ts";
import { quoted } from "./names.ts";
import { isMap, type Json } from "./values.ts";

/** What a number may count since 1970; `julianday` is SQLite's day number. */
export const dateUnits: readonly DateUnit[] = ["s", "ms", "us", "julianday"];

const offsetPattern = /^[+-](0\d|1[0-4]):[0-5]\d$/;

/** Whether texts can be read in that zone: an offset, `local` (the device's own), or a name of the IANA database. */
function isZone(zone: string): boolean {
  if (zone === "local" || offsetPattern.test(zone)) return true;
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

/** The rules of one model, by field. */
export function compileDateRules(
  raw: Json | undefined,
  fields: ReadonlyMap<string, Field>,
  report: (text: string) => void,
): ReadonlyMap<string, DateRule> | undefined {
  if (raw === undefined) return undefined;
  const rules = new Map<string, DateRule>();
  if (!isMap(raw)) {
    report('"dates" in "process" must be an object of date fields: {"at": {"zone": "UTC", "unit": "s"}}');
  }
  for (const [name, given] of Object.entries(isMap(raw) ? raw : {})) {
    const where = `"dates" in "process", ${quoted(name)}`;
    if (fields.get(name)?.type !== "date") report(`${where}: it is no field of type date`);
    else if (!isMap(given)) report(`${where}: a rule is an object: {"zone": "UTC", "unit": "s"}`);
    else {
      const { zone, unit, ...rest } = given;
      const other = Object.keys(rest)[0];
      if (other !== undefined) report(`${where}: ${quoted(other)} is unknown: a rule has "zone" and "unit"`);
      if (zone !== undefined && !(typeof zone === "string" && isZone(zone))) {
        report(`${where}: "zone" must be "UTC", "local", an offset ("+02:00") or a name ("Europe/Berlin")`);
      }
      if (unit !== undefined && !dateUnits.includes(unit as DateUnit)) {
        report(`${where}: "unit" must be one of ${dateUnits.join(", ")}`);
      }
      rules.set(name, given as DateRule);
    }
  }
  return rules;
}
