/**
 * Capture: what the triggers cost an application's insert, against the same table and indexes without them.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { openStore } from "../../agent/store/store.ts";
import type { Bench, Context, Row } from "../measure.ts";
import { compiled, insertTelemetrySql, telemetryValues } from "../schema.ts";
import { median } from "../stats.ts";

/** The least that a trigger can do and be capture: one integer into a second table, which is one page more in each commit. */
const leastSql = `CREATE TABLE least(n INTEGER PRIMARY KEY, row INTEGER);
  CREATE TRIGGER least AFTER INSERT ON Telemetry BEGIN INSERT INTO least(row) VALUES (new._id); END;`;

/** A file with the schema's tables, and its triggers, none, or the least, as an application opens it. */
function open(context: Context, triggers: "ours" | "none" | "least"): DatabaseSync {
  const path = `${context.dir}/${triggers}.db`;
  openStore({ path, schema: compiled, identity: { deviceId: "d", accountId: "a" }, now: Date.now }).close();
  const db = new DatabaseSync(path);
  if (triggers !== "ours") {
    const named = db.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'Telemetry'").all();
    for (const row of named) db.exec(`DROP TRIGGER "${row.name}"`);
  }
  if (triggers === "least") db.exec(leastSql);
  return db;
}

function bulk(db: DatabaseSync, rows: number): number {
  const insert = db.prepare(insertTelemetrySql);
  const start = performance.now();
  db.exec("BEGIN IMMEDIATE");
  for (let n = 0; n < rows; n++) insert.run(...telemetryValues(n));
  db.exec("COMMIT");
  const seconds = (performance.now() - start) / 1000;
  db.exec("DELETE FROM Telemetry; DELETE FROM _outbox; PRAGMA wal_checkpoint(TRUNCATE)");
  return rows / seconds;
}

function single(db: DatabaseSync, rows: number): number {
  const insert = db.prepare(insertTelemetrySql);
  const start = performance.now();
  for (let n = 0; n < rows; n++) insert.run(...telemetryValues(n));
  return rows * 1000 / (performance.now() - start);
}

/** Both in turns, and the ratio of each pair: what disturbs the machine, the disk above all, disturbs both of a pair alike. */
function compare(
  rounds: number,
  measure: (db: DatabaseSync) => number,
  dbs: readonly [DatabaseSync, DatabaseSync],
): { ratio: number; with: number; without: number } {
  const rates: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    for (const at of round % 2 === 0 ? [0, 1] as const : [1, 0] as const) rates[at].push(measure(dbs[at]));
  }
  const ratios = rates[0].map((rate, i) => rate / rates[1][i]!);
  return { ratio: median(ratios), with: median(rates[0]), without: median(rates[1]) };
}

/** See the module. */
export const capture: Bench = {
  name: "capture",
  title: "Capture",
  quick: true,
  about:
    "Inserts of six columns (ids, timestamps and outbox entries are SQL) into a synced table, against the same table " +
    "with the same indexes and no triggers; both in turns, the median of the pairs' ratios. Bulk: one transaction of 20,000 rows. The least trigger puts one integer " +
    "into a second table, and so one page more into each commit: no outbox in the same file can cost less.",
  run(context): Promise<Row[]> {
    const [ours, none, least] = [open(context, "ours"), open(context, "none"), open(context, "least")];
    const rows: Row[] = [];
    for (const db of [ours, none]) db.exec("PRAGMA synchronous = NORMAL");
    const inBulk = compare(context.quick ? 6 : 12, (db) => bulk(db, 20_000), [ours, none]);
    for (const db of [ours, none, least]) db.exec("PRAGMA synchronous = FULL");
    const rounds = context.quick ? 40 : 100;
    const durable = compare(rounds, (db) => single(db, 50), [ours, none]);
    const limit = compare(rounds, (db) => single(db, 50), [least, none]);
    rows.push(
      {
        name: "bulk insert ÷ without triggers",
        unit: "×",
        value: inBulk.ratio,
        goal: { atLeast: 0.6 },
        gate: { atLeast: 0.4 },
      },
      {
        name: "autocommit FULL ÷ without triggers",
        unit: "×",
        value: durable.ratio,
        goal: { atLeast: 0.95 },
        gate: { atLeast: 0.7 },
      },
      {
        name: "autocommit FULL, least trigger ÷ none",
        unit: "×",
        value: limit.ratio,
        kind: "raw",
      },
      { name: "bulk insert", unit: "rows/s", value: inBulk.with },
      { name: "autocommit FULL", unit: "rows/s", value: durable.with },
      { name: "bulk insert, no triggers", unit: "rows/s", value: inBulk.without, kind: "raw" },
      { name: "autocommit FULL, no triggers", unit: "rows/s", value: durable.without, kind: "raw" },
    );
    for (const db of [ours, none, least]) db.close();
    return Promise.resolve(rows);
  },
};
