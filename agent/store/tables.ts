/**
 * The agent's own tables in the device's database, and the views on them. Applications read them and never write them.
 *
 * `_outbox` has no index that a bulk insert would touch: for `up` models of one device, the usual model of
 * measurements, an insert writes only the row itself. The other models' entries are found by row through a partial
 * index; SQLite uses it for a query that names the model by a literal number (`model = 3`), not by a parameter. Entries
 * of kind 3, which name a key that lost its row, are found by it (`hash`, `sort`) through another.
 *
 * @module
 */
import { goesUp, isTracked } from "../../schema/direction.ts";
import type { Model } from "../../schema/model.ts";
import { ident, literal, nowMsSql } from "./sql.ts";
import { keyJsonSql } from "./triggers.ts";

/** The layout of the agent's tables. A file of a higher number was written by a newer Twintable and is refused. */
export const storeFormat = 1;

/**
 * "Twtb": marks a file that has no other mark, so that the command `file` names it. Nothing depends on it: an
 * application may set its own mark (a GeoPackage has to), and `_sync` says to whom the file belongs.
 */
export const applicationId = 0x54777462;

/** "ttbl": the mark of an embedded cloud table (`cloud/embedded/layout.ts`), which is not a device's database. */
export const cloudTableId = 0x7474626c;

/** The name under which `_sync_kept` holds pending removals of a removed model. */
export const keptRemoval = "_outbox";

/** The name under which `_sync` counts the rows evicted from a table for people. */
export function trimmedName(table: "_conflicts" | "_rejected"): string {
  return `trimmed:${table}`;
}

/** The name under which `_sync` stores a request to try set-aside items again now. */
export const asideRetryFact = "asideRetry";

/** Creates what is missing. The modules of `agent/` (outbox, items, downlink, clock) explain the columns. */
export const agentTablesSql = `
CREATE TABLE IF NOT EXISTS _sync(name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _sync_flag(
  id INTEGER PRIMARY KEY CHECK (id = 1), applying INTEGER NOT NULL, segment INTEGER NOT NULL,
  "full" INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT OR IGNORE INTO _sync_flag(id, applying, segment) VALUES (1, 0, 1);
CREATE TABLE IF NOT EXISTS _sync_models(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS _sync_kept(
  model TEXT, row INTEGER, name TEXT, value ANY, key TEXT, base TEXT) STRICT;
CREATE INDEX IF NOT EXISTS _sync_kept_removals ON _sync_kept(name) WHERE name = '${keptRemoval}';
CREATE TABLE IF NOT EXISTS _outbox(
  seq INTEGER PRIMARY KEY, model INTEGER, row INTEGER, kind INTEGER, time INTEGER, segment INTEGER,
  hash TEXT, sort TEXT, key TEXT) STRICT;
CREATE INDEX IF NOT EXISTS _sync_outbox_key ON _outbox(hash, sort) WHERE hash IS NOT NULL;
CREATE TABLE IF NOT EXISTS _inflight(batch TEXT PRIMARY KEY, serial INTEGER, payload TEXT) STRICT;
CREATE TABLE IF NOT EXISTS _sync_items(
  hash TEXT, sort TEXT, model INTEGER, source TEXT, stamp INTEGER, base TEXT, awaiting INTEGER NOT NULL DEFAULT 0,
  recheck INTEGER, gone INTEGER, issued INTEGER, swept INTEGER, prior TEXT,
  era INTEGER, at INTEGER, offer TEXT, superseded INTEGER,
  PRIMARY KEY (hash, sort)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _sync_items_recheck ON _sync_items(recheck) WHERE recheck IS NOT NULL;
CREATE TABLE IF NOT EXISTS _sync_channels(
  channel TEXT PRIMARY KEY, epoch TEXT, seq INTEGER, snap_epoch TEXT, snap_head INTEGER, snap_after TEXT,
  again INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS _sync_seen(
  channel TEXT, hash TEXT, sort TEXT, PRIMARY KEY (channel, hash, sort)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _sync_aside(
  hash TEXT, sort TEXT, model INTEGER, item TEXT, source TEXT, stamp INTEGER, error TEXT, time INTEGER,
  unread INTEGER,
  PRIMARY KEY (hash, sort)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _sync_waits(model INTEGER PRIMARY KEY, cloud TEXT, own TEXT, reason TEXT) STRICT;
CREATE TABLE IF NOT EXISTS _sync_lacks(
  channel TEXT, model INTEGER, PRIMARY KEY (channel, model)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _sync_clock(segment INTEGER PRIMARY KEY, delta INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS _rejected(
  id INTEGER PRIMARY KEY, model TEXT, key TEXT, op TEXT, item TEXT, code TEXT, reason TEXT, stamp INTEGER,
  time INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS _conflicts(
  id INTEGER PRIMARY KEY, model TEXT, key TEXT, op TEXT, item TEXT, why TEXT, source TEXT, stamp INTEGER,
  time INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS _verify(
  id INTEGER PRIMARY KEY, model TEXT, key TEXT, what TEXT, detail TEXT, mended INTEGER NOT NULL, time INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS _sync_verify(id INTEGER PRIMARY KEY AUTOINCREMENT, options TEXT, report TEXT) STRICT;
CREATE TABLE IF NOT EXISTS _sync_orders(
  id TEXT PRIMARY KEY, content TEXT NOT NULL, state TEXT NOT NULL, report TEXT, time INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS _changes(
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT, key TEXT, op TEXT, time INTEGER) STRICT;
`;

