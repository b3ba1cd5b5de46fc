/**
 * Handles writes that were made while the agent's triggers or tables were missing, because a migration tool recreated a
 * table (which drops its triggers), or because somebody dropped a trigger or one of the agent's tables. The triggers
 * saw none of these writes, and a snapshot would revert them row by row. So before the agent applies anything from the
 * cloud, it compares rows with their bases, the table's items that they were made from:
 *
 * | what is found | what is assumed | what happens |
 * | --- | --- | --- |
 * | a row without a base, or that differs from it | it was written meanwhile | it is sent, as a local change made now |
 * | a base without a row, the model's triggers all there, `_outbox` lost | its removal waited in `_outbox` | the removal is sent |
 * | a base without a row, a trigger or the table recreated | nothing: a tool may have lost it | the cloud's item comes back, and is counted |
 * | `_sync_items` lost: no bases | nothing | every row is taken in, as old as its `updated` says (`onboard.ts`); removals that wait are sent |
 * | a model without bases (`up`, one device) | nothing | every row is sent again |
 *
 * It runs in the migration's transaction: a crash leaves the file as it was, and the next start does all of it.
 *
 * @module
 */
import type { Database } from "../sqlite/driver.ts";
import type { Identity, Model } from "../../schema/model.ts";
import { type Attributes, parseJson } from "../../schema.ts";
import { goesUp, isTracked, keyAttributesOf } from "../sync/items.ts";
import { nowMsSql } from "../store/sql.ts";
import { TableRows } from "../store/rows.ts";
import { outboxKinds } from "../store/triggers.ts";
import { onboard } from "./onboard.ts";

/** Tables whose loss affects pending changes or bases. */
const stateTables = [
  "_outbox",
  "_inflight",
  "_sync_items",
  "_sync_channels",
  "_sync_aside",
  "_sync_flag",
  "_sync_models",
];
/** Rows or keys that are examined together. */
const pageRows = 500;

/** What is missing from a file that had it. */
export interface Bypass {
  /** The models that lack a trigger, by name: rows may have been written unnoticed. */
  readonly models: ReadonlySet<string>;
  /** The agent's tables that are gone, or lost the one row that they had. */
  readonly tables: ReadonlySet<string>;
  /** The names of all that is missing. */
  readonly missing: readonly string[];
}

/** The result of comparing a model's rows. */
export interface Noticed {
  readonly model: string;
  /** Rows that are sent, because they were probably written meanwhile. */
  readonly sent: number;
  /** Missing rows, which come back from the cloud. */
  readonly missing: number;
}

function objectNames(db: Database, type: "table" | "trigger"): Set<string> {
  return new Set(db.prepare("SELECT name FROM sqlite_master WHERE type = ?").all(type).map(({ name }) => String(name)));
}

