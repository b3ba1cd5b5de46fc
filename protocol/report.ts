/**
 * A device's report about itself, in its presence: versions, pending changes, problems. It is for people and
 * dashboards; no sync rule depends on it. Older workers read only `online` and ignore it.
 *
 * Guarantee: a report has at most 800 bytes, so that its presence stays below the 1,024 that brokers' rules allow, and
 * its row in the registry, with the longest device id, below DynamoDB's write unit of 1 KB. If a report is too large,
 * texts are cut first, then the least important fields are left out.
 *
 * @module
 */
import { fieldsOf } from "./checks.ts";
import { isMap } from "../schema/values.ts";

/** What a device reports. Every field may be missing: an older agent does not know it. */
export interface DeviceReport {
  /** Versions: of Twintable, the schema, SQLite, the runtime. */
  readonly agent?: string;
  /** The schema's fingerprint. */
  readonly schema?: string;
  /** SQLite's version. */
  readonly sqlite?: string;
  /** The runtime and its version. */
  readonly runtime?: string;
  /** Changes that are not acknowledged, and when the oldest was made, ms since 1970 by the device's clock. */
  readonly outbox?: number;
  /** When the oldest change that waits was made, ms. */
  readonly oldest?: number;
  /** By channel, the number of the last log entry that is applied. */
  readonly at?: Readonly<Record<string, number>>;
  /** Rows of `_rejected` and `_conflicts`, items set aside, changes dropped for lack of space. */
  readonly rejected?: number;
  /** Versions in `_conflicts`. */
  readonly conflicts?: number;
  /** Items that their table cannot accept. */
  readonly aside?: number;
  /** Unsent rows that were dropped. */
  readonly dropped?: number;
  /** What is wrong now, as `_status.problem` says it. */
  readonly problem?: string;
  /** Why the link was lost last. */
  readonly error?: string;
  /** Size of the database and room on its disk, bytes. */
  readonly db?: number;
  /** Bytes that are free on its disk. */
  readonly free?: number;
  /** How far the device's clock is ahead of the cloud's, ms. */
  readonly skew?: number;
  /** Changes sent and applied in the last minute. */
  readonly up?: number;
  /** Entries that it applied. */
  readonly down?: number;
  /** 1: it understands orders. */
  readonly orders?: number;
  /** 1: an order can replace its token. */
  readonly rotates?: number;
}

const reportBytesMax = 800;
const texts = ["agent", "schema", "sqlite", "runtime", "problem", "error"] as const;
const numbers = [
  "outbox",
  "oldest",
  "rejected",
  "conflicts",
  "aside",
  "dropped",
  "db",
  "free",
  "skew",
  "up",
  "down",
  "orders",
  "rotates",
] as const;
/** The fields that are left out, in order, if the report is too large even with cut texts. */
const leastImportant = ["runtime", "sqlite", "error", "up", "down", "free", "db", "skew", "at", "schema"] as const;
/** Texts are cut to so many characters, one after the other, until the report fits. */
const cuts = [300, 160, 80, 40];

/** Channels that a report may name: a device reads three. */
const channelsMax = 8;

const encoder = new TextEncoder();

/** The report, cut to fit. */
export function fitReport(report: DeviceReport): DeviceReport {
  let fitted = report;
  const fits = () => encoder.encode(JSON.stringify(fitted)).length <= reportBytesMax;
  for (const length of cuts) {
    if (fits()) return fitted;
    fitted = cutTexts(fitted, length);
  }
  for (const name of leastImportant) {
    if (fits()) return fitted;
    const { [name]: _, ...rest } = fitted;
    fitted = rest;
  }
  return fits() ? fitted : {};
}

function cutTexts(report: DeviceReport, length: number): DeviceReport {
  const cut: Record<string, unknown> = { ...report };
  for (const name of texts) {
    const text = report[name];
    // Not in the middle of a surrogate pair.
    if (text !== undefined && text.length > length) cut[name] = `${text.slice(0, length).toWellFormed()}…`;
  }
  return cut;
}

/** A report as it was received: fields of other types are left out, unknown ones too. */
export function readReport(value: unknown): DeviceReport | undefined {
  if (value === undefined) return undefined;
  const given = fieldsOf(value, "presence.r"), report: Record<string, unknown> = {};
  for (const name of texts) {
    const text = given[name];
    if (typeof text === "string" && text !== "") report[name] = text;
  }
  for (const name of numbers) {
    const number = given[name];
    if (typeof number === "number" && Number.isSafeInteger(number)) report[name] = number;
  }
  if (isMap(given.at)) report.at = readAt(given.at);
  return report;
}

/** Positions in channels as they were received. */
export function readAt(given: Readonly<Record<string, unknown>>): Record<string, number> {
  const at = Object.entries(given).filter((one): one is [string, number] => Number.isSafeInteger(one[1]));
  return Object.fromEntries(at.slice(0, channelsMax));
}