/** The names of {@link agentTablesSql}. */
export const agentTableNames: readonly string[] = [...agentTablesSql.matchAll(/CREATE TABLE IF NOT EXISTS (\w+)/g)].map(
  (match) => match[1]!,
);

/** A condition that holds for the models' entries, in the form from which SQLite infers it (`OR`, not `IN`). */
function ofModels(numbers: readonly number[]): string {
  return numbers.map((number) => `model = ${number}`).join(" OR ");
}

/** The outbox's index by row for these models (by the file's own numbers). */
export function outboxIndexesSql(models: ReadonlyMap<number, Model>): string[] {
  const numbers = [...models].filter(([, model]) => isTracked(model)).map(([number]) => number);
  if (numbers.length === 0) return [];
  return [
    `CREATE INDEX _sync_outbox_row ON _outbox(model, row) WHERE ${ofModels(numbers)}`,
  ];
}

/**
 * Columns that came later than their table, added if they are missing. Each is in {@link agentTablesSql} as well: by that text a
 * file knows that it lacks something.
 */
export const laterColumns: readonly { readonly table: string; readonly name: string; readonly sql: string }[] = [
  { table: "_sync_flag", name: "full", sql: `"full" INTEGER NOT NULL DEFAULT 0` },
  { table: "_sync_kept", name: "key", sql: "key TEXT" },
  // For an unsent value: what the cloud had under its attribute, as JSON.
  { table: "_sync_kept", name: "base", sql: "base TEXT" },
  { table: "_sync_items", name: "swept", sql: "swept INTEGER" },
  { table: "_sync_items", name: "prior", sql: "prior TEXT" },
  { table: "_sync_items", name: "era", sql: "era INTEGER" },
  { table: "_sync_items", name: "at", sql: "at INTEGER" },
  { table: "_sync_items", name: "offer", sql: "offer TEXT" },
  { table: "_sync_items", name: "superseded", sql: "superseded INTEGER" },
  // For an unreadable item: its model's number, if known.
  { table: "_sync_aside", name: "unread", sql: "unread INTEGER" },
];

/** Indexes over {@link laterColumns}: made when these are there. */
export const laterIndexesSql = `
CREATE INDEX IF NOT EXISTS _sync_items_fetch ON _sync_items(recheck) WHERE recheck IS NOT NULL AND swept IS NULL;
CREATE INDEX IF NOT EXISTS _sync_items_swept ON _sync_items(model, recheck) WHERE swept IS NOT NULL;
`;