/** Looks for what is missing, before the migration creates anything. */
export function findBypass(db: Database): Bypass {
  const tables = objectNames(db, "table");
  const ddl = tables.has("_sync") && db.prepare("SELECT value FROM _sync WHERE name = 'ddl'").get()?.value;
  if (typeof ddl !== "string") return { models: new Set(), tables: new Set(), missing: [] };
  const present = objectNames(db, "trigger");
  // By name, whatever their text: another version of Twintable, or another schema, may have made them.
  const triggers = [...ddl.matchAll(/^CREATE TRIGGER "_sync_((\w+)\.[^"]+)"/gm)]
    .map(([, name, model]) => ({ name: `_sync_${name}`, model: model! }))
    .filter(({ name }) => !present.has(name));
  const lost = stateTables.filter((name) => !tables.has(name));
  // Without its row (which `.recover` may not have been able to read), the triggers capture nothing, although no table
  // is missing.
  const isBlind = tables.has("_sync_flag") && db.prepare("SELECT 1 FROM _sync_flag").get() === undefined;
  if (isBlind) lost.push("_sync_flag");
  const blind = isBlind ? [...ddl.matchAll(/^CREATE TRIGGER "_sync_(\w+)\./gm)].map(([, model]) => model!) : [];
  return {
    models: new Set([...triggers.map(({ model }) => model), ...blind]),
    tables: new Set(lost),
    missing: [...lost, ...triggers.map(({ name }) => name)],
  };
}

/**
 * Brings the agent's tables, recreated and empty, into agreement with those that are left. After they were made, before
 * models are given numbers.
 *
 * @returns whether the records of keys are lost: then there are no bases to compare with
 */
export function restoreState(db: Database, { tables }: Bypass): { readonly basesLost: boolean } {
  if (tables.has("_sync_flag")) {
    // Times recorded from now on must not be corrected by an earlier jump.
    db.exec(`UPDATE _sync_flag SET segment = 1 + max(
      coalesce((SELECT max(segment) FROM _sync_clock), 0), coalesce((SELECT max(segment) FROM _outbox), 0))`);
  }
  // Sequence numbers start again: a batch that claims old ones would hide new entries.
  if (tables.has("_outbox")) db.exec("DELETE FROM _inflight");
  if (!tables.has("_sync_models")) return { basesLost: tables.has("_sync_items") };
  // A number is in every trigger of its model.
  const triggers = db.prepare(
    "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE '\\_sync\\_%' ESCAPE '\\'",
  ).all();
  const numbers = new Map<string, number>();
  for (const { name, sql } of triggers) {
    const model = /^_sync_(\w+)\./.exec(String(name))?.[1],
      number = /applying(?: FROM _sync_flag\))? <> (\d+)/.exec(String(sql));
    if (model && number) numbers.set(model, Number(number[1]));
  }
  const known = db.prepare("SELECT DISTINCT model FROM _outbox UNION SELECT DISTINCT model FROM _sync_items").all();
  const isWhole = known.every(({ model }) => [...numbers.values()].includes(Number(model)));
  if (isWhole) {
    const add = db.prepare("INSERT INTO _sync_models(number, name) VALUES (?, ?)");
    for (const [name, number] of numbers) add.run(number, name);
    return { basesLost: tables.has("_sync_items") };
  }
  // It is unknown which model an entry or a record belongs to.
  db.exec("DELETE FROM _outbox; DELETE FROM _inflight; DELETE FROM _sync_items; DELETE FROM _sync_aside");
  return { basesLost: true };
}

/**
 * Compares a model's rows with their bases, and enqueues what was written meanwhile. Runs after the table has its new
 * form.
 */
export function notice(
  db: Database,
  number: number,
  model: Model,
  identity: Identity,
  bypass: Bypass,
  basesLost: boolean,
): Noticed | undefined {
  const isBypassed = bypass.models.has(model.name);
  if (!goesUp(model) || !(isBypassed || basesLost || bypass.tables.has("_outbox"))) return undefined;
  // SQLite may have reused row numbers: a pending insert no longer describes the row with its number.
  db.prepare(`UPDATE _outbox SET kind = ${outboxKinds.update} WHERE model = ? AND kind = ${outboxKinds.insert}`).run(
    number,
  );
  if (!isTracked(model) || basesLost) {
    const before = outboxSize(db);
    if (isTracked(model)) keepRemovals(db, number, model, identity);
    onboard(db, model, number);
    return { model: model.name, sent: outboxSize(db) - before, missing: 0 };
  }
  const rows = new TableRows(db, model, identity);
  const baseOf = db.prepare("SELECT base FROM _sync_items WHERE hash = ? AND sort = ? AND base IS NOT NULL");
  const enqueue = db.prepare(
    `INSERT INTO _outbox(model, row, kind, time, segment) SELECT ?, ?, ${outboxKinds.update}, ${nowMsSql}, segment FROM _sync_flag`,
  );
  let sent = 0, missing = 0;
  for (let page = rows.after(Number.MIN_SAFE_INTEGER, pageRows); page.length > 0;) {
    for (const { id, key, row } of page) {
      const base = baseOf.get(...key)?.base;
      if (row && base !== undefined && rows.equals(row, parseJson(String(base)) as Attributes)) continue;
      enqueue.run(number, id);
      sent++;
    }
    page = page.length < pageRows ? [] : rows.after(page.at(-1)!.id, pageRows);
  }
  const remove = db.prepare(
    `INSERT INTO _outbox(model, row, kind, time, segment, hash, sort, key)
     SELECT ?, NULL, ${outboxKinds.gone}, ${nowMsSql}, segment, ?, ?, ? FROM _sync_flag`,
  );
  for (const [key, base] of bases(db, number)) {
    if (rows.idByKey(key) !== undefined) continue;
    if (isBypassed) missing++;
    else {
      remove.run(number, ...key, JSON.stringify(keyAttributesOf(model, base)));
      sent++;
    }
  }
  return { model: model.name, sent, missing };
}

/**
 * Only their entries know pending removals, so each gets a base that says that there is something to remove. The base
 * has no version, so that the removal's own time decides, and only the key's attributes.
 */
function keepRemovals(db: Database, number: number, model: Model, identity: Identity): void {
  const rows = new TableRows(db, model, identity);
  const removed = db.prepare(
    `SELECT hash, sort, key FROM _outbox WHERE model = ? AND kind = ${outboxKinds.gone} AND hash IS NOT NULL AND key IS NOT NULL`,
  ).all(number);
  const base = db.prepare("INSERT OR IGNORE INTO _sync_items(hash, sort, model, base) VALUES (?, ?, ?, ?)");
  for (const { hash, sort, key } of removed) {
    if (rows.idByKey([String(hash), String(sort)]) === undefined) base.run(hash!, sort!, number, key!);
  }
}

function* bases(db: Database, number: number): Iterable<[key: readonly [string, string], base: Attributes]> {
  const page = db.prepare(
    `SELECT hash, sort, base FROM _sync_items WHERE model = ? AND base IS NOT NULL AND (hash, sort) > (?, ?)
     ORDER BY hash, sort LIMIT ${pageRows}`,
  );
  let after: readonly [string, string] = ["", ""];
  while (true) {
    const rows = page.all(number, ...after);
    for (const { hash, sort, base } of rows) {
      after = [String(hash), String(sort)];
      yield [after, parseJson(String(base)) as Attributes];
    }
    if (rows.length < pageRows) return;
  }
}

function outboxSize(db: Database): number {
  return Number(db.prepare("SELECT count(*) AS n FROM _outbox").get()!.n);
}
