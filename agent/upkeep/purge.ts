/**
 * Purges expired rows, one minute after their time: the device's half of the table's TTL. A purge is not captured, and
 * it deletes row **and** base, so that a later row with the key is a new one.
 *
 * Guarantee: a key with a change that the cloud has not acknowledged, or whose echo or fetch is awaited, is left alone
 * (rule A3). If only its row were deleted, the pending change would read as a removal, and delete an item that another
 * device has prolonged. So a row that expires unsent is sent all the same, and purged later.
 *
 * @module
 */
import { beforeRows, type RowId, rowIdOf, type SqlRow } from "../sqlite/driver.ts";
import { expiryAgeMaxMs } from "../../schema.ts";
import type { Field, Model } from "../../schema/model.ts";
import type { Context } from "../sync/context.ts";
import { comesDown, goesUp, isTracked } from "../sync/items.ts";
import { columnName, msToColumn } from "../store/columns.ts";
import { keySql } from "../store/ddl.ts";
import { ident, literal } from "../store/sql.ts";

/** Rows that one transaction examines, and rows that it deletes: some milliseconds. */
const scanRows = 10_000, purgeRows = 2_000;
/** Transactions in a row for one model: a backlog of expired rows is purged within minutes. */
const purgesMax = 20;
/** A row stays for this long after its time: the device's clock may be ahead of the table's. */
const graceMs = 60_000;
/**
 * For `up` models of one device, no index says which rows wait, so the outbox is scanned. With more entries than this,
 * the device is offline or lags far: nearly all of its rows wait, and `capacity.ts` bounds the disk meanwhile.
 */
const unindexedMax = 50_000;

/**
 * Purges expired rows of every model: first from the table's oldest rows, and then one further part of the table in
 * each round, for rows with an early expiry. `positions` remembers where.
 */
export function purgeExpired(context: Context, positions: Map<string, RowId>): void {
  const { store, clock } = context;
  const models = [...store.schema.models.values()].flatMap((model) => {
    const field = model.fields.find(({ name }) => name === model.ttlField);
    return model.onDevice && field && !field.template ? [{ model, field }] : [];
  });
  // Offline after a restart, the time is unknown, but rows that had expired before are still expired.
  const nowMs = models.length > 0 ? clock.atLeastMs() : undefined;
  if (nowMs === undefined) return;
  context.stuck.begin("purge");
  for (const { model, field } of models) {
    const isUnindexed = goesUp(model) && !isTracked(model);
    if (isUnindexed && store.db.sql("SELECT 1 FROM _outbox LIMIT 1 OFFSET ?").get(unindexedMax)) continue;
    const purge = (after: RowId) => purgeFrom(context, model, field, nowMs - graceMs, after, scanRows);
    for (let n = 0; n < purgesMax && purge(beforeRows).removed > 0; n++);
    // Also continues past rows that an application's trigger refuses to delete, if there are more than one transaction
    // handles.
    positions.set(model.name, purge(positions.get(model.name) ?? beforeRows).last ?? beforeRows);
  }
  context.stuck.end();
}

/**
 * Purges rows that had expired at a time, among the `scan` rows after `afterId` by `_id`: scanning a large table at
 * once would hold up its writers. @returns how many were deleted, and the last `_id` that was examined; undefined at
 * the table's end
 */
export function purgeFrom(
  context: Context,
  model: Model,
  field: Field,
  atMs: number,
  afterId: RowId,
  scan: number,
): { readonly removed: number; readonly last?: RowId } {
  const { store } = context, { db } = store, table = ident(model.name);
  const seen = db.sql(`SELECT max(_id) AS last, count(*) AS n FROM
    (SELECT _id FROM ${table} WHERE _id > ? ORDER BY _id LIMIT ?)`).get(afterId, scan)!;
  if (seen.last == null) return { removed: 0 };
  const { hash, sort } = keySql(model), key = [`t.${hash}`, sort ? `t.${sort}` : "''"] as const;
  // Not by comparing texts: an application may have written any of SQLite's ISO spellings.
  const at = (value: string) => field.type === "date" && field.isoDates ? `julianday(${value})` : value;
  const since = model.sync === "none" ? "" : ` AND ${at(`t.${columnName(field)}`)} > ${at("?")}`;
  const sql = `SELECT t._id AS id, ${key[0]} AS h, ${key[1]} AS s FROM ${table} AS t
    WHERE t._id > ? AND t._id <= ? AND ${at(`t.${columnName(field)}`)} <= ${at("?")}${since}
    ${unsettledSql(store.number(model), model, field, key).map((other) => `AND NOT ${other}`).join(" ")}
    ORDER BY t._id LIMIT ${purgeRows}`;
  const bounds = [atMs, ...(since ? [atMs - expiryAgeMaxMs] : [])].map((ms) =>
    // An expiry time of type number is in its column as in the item, in seconds.
    field.type === "number" ? Math.floor(ms / 1000) : msToColumn(field, ms)
  );
  const { rows, removed } = store.tx(() => {
    const found = db.sql(sql).all(afterId, seen.last!, ...bounds);
    return { rows: found, removed: found.length > 0 ? store.applying(() => remove(context, model, found)) : 0 };
  });
  // If there are more than one transaction handles, the next continues after them.
  if (rows.length === purgeRows) return { removed, last: rowIdOf(rows.at(-1)!.id) };
  return Number(seen.n) < scan ? { removed } : { removed, last: rowIdOf(seen.last) };
}

/**
 * Conditions under which a row `t` must not be purged. Every change that is not acknowledged has its entry in
 * `_outbox`, in flight or not. An expiry that came as a text is only a date for people: the table never expires the
 * item by it.
 */
function unsettledSql(number: number, model: Model, field: Field, [hash, sort]: readonly [string, string]): string[] {
  const conditions: string[] = [];
  if (goesUp(model) && !isTracked(model)) {
    conditions.push(`t._id IN (SELECT row FROM _outbox WHERE model = ${number} AND row IS NOT NULL)`);
  } else if (goesUp(model)) {
    conditions.push(
      `EXISTS (SELECT 1 FROM _outbox AS o WHERE o.model = ${number} AND o.row = t._id)`,
      `EXISTS (SELECT 1 FROM _outbox AS o WHERE o.hash = ${hash} AND o.sort = ${sort})`,
    );
  }
  if (comesDown(model) || isTracked(model)) {
    const text = `json_type(i.base, ${literal(`$.${JSON.stringify(field.attribute)}`)}) = 'text'`;
    conditions.push(
      `EXISTS (SELECT 1 FROM _sync_items AS i WHERE i.hash = ${hash} AND i.sort = ${sort} AND ` +
        `(i.awaiting = 1 OR i.recheck IS NOT NULL OR ${text}))`,
    );
  }
  return conditions;
}

/**
 * Deletes rows, and the bases of deleted rows. A row that an application's trigger does not let go stays, and holds up
 * no other.
 */
function remove({ store, stuck }: Context, model: Model, rows: readonly SqlRow[]): number {
  const removal = store.rows(model).removeIds(rows.map(({ id }) => rowIdOf(id)));
  stuck.note("purge", model, removal);
  if (!isTracked(model) && !comesDown(model)) return removal.removed.length;
  const removed = new Set(removal.removed);
  store.db.sql(
    `UPDATE _sync_items SET base = NULL, source = NULL, stamp = NULL
     WHERE (hash, sort) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))`,
  ).run(JSON.stringify(rows.filter(({ id }) => removed.has(rowIdOf(id))).map(({ h, s }) => [h, s])));
  return removal.removed.length;
}
