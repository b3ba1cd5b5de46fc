/**
 * Numbers, durations and times as the console writes them. `–` means unknown; `0` is zero.
 *
 * @module
 */
import { durationText } from "../../protocol/duration_text.ts";

/** Not known. */
export const unknown = "–";

/** A number in groups of three: `41,220`. */
export function grouped(number: number | undefined): string {
  return number === undefined ? unknown : number.toLocaleString("en-US");
}

/** A duration, as everywhere. */
export function duration(ms: number | undefined): string {
  return ms === undefined ? unknown : durationText(ms / 1000);
}

/** How long something took: `38 ms`, `2.1 s`. */
export function took(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : duration(ms);
}

/** How long ago, in one unit: `now`, `14 s`, `2 min`. `assets/base.js` counts on by the same rule. */
export function ago(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  if (seconds < 1) return "now";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** `1 device`, `2 devices`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${grouped(number)} ${number === 1 ? one : many}`;
}
