/**
 * Requests and reports of verifications, in the database: a requester in any process inserts a row into `_sync_verify`
 * and reads the report there; the differences are in `_verify`.
 *
 * @module
 */
import type { Attributes } from "../../schema.ts";
import type { Store } from "../store/store.ts";

/** What is asked for. */
export interface VerifyOptions {
  /** Names of models; default all that sync. */
  readonly models?: readonly string[];
  /** Mend what differs. Default false. */
  readonly repair?: boolean;
  /** The most keys that are repaired in a second: default 50. */
  readonly keysPerSecond?: number;
  /** The cloud asked, under this id, and gets the report. */
  readonly request?: string;
  /** The cloud wants to know how far it is. */
  readonly progress?: 1;
}

/** One model's part of a report. */
export interface ModelReport {
  /** Rows that were compared. */
  rows: number;
  /** How many keys differ. */
  differences: number;
  /** Of the differences, those that are none any more. */
  mended: number;
}

/** The report of a verification. Times are ms since 1970 by the device's clock. */
export interface VerifyReport {
  /** `waiting`: for the agent, or for the link to come up. */
  state: "waiting" | "running" | "done";
  /** When it began, ms since 1970. */
  startedMs?: number;
  /** When it ended; absent: it is under way. */
  endedMs?: number;
  /** The rows that the models had when it began; absent: it has not begun, or the agent is of an older version. */
  of?: number;
  /** How many keys differ. */
  differences: number;
  /** Of the differences, those that are none any more. */
  mended: number;
  /** Keys that had changes under way at every check: the report says nothing about them. */
  unsettled: number;
  /** By model. */
  models: Record<string, ModelReport>;
}

/** A key that differs, as `_verify` has it. */
export interface Difference {
  /** The model's name. */
  readonly model: string;
  /** The key's attributes. */
  readonly key: Attributes;
  /** How the two sides differ. */
  readonly what: "differs" | "only on the device" | "only in the cloud" | "set aside" | "unreadable on the device";
  /** A sentence: which attributes differ, and which side changed unnoticed. */
  readonly detail: string;
  /** Whether it was repaired. */
  readonly mended: boolean;
}

/** The most differences that are stored. All are counted and repaired. */
export const differencesMax = 1000;
/** Reports that are retained. */
const reportsMax = 20;

/** What the cloud stores of an order's outcome is 4 KB (`cloud/sync/orders.ts`): so much of it is for the details. */
const detailsBytesMax = 3_000;

/**
 * What an order's answer says of a verification: the sums, and of the details as many as fit: by model, then the first
 * differences.
 */
export function orderedReport(
  db: Store["db"],
  report: VerifyReport,
): Pick<VerifyReport, "differences" | "mended" | "unsettled"> & {
  readonly rows: number;
  readonly models?: VerifyReport["models"];
  readonly found?: readonly Difference[];
} {
  const { state, differences: count, mended, unsettled, models } = report;
  const rows = Object.values(models).reduce((sum, model) => sum + model.rows, 0);
  const sums = { rows, differences: count, mended, unsettled };
  let room = detailsBytesMax - sizeOf(models);
  if (state !== "done" || room < 0) return sums;
  const found: Difference[] = [];
  for (const one of count > 0 ? differences(db, foundMax) : []) {
    room -= sizeOf(one);
    if (room < 0) break;
    found.push(one);
  }
  return { ...sums, models, ...(found.length > 0 ? { found } : {}) };
}

/** Differences that may fit. */
const foundMax = 50;
const encoder = new TextEncoder();

function sizeOf(value: unknown): number {
  return encoder.encode(JSON.stringify(value)).length + 1;
}

/** Requests a verification. @returns its number */
export function askVerify(db: Store["db"], options: VerifyOptions): number {
  const row = db.sql("INSERT INTO _sync_verify(options) VALUES (?) RETURNING id").get(JSON.stringify(options))!;
  db.sql("DELETE FROM _sync_verify WHERE id <= ?").run(Number(row.id) - reportsMax);
  return Number(row.id);
}

/** The present report of a verification. @throws RangeError if there is none of this number */
export function verifyReport(db: Store["db"], id: number): VerifyReport {
  const row = db.sql("SELECT report FROM _sync_verify WHERE id = ?").get(id);
  if (!row) throw new RangeError(`there is no verification ${id}`);
  return row.report === null ? newReport("waiting") : JSON.parse(row.report as string) as VerifyReport;
}

/** The present report of the verification that was requested last; undefined: there was none. */
export function lastReport(db: Store["db"]): VerifyReport | undefined {
  const { id } = db.sql("SELECT max(id) AS id FROM _sync_verify").get()!;
  return id === null ? undefined : verifyReport(db, Number(id));
}

/** An empty report. */
export function newReport(state: VerifyReport["state"]): VerifyReport {
  return { state, differences: 0, mended: 0, unsettled: 0, models: {} };
}

/** The oldest requested verification that is not done. */
export function nextVerify(db: Store["db"]): { id: number; options: VerifyOptions } | undefined {
  const row = db.sql(
    "SELECT id, options FROM _sync_verify WHERE report IS NULL OR report ->> 'state' <> 'done' ORDER BY id LIMIT 1",
  ).get();
  return row && { id: Number(row.id), options: JSON.parse(row.options as string) as VerifyOptions };
}

/** Keeps a report. */
export function keepReport({ db }: Pick<Store, "db">, id: number, report: VerifyReport): void {
  db.sql("UPDATE _sync_verify SET report = ? WHERE id = ?").run(JSON.stringify(report), id);
}

/** The differences that the last verification found, at most {@link differencesMax}. */
export function differences(db: Store["db"], limit = differencesMax): Difference[] {
  return db.sql("SELECT model, key, what, detail, mended FROM _verify ORDER BY id LIMIT ?").all(limit).map((row) => ({
    model: row.model as string,
    key: JSON.parse(row.key as string) as Attributes,
    what: row.what as Difference["what"],
    detail: row.detail as string,
    mended: Number(row.mended) === 1,
  }));
}