function metaSql(name: string): string {
  return `(SELECT value FROM _sync WHERE name = ${literal(name)})`;
}

function timeSql(ms: string): string {
  return `strftime('%Y-%m-%dT%H:%M:%fZ', ${ms} / 1000.0, 'unixepoch')`;
}

/** When the oldest change that the cloud has not acknowledged was made, by the device's clock. */
const oldestSql = "(SELECT time FROM _outbox ORDER BY seq LIMIT 1)";

/** `_status`: one row about the whole device; docs/device-database.md explains each column. */
const statusSql = `CREATE VIEW _status AS SELECT
  ${metaSql("device")} AS device,
  ${metaSql("account")} AS account,
  coalesce(${metaSql("connected")}, 0) AS connected,
  ${timeSql(metaSql("lastAck"))} AS last_ack,
  ${timeSql(metaSql("lastSync"))} AS last_sync,
  ${metaSql("lastError")} AS last_error,
  ${timeSql(metaSql("lastErrorAt"))} AS last_error_at,
  ${metaSql("problem")} AS problem,
  (SELECT count(*) FROM _outbox) AS outbox,
  (SELECT coalesce(sum(json_array_length(payload, '$.flights')), 0) FROM _inflight) AS inflight,
  (SELECT count(*) FROM _rejected) AS rejected,
  (SELECT count(*) FROM _conflicts) AS conflicts,
  (SELECT count(*) FROM _sync_aside) AS aside,
  ${timeSql(oldestSql)} AS oldest,
  max(0, ${nowMsSql} - ${oldestSql}) AS lag_ms,
  (SELECT "full" <> 0 FROM _sync_flag) AS full,
  coalesce(${metaSql("dropped")}, 0) AS dropped,
  coalesce(${metaSql(trimmedName("_rejected"))}, 0) AS rejected_trimmed,
  coalesce(${metaSql(trimmedName("_conflicts"))}, 0) AS conflicts_trimmed,
  ${metaSql("walBytes")} AS wal_bytes,
  ${timeSql(metaSql("restoredAt"))} AS restored_at`;

/**
 * `_pending`: the keys with changes that the cloud has not acknowledged, since when (ms since 1970, local clock). Each
 * model has its own part, which names it literally: a query for one model does not scan the backlog of the others.
 */
function pendingSql(models: ReadonlyMap<number, Model>): string {
  const sent = [...models].filter(([, model]) => goesUp(model));
  const gone = "hash IS NOT NULL AND key IS NOT NULL";
  const parts = sent.map(([number, model]) =>
    `SELECT ${literal(model.name)} AS model, key, min(time) AS since FROM (
    SELECT ${keyJsonSql(model, "t")} AS key, o.time FROM _outbox AS o JOIN ${ident(model.name)} AS t ON t._id = o.row
    WHERE o.model = ${number} AND o.key IS NULL
    UNION ALL SELECT key, time FROM _outbox WHERE ${gone} AND model = ${number}) GROUP BY key`
  );
  // Pending changes of models that the schema no longer has, or no longer sends.
  parts.push(
    `SELECT m.name AS model, o.key AS key, min(o.time) AS since FROM _sync_models AS m JOIN _outbox AS o ON o.model = m.number
  WHERE ${gone} AND m.number NOT IN (${sent.map(([number]) => number).join(", ")}) GROUP BY m.name, o.key`,
  );
  return `CREATE VIEW _pending AS\n${parts.join("\nUNION ALL ")}`;
}

/**
 * Tools that read a file's schema line by line (a shell's `.schema`, ORMs' introspection) find a view on a single line.
 * No name of ours has a line break.
 */
function oneLine(sql: string): string {
  return sql.replace(/\s*\n\s*/g, " ");
}

/** The views, for these models (by the file's own numbers). */
export function viewsSql(models: ReadonlyMap<number, Model>): string[] {
  return [statusSql, pendingSql(models)].map(oneLine);
}

/** The names of {@link viewsSql}. */
export const viewNames = ["_status", "_pending"] as const;
