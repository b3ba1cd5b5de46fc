/**
 * Times in flags: `90d`, `12h`, `30m`, `45s`.
 *
 * @module
 */
import { UsageError } from "./args.ts";

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3600_000, d: 24 * 3600_000 };

/** The flag's time, ms; undefined if it was not given. @throws {UsageError} */
export function durationOf(flag: string, text: string): number;
export function durationOf(flag: string, text: string | undefined): number | undefined;
export function durationOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const match = /^([1-9][0-9]{0,5})([smhd])$/.exec(text);
  if (!match) throw new UsageError(`--${flag} is a time such as 90d, 12h, 30m or 45s, not ${JSON.stringify(text)}`);
  return Number(match[1]) * unitsMs[match[2]!]!;
}
